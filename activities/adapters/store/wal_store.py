"""A run's log and its COMMITTED in a store; the rules are in ``lockstep.wal`` (spec bytes §6).

Two writers at once are harmless: each record is created if absent under its number, and the loser
reads again before it decides anew.
"""

from typing import Any

from lockstep import cbor, layout
from lockstep.commit import Committed
from lockstep.errors import DataError, UnavailableError
from lockstep.ports import Store, WriteOutcome
from lockstep.wal import RECORDS_MAX, WalRecord, WalState, fold, next_record

APPEND_ATTEMPTS_MAX = 8
"""Each lost attempt means that another writer appended; a run writes three or four records."""


class WalStore:
    """The log and the pointer of one run of one tenant."""

    def __init__(self, store: Store, tenant: str, run_id: str) -> None:
        self.store = store
        self.tenant = layout.component(tenant)
        self.run_id = layout.component(run_id)

    def read(self) -> WalState:
        """The whole log, checked.

        Raises:
            DataError: WAL_CORRUPTION, naming the key.
        """
        prefix = layout.wal_prefix(self.tenant, self.run_id)
        raws: list[bytes] = []
        for listed in self.store.list(prefix):
            key = layout.wal_record(self.tenant, self.run_id, len(raws))
            if listed.key != key:
                raise _corrupt(f"found where {key} should follow", listed.key)
            if len(raws) == RECORDS_MAX:
                raise _corrupt(f"more than {RECORDS_MAX} records", prefix)
            stored = self.store.read(key)
            if stored is None:
                raise _corrupt("listed, then gone", key)
            raws.append(stored.body)
        try:
            return fold(raws, tenant_id=self.tenant, run_id=self.run_id)
        except DataError as error:
            raise _corrupt(error.cause, f"{prefix} {error.place}".rstrip()) from None

    def append(self, record_type: str, payload: dict[str, Any]) -> WalRecord:
        """Append a record; an equal one that stands last already is returned as it is.

        Raises:
            RefusedError: RUN_ENDED; the log has its terminal record.
            DataError: WAL_CORRUPTION; the log is broken, or the record would break it.
            UnavailableError: STORE_ANSWER_UNKNOWN; ask again.
        """
        wanted = record_type, cbor.encode(payload)
        for _ in range(APPEND_ATTEMPTS_MAX):
            state = self.read()
            last = state.last
            if last and (last.record_type, cbor.encode(last.payload)) == wanted:
                return last
            record = next_record(state, self.tenant, self.run_id, record_type, payload)
            key = layout.wal_record(self.tenant, self.run_id, record.wal_seq)
            written = self.store.create(key, record.to_bytes())
            if written.landed:
                return record
            if written.outcome is WriteOutcome.UNKNOWN:
                raise UnavailableError(
                    "STORE_ANSWER_UNKNOWN", "the record was not confirmed", place=key
                )
        raise UnavailableError(
            "STORE_ANSWER_UNKNOWN",
            f"lost {APPEND_ATTEMPTS_MAX} times against other writers",
            place=layout.wal_prefix(self.tenant, self.run_id),
        )

    def committed(self) -> Committed | None:
        """The pointer, or None while the run is not committed.

        Raises:
            DataError: CBOR_INVALID or RECORD_INVALID; it is not what a commit writes.
        """
        key = layout.committed(self.tenant, self.run_id)
        stored = self.store.read(key)
        return None if stored is None else Committed.from_bytes(stored.body, place=key)

    def publish(self, committed: Committed) -> None:
        """Make the run visible. A repeat is harmless; the pointer is never replaced.

        Raises:
            DataError: COMMITTED_CONFLICT; another pointer stands there.
            UnavailableError: STORE_ANSWER_UNKNOWN; ask again.
        """
        key = layout.committed(self.tenant, self.run_id)
        written = self.store.create(key, committed.to_bytes())
        if written.outcome is WriteOutcome.LOST:
            raise DataError("COMMITTED_CONFLICT", "another pointer stands there", place=key)
        if written.outcome is WriteOutcome.UNKNOWN:
            raise UnavailableError(
                "STORE_ANSWER_UNKNOWN", "the pointer was not confirmed", place=key
            )


def _corrupt(cause: str, place: str) -> DataError:
    return DataError(
        "WAL_CORRUPTION", cause, place=place, hint="compare with a copy; nothing was deleted"
    )
