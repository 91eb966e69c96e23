"""The checkpoint after a cohort, and the empty-state one of a plain service."""

from typing import Any

import pytest

from lockstep.checkpoint import (
    IDENTITY_FIELDS,
    Checkpoint,
    Cursor,
    StatelessCheckpoint,
    differing_identity,
)
from lockstep.errors import DataError

D = bytes([9]) * 32


def checkpoint(**changes: Any) -> Checkpoint:
    fields: dict[str, Any] = {
        "schema_version": "lockstep.checkpoint.v1",
        "tenant_id": "acme",
        "run_id": "0123456789abcdef",
        "replay_token": D,
        "cursor": {"environment": "dev", "cohort_index": 0},
        "canary_set": ["cell-a", "cell-b"],
        "gate_states": [
            {"stage": "dev/1", "outcome": "PASS", "snapshot_hash": D, "gate_report_hash": D}
        ],
        "trace_tail_hash_at_checkpoint": D,
        "manifest_hash": D,
        "policy_bundle_hash": D,
        "determinism_profile_hash": D,
    }
    return Checkpoint.from_map({**fields, **changes})


def test_a_checkpoint_is_read_back_as_it_was_written() -> None:
    for value in (checkpoint(), checkpoint(checkpoint_hash_prev=D), checkpoint(gate_states=[])):
        assert Checkpoint.from_bytes(value.to_bytes()) == value
    assert "checkpoint_hash_prev" not in checkpoint().to_map()


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("cursor", {"environment": "dev", "cohort_index": -1}),
        ("cursor", {"environment": "dev", "cohort_index": True}),
        ("cursor", {"environment": "", "cohort_index": 0}),
        ("canary_set", ["b", "a"]),
        ("canary_set", ["a", "a"]),
        ("gate_states", [{"stage": "dev/1"}]),
        ("replay_token", D.hex()),
        ("schema_version", "lockstep.checkpoint.v2"),
        ("time", 1),
    ],
)
def test_a_checkpoint_of_another_shape_is_refused_by_name(field: str, bad: object) -> None:
    with pytest.raises(DataError) as caught:
        checkpoint(**{field: bad})
    assert caught.value.code == "RECORD_INVALID"
    assert field in caught.value.cause


def test_the_first_cohort_has_index_zero() -> None:
    assert Cursor(environment="dev", cohort_index=0).cohort_index == 0


@pytest.mark.parametrize("name", IDENTITY_FIELDS)
def test_each_identity_field_that_differs_is_named(name: str) -> None:
    good = {field: getattr(checkpoint(), field) for field in IDENTITY_FIELDS}
    assert differing_identity(checkpoint(), good) == []
    assert differing_identity(checkpoint(), {**good, name: b"other"}) == [name]
    absent = {field: value for field, value in good.items() if field != name}
    assert differing_identity(checkpoint(), absent) == [name]


def test_the_empty_state_and_a_rollout_s_checkpoint_never_serve_for_each_other() -> None:
    empty = StatelessCheckpoint()
    assert empty.to_map() == {"schema_version": "lockstep.checkpoint.v1", "kind": "stateless"}
    assert StatelessCheckpoint.from_bytes(empty.to_bytes()) == empty
    with pytest.raises(DataError):
        Checkpoint.from_bytes(empty.to_bytes())
    with pytest.raises(DataError):
        StatelessCheckpoint.from_bytes(checkpoint().to_bytes())
    for bad in ({"kind": "stateless", "state": b""}, {"kind": "model"}):
        with pytest.raises(DataError):
            StatelessCheckpoint.from_map(bad)
