"""COMMITTED and what recovery does with a run's log (docs/spec/bytes.md §6).

Only the table; reading, publishing and rolling back are the caller's. A run is committed when
FINALIZE and COMMITTED agree, and nothing here ever lets one be changed to fit the other.
"""

from enum import StrEnum

from lockstep.errors import DataError
from lockstep.record import Digest32, Record
from lockstep.wal import WalRecord, WalState


class Committed(Record):
    """The pointer that makes a rollout visible; created if absent, never replaced or deleted."""

    trace_tail_hash: Digest32
    checkpoint_hash: Digest32
    lineage_root_hash: Digest32
    execution_certificate_hash: Digest32
    wal_terminal_hash: Digest32


class RecoveryAction(StrEnum):
    """What a recovery of one run must do."""

    NOTHING = "nothing"  # no log: the run never passed preflight
    COMMITTED = "committed"  # both agree: only CURRENT may still have to follow
    ROLL_FORWARD = "roll_forward"  # FINALIZE alone: verify every object, then publish
    OWNER_DECIDES = "owner_decides"  # open: the owning workflow, or ROLLBACK once all are safe
    TERMINAL_ROLLBACK = "terminal_rollback"  # ended in ROLLBACK
    CONFLICT = "conflict"  # COMMITTED that no FINALIZE explains: fail closed and alarm


def committed_from(finalize: WalRecord) -> Committed:
    """The only COMMITTED that a FINALIZE record allows.

    Raises:
        DataError: WAL_CORRUPTION; the record is not FINALIZE.
    """
    if finalize.record_type != "FINALIZE":
        raise DataError("WAL_CORRUPTION", f"{finalize.record_type} does not commit a run")
    payload = finalize.payload
    return Committed.from_map(
        {
            "trace_tail_hash": payload.get("trace_tail_hash"),
            "checkpoint_hash": payload.get("checkpoint_hash"),
            "lineage_root_hash": payload.get("lineage_root_hash"),
            "execution_certificate_hash": payload.get("certificate_hash"),
            "wal_terminal_hash": finalize.record_hash,
        }
    )


def recovery_action(wal: WalState, committed: Committed | None) -> RecoveryAction:
    """Decide from a sound log and the pointer, or its absence."""
    last = wal.last
    if last is not None and last.record_type == "FINALIZE":
        if committed is None:
            return RecoveryAction.ROLL_FORWARD
        agrees = committed == committed_from(last)
        return RecoveryAction.COMMITTED if agrees else RecoveryAction.CONFLICT
    if committed is not None:
        return RecoveryAction.CONFLICT
    if last is None:
        return RecoveryAction.NOTHING
    if last.record_type == "ROLLBACK":
        return RecoveryAction.TERMINAL_ROLLBACK
    return RecoveryAction.OWNER_DECIDES
