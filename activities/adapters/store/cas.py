"""Objects named by their digest: written once, checked at every read (docs/spec/bytes.md §3)."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from lockstep import layout
from lockstep.digest import sha256, to_text
from lockstep.errors import DataError, UnavailableError
from lockstep.ledger import RetentionBatch, eligible_after
from lockstep.ports import Store, WriteOutcome

PUT_THREADS = 8
"""Puts in flight to a server; a local disk gains nothing worth a thread."""

BATCH_SEQS_MAX = 64
"""Batches of one owner that may stand where the next is wanted: one a day of retrying."""


class Cas:
    """The content-addressed objects of one tenant; there is no way to name another's."""

    def __init__(self, store: Store, tenant: str) -> None:
        self.store = store
        self.tenant = layout.component(tenant)

    def get(self, digest: bytes) -> bytes:
        """The bytes that ``digest`` names, read and hashed anew each time.

        Raises:
            DataError: OBJECT_MISSING or OBJECT_CORRUPT.
        """
        key = layout.cas(self.tenant, digest)
        stored = self.store.read(key)
        if stored is None:
            raise DataError("OBJECT_MISSING", f"no object {to_text(digest)}", place=key)
        found = sha256(stored.body)
        if found != digest:
            raise _corrupt(key, digest, found)
        return stored.body

    def has(self, digest: bytes) -> bool:
        """Whether the object is there and whole.

        Raises:
            DataError: OBJECT_CORRUPT; something else lies under its name.
        """
        key = layout.cas(self.tenant, digest)
        stored = self.store.read(key)
        if stored is None:
            return False
        found = sha256(stored.body)
        if found != digest:
            raise _corrupt(key, digest, found)
        return True

    def put(self, body: bytes) -> bytes:
        """Store one object and return its digest. Its retention batch is the caller's to write.

        Raises:
            DataError: OBJECT_CORRUPT; other bytes lie under its name already.
            UnavailableError: the store did not confirm it.
        """
        digest = sha256(body)
        key = layout.cas(self.tenant, digest)
        written = self.store.create(key, body)
        if written.outcome is WriteOutcome.LOST:
            there = self.store.read(key)
            raise _corrupt(key, digest, sha256(there.body) if there else None)
        if written.outcome is WriteOutcome.UNKNOWN:
            raise _unconfirmed(key)
        return digest

    def put_all(
        self,
        objects: Sequence[bytes],
        owner: str,
        seq: int,
        *,
        now_us: int,
        retention_class: str = "experimental",
        keep_days: int | None = None,
        pin_root_refs: Iterable[str] = (),
    ) -> list[bytes]:
        """Write down the intent to store ``objects``, then store them; digests in their order.

        ``owner`` is a run id or a release hash in hex; ``seq`` numbers its batches and gives way
        to the next free number when another batch stands there.

        Raises:
            DataError, UnavailableError: as ``put``.
        """
        digests = [sha256(body) for body in objects]
        batch = {
            "retention_class": retention_class,
            "gc_eligible_after_utc": eligible_after(retention_class, now_us, keep_days),
            "pin_root_refs": sorted(pin_root_refs),
            "digests": sorted(set(digests)),
        }
        self._announce(RetentionBatch.from_map(batch), owner, seq)
        if len(objects) > 1 and self.store.url.startswith("s3://"):
            with ThreadPoolExecutor(min(PUT_THREADS, len(objects))) as pool:
                return list(pool.map(self.put, objects))
        return [self.put(body) for body in objects]

    def _announce(self, batch: RetentionBatch, owner: str, seq: int) -> None:
        body = batch.to_bytes()
        for number in range(seq, seq + BATCH_SEQS_MAX):
            key = layout.retention(self.tenant, owner, number)
            written = self.store.create(key, body)
            if written.landed:
                return
            if written.outcome is WriteOutcome.UNKNOWN:
                raise _unconfirmed(key)
        raise UnavailableError(
            "STORE_ANSWER_UNKNOWN",
            f"{BATCH_SEQS_MAX} retention batches stand from {seq} on",
            place=layout.retention_prefix(self.tenant, owner),
        )


def _corrupt(key: str, expected: bytes, found: bytes | None) -> DataError:
    what = to_text(found) if found else "nothing"
    return DataError("OBJECT_CORRUPT", f"expected {to_text(expected)}, found {what}", place=key)


def _unconfirmed(key: str) -> UnavailableError:
    return UnavailableError("STORE_ANSWER_UNKNOWN", "the write was not confirmed", place=key)
