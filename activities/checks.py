"""One preflight check at a time: its detail when it holds, its code and cause when it does not."""

from collections.abc import Callable

from lockstep.errors import LockstepError
from lockstep.messages import CheckOutcome, CheckResult


def run_check(
    name: str, judge: Callable[[], str], environment: str = "", outcome: CheckOutcome | None = None
) -> CheckResult:
    """Run one check; ``outcome`` is what it means when it holds (PASS unless told)."""
    try:
        detail = judge()
    except LockstepError as error:
        return CheckResult(
            name=name,
            outcome=CheckOutcome.FAIL,
            code=error.code,
            detail=f"{error.place} {error.cause}".strip()[:600],
            environment=environment,
        )
    return CheckResult(
        name=name,
        outcome=outcome or CheckOutcome.PASS,
        detail=detail[:600],
        environment=environment,
    )


def not_configured(name: str, why: str, environment: str = "") -> CheckResult:
    return CheckResult(
        name=name, outcome=CheckOutcome.NOT_CONFIGURED, detail=why, environment=environment
    )
