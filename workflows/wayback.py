"""The way back: the Rollback workflow, and how others start it so that nothing can end it.

A Rollback outlives whoever started it: its parent-close policy and its cancellation type are
ABANDON, and its start is awaited before anything may end the parent (spec rollout §1).
"""

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError, ChildWorkflowError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from lockstep import messages as m

from workflows import stubs
from workflows.client_api import CONTROL_QUEUE, QUERY_STATUS, ROLLBACK, STATUS, rollback_id
from workflows.details import rollback_details
from workflows.steps import failure_of, start_control, start_move_back, unstoppable


@workflow.defn(name=ROLLBACK)
class Rollback:
    @workflow.init
    def __init__(self, request: m.RollbackRequest) -> None:
        self.request = request
        self.status = "starting"

    @workflow.query(name=QUERY_STATUS, description="How far the way back is")
    def query_status(self) -> str:
        return self.status

    @workflow.run
    async def run(self, request: m.RollbackRequest) -> m.RollbackResult:
        begun = await self.begin()
        if begun.outcome == "superseded":
            return self.end("superseded", begun.cursor, begun.code, begun.detail)
        if begun.outcome == "refused":
            return self.end("failed", begun.cursor, begun.code, begun.detail)
        self.say("moving traffic back")
        name = request.environment
        try:
            moving = start_move_back(
                m.MoveBackRequest(
                    run=request.run,
                    environment=name,
                    epoch=begun.epoch,
                    to=begun.to,
                    withdraw=begun.withdraw or request.run.release_hash,
                    reason_code=request.reason_code,
                    reason=request.reason,
                    rollback_max_s=request.rollback_max_s,
                    cursor=begun.cursor,
                ),
                request.task_queue,
                f"{name}/rollback",
                f"traffic of {name} back",
            )
            moved = await unstoppable(moving)
        except ActivityError as error:
            failed = failure_of(error, "ROLLBACK_FAILED")
            status = "fenced" if failed.code == "FENCED" else "failed"
            moved = m.RollbackResult(
                status=status, code=failed.code, detail=failed.cause[:600], cursor=begun.cursor
            )
        if request.own_run:
            moved = await self.close(moved)
            self.show_end(moved.status)
        self.say(moved.status)
        return moved

    async def begin(self) -> m.BeginRollbackResult:
        """A rollback inside a rollout holds its lease already; any other takes it by force."""
        request = self.request
        if request.epoch > 0:
            return m.BeginRollbackResult(
                outcome="begin", epoch=request.epoch, to=request.to, cursor=request.cursor
            )
        self.say("taking the lease")
        try:
            beginning = start_control(
                stubs.begin_rollback,
                m.BeginRollbackRequest(
                    run=request.run,
                    environment=request.environment,
                    to=request.to,
                    only_if_serving=request.only_if_serving,
                    own_run=request.own_run,
                    reason=request.reason,
                    cursor=request.cursor,
                ),
                f"{request.environment}/rollback-begin",
                f"a fresh lease of {request.environment} for the way back",
            )
            return await unstoppable(beginning)
        except ActivityError as error:
            failed = failure_of(error, "ROLLBACK_FAILED")
            return m.BeginRollbackResult(
                outcome="refused",
                code=failed.code,
                detail=failed.cause[:600],
                cursor=request.cursor,
            )

    async def close(self, moved: m.RollbackResult) -> m.RollbackResult:
        good = moved.status in ("verified", "unverified")
        closing = start_control(
            stubs.close,
            m.CloseRequest(
                run=self.request.run,
                cursor=moved.cursor,
                status=m.RunStatusName.ROLLED_BACK if good else m.RunStatusName.FAILED,
                code=moved.code or self.request.reason_code,
                cause=moved.detail or self.request.reason,
                rollback_reports={self.request.environment: moved.report} if moved.report else {},
            ),
            "close",
            "write the reports and end the log",
        )
        ended: m.EndResult = await unstoppable(closing)
        report = ended.reports.get("rollback_report", moved.report)
        return moved.model_copy(update={"report": report})

    def end(self, status: str, cursor: m.TraceCursor, code: str, detail: str) -> m.RollbackResult:
        if self.request.own_run:
            self.show_end(status)
        self.say(status)
        return m.RollbackResult(status=status, code=code, detail=detail, cursor=cursor)

    def show_end(self, status: str) -> None:
        """A run of its own stands in lists by its status, as a rollout does."""
        good = status in ("verified", "unverified")
        ended = m.RunStatusName.ROLLED_BACK if good else m.RunStatusName.FAILED
        workflow.upsert_search_attributes([STATUS.value_set(ended.value)])

    def say(self, status: str) -> None:
        self.status = status
        workflow.set_current_details(rollback_details(self.request, status))


async def run_rollback(request: m.RollbackRequest) -> m.RollbackResult:
    """Start a Rollback child, shield the wait for it, and give what it answers.

    Its id carries the epoch, so that the same way back is never started twice.
    """
    try:
        # In a task of its own: a cancellation that arrives now must not undo the start.
        handle = await unstoppable(asyncio.create_task(_start_rollback(request)))
    except WorkflowAlreadyStartedError as error:
        return m.RollbackResult(
            status="failed", code="LEASE_BUSY", detail=str(error)[:600], cursor=request.cursor
        )
    try:
        return await unstoppable(handle)
    except ChildWorkflowError as error:
        cause = error.cause or error
        return m.RollbackResult(
            status="failed",
            code="ROLLBACK_FAILED",
            detail=f"the way back ended: {cause}"[:600],
            cursor=request.cursor,
        )


async def _start_rollback(request: m.RollbackRequest) -> workflow.ChildWorkflowHandle:
    identity = request.run
    return await workflow.start_child_workflow(
        ROLLBACK,
        request,
        id=rollback_id(
            identity.tenant_id, request.environment, identity.service, request.expected_epoch
        ),
        task_queue=CONTROL_QUEUE,
        result_type=m.RollbackResult,
        parent_close_policy=workflow.ParentClosePolicy.ABANDON,
        cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
        static_summary=f"{identity.service}: {request.environment} back, {request.reason_code}",
    )
