"""The write-ahead log of one run: a hash chain of at most a few records (docs/spec/bytes.md §6).

``fold`` reads what a store holds and ``next_record`` says what may be appended. Anything that
does not follow the rules is WAL_CORRUPTION: stop, alarm, delete nothing. What the log names
(objects, pointers) is checked elsewhere.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from lockstep.digest import h
from lockstep.errors import DataError, RefusedError
from lockstep.exact import DIGEST_BYTES, digest32, text, uint64
from lockstep.record import Digest32, Record

RECORD_TYPES = ("PREPARE", "CERT_SIGNED", "FINALIZE", "ROLLBACK")
TERMINAL_TYPES = ("FINALIZE", "ROLLBACK")
GENESIS = bytes(DIGEST_BYTES)
"""``prev_record_hash`` of record 0."""

RECORDS_MAX = 10_000
"""A run writes three or four; the bound is for a hostile store."""

FINALIZE_FIELDS = (
    "trace_tail_hash",
    "checkpoint_hash",
    "lineage_root_hash",
    "certificate_hash",
    "manifest_hash",
    "policy_bundle_hash",
    "operator_registry_hash",
    "determinism_profile_hash",
)
"""The eight that FINALIZE must hold, 32 bytes each; others may stand beside them."""


class WalRecord(Record):
    tenant_id: str
    run_id: str
    wal_seq: Annotated[int, Field(ge=0, le=2**64 - 1)]
    record_type: str
    prev_record_hash: Digest32
    payload: dict[str, Any]
    record_hash: Digest32


@dataclass(frozen=True, slots=True)
class WalState:
    """A log that was read whole and found sound."""

    records: tuple[WalRecord, ...] = ()

    @property
    def last(self) -> WalRecord | None:
        return self.records[-1] if self.records else None

    @property
    def last_type(self) -> str | None:
        return self.records[-1].record_type if self.records else None

    @property
    def terminal(self) -> bool:
        return self.last_type in TERMINAL_TYPES

    @property
    def terminal_hash(self) -> bytes | None:
        """``wal_terminal_hash``: the terminal record's hash, None while the run is open."""
        return self.records[-1].record_hash if self.terminal else None


def _corrupt(cause: str, place: str = "") -> DataError:
    return DataError(
        "WAL_CORRUPTION", cause, place=place, hint="compare with a copy; nothing was deleted"
    )


def record_hash_v1(
    tenant_id: str,
    run_id: str,
    wal_seq: int,
    record_type: str,
    prev_record_hash: bytes,
    payload: dict[str, Any],
) -> bytes:
    """``record_hash`` of one record.

    Raises:
        DataError: WAL_CORRUPTION for an unknown type or a payload that is no map; DIGEST_INVALID,
            RECORD_INVALID or CBOR_INVALID for a field of the wrong type.
    """
    if type(record_type) is not str or record_type not in RECORD_TYPES:
        raise _corrupt(f"record_type is not one of {', '.join(RECORD_TYPES)}")
    if type(payload) is not dict:
        raise _corrupt("payload is not a map")
    return h(
        [
            "wal_record_v1",
            text(tenant_id, "tenant_id"),
            text(run_id, "run_id"),
            uint64(wal_seq, "wal_seq"),
            record_type,
            digest32(prev_record_hash, "prev_record_hash"),
            payload,
        ]
    )


def _check_finalize(payload: dict[str, Any]) -> None:
    for name in FINALIZE_FIELDS:
        value = payload.get(name)
        if type(value) is not bytes or len(value) != DIGEST_BYTES:
            raise _corrupt(f"FINALIZE lacks {name}: 32 raw bytes")


def _check_next(before: WalRecord | None, record: WalRecord) -> None:
    """Whether ``record`` may stand right after ``before``."""
    if before is not None and before.record_type in TERMINAL_TYPES:
        raise _corrupt(f"a record after the terminal {before.record_type}")
    if record.wal_seq != (before.wal_seq + 1 if before else 0):
        raise _corrupt(f"wal_seq {record.wal_seq}: a gap, a repeat or another order")
    if before and (record.tenant_id, record.run_id) != (before.tenant_id, before.run_id):
        raise _corrupt("a record of another run")
    if record.prev_record_hash != (before.record_hash if before else GENESIS):
        raise _corrupt("prev_record_hash is not the hash of the record before")
    expected = record_hash_v1(
        record.tenant_id,
        record.run_id,
        record.wal_seq,
        record.record_type,
        record.prev_record_hash,
        record.payload,
    )
    if record.record_hash != expected:
        raise _corrupt("record_hash does not match the record")
    if record.record_type == "FINALIZE":
        _check_finalize(record.payload)


def _follow(before: WalRecord | None, record: WalRecord, index: int) -> WalRecord:
    try:
        _check_next(before, record)
    except DataError as error:
        raise _corrupt(error.cause, place=f"record {index}") from None
    return record


def _chain(records: list[WalRecord]) -> WalState:
    before: WalRecord | None = None
    for index, record in enumerate(records):
        before = _follow(before, record, index)
    return WalState(tuple(records))


def _bounded(items: Any) -> list[Any]:
    if type(items) not in (list, tuple) or len(items) > RECORDS_MAX:
        raise _corrupt(f"a log is a list of at most {RECORDS_MAX} records")
    return list(items)


def verify(records: list[dict[str, Any]]) -> bytes:
    """The last record's hash of a log given as maps.

    Raises:
        DataError: WAL_CORRUPTION; any rule broken, or no records.
    """
    read = []
    for index, value in enumerate(_bounded(records)):
        try:
            read.append(WalRecord.from_map(value))
        except DataError as error:
            raise _corrupt(error.cause, place=f"record {index}") from None
    state = _chain(read)
    if state.last is None:
        raise _corrupt("no records")
    return state.last.record_hash


def fold(raws: list[bytes], *, tenant_id: str | None = None, run_id: str | None = None) -> WalState:
    """Read a stored log in the order of its keys; an empty one is a run not yet prepared.

    ``tenant_id`` and ``run_id``, where given, are whose log it is said to be: another run's log,
    copied whole under this one's keys, is refused too.

    Raises:
        DataError: WAL_CORRUPTION, naming the record.
    """
    read = []
    for index, raw in enumerate(_bounded(raws)):
        try:
            read.append(WalRecord.from_bytes(raw))
        except DataError as error:
            raise _corrupt(error.cause, place=f"record {index}") from None
    state = _chain(read)
    for name, wanted in (("tenant_id", tenant_id), ("run_id", run_id)):
        if state.last and wanted is not None and getattr(state.last, name) != wanted:
            raise _corrupt(f"{name} is {getattr(state.last, name)!r}, not {wanted!r}")
    return state


def next_record(
    state: WalState, tenant_id: str, run_id: str, record_type: str, payload: dict[str, Any]
) -> WalRecord:
    """The record to append after a sound log.

    Raises:
        RefusedError: RUN_ENDED; the log has its terminal record.
        DataError: WAL_CORRUPTION; the record would break a rule.
    """
    if state.terminal:
        raise RefusedError(
            "RUN_ENDED", f"the log of {run_id} ended with {state.last_type}", place=run_id
        )
    last = state.last
    seq, prev = (last.wal_seq + 1, last.record_hash) if last else (0, GENESIS)
    record = WalRecord(
        tenant_id=tenant_id,
        run_id=run_id,
        wal_seq=seq,
        record_type=record_type,
        prev_record_hash=prev,
        payload=payload,
        record_hash=record_hash_v1(tenant_id, run_id, seq, record_type, prev, payload),
    )
    return _follow(last, record, seq)
