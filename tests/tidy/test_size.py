"""Functions of at most 60 lines, modules of at most 400; 600 is the hard stop."""

from tests.tidy.sources import Module, functions, module_of, modules

FUNCTION_LINES_MAX = 60
MODULE_LINES_MAX = 400
MODULE_LINES_HARD_MAX = 600

LONGER_MODULES = {
    "lockstep/messages.py": "every message between programs: the surface is read as one list",
    "workflows/environment.py": "one workflow class: runbook, waits and ends share one state",
    "workflows/rollout.py": "one workflow class: its handlers and its road share one state",
}
"""Modules between the two limits, each with the reason why it is not two."""


def long_functions(module: Module) -> list[str]:
    found = []
    for name, node in functions(module.tree):
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > FUNCTION_LINES_MAX:
            found.append(f"{module.path}:{node.lineno} {name}: {lines} lines")
    return found


def test_no_function_is_longer_than_60_lines() -> None:
    assert [found for module in modules() for found in long_functions(module)] == []


def test_a_function_of_60_lines_is_let_through_and_one_of_61_is_not() -> None:
    body = "    x = 1\n"
    assert long_functions(module_of("def f():\n" + body * 59)) == []
    assert long_functions(module_of("class C:\n  def f(self):\n" + body * 60)) == [
        "sample.py:2 C.f: 61 lines"
    ]


def test_only_the_modules_of_the_table_are_longer_than_400_lines() -> None:
    long = {module.path for module in modules() if module.lines > MODULE_LINES_MAX}
    assert long == set(LONGER_MODULES)


def test_no_module_is_longer_than_600_lines() -> None:
    assert [m.path for m in modules() if m.lines > MODULE_LINES_HARD_MAX] == []


def test_every_package_is_looked_at() -> None:
    """A walk over nothing would pass every check of this folder."""
    assert len(modules()) > 100
    assert {module.path.split("/")[0] for module in modules()} == {
        "lockstep",
        "workflows",
        "activities",
        "worker",
        "client",
        "infra",
        "bench",
    }
