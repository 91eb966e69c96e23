"""From snapshot bytes to report bytes: the same on any machine, and nothing left out."""

import json

import pytest
from gate_samples import policy, side, snapshot_map
from hypothesis import given
from hypothesis import strategies as st

from lockstep import cbor
from lockstep.digest import sha256, to_text
from lockstep.errors import DataError
from lockstep.gates.evaluate import GateReport, evaluate, evaluate_bytes, evaluate_reading
from lockstep.gates.numbers import error_rate, p95_delta, replay_failures
from lockstep.gates.snapshot import Snapshot, read_snapshot_bytes

BUNDLE = b"\x05" * 32
POLICY = policy()
DATA = cbor.encode(snapshot_map())


def test_a_verdict_is_these_bytes() -> None:
    """Golden: a change of gate semantics is a new profile name, never an edit of an old one."""
    report = evaluate(Snapshot.from_bytes(DATA), POLICY, BUNDLE)
    assert report.to_map() == {
        "schema_version": "lockstep.gate-report.v1",
        "profile": "strict-v1",
        "outcome": "PASS",
        "metrics": [
            {"name": "error_rate", "outcome": "PASS", "reason": "OK", "observed": 0.005,
             "limit": 0.005, "samples": 1000},
            {"name": "p95_latency_delta", "outcome": "PASS", "reason": "OK", "observed": 0.0,
             "limit": 10.0, "samples": 1000},
            {"name": "replay_failures", "outcome": "PASS", "reason": "OK", "observed": 0,
             "limit": 0, "samples": 3},
        ],
        "snapshot_hash": sha256(DATA),
        "policy_bundle_hash": BUNDLE,
    }  # fmt: skip
    assert report.digest().hex() == (
        "e742fb29fc880de06084714e3ed32ca50b1367961f86149cca7099d7da2fddd3"
    )


def test_all_ways_to_a_verdict_give_the_same_bytes() -> None:
    snapshot = Snapshot.from_bytes(DATA)
    twin = json.dumps(snapshot.to_json()).encode()
    reports = [
        evaluate(snapshot, POLICY, BUNDLE),
        evaluate_bytes(DATA, POLICY, BUNDLE),
        evaluate_reading(read_snapshot_bytes(DATA), POLICY, BUNDLE),
        evaluate_reading(read_snapshot_bytes(twin), POLICY, BUNDLE),
    ]
    assert len({report.to_bytes() for report in reports}) == 1


def test_bytes_that_are_no_snapshot_get_no_verdict() -> None:
    with pytest.raises(DataError):
        evaluate_bytes(DATA + b"\x00", POLICY, BUNDLE)


def test_one_broken_metric_fails_the_gate() -> None:
    data = cbor.encode(snapshot_map(canary=side(1000, 6)))
    assert evaluate_bytes(data, POLICY, BUNDLE).outcome == "FAIL"


def test_nan_fails_the_gate_with_its_reason() -> None:
    twin = Snapshot.from_bytes(DATA).to_json()
    twin["canary"]["latency"]["p95_us"] = float("nan")
    report = evaluate_reading(read_snapshot_bytes(json.dumps(twin).encode()), POLICY, BUNDLE)
    reasons = {metric.name: metric.reason for metric in report.metrics}
    assert report.outcome == "FAIL"
    assert reasons == {
        "error_rate": "OK",
        "p95_latency_delta": "NOT_A_NUMBER",
        "replay_failures": "OK",
    }


def test_the_printed_form_adds_the_digest_and_reads_back() -> None:
    report = evaluate_bytes(DATA, POLICY, BUNDLE)
    printed = json.loads(json.dumps(report.to_json()))
    assert printed["verdict_hash"] == to_text(sha256(report.to_bytes()))
    assert printed["snapshot_hash"] == to_text(sha256(DATA))
    assert GateReport.from_json(printed) == report
    assert GateReport.from_bytes(report.to_bytes()) == report


def test_a_printed_report_that_was_altered_is_refused() -> None:
    printed = evaluate_bytes(DATA, POLICY, BUNDLE).to_json()
    printed["metrics"][0]["observed"] = 0.001
    with pytest.raises(DataError, match="verdict_hash"):
        GateReport.from_json(printed)


@pytest.mark.parametrize("value", [None, [], "x", {}, {"snapshot_hash": "sha256:"}])
def test_what_is_no_report_is_refused(value: object) -> None:
    with pytest.raises(DataError):
        GateReport.from_json(value)


COUNTS = st.integers(-2, 2000)


@given(
    requests=COUNTS,
    errors=st.integers(-2, 20),
    canary=st.integers(0, 10**6),
    baseline=st.integers(0, 10**6),
    failures=st.integers(-1, 2),
)
def test_the_outcome_is_pass_exactly_when_each_number_passes(
    requests: int, errors: int, canary: int, baseline: int, failures: int
) -> None:
    """The profile's numbers are the ones that the conformance vectors check."""
    data = cbor.encode(
        snapshot_map(
            canary=side(requests, errors, {"kind": "p95", "p95_us": canary}),
            baseline=side(10, 0, {"kind": "p95", "p95_us": baseline}),
            replay={"checked": 3, "failures": failures},
        )
    )
    answers = (
        error_rate(errors, requests),
        p95_delta(canary, baseline),
        replay_failures(failures),
    )
    report = evaluate_bytes(data, POLICY, BUNDLE)
    assert report.outcome == ("PASS" if all(a == "pass" for a in answers) else "FAIL")
    assert all((m.outcome == "PASS") == (m.reason == "OK") for m in report.metrics)
