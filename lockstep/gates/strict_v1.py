"""Profile strict-v1: three fixed limits, PASS or FAIL only (docs/spec/gates.md §3).

It reads the totals of each side, never ``series``, ``instances`` or ``custom``. Missing or
impossible evidence is FAIL with its own reason, as the profile's sources demand.
"""

from collections.abc import Sequence
from typing import Final

from lockstep.documents import FieldPath
from lockstep.gates import numbers
from lockstep.gates.reasons import Metric, Outcome, Reason
from lockstep.gates.snapshot import P95, Histogram, Samples, Side, Snapshot

NAME: Final = "strict-v1"


def judge(
    snapshot: Snapshot,
    absolute_p95_max_us: int | None,
    not_numbers: Sequence[FieldPath] = (),
) -> list[Metric]:
    """The metrics in their fixed order; the absolute p95 last, where the policy names one.

    ``not_numbers`` are the fields that held NaN or ±Infinity when the snapshot was read.
    """
    broken = {name for field in not_numbers for name in _reads(field)}
    metrics = [_error_rate(snapshot.canary, "error_rate" in broken)]
    # A first release has no p95 to compare with; without an absolute limit nothing would judge
    # its latency, so the missing baseline itself fails.
    if snapshot.baseline_release_hash is not None or absolute_p95_max_us is None:
        metrics.append(_p95_delta(snapshot, "p95_latency_delta" in broken))
    metrics.append(_replay_failures(snapshot, "replay_failures" in broken))
    if absolute_p95_max_us is not None:
        metrics.append(
            _absolute_p95(snapshot.canary, absolute_p95_max_us, "absolute_p95" in broken)
        )
    return metrics


_ALL = ("error_rate", "p95_latency_delta", "replay_failures", "absolute_p95")
_SPOILS: dict[FieldPath, tuple[str, ...]] = {
    ("canary", "requests"): ("error_rate", "p95_latency_delta", "absolute_p95"),
    ("canary", "errors"): ("error_rate",),
    ("canary", "latency"): ("p95_latency_delta", "absolute_p95"),
    ("baseline", "requests"): ("p95_latency_delta",),
    ("baseline", "errors"): ("p95_latency_delta",),
    ("baseline", "latency"): ("p95_latency_delta",),
    ("replay", "checked"): ("replay_failures",),
    ("replay", "failures"): ("replay_failures",),
}


def _reads(field: FieldPath) -> tuple[str, ...]:
    """The metrics spoilt by a field that is no number; all where no metric reads it alone."""
    return _SPOILS.get(field[:2], _ALL)


def _metric(
    name: str,
    reason: Reason,
    limit: int | float,
    samples: int,
    observed: int | float | None = None,
) -> Metric:
    outcome = Outcome.PASS if reason is Reason.OK else Outcome.FAIL
    return Metric(
        name=name,
        outcome=outcome.value,
        reason=reason.value,
        observed=observed,
        limit=limit,
        samples=samples,
    )


_REASON_OF = {
    "pass": Reason.OK,
    "fail": Reason.THRESHOLD_BREACHED,
    "invalid": Reason.NOT_A_NUMBER,
}


def _impossible(side: Side) -> bool:
    # Negative requests are caught too: no errors >= 0 are fewer.
    return not 0 <= side.errors <= side.requests


def _error_rate(canary: Side, broken: bool) -> Metric:
    observed = None
    if broken:
        reason = Reason.NOT_A_NUMBER
    elif _impossible(canary):
        reason = Reason.IMPOSSIBLE_COUNTS
    elif canary.requests == 0:
        reason = Reason.NO_TRAFFIC
    else:
        observed = canary.errors / canary.requests
        reason = _REASON_OF[numbers.error_rate(canary.errors, canary.requests)]
    return _metric("error_rate", reason, numbers.ERROR_RATE_MAX, canary.requests, observed)


def _p95_delta(snapshot: Snapshot, broken: bool) -> Metric:
    canary, baseline = snapshot.canary, snapshot.baseline
    observed = None
    if broken:
        reason = Reason.NOT_A_NUMBER
    elif canary.requests == 0:
        reason = Reason.NO_TRAFFIC
    elif baseline is None or (baseline.requests == 0 and baseline.errors == 0):
        reason = Reason.NO_BASELINE
    elif _impossible(baseline):
        reason = Reason.IMPOSSIBLE_COUNTS
    else:
        observed, reason = _delta(p95_us(canary), p95_us(baseline))
    limit = numbers.P95_DELTA_MAX_PERCENT
    return _metric("p95_latency_delta", reason, limit, _observations(canary), observed)


def _delta(canary: int | Reason, baseline: int | Reason) -> tuple[float | None, Reason]:
    if isinstance(canary, Reason):
        return None, canary
    if isinstance(baseline, Reason):
        return None, baseline
    if baseline <= numbers.EPS_DENOM:
        return None, Reason.ZERO_BASELINE
    observed = numbers.p95_delta_percent(canary, baseline)
    return observed, _REASON_OF[numbers.p95_delta(canary, baseline)]


def _replay_failures(snapshot: Snapshot, broken: bool) -> Metric:
    checked, failures = snapshot.replay.checked, snapshot.replay.failures
    if broken:
        return _metric("replay_failures", Reason.NOT_A_NUMBER, 0, checked)
    if checked < 0 or numbers.replay_failures(failures) == "invalid" or failures > checked:
        return _metric("replay_failures", Reason.IMPOSSIBLE_COUNTS, 0, checked)
    reason = Reason.OK if failures == 0 else Reason.REPLAY_DIVERGED
    return _metric("replay_failures", reason, 0, checked, failures)


def _absolute_p95(canary: Side, limit_us: int, broken: bool) -> Metric:
    samples = _observations(canary)
    if broken:
        return _metric("absolute_p95", Reason.NOT_A_NUMBER, limit_us, samples)
    if canary.requests == 0:
        return _metric("absolute_p95", Reason.NO_TRAFFIC, limit_us, samples)
    value = p95_us(canary)
    if isinstance(value, Reason):
        return _metric("absolute_p95", value, limit_us, samples)
    reason = _REASON_OF[numbers.within(value, limit_us)]
    return _metric("absolute_p95", reason, limit_us, samples, value)


def p95_us(side: Side) -> int | Reason:
    """The p95 of a side in microseconds, or why there is none.

    Nearest rank: of samples the value itself, of a histogram the upper bound of its bucket. The
    bucket above all bounds has no upper bound, so it is not a number.
    """
    latency = side.latency
    if latency is None:
        return Reason.NOT_A_NUMBER
    if isinstance(latency, Histogram):
        value = _of_histogram(latency)
    elif isinstance(latency, Samples):
        value = _of_samples(latency)
    else:
        value = latency.p95_us
    if not isinstance(value, Reason) and value < 0:
        return Reason.IMPOSSIBLE_COUNTS
    return value


def _of_histogram(latency: Histogram) -> int | Reason:
    if min(latency.counts) < 0:
        return Reason.IMPOSSIBLE_COUNTS
    total = sum(latency.counts)
    if total == 0:
        return Reason.NOT_A_NUMBER
    rank = -(-95 * total // 100)
    reached = 0
    for bound_us, count in zip(latency.bounds_us, latency.counts, strict=False):
        reached += count
        if reached >= rank:
            return bound_us
    return Reason.NOT_A_NUMBER


def _of_samples(latency: Samples) -> int | Reason:
    if not latency.values_us:
        return Reason.NOT_A_NUMBER
    if min(latency.values_us) < 0:
        return Reason.IMPOSSIBLE_COUNTS
    return int(numbers.p95(latency.values_us))


def _observations(side: Side) -> int:
    """How many latencies stand behind the p95; of a bare p95 as many as there were requests."""
    latency = side.latency
    if isinstance(latency, Histogram):
        return sum(latency.counts)
    if isinstance(latency, Samples):
        return len(latency.values_us)
    return side.requests if isinstance(latency, P95) else 0
