"""Decide from a frozen snapshot and a policy whether a cohort may grow.

Pure: the same snapshot and policy give the same report bytes on any machine. Freezing the
snapshot and storing the report are the caller's. Rules: docs/spec/gates.md.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal, Self

from lockstep.digest import from_text, sha256, to_text
from lockstep.documents import FieldPath
from lockstep.errors import DataError
from lockstep.gates import strict_v1
from lockstep.gates.reasons import Metric, OutcomeText, joint
from lockstep.gates.snapshot import Snapshot, SnapshotReading
from lockstep.policy import Policy
from lockstep.record import Digest32, Record, to_json_value

SCHEMA: Final = "lockstep.gate-report.v1"


class GateReport(Record):
    """The stored verdict; its object digest is the ``verdict_hash`` of the printed form."""

    schema_version: Literal["lockstep.gate-report.v1"]
    profile: Literal["strict-v1", "interval-v1"]
    outcome: OutcomeText
    metrics: list[Metric]
    snapshot_hash: Digest32
    policy_bundle_hash: Digest32

    def to_json(self) -> dict[str, Any]:
        """The printed form: the JSON twin with ``verdict_hash``."""
        return {**to_json_value(self.to_map()), "verdict_hash": to_text(self.digest())}

    @classmethod
    def from_json(cls, value: Any, *, place: str = "") -> Self:
        """Read the JSON twin; a ``verdict_hash`` in it must be the one recomputed here.

        Raises:
            DataError: RECORD_INVALID or DIGEST_INVALID.
        """
        twin = dict(value) if isinstance(value, dict) else value
        claimed = twin.pop("verdict_hash", None) if isinstance(twin, dict) else None
        for field in ("snapshot_hash", "policy_bundle_hash"):
            if isinstance(twin, dict) and isinstance(twin.get(field), str):
                twin[field] = from_text(twin[field])
        report = cls.from_map(twin, place=place)
        found = to_text(report.digest())
        if claimed not in (None, found):
            cause = f"GateReport.verdict_hash: {claimed!r:.80} is not the recomputed {found}"
            raise DataError("RECORD_INVALID", cause, place=place)
        return report


def evaluate(snapshot: Snapshot, policy: Policy, policy_bundle_hash: bytes) -> GateReport:
    """Judge one snapshot by the profile that the policy names."""
    return _report(snapshot, snapshot.digest(), (), policy, policy_bundle_hash)


def evaluate_bytes(data: bytes, policy: Policy, policy_bundle_hash: bytes) -> GateReport:
    """Judge a stored snapshot from its bytes, without encoding it again.

    Raises:
        DataError: CBOR_INVALID or SNAPSHOT_INVALID.
    """
    snapshot = Snapshot.from_bytes(data)
    return _report(snapshot, sha256(data), (), policy, policy_bundle_hash)


def evaluate_reading(
    reading: SnapshotReading, policy: Policy, policy_bundle_hash: bytes
) -> GateReport:
    """Judge a snapshot read from a file, NaN and all."""
    return _report(
        reading.snapshot, reading.snapshot_hash, reading.not_numbers, policy, policy_bundle_hash
    )


def _report(
    snapshot: Snapshot,
    snapshot_hash: bytes,
    not_numbers: Sequence[FieldPath],
    policy: Policy,
    policy_bundle_hash: bytes,
) -> GateReport:
    # The policy's schema refuses every profile but strict-v1 in this version.
    metrics = strict_v1.judge(snapshot, policy.gate.absolute_p95_max_us, not_numbers)
    return GateReport(
        schema_version=SCHEMA,
        profile=strict_v1.NAME,
        outcome=joint(metrics).value,
        metrics=metrics,
        snapshot_hash=snapshot_hash,
        policy_bundle_hash=policy_bundle_hash,
    )
