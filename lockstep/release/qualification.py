"""What a release has behind it before any rollout: the qualification run and its identity.

A plain service has a trace too: the steps of its build and test, from CI. Its records are the
frame of docs/spec/bytes.md §4, and its identity follows from policy, build environment and commit
alone; nothing in it names the release.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lockstep import cbor, hashes, trace
from lockstep.checkpoint import StatelessCheckpoint
from lockstep.errors import DataError

STAGE = "qualification"
OPERATOR_PREFIX = "qualification."
STEPS_MAX = 1000
STATUSES = ("success", "failed")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the qualification run, as CI reports it."""

    name: str
    status: str
    evidence: bytes | None = None
    """Object digest of the step's own record (a log, a report), where one is kept."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Run id and replay token of a qualification; never compared with a rollout's."""

    run_id: str
    replay_token: bytes


def identity(
    tenant_id: str, code_commit: str, policy_bundle_hash: bytes, runtime_env_hash: bytes
) -> Identity:
    """The build's environment stands where a rollout has its environment profile; seed 0."""
    token = hashes.replay_token(policy_bundle_hash, runtime_env_hash)
    return Identity(
        run_id=hashes.qualification_run_id(tenant_id, code_commit, token), replay_token=token
    )


def build_trace(
    tenant_id: str, code_commit: str, who: Identity, steps: Sequence[Step]
) -> list[dict[str, Any]]:
    """The sealed qualification trace: header, one record a step, end.

    It ends ``success`` only when every step did.

    Raises:
        DataError: EVIDENCE_INVALID; no step, too many, or a status outside ``STATUSES``.
    """
    if not 0 < len(steps) <= STEPS_MAX:
        raise DataError("EVIDENCE_INVALID", "qualification: at least one step, at most 1000")
    records = [
        trace.qualification_header(
            tenant_id=tenant_id,
            run_id=who.run_id,
            replay_token=who.replay_token,
            code_commit=code_commit,
        )
    ]
    for t, step in enumerate(steps):
        if step.status not in STATUSES:
            raise DataError(
                "EVIDENCE_INVALID",
                f"qualification step {step.name}: status is success or failed, "
                f"not {step.status[:40]!r}",
            )
        records.append(
            trace.iter_record(
                t,
                STAGE,
                step.name,
                OPERATOR_PREFIX + step.name,
                t,
                step.status,
                evidence={step.name: step.evidence} if step.evidence else None,
            )
        )
    succeeded = all(step.status == "success" for step in steps)
    records.append(trace.qualification_end("success" if succeeded else "failed"))
    return trace.seal(records)


def check_qualification(
    records: Sequence[dict[str, Any]], tenant_id: str, code_commit: str, who: Identity
) -> None:
    """Hold a validated qualification trace to the identity recomputed from stored bytes.

    Raises:
        DataError: EVIDENCE_INVALID; it is another run's, or it did not succeed.
    """
    header, end = records[0], records[-1]
    expected = {
        "tenant_id": tenant_id,
        "run_id": who.run_id,
        "replay_token": who.replay_token,
        "code_commit": code_commit,
    }
    for field, value in expected.items():
        if header[field] != value:
            raise DataError("EVIDENCE_INVALID", f"qualification: {field} is not the one recomputed")
    if end["final_status"] != "success":
        raise DataError("EVIDENCE_INVALID", "the qualification run did not succeed")


def step_bounds(records: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """``step_start`` and ``step_end``: first and last ``t`` of the trace."""
    ts = [record["t"] for record in records if record["kind"] == "iter"]
    if not ts:
        raise DataError("EVIDENCE_INVALID", "the qualification trace has no step")
    return ts[0], ts[-1]


def stateless_checkpoint() -> bytes:
    """The checkpoint of a release that keeps no state."""
    return StatelessCheckpoint().to_bytes()


def check_checkpoint(data: bytes, schema: str, stateless: str) -> None:
    """Hold a release's checkpoint to the state schema that its manifest names.

    The closed empty-state map for ``stateless``, opaque bytes for every other schema; the
    checkpoint of a rollout never serves (docs/spec/bytes.md §4).

    Raises:
        DataError: EVIDENCE_INVALID.
    """
    is_stateless = data == stateless_checkpoint()
    if is_stateless != (schema == stateless):
        raise DataError(
            "EVIDENCE_INVALID",
            f"the checkpoint does not fit the manifest's state schema {schema!r}",
        )
    try:
        value = cbor.decode(data)
    except DataError:
        return  # a model's state: opaque bytes
    if isinstance(value, dict) and "trace_tail_hash_at_checkpoint" in value:
        raise DataError("EVIDENCE_INVALID", "a rollout's checkpoint is no release's")
