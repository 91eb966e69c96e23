"""The core and the workflows: no clock, no randomness, no surroundings, no order of a set.

The same bytes must give the same decision on any machine, and a workflow must replay. A set has no
order that two processes agree on, so it may be asked and sorted but never walked.
"""

import ast
from collections.abc import Iterator

import pytest

from tests.tidy.sources import Function, Module, calls, module_of, modules

PURE = ("lockstep", "workflows")

BANNED_MODULES = (
    *("time", "random", "uuid", "secrets", "os", "io", "pathlib", "tempfile", "shutil", "glob"),
    *("socket", "ssl", "select", "subprocess", "signal", "threading", "multiprocessing"),
    *("concurrent", "urllib", "http", "requests", "aiohttp", "platform", "locale", "logging"),
)
BANNED_CALLS = {
    "open": "reads a file",
    "input": "asks a person",
    "print": "writes to the terminal",
    "hash": "differs from process to process",
    "id": "differs from process to process",
    "datetime.now": "reads the clock",
    "datetime.utcnow": "reads the clock",
    "datetime.today": "reads the clock",
    "date.today": "reads the clock",
    "asyncio.sleep": "in a workflow, workflow.sleep says what for",
}
BANNED_IN_CORE = ("asyncio",)

MAKES_A_SET = ("set", "frozenset")
SET_METHODS = ("union", "intersection", "difference", "symmetric_difference")
WALKS = ("list", "tuple", "iter", "enumerate", "zip", "map", "filter", "reversed", "next")
WALKS_AS_METHOD = ("join", "fromkeys", "extend")
ORDER_FREE = ("sorted", "set", "frozenset", "len", "any", "all", "sum", "min", "max")


def impure(module: Module) -> list[str]:
    """Imports and calls that look outside."""
    found = []
    banned = BANNED_MODULES + (BANNED_IN_CORE if module.path.startswith("lockstep/") else ())
    for node in ast.walk(module.tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        found += [
            f"{module.path}:{node.lineno} imports {name}"
            for name in names
            if name.split(".")[0] in banned
        ]
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "sys.argv"):
            found.append(f"{module.path}:{node.lineno} reads {ast.unparse(node)}")
    for name, call in calls(module.tree):
        plain = name.removeprefix("datetime.") if name.count(".") > 1 else name
        if plain in BANNED_CALLS:
            found.append(f"{module.path}:{call.lineno} {name}: {BANNED_CALLS[plain]}")
    return found


# ---- sets that are walked ------------------------------------------------------------------


def set_names(scope: ast.AST) -> set[str]:
    """Names that a function or module gives to sets: assigned from one or annotated as one."""
    names: set[str] = set()
    for node in ast.walk(scope):
        if isinstance(node, ast.arg) and _says_set(node.annotation):
            names.add(node.arg)
        elif isinstance(node, ast.AnnAssign) and _says_set(node.annotation):
            names.add(ast.unparse(node.target))
        elif isinstance(node, ast.Assign) and is_set(node.value, names):
            names |= {ast.unparse(target) for target in node.targets}
    return names


def _says_set(annotation: ast.expr | None) -> bool:
    text = ast.unparse(annotation) if annotation else ""
    return text.split("[")[0] in ("set", "frozenset", "Set", "AbstractSet")


def is_set(node: ast.expr, names: set[str]) -> bool:
    """Whether the expression is a set as far as its own text and the known names tell."""
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    if isinstance(node, ast.BinOp) and isinstance(
        node.op, ast.BitAnd | ast.BitOr | ast.BitXor | ast.Sub
    ):
        return any(_set_or_keys(side, names) for side in (node.left, node.right))
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute):
            return node.func.attr in SET_METHODS
        return ast.unparse(node.func) in MAKES_A_SET
    if isinstance(node, ast.IfExp):
        return is_set(node.body, names) or is_set(node.orelse, names)
    return isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node) in names


def _set_or_keys(node: ast.expr, names: set[str]) -> bool:
    view = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    return (view and node.func.attr in ("keys", "items")) or is_set(node, names)


def walked_sets(module: Module) -> list[str]:
    """Places where the order of a set would show."""
    found: set[tuple[int, str]] = set()
    scopes = [node for node in ast.walk(module.tree) if isinstance(node, Function)]
    for scope in (module.tree, *scopes):
        names = set_names(scope)
        free = _order_free(scope)
        for node in ast.walk(scope):
            for walked in _walks(node, free):
                if is_set(walked, names):
                    found.add((walked.lineno, ast.unparse(walked)))
    return [f"{module.path}:{line} walks the set {text}" for line, text in sorted(found)]


def _order_free(scope: ast.AST) -> set[ast.AST]:
    """Comprehensions whose result does not depend on the order they were walked in."""
    free: set[ast.AST] = {node for node in ast.walk(scope) if isinstance(node, ast.SetComp)}
    for node in ast.walk(scope):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ORDER_FREE:
            free |= set(node.args)
    return free


def _walks(node: ast.AST, free: set[ast.AST]) -> Iterator[ast.expr]:
    if isinstance(node, ast.For | ast.AsyncFor):
        yield node.iter
    elif isinstance(node, ast.ListComp | ast.GeneratorExp | ast.DictComp) and node not in free:
        yield from (generator.iter for generator in node.generators)
    elif isinstance(node, ast.Call):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
        as_method = isinstance(node.func, ast.Attribute)
        if called in (WALKS_AS_METHOD if as_method else WALKS) and node not in free:
            yield from node.args
        if as_method and called == "pop" and not node.args:
            yield node.func.value
    elif isinstance(node, ast.Starred):
        yield node.value


# ---- the product ---------------------------------------------------------------------------


def test_the_core_and_the_workflows_look_at_nothing_outside() -> None:
    assert [found for module in modules(*PURE) for found in impure(module)] == []


def test_the_core_and_the_workflows_never_walk_a_set() -> None:
    assert [found for module in modules(*PURE) for found in walked_sets(module)] == []


@pytest.mark.parametrize(
    "code",
    [
        "import time",
        "from random import choice",
        "import uuid as names",
        "import os.path",
        "os.environ['HOME']",
        "open('file')",
        "datetime.now(UTC)",
        "datetime.datetime.utcnow()",
        "hash(name)",
        "key = id(name)",
        "await_ = asyncio.sleep(1)",
    ],
)
def test_a_look_outside_is_found(code: str) -> None:
    assert len(impure(module_of(code))) == 1


def test_what_only_sounds_like_a_look_outside_is_let_through() -> None:
    code = "workflow.now()\ntarget.open(1)\nbook.hash(x)\nrow.id\nfrom datetime import datetime\n"
    assert impure(module_of(code)) == []


@pytest.mark.parametrize(
    "code",
    [
        "for x in {1, 2}: ...",
        "for x in set(names): ...",
        "[x for x in frozenset(names)]",
        "{x: 1 for x in {y for y in names}}",
        "def f():\n    found = {1}\n    return [x for x in found]",
        "def f(names: set[str]):\n    return ','.join(names)",
        "list(a.keys() - b.keys())",
        "tuple({1} | other)",
        "first = next(iter({1, 2}))",
        "rows = [*{1, 2}]",
        "known = {1}\nknown.pop()",
        "for x in a.union(b): ...",
    ],
)
def test_a_walked_set_is_found(code: str) -> None:
    assert walked_sets(module_of(code))


@pytest.mark.parametrize(
    "code",
    [
        "for x in sorted({1, 2}): ...",
        "sorted(x for x in {1, 2})",
        "{x + 1 for x in {1, 2}}",
        "any(x > 1 for x in {1, 2})",
        "3 in {1, 2}",
        "len(set(names)) == len(names)",
        "for x in (1, 2): ...",
        "for x in a - 1, 2: ...",
        "total = {1}\nrows.pop(0)",
    ],
)
def test_a_set_that_is_only_asked_or_sorted_is_let_through(code: str) -> None:
    assert walked_sets(module_of(code)) == []
