"""One environment of a rollout: lease and promotion gate, prepare, then cohort by cohort.

Reads like the runbook (spec rollout §3). Whatever ends it early, traffic goes back through the
Rollback workflow, which outlives this one. Its workflow id is the environment's mutex.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from lockstep import messages as m

from workflows import stubs
from workflows.board import Board
from workflows.client_api import ENVIRONMENT, QUERY_STAGES, QUERY_STATUS, STAGE, STATUS
from workflows.details import clock, percent_of
from workflows.orders import Orders
from workflows.steps import (
    StepFailed,
    Stopped,
    failure_of,
    start_control,
    start_evaluate,
    start_move,
    start_wait,
)
from workflows.wayback import run_rollback

EXTEND_MIN_S = 1
UNREACHABLE_RETRY_MAX_S = 30
# The lease outlives the bake by this: the evaluation, its retries and a worker's restart.
LEASE_GRACE_S = 60
# While a person is awaited the lease is renewed hourly (spec rollout §7).
HOLD_RENEWAL = timedelta(hours=1)
# Stale trust data is looked at again: soon at first, hourly in the end, so that a long weekend of
# missing evidence fills no history.
STALE_RETRY = timedelta(seconds=30)
STALE_RETRY_MAX = timedelta(hours=1)
MISSING_MEANS = ("CAPACITY", "CLOCK_SKEW", "STORE_UNREACHABLE", "STORE_ANSWER_UNKNOWN")
"""Reasons to stop raising that are no harm: a shift waits for a person after its budget."""


@workflow.defn(name=ENVIRONMENT)
class EnvironmentRollout:
    @workflow.init
    def __init__(self, request: m.EnvironmentRequest) -> None:
        self.request = request
        self.run_context = request.run
        self.plan = request.plan
        self.cursor = request.cursor
        self.checkpoint = request.checkpoint
        self.board = Board(request.plan.name)
        self.epoch = 0
        self.baseline: str | None = None
        self.rollback_release: str | None = None
        self.concurrent_snapshot: str | None = None
        self.orders = Orders(paused=request.paused)
        self.touched = False

    # ---- what others may say and ask ------------------------------------------------------

    @workflow.signal(name="operator", description="An accepted operator action, told by Rollout")
    def operator(self, signal: m.OperatorSignal) -> None:
        self.orders.receive(signal)

    @workflow.query(name=QUERY_STATUS, description="Where this environment stands")
    def query_status(self) -> m.EnvironmentStatus:
        return self.board.show()

    @workflow.query(name=QUERY_STAGES, description="The cohorts of this environment")
    def query_stages(self) -> tuple[m.StageStatus, ...]:
        return self.board.shown_stages()

    # ---- the runbook ----------------------------------------------------------------------

    @workflow.run
    async def run(self, request: m.EnvironmentRequest) -> m.EnvironmentResult:
        try:
            await self.carry()
        except BaseException as error:
            if isinstance(error, Stopped | StepFailed):
                return await self.go_back(error.code, error.cause)
            if is_cancelled_exception(error):
                reason = workflow.cancellation_reason() or "the rollout was cancelled"
                return await self.go_back("ABORTED", reason)
            raise
        return self.result("passed")

    async def carry(self) -> None:
        await self.acquire()
        self.board.say("preparing", f"the instances of {self.plan.name} to come up at weight 0")
        await self.prepare()
        for index, percent in enumerate(self.plan.cohorts):
            await self.cohort(index, percent)

    async def prepare(self) -> None:
        """What is found before anything is touched (drift) needs no way back, only the lease."""
        request = m.PrepareRequest(
            run=self.run_context,
            environment=self.plan.name,
            epoch=self.epoch,
            cursor=self.cursor,
        )
        summary = f"bring the release up in {self.plan.name} at weight 0"
        self.touched = True
        try:
            prepared: m.PrepareResult = await self.move(
                stubs.prepare, request, f"{self.plan.name}/prepare", summary
            )
        except StepFailed as error:
            self.touched = error.code != "TARGET_DRIFT"
            raise
        self.cursor = prepared.cursor

    async def acquire(self) -> None:
        """Lease and promotion gate in one activity; a busy environment is waited for."""
        patience = STALE_RETRY
        while True:
            self.orders.check()
            self.board.say("acquiring", f"lease and promotion gate of {self.plan.name}")
            answer: m.AcquireResult = await self.orders.step(
                start_control(
                    stubs.acquire,
                    m.AcquireRequest(
                        run=self.run_context,
                        environment=self.plan.name,
                        cursor=self.cursor,
                        passed=self.request.passed,
                    ),
                    f"{self.plan.name}/acquire",
                    f"lease and promotion gate of {self.plan.name}",
                )
            )
            if answer.outcome == "acquired":
                self.epoch = self.board.epoch = answer.epoch
                self.baseline = answer.baseline_release
                self.rollback_release = self.board.rollback_release = answer.rollback_release
                self.cursor = answer.cursor or self.cursor
                return
            if answer.outcome == "busy":
                if self.plan.concurrency == "refuse":
                    raise StepFailed("LEASE_BUSY", answer.detail)
                self.board.say("queued", f"{self.plan.name}: {answer.detail}")
                await self.orders.step(start_wait(self.run_context, self.plan.name))
            elif answer.outcome == "stale":
                # Absence of evidence stops progress and is never a reason to go back.
                self.board.say("held", f"{self.plan.name}: {answer.code}: {answer.detail}")
                await self.orders.rest(
                    patience,
                    f"{answer.code} on {self.plan.name}: tried again",
                    resumes_seen=self.orders.resumes,
                )
                patience = min(patience * 2, STALE_RETRY_MAX)
            else:
                raise StepFailed(answer.code or "EQUALITY_FAILED", answer.detail)

    async def cohort(self, index: int, percent: int) -> None:
        await self.while_paused()
        name = f"{self.plan.name}/{percent}"
        self.board.stage = name
        self.board.mark(name, action="shift", started=clock(workflow.now()))
        if self.plan.bake_s > 0:  # a stage that lasts no time needs no entry in the UI's list
            workflow.upsert_search_attributes([STAGE.value_set(name), STATUS.value_set("running")])
        self.board.say("shifting", f"traffic of {self.plan.name} to confirm {percent} %")
        shifted: m.ShiftResult = await self.move(
            stubs.shift,
            m.ShiftRequest(
                run=self.run_context,
                environment=self.plan.name,
                epoch=self.epoch,
                percent=percent,
                baseline_release=self.baseline,
                lease_for_s=self.lease_for_s(),
            ),
            f"{name}/shift",
            f"shift {self.plan.name} to {percent_of(percent)}",
        )
        start_us = shifted.confirmed_us + self.plan.settle_s * 1_000_000
        if percent == 0:  # deployed, and proved by digest to be the release; no user to judge by
            await self.bake(name, percent, start_us + self.plan.bake_s * 1_000_000)
            self.orders.check()
            self.board.mark(name, summary="no user traffic", ended=clock(workflow.now()))
            return
        await self.looks(index, percent, start_us, shifted.opened)

    async def looks(self, index: int, percent: int, start_us: int, opened: str) -> None:
        """Bake, then judge; while evidence is missing look again, weight unchanged."""
        name = f"{self.plan.name}/{percent}"
        end_us = start_us + self.plan.bake_s * 1_000_000
        waited_s, look = 0, 0
        while True:
            await self.bake(name, percent, end_us + self.plan.ingest_delay_s * 1_000_000)
            self.orders.check()
            self.board.status = "judging"
            self.board.mark(name, action="evaluate", looks=look + 1)
            answer = await self.orders.step(
                start_evaluate(
                    self.evaluate_request(index, percent, look, start_us, end_us, opened),
                    self.plan,
                    f"{name}/evaluate/{look}",
                    f"gate of {self.plan.name} at {percent_of(percent)}, look {look + 1}",
                )
            )
            self.take_verdict(name, answer)
            if answer.outcome is m.GateOutcome.PASS:
                return
            if answer.outcome is m.GateOutcome.FAIL:
                raise StepFailed(answer.code or "GATE_FAILED", answer.summary)
            unreachable = answer.outcome is m.GateOutcome.UNREACHABLE
            if answer.opened is not None and answer.start_us is not None:
                opened, start_us = answer.opened, answer.start_us
                end_us = max(end_us, start_us + self.plan.bake_s * 1_000_000)
            look += 0 if unreachable else 1
            wait_s = max(EXTEND_MIN_S, self.plan.extend_s)
            if unreachable:
                wait_s = min(wait_s, UNREACHABLE_RETRY_MAX_S)
            waited_s += wait_s
            limit_s = self.plan.source_max_s if unreachable else self.plan.inconclusive_max_s
            if waited_s > limit_s:
                if self.plan.on_inconclusive == "rollback" and not unreachable:
                    raise StepFailed(answer.code or "TOO_FEW_SAMPLES", answer.summary)
                await self.held(answer)
                waited_s = 0
            end_us = max(end_us, self.now_us()) + wait_s * 1_000_000

    def evaluate_request(
        self, index: int, percent: int, look: int, start_us: int, end_us: int, opened: str
    ) -> m.EvaluateRequest:
        return m.EvaluateRequest(
            run=self.run_context,
            environment=self.plan.name,
            epoch=self.epoch,
            percent=percent,
            cohort_index=index,
            look=look,
            start_us=start_us,
            end_us=end_us,
            opened=opened,
            baseline_release=self.baseline,
            concurrent_snapshot=self.concurrent_snapshot,
            cursor=self.cursor,
            checkpoint=self.checkpoint,
            lease_for_s=self.lease_for_s(),
            completes=index == len(self.plan.cohorts) - 1,
        )

    def take_verdict(self, name: str, answer: m.EvaluateResult) -> None:
        self.cursor = answer.cursor
        self.checkpoint = answer.checkpoint or self.checkpoint
        if answer.concurrent:
            self.concurrent_snapshot = answer.snapshot
        self.board.mark(
            name,
            outcome=answer.outcome.value,
            snapshot_hash=answer.snapshot,
            verdict_hash=answer.verdict,
            summary=answer.summary,
            ended=clock(workflow.now()),
        )

    # ---- waiting --------------------------------------------------------------------------

    async def bake(self, name: str, percent: int, until_us: int) -> None:
        """One durable timer; late after an outage it is neither repeated nor stretched."""
        left = timedelta(microseconds=until_us - self.now_us())
        if left <= timedelta(0):
            return
        self.board.mark(name, action="bake")
        self.board.say(
            "baking",
            f"bake of {self.plan.name} at {percent_of(percent)}",
            clock(workflow.now() + left),
        )
        seconds = round(left.total_seconds())
        await self.orders.rest(left, f"bake {self.plan.name} {percent} % · {seconds} s")

    async def held(self, answer: m.EvaluateResult) -> None:
        """Evidence stayed missing: keep the weight and wait for a person, alarm at no harm."""
        self.board.say("held", f"a person: {answer.code}: {answer.summary}")
        workflow.upsert_search_attributes([STATUS.value_set("held")])
        await self.wait_for_person()
        workflow.upsert_search_attributes([STATUS.value_set("running")])

    async def while_paused(self) -> None:
        """Raising waits while an operator paused; judging and going back never do."""
        self.orders.check()
        while self.orders.paused:
            self.board.say("paused", "resume by an operator")
            workflow.upsert_search_attributes([STATUS.value_set("paused")])
            await self.wait_for_person()
            workflow.upsert_search_attributes([STATUS.value_set("running")])

    async def wait_for_person(self) -> None:
        """Renew the lease as ``waiting`` hourly until a resume or a stop."""
        seen = self.orders.resumes
        while self.orders.resumes == seen:
            await self.hold_lease(waiting=True)
            await self.orders.rest(
                HOLD_RENEWAL,
                f"{self.plan.name} waits for a person; renews its lease",
                resumes_seen=seen,
            )
        await self.hold_lease(waiting=False)

    async def hold_lease(self, *, waiting: bool, free: bool = False) -> None:
        """Renew the lease, or give it back; neither is interrupted by a stop."""
        verb = "give back" if free else "keep"
        try:
            await start_control(
                stubs.hold,
                m.HoldRequest(
                    run=self.run_context,
                    environment=self.plan.name,
                    epoch=self.epoch,
                    waiting=waiting,
                    free=free,
                ),
                f"{self.plan.name}/hold",
                f"{verb} the lease of {self.plan.name}" + (", waiting for a person" * waiting),
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            raise failure_of(error, "STORE_UNREACHABLE") from error

    # ---- steps ----------------------------------------------------------------------------

    async def move(self, stub, request, activity_id: str, summary: str):
        """One step that touches the target; what is merely missing is waited for, with a person."""
        while True:
            handle = start_move(stub, request, self.plan, activity_id, summary)
            try:
                return await self.orders.step(handle)
            except StepFailed as error:
                if error.code not in MISSING_MEANS:
                    raise
                self.board.say("held", f"a person: {error.code}: {error.cause}")
                await self.wait_for_person()

    # ---- ends -----------------------------------------------------------------------------

    async def go_back(self, code: str, cause: str) -> m.EnvironmentResult:
        """Whatever the reason, what was raised is lowered, unless a newer owner acts here."""
        if code == "FENCED":
            return self.result("fenced", code, cause)
        if self.epoch == 0:
            # A stop may have thrown away the answer that brought a lease or a place in the line.
            await self.hold_lease(waiting=False, free=True)
            status = {"LEASE_BUSY": "busy"}.get(code, "refused")
            return self.result(status, code, cause)
        if not self.touched:
            await self.hold_lease(waiting=False, free=True)
            return self.result("refused", code, cause)
        if self.plan.on_failure == "hold" and code not in ("ABORTED",):
            return await self.hold_after_failure(code, cause)
        self.board.say("rolling_back", f"traffic of {self.plan.name} to be back: {code}")
        back = await run_rollback(
            m.RollbackRequest(
                run=self.run_context,
                environment=self.plan.name,
                task_queue=self.plan.task_queue,
                epoch=self.epoch,
                expected_epoch=self.epoch,
                reason_code=code,
                reason=cause[:600],
                to=self.rollback_release,
                rollback_max_s=self.plan.rollback_max_s,
                cursor=self.cursor,
            )
        )
        self.cursor = back.cursor
        status = {"failed": "failed", "fenced": "fenced"}.get(back.status, "rolled_back")
        if status == "rolled_back":
            return self.result(status, code, cause, back.report)
        return self.result(status, back.code or code, f"{cause}; {back.detail}", back.report)

    async def hold_after_failure(self, code: str, cause: str) -> m.EnvironmentResult:
        """Policy ``on_failure: hold``: stay at the weight; only an abort goes back."""
        self.board.say("held", f"a person (on_failure: hold): {code}: {cause}")
        workflow.upsert_search_attributes([STATUS.value_set("held")])
        try:
            while True:
                await self.wait_for_person()
        except BaseException as error:
            if isinstance(error, StepFailed) and error.code == "FENCED":
                return self.result("fenced", error.code, error.cause)
            if not (isinstance(error, Stopped | StepFailed) or is_cancelled_exception(error)):
                raise
        return await self.go_back("ABORTED", f"after {code}: {cause}")

    def result(
        self, status: str, code: str = "", cause: str = "", report: str | None = None
    ) -> m.EnvironmentResult:
        self.board.say(status)
        return m.EnvironmentResult(
            status=status,
            code=code,
            cause=cause[:600],
            epoch=self.epoch,
            cursor=self.cursor,
            checkpoint=self.checkpoint,
            rollback_report=report,
            rollback_release=self.rollback_release,
            stages=self.board.shown_stages(),
        )

    # ---- small things ---------------------------------------------------------------------

    def lease_for_s(self) -> int:
        return self.plan.lease_s + self.plan.settle_s + self.plan.bake_s + LEASE_GRACE_S

    def now_us(self) -> int:
        return round(workflow.now().timestamp() * 1_000_000)
