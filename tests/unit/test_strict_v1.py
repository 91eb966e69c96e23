"""strict-v1: both sides of every limit, and a reason for every kind of missing evidence."""

from typing import Any

import pytest
from gate_samples import EARLIER, p95, side, snapshot_map, without

from lockstep.gates import strict_v1
from lockstep.gates.reasons import Metric, Outcome, joint
from lockstep.gates.snapshot import Snapshot


def judge(absolute: int | None = None, **changed: Any) -> dict[str, Metric]:
    metrics = strict_v1.judge(Snapshot.from_map(snapshot_map(**changed)), absolute)
    return {metric.name: metric for metric in metrics}


def said(metric: Metric) -> tuple[str, str]:
    return metric.outcome, metric.reason


def histogram(bounds: list[int], counts: list[int]) -> dict[str, Any]:
    return {"kind": "histogram", "bounds_us": bounds, "counts": counts}


PASS = ("PASS", "OK")


def fail(reason: str) -> tuple[str, str]:
    return "FAIL", reason


def test_a_good_look_passes_with_its_numbers_in_the_fixed_order() -> None:
    metrics = strict_v1.judge(Snapshot.from_map(snapshot_map()), None)
    assert [metric.to_map() for metric in metrics] == [
        {"name": "error_rate", "outcome": "PASS", "reason": "OK", "observed": 0.005,
         "limit": 0.005, "samples": 1000},
        {"name": "p95_latency_delta", "outcome": "PASS", "reason": "OK", "observed": 0.0,
         "limit": 10.0, "samples": 1000},
        {"name": "replay_failures", "outcome": "PASS", "reason": "OK", "observed": 0,
         "limit": 0, "samples": 3},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("requests", "errors", "expected"),
    [
        (1000, 5, PASS),
        (1000, 6, fail("THRESHOLD_BREACHED")),
        (200, 1, PASS),
        (199, 1, fail("THRESHOLD_BREACHED")),
        (1, 0, PASS),
        (1, 1, fail("THRESHOLD_BREACHED")),
        (0, 0, fail("NO_TRAFFIC")),
        (0, 1, fail("IMPOSSIBLE_COUNTS")),
        (1, 2, fail("IMPOSSIBLE_COUNTS")),
        (-1, 0, fail("IMPOSSIBLE_COUNTS")),
        (10, -1, fail("IMPOSSIBLE_COUNTS")),
        (-5, -10, fail("IMPOSSIBLE_COUNTS")),
    ],
)
def test_error_rate(requests: int, errors: int, expected: tuple[str, str]) -> None:
    assert said(judge(canary=side(requests, errors))["error_rate"]) == expected


@pytest.mark.parametrize(
    ("canary", "baseline", "expected"),
    [
        (110_000, 100_000, PASS),
        (110_001, 100_000, fail("THRESHOLD_BREACHED")),
        (50_000, 100_000, PASS),
        (0, 100_000, PASS),
        (100_000, 0, fail("ZERO_BASELINE")),
        (0, 0, fail("ZERO_BASELINE")),
        (-1, 100_000, fail("IMPOSSIBLE_COUNTS")),
        (100_000, -1, fail("IMPOSSIBLE_COUNTS")),
        (11, 10, PASS),
        (2**64 - 1, 1, fail("THRESHOLD_BREACHED")),
    ],
)
def test_p95_delta(canary: int, baseline: int, expected: tuple[str, str]) -> None:
    metrics = judge(canary=side(latency=p95(canary)), baseline=side(latency=p95(baseline)))
    assert said(metrics["p95_latency_delta"]) == expected


def test_a_number_that_cannot_be_taken_is_not_written() -> None:
    metrics = judge(canary=side(0, 0), baseline=None, replay={"checked": -1, "failures": 0})
    assert all("observed" not in metric.to_map() for metric in metrics.values())


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"canary": without(side(), "latency")}, "NOT_A_NUMBER"),
        ({"baseline": without(side(), "latency")}, "NOT_A_NUMBER"),
        ({"canary": side(latency={"kind": "samples", "values_us": []})}, "NOT_A_NUMBER"),
        ({"canary": side(latency={"kind": "samples", "values_us": [1, -1]})}, "IMPOSSIBLE_COUNTS"),
        ({"canary": side(latency=histogram([1], [0, 0]))}, "NOT_A_NUMBER"),
        ({"canary": side(latency=histogram([1], [94, 6]))}, "NOT_A_NUMBER"),
        ({"canary": side(latency=histogram([], [7]))}, "NOT_A_NUMBER"),
        ({"canary": side(latency=histogram([1], [2, -1]))}, "IMPOSSIBLE_COUNTS"),
        ({"canary": side(0, 0)}, "NO_TRAFFIC"),
        ({"baseline": None}, "NO_BASELINE"),
        ({"baseline": None, "baseline_snapshot_hash": EARLIER}, "NO_BASELINE"),
        ({"baseline": side(0, 0)}, "NO_BASELINE"),
        ({"baseline": side(1, 2)}, "IMPOSSIBLE_COUNTS"),
        ({"baseline": side(-1, 0)}, "IMPOSSIBLE_COUNTS"),
        ({"baseline": side(0, 1)}, "IMPOSSIBLE_COUNTS"),
    ],
)
def test_missing_evidence_fails_with_its_own_reason(changed: dict, reason: str) -> None:
    assert said(judge(**changed)["p95_latency_delta"]) == fail(reason)


@pytest.mark.parametrize(
    ("latency", "expected"),
    [
        (histogram([10, 20, 40], [95, 5, 0, 0]), 10),
        (histogram([10, 20, 40], [94, 6, 0, 0]), 20),
        (histogram([10, 20, 40], [0, 0, 95, 5]), 40),
        (histogram([10, 20, 40], [0, 1, 0, 0]), 20),
        ({"kind": "samples", "values_us": list(range(100, 0, -1))}, 95),
        ({"kind": "samples", "values_us": [7]}, 7),
        (p95(33), 33),
    ],
)
def test_p95_is_the_nearest_rank_or_the_upper_bound_of_its_bucket(
    latency: dict, expected: int
) -> None:
    snapshot = Snapshot.from_map(snapshot_map(canary=side(latency=latency)))
    assert strict_v1.p95_us(snapshot.canary) == expected


@pytest.mark.parametrize(
    ("checked", "failures", "expected"),
    [
        (0, 0, PASS),
        (5, 0, PASS),
        (5, 1, fail("REPLAY_DIVERGED")),
        (5, 6, fail("IMPOSSIBLE_COUNTS")),
        (5, -1, fail("IMPOSSIBLE_COUNTS")),
        (-1, 0, fail("IMPOSSIBLE_COUNTS")),
    ],
)
def test_replay_failures(checked: int, failures: int, expected: tuple[str, str]) -> None:
    metrics = judge(replay={"checked": checked, "failures": failures})
    assert said(metrics["replay_failures"]) == expected


# ---- a first release, and the absolute limit --------------------------------------------------

FIRST = {"baseline_release_hash": None, "baseline": None}


def test_a_first_release_is_judged_by_the_absolute_limit() -> None:
    metrics = judge(100_000, **FIRST)
    assert list(metrics) == ["error_rate", "replay_failures", "absolute_p95"]
    assert metrics["absolute_p95"].to_map() == {
        "name": "absolute_p95", "outcome": "PASS", "reason": "OK", "observed": 100_000,
        "limit": 100_000, "samples": 1000,
    }  # fmt: skip
    assert said(judge(99_999, **FIRST)["absolute_p95"]) == fail("THRESHOLD_BREACHED")


def test_a_first_release_without_an_absolute_limit_fails() -> None:
    assert said(judge(None, **FIRST)["p95_latency_delta"]) == fail("NO_BASELINE")


def test_an_absolute_limit_also_holds_where_there_is_a_baseline() -> None:
    metrics = judge(99_999)
    assert said(metrics["p95_latency_delta"]) == PASS
    assert said(metrics["absolute_p95"]) == fail("THRESHOLD_BREACHED")


@pytest.mark.parametrize(
    ("canary", "reason"),
    [
        (side(0, 0), "NO_TRAFFIC"),
        (without(side(), "latency"), "NOT_A_NUMBER"),
        (side(latency=p95(-1)), "IMPOSSIBLE_COUNTS"),
    ],
)
def test_an_absolute_limit_without_a_number_fails(canary: dict, reason: str) -> None:
    assert said(judge(1, canary=canary, **FIRST)["absolute_p95"]) == fail(reason)


# ---- fields that were no numbers ------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "spoilt"),
    [
        (("canary", "errors"), {"error_rate"}),
        (("canary", "requests"), {"error_rate", "p95_latency_delta", "absolute_p95"}),
        (("canary", "latency", "counts", 3), {"p95_latency_delta", "absolute_p95"}),
        (("baseline", "latency", "p95_us"), {"p95_latency_delta"}),
        (("baseline", "requests"), {"p95_latency_delta"}),
        (("replay", "failures"), {"replay_failures"}),
        (("custom", "queue", "canary"),
         {"error_rate", "p95_latency_delta", "replay_failures", "absolute_p95"}),
        (("canary", "series", 0, "errors"),
         {"error_rate", "p95_latency_delta", "replay_failures", "absolute_p95"}),
    ],
)  # fmt: skip
def test_no_number_spoils_the_metrics_that_read_it(field: tuple, spoilt: set[str]) -> None:
    metrics = strict_v1.judge(Snapshot.from_map(snapshot_map()), 10**9, [field])
    assert {m.name for m in metrics if said(m) == fail("NOT_A_NUMBER")} == spoilt
    assert all(said(m) == PASS for m in metrics if m.name not in spoilt)


# ---- joining --------------------------------------------------------------------------------


def metric(outcome: str) -> Metric:
    return Metric(name="x", outcome=outcome, reason="OK", limit=0, samples=0)


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (["PASS"], Outcome.PASS),
        (["PASS", "INCONCLUSIVE"], Outcome.INCONCLUSIVE),
        (["INCONCLUSIVE", "FAIL", "PASS"], Outcome.FAIL),
    ],
)
def test_a_failure_outranks_missing_evidence(outcomes: list[str], expected: Outcome) -> None:
    assert joint([metric(outcome) for outcome in outcomes]) is expected


def test_a_gate_without_metrics_is_a_defect_and_no_pass() -> None:
    with pytest.raises(ValueError, match="without metrics"):
        joint([])
