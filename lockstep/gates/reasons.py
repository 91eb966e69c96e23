"""What a gate can say: outcomes, reason codes, and the judgement of one metric."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from lockstep.record import Record


class Outcome(StrEnum):
    PASS = "PASS"
    INCONCLUSIVE = "INCONCLUSIVE"
    """Evidence is missing: wait, never promote."""
    FAIL = "FAIL"


class Reason(StrEnum):
    """Why a metric came out as it did. A code never changes its meaning."""

    OK = "OK"
    THRESHOLD_BREACHED = "THRESHOLD_BREACHED"
    NO_TRAFFIC = "NO_TRAFFIC"
    TARGET_ABSENT = "TARGET_ABSENT"
    NOT_DEPLOYED = "NOT_DEPLOYED"
    SCRAPE_GAP = "SCRAPE_GAP"
    STALE_SERIES = "STALE_SERIES"
    SOURCE_UNREACHABLE = "SOURCE_UNREACHABLE"
    TOO_FEW_SAMPLES = "TOO_FEW_SAMPLES"
    NO_BASELINE = "NO_BASELINE"
    ZERO_BASELINE = "ZERO_BASELINE"
    NOT_A_NUMBER = "NOT_A_NUMBER"
    IMPOSSIBLE_COUNTS = "IMPOSSIBLE_COUNTS"
    CLOCK_SKEW = "CLOCK_SKEW"
    CAPACITY = "CAPACITY"
    REPLAY_DIVERGED = "REPLAY_DIVERGED"
    TRACE_MISSING = "TRACE_MISSING"
    TRUST_STALE = "TRUST_STALE"
    TARGET_DRIFT = "TARGET_DRIFT"


OutcomeText = Literal["PASS", "INCONCLUSIVE", "FAIL"]
ReasonText = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{1,39}$")]
"""Open on reading: an older reader must still open a report with a newer code."""

FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]


class Metric(Record):
    """One metric judged. ``observed`` is absent where the evidence gives no number."""

    name: str
    outcome: OutcomeText
    reason: ReasonText
    observed: int | FiniteFloat | None = None
    limit: int | FiniteFloat
    interval: list[FiniteFloat] | None = None
    samples: int


def joint(metrics: list[Metric]) -> Outcome:
    """Combine metrics: any FAIL fails, else any INCONCLUSIVE waits; no metrics is a defect.

    Raises:
        ValueError: ``metrics`` is empty. An empty gate is a bug, not a pass.
    """
    if not metrics:
        raise ValueError("a gate without metrics")
    outcomes = {metric.outcome for metric in metrics}
    for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        if outcome in outcomes:
            return outcome
    return Outcome.PASS
