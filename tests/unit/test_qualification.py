"""The qualification behind a release: its trace, its identity, its checkpoint."""

import pytest

from lockstep import cbor, hashes, trace
from lockstep.errors import DataError
from lockstep.release import qualification
from lockstep.release.qualification import Step

POLICY, ENVIRONMENT = b"\x01" * 32, b"\x02" * 32
WHO = qualification.identity("acme", "c0ffee", POLICY, ENVIRONMENT)
STEPS = [Step("lint", "success"), Step("unit-tests", "success", b"\x05" * 32)]


def built(steps: list[Step] = STEPS) -> list[dict]:
    return qualification.build_trace("acme", "c0ffee", WHO, steps)


def test_identity_follows_from_policy_build_environment_and_commit() -> None:
    token = hashes.replay_token(POLICY, ENVIRONMENT, seed=0)
    assert WHO.replay_token == token
    assert WHO.run_id == hashes.qualification_run_id("acme", "c0ffee", token)
    assert qualification.identity("acme", "c0ffef", POLICY, ENVIRONMENT).run_id != WHO.run_id


def test_the_trace_is_framed_sealed_and_names_no_release() -> None:
    records = built()
    trace.validate_trace(records, "qualification")
    assert [record["kind"] for record in records] == [
        "qualification_header",
        "iter",
        "iter",
        "qualification_end",
    ]
    assert records[-1]["trace_tail_hash"] == trace.tail(records)
    assert set(records[0]) == {
        "kind",
        "schema_version",
        "tenant_id",
        "run_id",
        "replay_token",
        "code_commit",
    }
    assert set(records[-1]) == {"kind", "final_status", "trace_tail_hash"}
    assert records[2]["evidence"] == {"unit-tests": b"\x05" * 32}
    assert qualification.step_bounds(records) == (0, 1)


def test_one_failed_step_fails_the_run_and_it_never_serves() -> None:
    records = built([Step("lint", "success"), Step("unit-tests", "failed")])
    assert records[-1]["final_status"] == "failed"
    with pytest.raises(DataError, match="did not succeed"):
        qualification.check_qualification(records, "acme", "c0ffee", WHO)


@pytest.mark.parametrize(
    ("tenant", "commit", "who"),
    [
        ("umbrella", "c0ffee", WHO),
        ("acme", "c0ffef", WHO),
        ("acme", "c0ffee", qualification.identity("acme", "c0ffee", ENVIRONMENT, POLICY)),
    ],
)
def test_another_runs_trace_is_refused(
    tenant: str, commit: str, who: qualification.Identity
) -> None:
    qualification.check_qualification(built(), "acme", "c0ffee", WHO)
    with pytest.raises(DataError) as refused:
        qualification.check_qualification(built(), tenant, commit, who)
    assert refused.value.code == "EVIDENCE_INVALID"


@pytest.mark.parametrize("steps", [[], [Step("lint", "skipped")], [Step("x", "success")] * 1001])
def test_no_step_too_many_or_an_unknown_status_is_refused(steps: list[Step]) -> None:
    with pytest.raises(DataError, match="qualification"):
        built(steps)


def test_the_stateless_checkpoint_is_the_closed_empty_state_map() -> None:
    data = qualification.stateless_checkpoint()
    assert cbor.decode(data) == {"schema_version": "lockstep.checkpoint.v1", "kind": "stateless"}
    qualification.check_checkpoint(data, "stateless", "stateless")


@pytest.mark.parametrize(
    ("data", "schema"),
    [
        (b"weights", "stateless"),
        (qualification.stateless_checkpoint(), "weights.v1"),
        (cbor.encode({"trace_tail_hash_at_checkpoint": bytes(32)}), "weights.v1"),
    ],
)
def test_a_checkpoint_fits_its_schema_and_a_rollouts_never_serves(data: bytes, schema: str) -> None:
    qualification.check_checkpoint(b"weights", "weights.v1", "stateless")
    with pytest.raises(DataError) as refused:
        qualification.check_checkpoint(data, schema, "stateless")
    assert refused.value.code == "EVIDENCE_INVALID"
