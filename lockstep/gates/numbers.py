"""The numbers of strict-v1: what passes, what fails and what is no number at all.

Binary64, round to nearest even; each comparison is ``value <= limit + EPS_EQ``
(docs/spec/gates.md). An answer other than "pass" fails the gate: "invalid" only says that the
evidence, not the release, is at fault. A boolean is never a number.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

from lockstep.errors import DataError

EPS_EQ = 1e-10
"""Slack of every comparison, from the sources: 5/1000 must not fail by a rounding error."""

EPS_DENOM = 1e-12
"""A baseline at or below this is no denominator."""

ERROR_RATE_MAX = 0.005
P95_DELTA_MAX_PERCENT = 10.0

Answer = Literal["pass", "fail", "invalid"]


def is_number(value: Any) -> bool:
    """A finite binary64 or an integer that one can hold."""
    if type(value) is float:
        return math.isfinite(value)
    if type(value) is not int:
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def within(value: Any, limit: float) -> Answer:
    """Compare one value with the largest allowed one."""
    if not is_number(value) or not is_number(limit):
        return "invalid"
    return "pass" if float(value) <= limit + EPS_EQ else "fail"


def error_rate_value(ratio: Any, limit: float = ERROR_RATE_MAX) -> Answer:
    """Judge failed / total, already divided; outside [0, 1] is invalid."""
    if not is_number(ratio) or not 0 <= ratio <= 1:
        return "invalid"
    return within(ratio, limit)


def error_rate(failed: Any, total: Any, limit: float = ERROR_RATE_MAX) -> Answer:
    """Judge counts; no traffic, more failures than requests or a non-integer is invalid."""
    if type(failed) is not int or type(total) is not int:
        return "invalid"
    if total == 0 or not 0 <= failed <= total:
        return "invalid"
    return error_rate_value(failed / total, limit)


def p95(samples: Sequence[int | float]) -> int | float:
    """The 95th percentile by nearest rank: sorted[ceil(95 n / 100) - 1], in integer arithmetic.

    Raises:
        DataError: SNAPSHOT_INVALID; no samples, or one that is not a finite number >= 0.
    """
    if type(samples) not in (list, tuple) or not samples:
        raise DataError("SNAPSHOT_INVALID", "p95 needs at least one sample")
    if not all(is_number(sample) and sample >= 0 for sample in samples):
        # A NaN would not fail the sort; it would spoil it silently.
        raise DataError("SNAPSHOT_INVALID", "a latency sample is not a finite number >= 0")
    return sorted(samples)[-(-95 * len(samples) // 100) - 1]


def p95_delta_percent(canary: Any, baseline: Any) -> float | None:
    """Growth of p95 over the baseline in percent; None where there is no such number."""
    if not is_number(canary) or not is_number(baseline) or canary < 0 or baseline <= EPS_DENOM:
        return None
    try:
        delta = (canary - baseline) / baseline * 100
    except OverflowError:
        return None
    return delta if math.isfinite(delta) else None


def p95_delta(canary: Any, baseline: Any, limit: float = P95_DELTA_MAX_PERCENT) -> Answer:
    """Judge two p95 values in the same unit; a baseline <= EPS_DENOM is invalid."""
    delta = p95_delta_percent(canary, baseline)
    return "invalid" if delta is None else within(delta, limit)


def replay_failures(count: Any) -> Answer:
    """Zero passes; a negative or non-integer count is invalid."""
    if type(count) is not int or count < 0:
        return "invalid"
    return "pass" if count == 0 else "fail"
