"""Leases, pointers and indexes of one tenant in a store; the rules are in ``lockstep.ledger``.

Every change is read, decide, swap: a lost or unanswered swap is read and decided anew, so the
decisions have to be harmless to repeat, and are. Leases are judged by the store's time.
"""

import uuid
from collections.abc import Callable, Mapping
from typing import Literal, TypeVar

from activities.adapters.store.pointers import (
    CHANGE_ATTEMPTS_MAX,
    body_of,
    change_record,
    contended,
    first_stays,
    newest,
    read_record,
)
from lockstep import cbor, layout
from lockstep import ledger as rules
from lockstep.digest import to_text
from lockstep.errors import DataError
from lockstep.hashes import release_hash as name_of_release
from lockstep.ledger import Busy, Current, Lease, ReleaseIndex, TargetRecord
from lockstep.ports import Store

P = TypeVar("P", Current, TargetRecord)


class Ledger:
    """The records of one tenant that say who may act and what is in force."""

    def __init__(self, store: Store, tenant: str) -> None:
        self.store = store
        self.tenant = layout.component(tenant)

    # ---- leases ----------------------------------------------------------------------------

    def lease(self, environment: str, service: str) -> tuple[Lease | None, str | None]:
        """The lease and the version it was read at; (None, None) when never taken."""
        return read_record(self.store, layout.lease(self.tenant, environment, service), Lease)

    def take(
        self, environment: str, service: str, run_id: str, lease_s: int, write_id: str
    ) -> Lease | Busy:
        """Take the lease until ``lease_s`` from now, or say who has it."""

        def decide(lease: Lease | None) -> Lease | Busy:
            now = self.store.now()
            deadline = rules.deadline_after(now, lease_s)
            return rules.take_lease(lease, run_id, now, deadline, write_id)

        return change_record(
            self.store, layout.lease(self.tenant, environment, service), Lease, decide
        )

    def hold(
        self,
        environment: str,
        service: str,
        run_id: str,
        epoch: int,
        until_s: int | None = None,
        state: Literal["active", "waiting"] = "active",
    ) -> Lease:
        """Prove the lease and set its deadline to ``until_s`` from now (None: leave it).

        Raises:
            FencedError: another run or epoch has it, or it was given back.
        """

        def decide(lease: Lease | None) -> Lease:
            deadline = None
            if until_s is not None:
                deadline = rules.deadline_after(self.store.now(), until_s)
            return rules.renew(lease, run_id, epoch, deadline, _write_id(), state)

        return change_record(
            self.store, layout.lease(self.tenant, environment, service), Lease, decide
        )

    def seize(self, environment: str, service: str, run_id: str, lease_s: int) -> Lease:
        """Take the lease by force for a way back; the present holder is fenced."""

        def decide(lease: Lease | None) -> Lease:
            deadline = rules.deadline_after(self.store.now(), lease_s)
            return rules.seize_lease(lease, run_id, deadline, _write_id())

        return change_record(
            self.store, layout.lease(self.tenant, environment, service), Lease, decide
        )

    def hold_or_given_back(
        self, environment: str, service: str, run_id: str, epoch: int, until_s: int
    ) -> bool:
        """As ``hold``; False where this very run gave this very epoch back already.

        A step whose last act is to give the lease back may be retried after it did.

        Raises:
            FencedError: another run or epoch has it.
        """
        lease, _ = self.lease(environment, service)
        if rules.given_back(lease, run_id, epoch):
            return False
        self.hold(environment, service, run_id, epoch, until_s)
        return True

    def free(self, environment: str, service: str, run_id: str, epoch: int) -> Lease:
        """Give the lease back; a repeat is harmless.

        Raises:
            FencedError: another run or epoch has it.
        """
        return change_record(
            self.store,
            layout.lease(self.tenant, environment, service),
            Lease,
            lambda lease: rules.release(lease, run_id, epoch, _write_id()),
        )

    def wait(self, environment: str, service: str, run_id: str) -> Lease | None:
        """Stand in the queue; None when no lease was ever taken, so that there is none.

        Raises:
            RefusedError: LEASE_BUSY; the queue is full.
        """
        return change_record(
            self.store,
            layout.lease(self.tenant, environment, service),
            Lease,
            lambda lease: lease and rules.enqueue(lease, run_id, _write_id()),
        )

    def unwait(self, environment: str, service: str, run_id: str) -> Lease | None:
        """Leave the queue; a run that does not stand in it changes nothing."""
        return change_record(
            self.store,
            layout.lease(self.tenant, environment, service),
            Lease,
            lambda lease: lease and rules.dequeue(lease, run_id, _write_id()),
        )

    # ---- CURRENT and target records --------------------------------------------------------

    def current(self, environment: str, service: str) -> Current | None:
        return read_record(self.store, layout.current(self.tenant, environment, service), Current)[
            0
        ]

    def set_current(
        self,
        environment: str,
        service: str,
        epoch: int,
        change: Callable[[Current | None], Current | None],
    ) -> Current | None:
        """Apply a pure ``change`` under ``epoch``; None out of it leaves everything as it is.

        Epoch and write id are stamped here. A change that changes nothing writes nothing.

        Raises:
            FencedError: the epoch is older than CURRENT's, or was never given out.
        """

        def decide(current: Current | None) -> Current | None:
            lease, _ = self.lease(environment, service)
            rules.check_current_epoch(current, lease, epoch)
            return _stamped(current, change(current), epoch)

        return change_record(
            self.store, layout.current(self.tenant, environment, service), Current, decide
        )

    def target(self, environment: str, service: str, name: str) -> TargetRecord | None:
        key = layout.target(self.tenant, environment, service, name)
        return read_record(self.store, key, TargetRecord)[0]

    def set_target(
        self,
        environment: str,
        service: str,
        name: str,
        epoch: int,
        change: Callable[[TargetRecord | None], TargetRecord | None],
    ) -> TargetRecord | None:
        """As ``set_current``, for what a target is about to do or was seen to do.

        Raises:
            FencedError: the epoch is not the lease's.
        """

        def decide(record: TargetRecord | None) -> TargetRecord | None:
            lease, _ = self.lease(environment, service)
            rules.check_target_epoch(record, lease, epoch)
            return _stamped(record, change(record), epoch)

        key = layout.target(self.tenant, environment, service, name)
        return change_record(self.store, key, TargetRecord, decide)

    # ---- releases, approvals, adoptions ----------------------------------------------------

    def release_index(self, release_hash: bytes) -> ReleaseIndex | None:
        """What a release is made of; its name is recomputed from it.

        Raises:
            DataError: OBJECT_CORRUPT; the entry belongs to another release.
        """
        key = layout.release(self.tenant, release_hash)
        index, _ = read_record(self.store, key, ReleaseIndex)
        if index is not None:
            _check_release(index, release_hash, key)
        return index

    def put_release_index(self, release_hash: bytes, index: ReleaseIndex) -> None:
        """Raises DataError (OBJECT_CORRUPT) when ``index`` does not make ``release_hash``."""
        key = layout.release(self.tenant, release_hash)
        _check_release(index, release_hash, key)
        if first_stays(self.store, key, index.to_bytes()) != index.to_bytes():
            raise DataError("OBJECT_CORRUPT", "another release stands there", place=key)

    def approvals(self, release_hash: bytes) -> list[tuple[str, bytes]]:
        """(key id, stored record) of each approval, by key id; the records are not verified."""
        prefix = layout.approvals_prefix(self.tenant, release_hash)
        keys = [listed.key for listed in self.store.list(prefix)]
        bodies = [(key.removeprefix(prefix), body_of(self.store, key)) for key in keys]
        return [(key_id, body) for key_id, body in bodies if body is not None]

    def put_approval(self, release_hash: bytes, key_id: str, record: bytes) -> bytes:
        """Store an approval; the first one of a key stays, and what stays is returned."""
        return first_stays(self.store, layout.approval(self.tenant, release_hash, key_id), record)

    def append_adoption(self, environment: str, service: str, record: bytes) -> int:
        """Store an adoption after the latest one; an equal latest one is not repeated."""
        latest = self.latest_adoption(environment, service)
        if latest and latest[1] == record:
            return latest[0]
        start = latest[0] + 1 if latest else 0
        for seq in range(start, start + CHANGE_ATTEMPTS_MAX):
            key = layout.adoption(self.tenant, environment, service, seq)
            if first_stays(self.store, key, record) == record:
                return seq
        raise contended(layout.adoptions_prefix(self.tenant, environment, service))

    def latest_adoption(self, environment: str, service: str) -> tuple[int, bytes] | None:
        """(number, signed record) of the newest adoption; not verified here."""
        return newest(self.store, layout.adoptions_prefix(self.tenant, environment, service), "")

    def adoptions(self, environment: str, service: str) -> list[bytes]:
        """Every signed adoption record, oldest first; not verified here."""
        prefix = layout.adoptions_prefix(self.tenant, environment, service)
        keys = [listed.key for listed in self.store.list(prefix)]
        return [body for key in keys if (body := body_of(self.store, key)) is not None]

    # ---- one run ---------------------------------------------------------------------------

    def look(self, run_id: str, environment: str, percent: int, number: int) -> bytes | None:
        """Digest of the snapshot that this look froze, if it did."""
        key = layout.look(self.tenant, run_id, environment, percent, number)
        stored = self.store.read(key)
        return None if stored is None else _digest(stored.body, key)

    def put_look(
        self, run_id: str, environment: str, percent: int, number: int, digest: bytes
    ) -> bytes:
        """Name the snapshot of a look. The first one stays, and is returned."""
        key = layout.look(self.tenant, run_id, environment, percent, number)
        return _digest(first_stays(self.store, key, cbor.encode(digest)), key)

    def reports_index(self, run_id: str) -> dict[str, bytes] | None:
        """Report kind → digest of a run that has ended."""
        key = layout.reports(self.tenant, run_id)
        stored = self.store.read(key)
        return None if stored is None else _reports(stored.body, key)

    def put_reports_index(self, run_id: str, reports: Mapping[str, bytes]) -> dict[str, bytes]:
        """Close a run's reports. The first index stays, and is returned."""
        key = layout.reports(self.tenant, run_id)
        body = cbor.encode(dict(reports))
        _reports(body, key)
        return _reports(first_stays(self.store, key, body), key)

    # ---- trust -----------------------------------------------------------------------------

    def trust_root(self, version: int) -> bytes | None:
        return body_of(self.store, layout.trust_root(self.tenant, version))

    def put_trust_root(self, version: int, record: bytes) -> None:
        """Raises DataError (TRUST_ROOT_INVALID) when the version has other bytes already."""
        self._put_version(layout.trust_root(self.tenant, version), record)

    def latest_trust_root(self) -> tuple[int, bytes] | None:
        return newest(self.store, layout.trust_roots_prefix(self.tenant), ".cbor")

    def revocations(self, version: int) -> bytes | None:
        return body_of(self.store, layout.revocations(self.tenant, version))

    def put_revocations(self, version: int, record: bytes) -> None:
        """Raises DataError (TRUST_ROOT_INVALID) when the version has other bytes already."""
        self._put_version(layout.revocations(self.tenant, version), record)

    def latest_revocations(self) -> tuple[int, bytes] | None:
        return newest(self.store, layout.revocations_prefix(self.tenant), ".cbor")

    def _put_version(self, key: str, record: bytes) -> None:
        if first_stays(self.store, key, record) != record:
            raise DataError(
                "TRUST_ROOT_INVALID",
                "this version stands there with other bytes",
                place=key,
                hint="publish a new version; none is ever replaced",
            )


def _write_id() -> str:
    """New for every logical write: a pointer never has the same bytes twice."""
    return uuid.uuid4().hex


def _stamped(old: P | None, new: P | None, epoch: int) -> P | None:
    """``new`` under ``epoch``; ``old`` itself when that comes to nothing new.

    The same content under a newer epoch is written: from then on older owners are fenced.
    """
    if new is None:
        return old
    if old and new.model_copy(update={"epoch": epoch, "write_id": old.write_id}) == old:
        return old
    return new.model_copy(update={"epoch": epoch, "write_id": _write_id()})


def _check_release(index: ReleaseIndex, release_hash: bytes, key: str) -> None:
    found = name_of_release(index.manifest_hash, index.certificate_hash)
    if found != release_hash:
        raise DataError(
            "OBJECT_CORRUPT",
            f"its hashes make {to_text(found)}, not {to_text(release_hash)}",
            place=key,
        )


def _digest(body: bytes, key: str) -> bytes:
    value = cbor.decode(body)
    if type(value) is not bytes or len(value) != 32:
        raise DataError("RECORD_INVALID", "not a digest", place=key)
    return value


def _reports(body: bytes, key: str) -> dict[str, bytes]:
    value = cbor.decode(body)
    if type(value) is not dict or not all(
        type(digest) is bytes and len(digest) == 32 for digest in value.values()
    ):
        raise DataError("RECORD_INVALID", "not a map of report kinds to digests", place=key)
    return value
