"""Small pure answers of a rollout's workflow: exit codes, attributes, a missing worker's check."""

from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from lockstep import messages as m
    from lockstep.error_codes import exit_of
    from lockstep.errors import Exit

from workflows.client_api import ENVIRONMENT_NAME, OWNER, RELEASE, SERVICE, STAGE, STATUS
from workflows.details import short
from workflows.steps import failure_of

ENDED = frozenset(
    {
        m.RunStatusName.SUCCESS,
        m.RunStatusName.FAILED,
        m.RunStatusName.ROLLED_BACK,
        m.RunStatusName.SUPERSEDED,
    }
)


def child_attributes(run: m.RunContext, plan: m.EnvironmentPlan) -> TypedSearchAttributes:
    """Attributes that the environment's workflow starts with; no upsert is spent on them."""
    pairs = (
        (SERVICE, run.service),
        (ENVIRONMENT_NAME, plan.name),
        (STAGE, f"{plan.name}/{plan.cohorts[0]}"),
        (STATUS, "running"),
        (RELEASE, short(run.release_hash)),
        (OWNER, run.starter),
    )
    return TypedSearchAttributes([SearchAttributePair(key, value) for key, value in pairs])


def no_worker(environment: m.EnvironmentQueue, error: ActivityError) -> m.CheckResult:
    """The failed check of an environment whose own preflight could not run."""
    failed = failure_of(error, "NO_WORKER")
    return m.CheckResult(
        name="target_reachable",
        outcome=m.CheckOutcome.FAIL,
        code=failed.code,
        detail=f"queue {environment.task_queue}: {failed.cause}"[:600],
        environment=environment.name,
    )


def exit_after(code: str, *, failed: bool, touched: bool) -> int:
    """Exit code of a run that was not committed; the highest of those that apply wins."""
    if exit_of(code) is Exit.IN_THE_WAY:
        return Exit.IN_THE_WAY
    if exit_of(code) is Exit.EVIDENCE_REFUSED:
        return Exit.EVIDENCE_REFUSED
    if failed:
        return Exit.ROLLBACK_FAILED
    stopped = exit_of(code) is Exit.ROLLED_BACK  # aborted or fenced
    return Exit.ROLLED_BACK if touched or stopped else Exit.PREFLIGHT_REFUSED
