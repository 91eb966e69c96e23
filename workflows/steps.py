"""How each step is called: its queue, time-outs and retries by name, and how it can be stopped.

No option is inherited from a default. Two ways of failing are kept apart: a *refusal* (a code that
no retry mends, raised by the activity as non-retryable) and *unreachable* (retried here).
"""

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    TimeoutError,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from lockstep.messages import EnvironmentPlan, RunContext, WaitForLeaseRequest

from workflows import stubs
from workflows.client_api import CONTROL_QUEUE

# A worker that dies is noticed by its missing heartbeat: three beats of a second and some slack.
HEARTBEAT = timedelta(seconds=4)

# Reads and writes of the store and one target: seconds when all is well. A retry is harmless.
STEP_TIMEOUT = timedelta(seconds=60)
STEP_RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=500),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=10),
    maximum_attempts=0,
)
# Preflight touches nothing, so it gives up soon and says why instead of waiting out of sight.
PREFLIGHT_RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=500),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=4),
    maximum_attempts=4,
)
# An environment without a worker must not hang a start: preflight says NO_WORKER instead.
WORKER_ABSENT_AFTER = timedelta(seconds=20)
PREFLIGHT_BUDGET = timedelta(seconds=120)
# A shift or a prepare that cannot be done in this time is given up: the traffic goes back.
MOVE_BUDGET = timedelta(minutes=10)
# Waiting for a busy environment is one activity that beats; a day is the bound of one attempt.
WAIT_TIMEOUT = timedelta(days=1)
# Lowering exposure never gives up while the target is merely out of reach (spec rollout §5).
ROLLBACK_TIMEOUT = timedelta(hours=1)

ROLLBACK_PRIORITY = Priority(priority_key=1)
STEP_PRIORITY = Priority(priority_key=3)


class Stopped(Exception):
    """An operator's abort or a cancellation was seen at a step boundary."""

    def __init__(self, code: str, cause: str) -> None:
        super().__init__(cause)
        self.code = code
        self.cause = cause


class StepFailed(Exception):
    """A step was refused or given up; ``code`` is a registered error code."""

    def __init__(self, code: str, cause: str) -> None:
        super().__init__(cause)
        self.code = code
        self.cause = cause


def failure_of(error: BaseException, fallback: str) -> StepFailed:
    """The registered code and sentence inside an activity's failure."""
    cause = error.cause if isinstance(error, ActivityError) else error
    if isinstance(cause, TimeoutError) and isinstance(cause.cause, ApplicationError):
        cause = cause.cause  # a budget ran out: what kept the step from being done is the reason
    if isinstance(cause, ApplicationError) and cause.type:
        return StepFailed(cause.type, cause.message)
    return StepFailed(fallback, f"{type(cause).__name__}: {cause}"[:300])


def start_control(
    stub: Any,
    request: Any,
    activity_id: str,
    summary: str,
    retries: RetryPolicy = STEP_RETRIES,
) -> Any:
    """A step of the control worker: store and trust, no target."""
    return workflow.start_activity(
        stub,
        request,
        task_queue=CONTROL_QUEUE,
        activity_id=activity_id,
        summary=summary,
        start_to_close_timeout=STEP_TIMEOUT,
        heartbeat_timeout=HEARTBEAT,
        retry_policy=retries,
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        priority=STEP_PRIORITY,
    )


def start_move(stub: Any, request: Any, plan: EnvironmentPlan, activity_id: str, summary: str):
    """A step that touches a target: ends only by completion, so that nothing runs beside it."""
    return workflow.start_activity(
        stub,
        request,
        task_queue=plan.task_queue,
        activity_id=activity_id,
        summary=summary,
        start_to_close_timeout=STEP_TIMEOUT
        + timedelta(seconds=plan.progress_deadline_s + plan.settle_s),
        schedule_to_close_timeout=MOVE_BUDGET
        + timedelta(seconds=plan.progress_deadline_s + plan.settle_s),
        heartbeat_timeout=HEARTBEAT,
        retry_policy=STEP_RETRIES,
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        priority=STEP_PRIORITY,
    )


def start_evaluate(request: Any, plan: EnvironmentPlan, activity_id: str, summary: str) -> Any:
    """Freeze and judge. The last one of an environment moves ``serving``: it ends by itself."""
    return workflow.start_activity(
        stubs.evaluate,
        request,
        task_queue=plan.task_queue,
        activity_id=activity_id,
        summary=summary,
        start_to_close_timeout=STEP_TIMEOUT,
        heartbeat_timeout=HEARTBEAT,
        retry_policy=STEP_RETRIES,
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        priority=STEP_PRIORITY,
    )


def start_move_back(request: Any, task_queue: str, activity_id: str, summary: str) -> Any:
    """Traffic back: no budget, endless visible retries, first in every queue."""
    return workflow.start_activity(
        stubs.move_back,
        request,
        task_queue=task_queue,
        activity_id=activity_id,
        summary=summary,
        start_to_close_timeout=ROLLBACK_TIMEOUT,
        heartbeat_timeout=HEARTBEAT,
        retry_policy=STEP_RETRIES,
        cancellation_type=workflow.ActivityCancellationType.ABANDON,
        priority=ROLLBACK_PRIORITY,
    )


def start_environment_preflight(request: Any, task_queue: str) -> Any:
    return workflow.start_activity(
        stubs.preflight_environment,
        request,
        task_queue=task_queue,
        activity_id=f"{request.environment}/preflight",
        summary=f"preflight of {request.environment}",
        schedule_to_start_timeout=WORKER_ABSENT_AFTER,
        start_to_close_timeout=STEP_TIMEOUT,
        schedule_to_close_timeout=PREFLIGHT_BUDGET,
        heartbeat_timeout=HEARTBEAT,
        retry_policy=PREFLIGHT_RETRIES,
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
        priority=STEP_PRIORITY,
    )


def start_wait(run: RunContext, environment: str) -> Any:
    """One heartbeating activity that returns when the environment's lease can be taken."""
    return workflow.start_activity(
        stubs.wait_for_lease,
        WaitForLeaseRequest(run=run, environment=environment),
        task_queue=CONTROL_QUEUE,
        activity_id=f"{environment}/wait",
        summary=f"waits for its turn on {environment}",
        start_to_close_timeout=WAIT_TIMEOUT,
        heartbeat_timeout=HEARTBEAT,
        retry_policy=STEP_RETRIES,
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
        priority=STEP_PRIORITY,
    )


async def unstoppable(handle: asyncio.Task) -> Any:
    """Await what no cancellation may interrupt: the way back, the commit, the end of a log.

    Only the primary task of a workflow is cancelled; ``handle`` is another and goes on.
    """
    while True:
        try:
            return await asyncio.shield(handle)
        except asyncio.CancelledError:
            if handle.done():
                raise


async def settle(handle: asyncio.Task) -> None:
    """Wait until a cancelled step has truly ended, whatever it answers."""
    try:
        await handle
    except BaseException as error:
        if not (is_cancelled_exception(error) or isinstance(error, ActivityError)):
            raise
