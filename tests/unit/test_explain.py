"""Verdicts in words: every reason has a sentence, every sentence its number."""

import pytest
from gate_samples import p95, policy, side, snapshot_map

from lockstep.gates.evaluate import GateReport, evaluate
from lockstep.gates.explain import explain
from lockstep.gates.reasons import Metric, Reason
from lockstep.gates.snapshot import Snapshot


def told(*, absolute: int | None = None, **changed: object) -> list[str]:
    snapshot = Snapshot.from_map(snapshot_map(**changed))
    rules = policy() if absolute is None else policy(absolute_p95_max_us=absolute)
    return explain(evaluate(snapshot, rules, rules.digest()), snapshot)


def test_a_pass_says_by_how_much() -> None:
    sentences = told()
    assert sentences[0] == "PASS by strict-v1: every limit holds."
    assert sentences[1] == "PASS error rate: 0.5 %, at most 0.5 %, from 1000 requests."
    assert sentences[3] == "PASS replay failures: 0, at most 0, from 3 recomputations."


def test_a_failure_names_the_metric_the_value_and_the_limit() -> None:
    sentences = told(canary=side(1000, 60, p95(150_000)), absolute=120_000)
    assert sentences[0] == (
        "FAIL by strict-v1: because of error_rate, p95_latency_delta, absolute_p95."
    )
    assert sentences[1] == (
        "FAIL error rate: 6 %, limit 0.5 %, from 1000 requests (THRESHOLD_BREACHED)."
    )
    assert sentences[2] == (
        "FAIL growth of p95 latency over the baseline: 50 %, limit 10 %, "
        "from 1000 latencies (THRESHOLD_BREACHED)."
    )
    assert sentences[4].startswith("FAIL p95 latency: 150 ms, limit 120 ms")


def test_where_and_when_it_was_judged_is_told() -> None:
    text = "\n".join(told())
    assert "prod at 25 %" in text
    assert "2023-11-14T22:13:20Z to 2023-11-14T22:23:20Z" in text
    assert "against sha256:0202" in text


def test_a_copied_baseline_and_a_missing_one_are_told() -> None:
    assert "as frozen in sha256:0303" in "\n".join(told(baseline_snapshot_hash=b"\x03" * 32))
    first = told(baseline_release_hash=None, baseline=None, absolute=10**6)
    assert "without a baseline" in "\n".join(first)


def test_a_window_outside_every_calendar_is_still_told() -> None:
    assert f"{2**63} us" in "\n".join(told(window={"start_us": 0, "end_us": 2**63}))


@pytest.mark.parametrize("reason", [r for r in Reason if r is not Reason.OK])
def test_every_reason_is_told_where_there_is_no_number(reason: Reason) -> None:
    metric = Metric(name="error_rate", outcome="FAIL", reason=reason.value, limit=0.005, samples=0)
    report = GateReport(
        schema_version="lockstep.gate-report.v1",
        profile="strict-v1",
        outcome="FAIL",
        metrics=[metric],
        snapshot_hash=b"\x01" * 32,
        policy_bundle_hash=b"\x02" * 32,
    )
    sentence = explain(report)[1]
    assert reason.value in sentence
    assert "0.5 %" in sentence


def test_a_reason_of_a_newer_version_is_told_by_its_code() -> None:
    metric = Metric(name="new", outcome="FAIL", reason="BRAND_NEW", limit=1, samples=0)
    report = evaluate(Snapshot.from_map(snapshot_map()), policy(), b"\x02" * 32)
    newer = report.model_copy(update={"metrics": [metric], "outcome": "FAIL"})
    assert "BRAND_NEW" in explain(newer)[1]
