"""What a workflow starts is bounded and stoppable by name: no option comes from a default.

A child says what becomes of it when its parent ends, an activity says how long it may take, how
its worker is missed and how it is retried, a timer says in the UI what it is for.
"""

import ast

import pytest

from tests.tidy.sources import Module, calls, keyword, module_of, modules

REQUIRED = {
    "workflow.start_child_workflow": (
        *("id", "task_queue", "parent_close_policy", "cancellation_type", "static_summary"),
    ),
    "workflow.start_activity": (
        *("task_queue", "activity_id", "summary", "start_to_close_timeout", "heartbeat_timeout"),
        *("retry_policy", "cancellation_type", "priority"),
    ),
    "workflow.sleep": ("summary",),
}
REQUIRED["workflow.execute_child_workflow"] = REQUIRED["workflow.start_child_workflow"]
REQUIRED["workflow.execute_activity"] = REQUIRED["workflow.start_activity"]

REFUSED = {
    "workflow.start_local_activity": "not seen by the server: no queue, no heartbeat",
    "workflow.execute_local_activity": "not seen by the server: no queue, no heartbeat",
    "asyncio.create_task": "a step is started by workflow.start_activity, which can be cancelled",
    "asyncio.wait": "walks a set; workflow.wait keeps the order",
    "asyncio.as_completed": "walks a set; workflow.as_completed keeps the order",
    "asyncio.wait_for": "workflow.wait_condition has a summary",
}

ALLOWED = {
    ("workflows/wayback.py", "asyncio.create_task"): "the start of a way back must survive the"
    " cancellation of its starter, which reaches the primary task alone",
}
"""Refused calls that stand all the same, each with the reason why."""


def missing_options(module: Module) -> list[str]:
    found = []
    for name, call in calls(module.tree):
        if name in REFUSED and (module.path, name) not in ALLOWED:
            found.append(f"{module.path}:{call.lineno} {name}: {REFUSED[name]}")
        lacks = [option for option in REQUIRED.get(name, ()) if keyword(call, option) is None]
        if name == "workflow.wait_condition" and keyword(call, "timeout") is not None:
            lacks += [] if keyword(call, "timeout_summary") is not None else ["timeout_summary"]
        found += [f"{module.path}:{call.lineno} {name} without {option}" for option in lacks]
    return found


def unnamed_policies(module: Module) -> list[str]:
    """Retry policies that leave something to a default."""
    wanted = ("initial_interval", "backoff_coefficient", "maximum_interval", "maximum_attempts")
    return [
        f"{module.path}:{call.lineno} RetryPolicy without {option}"
        for name, call in calls(module.tree)
        if name.rsplit(".", 1)[-1] == "RetryPolicy"
        for option in wanted
        if keyword(call, option) is None
    ]


def undescribed_handlers(module: Module) -> list[str]:
    """Queries, signals and updates that the UI could not explain."""
    return [
        f"{module.path}:{call.lineno} {name} without {option}"
        for name, call in calls(module.tree)
        if name in ("workflow.query", "workflow.signal", "workflow.update")
        for option in ("name", "description")
        if keyword(call, option) is None
    ]


def unnamed_workflows(module: Module) -> list[str]:
    """Workflows whose type name would change with the name of their class."""
    return [
        f"{module.path}:{node.lineno} {node.name}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        for decorator in node.decorator_list
        if ast.unparse(decorator).startswith("workflow.defn")
        if not (isinstance(decorator, ast.Call) and keyword(decorator, "name"))
    ]


CHECKS = (missing_options, unnamed_policies, undescribed_handlers, unnamed_workflows)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_workflows_leave_nothing_to_a_default(check) -> None:
    assert [found for module in modules("workflows") for found in check(module)] == []


def test_there_are_children_activities_timers_and_handlers_to_look_at() -> None:
    names = [name for module in modules("workflows") for name, _ in calls(module.tree)]
    assert names.count("workflow.start_activity") >= 6
    assert names.count("workflow.start_child_workflow") >= 2
    assert names.count("workflow.query") >= 4
    assert names.count("RetryPolicy") >= 2
    assert "workflow.wait_condition" in names


@pytest.mark.parametrize(
    ("check", "code"),
    [
        (missing_options, "workflow.start_child_workflow('C', x, id='i')"),
        (missing_options, "workflow.execute_activity(f, x, task_queue='q')"),
        (missing_options, "workflow.wait_condition(f, timeout=t)"),
        (missing_options, "workflow.sleep(3)"),
        (missing_options, "asyncio.wait([a, b])"),
        (unnamed_policies, "RetryPolicy(maximum_attempts=3)"),
        (undescribed_handlers, "@workflow.query(name='q')\ndef q(self): ..."),
        (unnamed_workflows, "@workflow.defn\nclass W: ..."),
        (unnamed_workflows, "@workflow.defn()\nclass W: ..."),
    ],
)
def test_what_is_left_to_a_default_is_found(check, code: str) -> None:
    assert check(module_of(code))


def test_a_wait_without_an_end_of_its_own_needs_no_summary() -> None:
    assert missing_options(module_of("workflow.wait_condition(lambda: done)")) == []
