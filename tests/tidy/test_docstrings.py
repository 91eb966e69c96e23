"""Everything public says what it is for: modules always, classes and functions unless plain.

Plain is what a sentence could only repeat: a class of nothing but fields, a property, a function of
few statements, a method whose meaning its port, its base class or its decorator states.
"""

import ast
import importlib
from collections.abc import Iterator
from functools import cache

import pytest

from tests.tidy.sources import Function, Module, keyword, module_of, modules

STATEMENTS_MAX = 3
"""A function of so few statements, branches counted, is its own description."""

DESCRIBES = ("workflow.query", "workflow.signal", "workflow.update", "click.command", "click.group")
DEFINES = ("activity.defn",)


def _decorators(node: Function | ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    for decorator in node.decorator_list:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        yield ast.unparse(target), decorator


def _is_described(node: Function) -> bool:
    """A decorator shows a description of its own to people."""
    return any(
        name in DESCRIBES
        and isinstance(decorator, ast.Call)
        and (keyword(decorator, "description") or keyword(decorator, "help"))
        for name, decorator in _decorators(node)
    )


def _is_plain(node: Function) -> bool:
    """Private, an entry point (its module is its help), described elsewhere, or short."""
    if node.name.startswith("_") or node.name == "main" or _is_described(node):
        return True
    if any(name in ("property", "cached_property") for name, _ in _decorators(node)):
        return True
    inner = [child for child in ast.walk(node) if isinstance(child, ast.stmt)]
    return len(inner) - 1 <= STATEMENTS_MAX


def _methods(node: ast.ClassDef) -> list[Function]:
    return [part for part in node.body if isinstance(part, Function)]


def _is_workflow(node: ast.ClassDef) -> bool:
    """Its handlers carry descriptions; the rest is the runbook, called by nobody else."""
    return any(name == "workflow.defn" for name, _ in _decorators(node))


def _holds_activities(node: ast.ClassDef) -> bool:
    """Every public method is an activity, which says for itself why a retry is harmless."""
    public = [method for method in _methods(node) if not method.name.startswith("_")]
    return bool(public) and all(
        any(name in DEFINES for name, _ in _decorators(method)) for method in public
    )


def _is_plain_class(node: ast.ClassDef) -> bool:
    if node.name.startswith("_") or _is_workflow(node) or _holds_activities(node):
        return True
    return all(_is_plain(method) for method in _methods(node))


@cache
def port_methods() -> tuple[frozenset[str], ...]:
    """The public methods of each Protocol of the product: their meaning is stated there."""
    return tuple(
        frozenset(method.name for method in _methods(node))
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base).endswith("Protocol") for base in node.bases)
        and ast.unparse(node.bases[0]) == "Protocol"
    )


def _stated_elsewhere(module: Module, node: ast.ClassDef) -> set[str]:
    """Methods of a class whose meaning a port that it implements, or its base class, states."""
    own = {method.name for method in _methods(node)}
    stated = {name for port in port_methods() if port <= own for name in port}
    if node.bases and module.path != "sample.py":
        made = getattr(importlib.import_module(module.dotted), node.name)
        stated |= {name for base in made.__mro__[1:] for name in vars(base) if name in own}
    return stated


def undocumented(module: Module) -> list[str]:
    found = []
    if module.text.strip() and ast.get_docstring(module.tree) is None:
        found.append(f"{module.path}:1 the module")
    for node in module.tree.body:
        if isinstance(node, Function) and not _is_plain(node):
            found += _undocumented(module, node, node.name)
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        if not _is_plain_class(node):
            found += _undocumented(module, node, node.name)
        if _is_workflow(node):
            continue
        stated = _stated_elsewhere(module, node)
        for method in _methods(node):
            if method.name not in stated and not _is_plain(method):
                found += _undocumented(module, method, f"{node.name}.{method.name}")
    return found


def _undocumented(module: Module, node: Function | ast.ClassDef, name: str) -> list[str]:
    return [] if ast.get_docstring(node) else [f"{module.path}:{node.lineno} {name}"]


def test_everything_public_says_what_it_is_for() -> None:
    assert [found for module in modules() for found in undocumented(module)] == []


LONG = "    a = 1\n    b = 2\n    c = 3\n    return a\n"


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("x = 1", "1 the module"),
        (f'"""M."""\ndef f():\n{LONG}', "2 f"),
        (f'"""M."""\nasync def f():\n{LONG}', "2 f"),
        ('"""M."""\ndef f():\n  if a:\n    for b in c:\n      d()\n      e()\n', "2 f"),
        (f'"""M."""\nclass C:\n  def _f(self): ...\n  def f(self):\n    """F."""\n{LONG}', "2 C"),
        (f'"""M."""\nclass C:\n  """C."""\n  def f(self):\n{LONG}', "4 C.f"),
    ],
)
def test_what_says_nothing_is_found(code: str, what: str) -> None:
    assert undocumented(module_of(code)) == [f"sample.py:{what}"]


@pytest.mark.parametrize(
    "code",
    [
        "",
        f'"""M."""\ndef _f():\n{LONG}',
        f'"""M."""\ndef main():\n{LONG}',
        '"""M."""\ndef f():\n  return 1\n',
        '"""M."""\nclass C:\n  x: int\n  @property\n  def y(self): return 1\n',
        f'"""M."""\n@workflow.query(description="what")\ndef f():\n{LONG}',
        f'"""M."""\n@workflow.defn\nclass W:\n  def f(self):\n{LONG}',
        '"""M."""\nclass P:\n  """P."""\n  def state(self): ...\n',
    ],
)
def test_what_is_plain_is_let_through(code: str) -> None:
    assert undocumented(module_of(code)) == []
