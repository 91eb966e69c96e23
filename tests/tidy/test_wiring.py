"""Workflows and activities meet only in names and types: each stub has exactly one body.

A stub in ``workflows/stubs.py`` and the activity behind it must agree to the letter, and a worker
must register the body on the queue on which the workflows ask for it.
"""

import ast
import importlib
import typing
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lockstep.messages import Message
from tests.tidy.sources import Function, Module, calls, constant, functions, keyword, modules
from worker import main as worker
from workflows import stubs

CONTROL, ENVIRONMENT = "control", "environment"

STARTERS = {"start_control": CONTROL, "start_move": ENVIRONMENT, "move": ENVIRONMENT}
"""Functions of the workflows that are handed a stub → the kind of queue they start it on."""


@dataclass(frozen=True)
class Activity:
    """One ``@activity.defn``: where it is, the name it is called by, its function."""

    module: str
    qualified: str
    name: str
    function: Callable[..., Any]

    @property
    def types(self) -> tuple[type, type]:
        """(request, result) as annotated."""
        hints = typing.get_type_hints(self.function)
        result = hints.pop("return")
        (request,) = hints.values()
        return request, result


def _defined_name(node: Function) -> str | None:
    """The name in ``@activity.defn(name="…")``, None for a function that is no activity."""
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "activity.defn":
            return constant(keyword(decorator, "name"))
    return None


def activities_in(module: Module) -> Iterator[Activity]:
    for qualified, node in functions(module.tree):
        name = _defined_name(node)
        if name is not None:
            found = importlib.import_module(module.dotted)
            for part in qualified.split("."):
                found = getattr(found, part)
            yield Activity(module.path, qualified, name, found)


STUBS = [a for m in modules("workflows") for a in activities_in(m)]
BODIES = [a for m in modules("activities") for a in activities_in(m)]


def test_every_stub_has_exactly_one_body_and_every_body_a_stub() -> None:
    assert {stub.module for stub in STUBS} == {"workflows/stubs.py"}
    assert Counter(stub.name for stub in STUBS) == Counter(body.name for body in BODIES)
    assert len({stub.name for stub in STUBS}) == len(STUBS) > 10


def test_stub_and_body_take_and_give_the_same_messages() -> None:
    bodies = {body.name: body for body in BODIES}
    for stub in STUBS:
        assert bodies[stub.name].types == stub.types, stub.name
        assert all(issubclass(kind, Message) for kind in stub.types), stub.name


def test_no_two_activities_take_the_same_message() -> None:
    """Each request says by its type which step it asks for."""
    requests = [stub.types[0] for stub in STUBS]
    assert len(set(requests)) == len(requests)


def test_a_stub_has_no_body() -> None:
    (module,) = [m for m in modules("workflows") if m.path == "workflows/stubs.py"]
    for name, node in functions(module.tree):
        assert [type(part) for part in node.body] == [ast.Raise], name


# ---- the worker ----------------------------------------------------------------------------


def registered() -> dict[str, list[Any]]:
    """Kind of queue → the functions that a worker registers on it."""
    given = {
        CONTROL: worker.control_activities(typing.cast(Any, None)),
        ENVIRONMENT: worker.environment_activities(typing.cast(Any, None)),
    }
    return {kind: [bound.__func__ for bound in found] for kind, found in given.items()}


def test_the_worker_registers_every_activity_exactly_once() -> None:
    found = [function for functions_ in registered().values() for function in functions_]
    assert sorted(f.__qualname__ for f in found) == sorted(b.qualified for b in BODIES)
    assert all(any(f is body.function for body in BODIES) for f in found)


def test_the_worker_registers_every_workflow_exactly_once() -> None:
    defined = [
        f"{module.dotted}.{node.name}"
        for module in modules("workflows")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(d).startswith("workflow.defn") for d in node.decorator_list)
    ]
    assert sorted(f"{w.__module__}.{w.__name__}" for w in worker.WORKFLOWS) == sorted(defined)
    assert len(defined) > 2


def started_on() -> dict[str, set[str]]:
    """Name of a stub's function → the kinds of queue on which the workflows start it."""
    found: dict[str, set[str]] = {name: set() for name, _ in functions_of_stubs()}
    for module in modules("workflows"):
        for called, call in calls(module.tree):
            if not call.args or not ast.unparse(call.args[0]).startswith("stubs."):
                continue
            stub = ast.unparse(call.args[0]).removeprefix("stubs.")
            kind = STARTERS.get(called.rsplit(".", 1)[-1])
            if kind is None:
                queue = keyword(call, "task_queue")
                assert queue is not None, f"{module.path}:{call.lineno} names no queue"
                kind = CONTROL if ast.unparse(queue) == "CONTROL_QUEUE" else ENVIRONMENT
            found[stub].add(kind)
    return found


def functions_of_stubs() -> list[tuple[str, Activity]]:
    return [(stub.qualified, stub) for stub in STUBS]


def test_every_stub_is_started_on_the_queue_whose_worker_has_its_body() -> None:
    bodies = {body.name: body.function for body in BODIES}
    by_kind = registered()
    started = started_on()
    for function_name, stub in functions_of_stubs():
        kinds = {k for k, found in by_kind.items() if bodies[stub.name] in found}
        assert started[function_name] == kinds, stub.name


def test_every_stub_is_an_attribute_of_the_module_that_workflows_import() -> None:
    assert all(getattr(stubs, stub.qualified) is stub.function for stub in STUBS)
