"""A verdict in sentences that a person reads; the numbers are the report's own."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from lockstep.digest import to_text
from lockstep.gates.evaluate import GateReport
from lockstep.gates.reasons import Metric, Reason
from lockstep.gates.snapshot import Snapshot

LINE_MAX = 600


def one_line(metrics: Iterable[Mapping[str, Any]]) -> str:
    """Each metric with its value and limit, and why it did not pass; ``metrics`` of a report."""
    parts = []
    for metric in metrics:
        observed = metric.get("observed")
        value = "no value" if observed is None else f"{observed:.6g}"
        why = "" if metric["outcome"] == "PASS" else f" {metric['reason']}"
        parts.append(f"{metric['name']} {value} (limit {metric['limit']:g}){why}")
    return "; ".join(parts)[:LINE_MAX]


_WHY: dict[str, str] = {
    Reason.NO_TRAFFIC: "the canary served no request in the window, so nothing was proved",
    Reason.NO_BASELINE: "there is no baseline to compare with: none was named and the policy sets "
    "no gate.absolute_p95_max_us, or the one that was named served nothing",
    Reason.ZERO_BASELINE: "the baseline's p95 is 0, so no growth can be computed",
    Reason.NOT_A_NUMBER: "a number is missing, NaN or infinite (of a histogram: p95 lies above "
    "its highest bound)",
    Reason.IMPOSSIBLE_COUNTS: "the counts contradict themselves: negative, or more errors than "
    "requests, or more failures than checks",
    Reason.REPLAY_DIVERGED: "earlier verdicts or the trace of this run no longer recompute",
    Reason.TOO_FEW_SAMPLES: "there were too few requests to tell",
    Reason.SCRAPE_GAP: "measurements are missing inside the window",
    Reason.STALE_SERIES: "the measurements are older than the window",
}

_SUBJECT = {
    "error_rate": "error rate",
    "p95_latency_delta": "growth of p95 latency over the baseline",
    "replay_failures": "replay failures",
    "absolute_p95": "p95 latency",
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def explain(report: GateReport, snapshot: Snapshot | None = None) -> list[str]:
    """The verdict first, then one sentence a metric, then what it was judged from."""
    broken = [metric.name for metric in report.metrics if metric.outcome != "PASS"]
    head = "every limit holds" if not broken else f"because of {', '.join(broken)}"
    sentences = [f"{report.outcome} by {report.profile}: {head}."]
    sentences += [_sentence(metric) for metric in report.metrics]
    if snapshot is not None:
        sentences.append(_where(snapshot))
    sentences.append(f"Judged from snapshot {to_text(report.snapshot_hash)}")
    sentences.append(f"under policy {to_text(report.policy_bundle_hash)}.")
    return sentences


def _sentence(metric: Metric) -> str:
    subject = _SUBJECT.get(metric.name, metric.name)
    limit = _amount(metric.name, metric.limit)
    if metric.observed is None:
        said = _WHY.get(metric.reason, "no number could be taken")
        return f"{metric.outcome} {subject}: {said} ({metric.reason}; limit {limit})."
    observed = _amount(metric.name, metric.observed)
    beyond = "" if metric.outcome == "PASS" else f" ({metric.reason})"
    relation = "at most" if metric.outcome == "PASS" else "limit"
    return (
        f"{metric.outcome} {subject}: {observed}, {relation} {limit}, "
        f"from {metric.samples} {_samples(metric)}{beyond}."
    )


def _samples(metric: Metric) -> str:
    noun = {"error_rate": "request", "replay_failures": "recomputation"}.get(metric.name, "latency")
    plural = "latencies" if noun == "latency" else noun + "s"
    return noun if metric.samples == 1 else plural


def _amount(name: str, value: int | float) -> str:
    if name == "error_rate":
        return f"{value * 100:.6g} %"
    if name == "p95_latency_delta":
        return f"{value:.6g} %"
    if name == "absolute_p95":
        return f"{value / 1000:.6g} ms"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _where(snapshot: Snapshot) -> str:
    start, end = (_utc(us) for us in (snapshot.window.start_us, snapshot.window.end_us))
    against = "without a baseline"
    if snapshot.baseline_release_hash is not None:
        against = f"against {to_text(snapshot.baseline_release_hash)}"
        if snapshot.baseline_snapshot_hash is not None:
            against += f" as frozen in {to_text(snapshot.baseline_snapshot_hash)}"
    return (
        f"Run {snapshot.run_id}, {snapshot.environment} at {snapshot.cohort_percent} %, "
        f"{start} to {end}: {to_text(snapshot.release_hash)} {against}."
    )


def _utc(us: int) -> str:
    try:
        return (_EPOCH + timedelta(microseconds=us)).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:  # a window that no calendar holds can still be judged
        return f"{us} us"
