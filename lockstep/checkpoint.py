"""The checkpoint after a cohort: enough to go on in a new cluster (docs/spec/bytes.md §8).

Its digest is ``checkpoint_hash`` and never enters the trace. A plain service's release carries the
closed empty-state map instead; the two never stand in for each other.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator

from lockstep.record import Digest32, Record

SCHEMA_VERSION: Final = "lockstep.checkpoint.v1"

IDENTITY_FIELDS = (
    "tenant_id",
    "run_id",
    "replay_token",
    "manifest_hash",
    "policy_bundle_hash",
    "determinism_profile_hash",
)
"""What must be the same for a rollout to continue from a checkpoint."""

Text = Annotated[str, Field(min_length=1, max_length=1000)]


class Cursor(Record):
    """The cohort that was finished last."""

    environment: Text
    cohort_index: Annotated[int, Field(ge=0, le=10_000)]


class GateState(Record):
    """One look: where, how it ended, and the bytes that prove it."""

    stage: Text
    outcome: Text
    snapshot_hash: Digest32
    gate_report_hash: Digest32


class Checkpoint(Record):
    schema_version: Literal["lockstep.checkpoint.v1"] = SCHEMA_VERSION
    tenant_id: Text
    run_id: Text
    replay_token: Digest32
    cursor: Cursor
    canary_set: list[Text]
    """Exposed targets, sorted, each once."""
    gate_states: list[GateState]
    """Every look so far, in the order of ``t``."""
    trace_tail_hash_at_checkpoint: Digest32
    manifest_hash: Digest32
    policy_bundle_hash: Digest32
    determinism_profile_hash: Digest32
    checkpoint_hash_prev: Digest32 | None = None

    @field_validator("canary_set")
    @classmethod
    def _sorted_once(cls, names: list[str]) -> list[str]:
        if names != sorted(set(names)):
            raise ValueError("names are not sorted, or one stands twice")
        return names


class StatelessCheckpoint(Record):
    """The checkpoint of a release that keeps no state of its own."""

    schema_version: Literal["lockstep.checkpoint.v1"] = SCHEMA_VERSION
    kind: Literal["stateless"] = "stateless"


def differing_identity(checkpoint: Checkpoint, expected: Mapping[str, Any]) -> list[str]:
    """Names of the identity fields that differ from ``expected``; empty means it may go on."""
    return [name for name in IDENTITY_FIELDS if getattr(checkpoint, name) != expected.get(name)]
