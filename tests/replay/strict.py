"""Strict replay: also what stock replay ignores — inputs, queues, time-outs, retries, results.

The Replayer compares command types and ids only (a weight changed from 1 to 100, or a queue from
staging to prod, passes it). Here each command's contents are set against the recorded event.
"""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    Replayer,
    StartActivityInput,
    StartChildWorkflowInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
    WorkflowRunner,
)

from worker.main import WORKFLOWS, workflow_runner
from workflows.connection import DATA_CONVERTER

HISTORIES = Path(__file__).parent / "histories"
Facts = dict[str, Any]


class Difference(AssertionError):
    """What the code does now is not what the history recorded."""


def load_history(path: Path) -> WorkflowHistory:
    document = json.loads(path.read_text())
    return WorkflowHistory.from_json(document["workflow_id"], document["history"])


def _seconds(duration: Duration) -> float:
    return duration.ToTimedelta().total_seconds()


def _delta(value: timedelta | None) -> float:
    return value.total_seconds() if value else 0.0


def _payloads(payloads: Any) -> list[bytes]:
    return [payload.data for payload in payloads.payloads]


def recorded_activities(history: WorkflowHistory) -> dict[str, list[Facts]]:
    """activity id → the facts of each scheduling, in order."""
    found: dict[str, list[Facts]] = {}
    for event in history.events:
        if event.event_type != EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            continue
        told = event.activity_task_scheduled_event_attributes
        retry = told.retry_policy
        found.setdefault(told.activity_id, []).append(
            {
                "type": told.activity_type.name,
                "queue": told.task_queue.name,
                "input": _payloads(told.input),
                "start_to_close_s": _seconds(told.start_to_close_timeout),
                "heartbeat_s": _seconds(told.heartbeat_timeout),
                "retry": (
                    _seconds(retry.initial_interval),
                    retry.backoff_coefficient,
                    _seconds(retry.maximum_interval),
                    retry.maximum_attempts,
                ),
                "priority": told.priority.priority_key,
            }
        )
    return found


def recorded_children(history: WorkflowHistory) -> dict[str, list[Facts]]:
    found: dict[str, list[Facts]] = {}
    for event in history.events:
        if event.event_type != EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
            continue
        told = event.start_child_workflow_execution_initiated_event_attributes
        found.setdefault(told.workflow_id, []).append(
            {
                "type": told.workflow_type.name,
                "queue": told.task_queue.name,
                "input": _payloads(told.input),
                "parent_close_policy": int(told.parent_close_policy),
            }
        )
    return found


def recorded_result(history: WorkflowHistory) -> list[bytes] | None:
    last = history.events[-1]
    if last.event_type != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
        return None
    return _payloads(last.workflow_execution_completed_event_attributes.result)


class StrictReplay(Interceptor):
    """Compares every command of one replayed history with what was recorded."""

    def __init__(self, history: WorkflowHistory) -> None:
        self.activities = recorded_activities(history)
        self.children = recorded_children(history)
        self.result = recorded_result(history)
        self.differences: list[str] = []

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        strict = self

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(Outbound(outbound, strict))

            async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
                result = await super().execute_workflow(input)
                strict.compare_result(result)
                return result

        return Inbound

    def encode(self, values: Any) -> list[bytes]:
        converter = DATA_CONVERTER.payload_converter
        return [payload.data for payload in converter.to_payloads(list(values))]

    def take(self, known: dict[str, list[Facts]], name: str) -> Facts | None:
        left = known.get(name)
        return left.pop(0) if left else None

    def compare(self, what: str, now: Facts, then: Facts | None) -> None:
        if then is None:
            return  # beyond the recorded history: the next command of an open run
        for fact, value in now.items():
            if then[fact] != value:
                self.differences.append(f"{what}: {fact} is {value!r}, recorded {then[fact]!r}")

    def compare_result(self, result: Any) -> None:
        if self.result is not None and self.encode([result]) != self.result:
            self.differences.append(
                f"result is {self.encode([result])!r}, recorded {self.result!r}"
            )


class Outbound(WorkflowOutboundInterceptor):
    def __init__(self, next: WorkflowOutboundInterceptor, strict: StrictReplay) -> None:
        super().__init__(next)
        self.strict = strict

    def start_activity(self, input: StartActivityInput) -> Any:
        retry = input.retry_policy
        name = input.activity_id or ""
        self.strict.compare(
            f"activity {name}",
            {
                "type": input.activity,
                "queue": input.task_queue,
                "input": self.strict.encode(input.args),
                "start_to_close_s": _delta(input.start_to_close_timeout),
                "heartbeat_s": _delta(input.heartbeat_timeout),
                "retry": (
                    _delta(retry.initial_interval),
                    retry.backoff_coefficient,
                    _delta(retry.maximum_interval),
                    retry.maximum_attempts,
                )
                if retry
                else None,
                "priority": input.priority.priority_key or 0,
            },
            self.strict.take(self.strict.activities, name),
        )
        return super().start_activity(input)

    async def start_child_workflow(self, input: StartChildWorkflowInput) -> Any:
        self.strict.compare(
            f"child {input.id}",
            {
                "type": input.workflow,
                "queue": input.task_queue,
                "input": self.strict.encode(input.args),
                "parent_close_policy": int(input.parent_close_policy),
            },
            self.strict.take(self.strict.children, input.id),
        )
        return await super().start_child_workflow(input)


async def replay_strictly(
    history: WorkflowHistory, runner: WorkflowRunner | None = None
) -> StrictReplay:
    """Replay one history; raises Difference naming each command that is not as recorded."""
    strict = StrictReplay(history)
    replayer = Replayer(
        workflows=WORKFLOWS,
        data_converter=DATA_CONVERTER,
        interceptors=[strict],
        workflow_runner=runner or workflow_runner(),
    )
    await replayer.replay_workflow(history)
    if strict.differences:
        raise Difference("\n".join(strict.differences[:5]))
    return strict
