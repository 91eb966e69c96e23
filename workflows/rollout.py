"""A rollout: preflight, then environment by environment, then the commit — or the way back.

Owns the run's status and its end. The order dev, staging, prod is this loop and nothing else:
production is not asked for before every earlier environment has passed in this very run.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from lockstep import messages as m
    from lockstep.error_codes import exit_of
    from lockstep.errors import Exit

from workflows import stubs
from workflows.client_api import (
    CONTROL_QUEUE,
    ENVIRONMENT,
    QUERY_STAGES,
    QUERY_STATUS,
    ROLLOUT,
    STAGE,
    STATUS,
    environment_id,
)
from workflows.details import clock, run_details, short
from workflows.outcomes import ENDED, child_attributes, exit_after, no_worker
from workflows.steps import (
    PREFLIGHT_RETRIES,
    StepFailed,
    failure_of,
    settle,
    start_control,
    start_environment_preflight,
    start_wait,
    unstoppable,
)
from workflows.wayback import run_rollback

# Asked for a busy environment again: soon at first, then once a minute.
TURN_PAUSE_FIRST = timedelta(seconds=2)
TURN_PAUSE_MAX = timedelta(seconds=60)
NO_WAY_BACK = ("COMMITTED_CONFLICT", "RUN_ENDED", "WAL_CORRUPTION")
"""Refusals of a commit after which only a person may act (spec bytes §6: fail closed)."""


@workflow.defn(name=ROLLOUT)
class Rollout:
    @workflow.init
    def __init__(self, request: m.RolloutRequest) -> None:
        self.request = request
        self.run_context = m.RunContext(
            tenant_id=request.tenant_id,
            run_id=request.run_id,
            service=request.service,
            release_hash=request.release_hash,
            policy_bundle_hash=request.policy_bundle_hash,
            env_manifest_hash=request.env_manifest_hash,
            replay_token=request.replay_token,
            attempt=request.attempt,
            starter=request.starter,
        )
        self.status = m.RunStatusName.RUNNING
        self.paused = False
        self.abort_reason: str | None = None
        self.cursor: m.TraceCursor | None = None
        self.checkpoint: str | None = None
        self.child: workflow.ChildWorkflowHandle | None = None
        self.environment = ""
        self.passed: list[m.EnvironmentResult] = []
        self.passed_names: list[str] = []
        self.plans: tuple[m.EnvironmentPlan, ...] = ()
        self.stages: dict[str, tuple[m.StageStatus, ...]] = {}
        self.rollback_releases: dict[str, str] = {}
        self.rollback_reports: dict[str, str] = {}
        self.reports: dict[str, str] = {}
        self.committed = False
        self.trace_tail: str | None = None
        self.waits_for = ""
        self.code, self.cause = "", ""
        self.epoch = 0
        self.epochs: dict[str, int] = {}
        self.last_status = "busy"
        self.started = clock(workflow.now())
        self.handled_actions: dict[str, m.ActionResult] = {}

    # ---- operators ------------------------------------------------------------------------

    @workflow.update(name="abort", description="Stop here and go back to the rollback release")
    async def abort(self, action: m.ActionRequest) -> m.ActionResult:
        return await self.act("abort", action)

    @workflow.update(name="pause", description="Stay at this cohort; gates go on judging")
    async def pause(self, action: m.ActionRequest) -> m.ActionResult:
        return await self.act("pause", action)

    @workflow.update(name="resume", description="Go on after a pause or a hold")
    async def resume(self, action: m.ActionRequest) -> m.ActionResult:
        return await self.act("resume", action)

    @abort.validator
    @pause.validator
    @resume.validator
    def check_action(self, action: m.ActionRequest) -> None:
        """Shape and state only. Who may act is not checked in this version (docs/spec/trust.md)."""
        if not action.reason.strip():
            raise ValueError("an action needs a reason")
        if self.ended():
            raise ValueError(f"the run has ended: {self.status.value}")

    async def act(self, name: str, action: m.ActionRequest) -> m.ActionResult:
        known = self.handled_actions.get(action.action_id)
        if known is not None:
            return known
        if name == "abort":
            self.abort_reason = self.abort_reason or f"{action.principal}: {action.reason}"
        self.paused = name == "pause" if name != "abort" else self.paused
        if not self.ended() and name != "abort":
            self.status = m.RunStatusName.PAUSED if self.paused else m.RunStatusName.RUNNING
        result = m.ActionResult(accepted=True, status=self.status.value, detail=f"{name} accepted")
        self.handled_actions[action.action_id] = result
        await self.tell_child(name, action.reason, action.principal)
        self.say()
        return result

    async def tell_child(self, action: str, reason: str, principal: str) -> None:
        """Pass an order on; one that the child's end overtakes is seen at the next boundary."""
        child = self.child
        if child is None or child.done():
            return
        signal = m.OperatorSignal(action=action, reason=reason, principal=principal)
        try:
            await child.signal("operator", signal)
        except ApplicationError as error:
            workflow.logger.info("operator signal not delivered: %s", error)

    def ended(self) -> bool:
        return self.status in ENDED

    @workflow.query(name=QUERY_STATUS, description="Where the run stands")
    def query_status(self) -> m.RunStatus:
        return m.RunStatus(
            run=self.run_context,
            status=self.status,
            stage=self.stage(),
            environment=self.environment,
            epoch=self.epoch,
            passed=tuple(self.passed_names),
            waits_for=self.waits_for,
            rollback_releases=self.rollback_releases,
            reports=self.reports,
            committed=self.committed,
            trace_tail_hash=self.trace_tail,
            code=self.code,
            cause=self.cause,
            started=self.started,
        )

    @workflow.query(name=QUERY_STAGES, description="Cohorts of an environment that has ended")
    def query_stages(self, environment: str) -> tuple[m.StageStatus, ...]:
        return self.stages.get(environment, ())

    # ---- the road -------------------------------------------------------------------------

    @workflow.run
    async def run(self, request: m.RolloutRequest) -> m.RolloutResult:
        result = await self.carry()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return result

    async def carry(self) -> m.RolloutResult:
        try:
            preflight = await self.preflight()
            if not preflight.passed:
                return self.refused(preflight)
            if self.request.dry_run:
                return self.end(m.RunStatusName.SUCCESS, Exit.DONE)
        except BaseException as error:
            if is_cancelled_exception(error):
                return self.end(m.RunStatusName.FAILED, Exit.ROLLED_BACK, "ABORTED", "cancelled")
            if isinstance(error, ActivityError):
                # Nothing was touched: no target, no pointer, no log.
                failed = failure_of(error, "PREFLIGHT_REFUSED")
                code = exit_of(failed.code)
                return self.end(m.RunStatusName.FAILED, code, failed.code, failed.cause)
            raise
        self.cursor = preflight.cursor
        self.plans = preflight.plan
        self.rollback_releases = dict(preflight.rollback_releases)
        try:
            for plan in self.plans:
                await self.carry_environment(plan)
            return await self.commit()
        except BaseException as error:
            if isinstance(error, StepFailed):
                if error.code in NO_WAY_BACK:
                    # The log has a last record already: nothing may be moved on our word.
                    code = Exit.EVIDENCE_REFUSED
                    return self.end(m.RunStatusName.FAILED, code, error.code, error.cause)
                return await self.go_back(error.code, error.cause)
            if isinstance(error, ActivityError) and not is_cancelled_exception(error):
                failed = failure_of(error, "INTERNAL")
                return await self.go_back(failed.code, failed.cause)
            if is_cancelled_exception(error):
                return await self.go_back("ABORTED", "the rollout was cancelled")
            raise

    async def preflight(self) -> m.PreflightResult:
        """Each environment looks at its own targets and sources; control judges the rest."""
        self.waits_for = "preflight"
        self.say()
        handles = [
            start_environment_preflight(
                m.PreflightEnvironmentRequest(run=self.run_context, environment=environment.name),
                environment.task_queue,
            )
            for environment in self.request.environments
        ]
        checked: list[str] = []
        unanswered: list[m.CheckResult] = []
        for environment, handle in zip(self.request.environments, handles, strict=True):
            try:
                checked.append((await handle).checks)
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                unanswered.append(no_worker(environment, error))
        result: m.PreflightResult = await start_control(
            stubs.preflight_run,
            m.PreflightRequest(
                run=self.run_context,
                environments=self.request.environments,
                checked=tuple(checked),
                unanswered=tuple(unanswered),
                dry_run=self.request.dry_run,
            ),
            "preflight",
            "preflight: evidence, policy, rollback target",
            PREFLIGHT_RETRIES,
        )
        self.reports["preflight_report"] = result.report
        return result

    async def carry_environment(self, plan: m.EnvironmentPlan) -> None:
        self.check_abort()
        result = await self.run_child(plan)
        self.child = None
        self.cursor = result.cursor
        self.checkpoint = result.checkpoint or self.checkpoint
        self.stages[plan.name] = result.stages
        self.epoch = self.epochs[plan.name] = result.epoch
        if result.rollback_release:
            self.rollback_releases[plan.name] = result.rollback_release
        if result.rollback_report:
            self.rollback_reports[plan.name] = result.rollback_report
        self.last_status = result.status
        if result.status != "passed":
            self.environment = plan.name
            failed = "ROLLBACK_FAILED" if result.status == "failed" else result.code
            raise StepFailed(failed or "GATE_FAILED", result.cause)
        self.passed.append(result)
        self.passed_names.append(plan.name)

    async def run_child(self, plan: m.EnvironmentPlan) -> m.EnvironmentResult:
        """Start the environment's workflow; its id is the mutex, so a busy one is waited for."""
        run = self.run_context
        self.environment = plan.name
        patience = TURN_PAUSE_FIRST
        while True:
            sent_paused = self.paused
            self.waits_for = f"{plan.name}"
            self.say()
            try:
                self.child = await workflow.start_child_workflow(
                    ENVIRONMENT,
                    m.EnvironmentRequest(
                        run=run,
                        plan=plan,
                        cursor=self.cursor,
                        checkpoint=self.checkpoint,
                        passed=tuple(self.passed_names),
                        paused=self.paused,
                    ),
                    id=environment_id(run.tenant_id, plan.name, run.service),
                    task_queue=CONTROL_QUEUE,
                    result_type=m.EnvironmentResult,
                    parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
                    cancellation_type=(
                        workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED
                    ),
                    task_timeout=workflow.info().task_timeout,
                    search_attributes=child_attributes(run, plan),
                    static_summary=f"{run.service} {short(run.release_hash)} in {plan.name}",
                )
                break
            except WorkflowAlreadyStartedError:
                if plan.concurrency == "refuse":
                    raise StepFailed(
                        "LEASE_BUSY", f"another rollout is under way in {plan.name}"
                    ) from None
                self.waits_for = f"its turn on {plan.name}: another rollout is under way"
                self.say()
                await self.wait_for_turn(plan, patience)
                patience = min(patience * 2, TURN_PAUSE_MAX)
        # What was ordered while the child was being started is told now.
        if self.abort_reason is not None:
            await self.tell_child("abort", self.abort_reason, "rollout")
        elif self.paused != sent_paused:
            await self.tell_child("pause" if self.paused else "resume", "ordered", "rollout")
        try:
            return await self.child
        except ChildWorkflowError as error:
            if is_cancelled_exception(error):
                raise
            # Terminated, or stopped by the server: no code of its own ran, its weight is unknown.
            self.last_status = "failed"
            raise StepFailed(
                "ROLLBACK_FAILED",
                f"{plan.name} was ended from outside, weight unknown: {error.cause or error}",
            ) from None

    async def wait_for_turn(self, plan: m.EnvironmentPlan, patience: timedelta) -> None:
        """Until the lease can be taken, and a while longer: its workflow may be about to end."""
        handle = start_wait(self.run_context, plan.name)
        await workflow.wait_condition(lambda: handle.done() or self.abort_reason is not None)
        if not handle.done():
            handle.cancel()
            await settle(handle)
        self.check_abort()
        await handle
        try:
            await workflow.wait_condition(
                lambda: self.abort_reason is not None,
                timeout=patience,
                timeout_summary=f"{plan.name} is asked for again",
            )
        except TimeoutError:
            return
        self.check_abort()

    async def commit(self) -> m.RolloutResult:
        self.check_abort()
        self.environment = ""
        self.waits_for = "the commit"
        self.say()
        commit = start_control(
            stubs.commit,
            m.CommitRequest(
                run=self.run_context,
                cursor=self.cursor,
                checkpoint=self.checkpoint,
                epochs=self.epochs,
                rollback_releases=self.rollback_releases,
            ),
            "commit",
            "certificate, FINALIZE, COMMITTED, CURRENT",
        )
        try:
            # From here on a cancellation comes too late: it must not part the log from the world.
            ended: m.EndResult = await unstoppable(commit)
        except ActivityError as error:
            raise failure_of(error, "INTERNAL") from error
        return self.finish(ended, m.RunStatusName.SUCCESS, Exit.DONE)

    # ---- ends -----------------------------------------------------------------------------

    def check_abort(self) -> None:
        if self.abort_reason is not None:
            raise StepFailed("ABORTED", self.abort_reason)
        if workflow.cancellation_reason() is not None:
            raise StepFailed("ABORTED", "the rollout was cancelled")

    async def go_back(self, code: str, cause: str) -> m.RolloutResult:
        """Environments passed earlier return to their last good release, then the run ends."""
        self.code, self.cause = code, cause[:600]
        self.waits_for = "lower environments to return"
        self.say()
        failed = code in ("ROLLBACK_FAILED", "NO_SAFE_TARGET")
        # The environment that failed went back by itself; those that passed are restored here,
        # newest first, each under a fresh lease and only where it still serves this release.
        for name in reversed(self.passed_names):
            plan = self.plan_of(name)
            if plan.production or plan.lower_environments == "restore":
                failed |= not await self.restore(plan, code, cause)
        status = m.RunStatusName.FAILED if failed else m.RunStatusName.ROLLED_BACK
        touched = bool(self.passed_names) or self.last_status not in ("busy", "refused")
        if not touched:
            status = m.RunStatusName.FAILED
        exit_code = exit_after(code, failed=failed, touched=touched)
        try:
            close = start_control(
                stubs.close,
                m.CloseRequest(
                    run=self.run_context,
                    cursor=self.cursor,
                    status=status,
                    code=code,
                    cause=cause[:600],
                    rollback_reports=self.rollback_reports,
                    epochs=self.epochs,
                    rollback_releases=self.rollback_releases,
                ),
                "close",
                "write the reports and end the log",
            )
            ended: m.EndResult = await unstoppable(close)
        except ActivityError as error:
            closing = failure_of(error, "STORE_UNREACHABLE")
            return self.end(status, exit_code, code, f"{cause}; not closed: {closing.cause}")
        return self.finish(ended, status, exit_code)

    async def restore(self, plan: m.EnvironmentPlan, code: str, cause: str) -> bool:
        """Send an environment that had passed back; whether that came out right.

        Production still holds its lease, for it serves only from COMMITTED on; the others gave
        theirs back and go back only where they still serve this release.
        """
        name, held = plan.name, plan.production
        known = self.passed[self.passed_names.index(name)]
        back = await run_rollback(
            m.RollbackRequest(
                run=self.run_context,
                environment=name,
                task_queue=plan.task_queue,
                epoch=known.epoch if held else 0,
                expected_epoch=known.epoch if held else known.epoch + 1,
                reason_code=code,
                reason=(cause if held else f"a later environment failed: {cause}")[:600],
                to=known.rollback_release,
                only_if_serving=None if held else self.run_context.release_hash,
                rollback_max_s=plan.rollback_max_s,
                cursor=self.cursor,
            )
        )
        self.cursor = back.cursor
        if back.report:
            self.rollback_reports[name] = back.report
        return back.status != "failed"

    def refused(self, preflight: m.PreflightResult) -> m.RolloutResult:
        first = preflight.failures[0] if preflight.failures else None
        result = self.end(
            m.RunStatusName.FAILED,
            preflight.exit_code,
            first.code if first else "PREFLIGHT_REFUSED",
            first.detail if first else "",
        )
        return result.model_copy(update={"failures": preflight.failures})

    def finish(
        self, ended: m.EndResult, status: m.RunStatusName, exit_code: int
    ) -> m.RolloutResult:
        self.reports.update(ended.reports)
        self.committed = ended.committed
        self.trace_tail = ended.trace_tail_hash
        return self.end(status, exit_code, self.code, self.cause)

    def end(
        self, status: m.RunStatusName, exit_code: int, code: str = "", cause: str = ""
    ) -> m.RolloutResult:
        self.status, self.code, self.cause = status, code, cause[:600]
        self.waits_for = ""
        workflow.upsert_search_attributes(
            [STATUS.value_set(status.value), STAGE.value_set(self.stage())]
        )
        self.say()
        return m.RolloutResult(
            status=status,
            exit_code=int(exit_code),
            code=code,
            cause=cause[:600],
            reports=self.reports,
            committed=self.committed,
            trace_tail_hash=self.trace_tail,
        )

    # ---- small things ---------------------------------------------------------------------

    def plan_of(self, name: str) -> m.EnvironmentPlan:
        return next(plan for plan in self.plans if plan.name == name)

    def stage(self) -> str:
        if self.committed:
            return "done"
        return self.environment or (self.passed_names[-1] if self.passed_names else "preflight")

    def say(self) -> None:
        names = [environment.name for environment in self.request.environments]
        workflow.set_current_details(run_details(self.query_status(), names))
