"""Objects by digest and the log of a run over every store (docs/spec/bytes.md §3 and §6)."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from activities.adapters.store import Cas, Ledger, WalStore
from activities.adapters.store import cas as cas_module
from lockstep import cbor, layout
from lockstep import ledger as rules
from lockstep.commit import RecoveryAction, committed_from, recovery_action
from lockstep.digest import sha256, to_text
from lockstep.errors import DataError, RefusedError
from lockstep.ledger import RetentionBatch
from lockstep.ports import Store
from lockstep.wal import FINALIZE_FIELDS, WalRecord
from tests.stores import behind, code_of

TENANT, RUN, OTHER_RUN = "acme", "00aa11bb22cc33dd", "ff00ff00ff00ff00"
ENV, SERVICE = "prod", "checkout"
NOW_US = 1_795_000_000_000_000
R1, R2 = b"\x01" * 32, b"\x02" * 32


# ---- objects -------------------------------------------------------------------------------


def test_an_object_comes_back_by_its_digest_and_a_repeat_is_harmless(store: Store) -> None:
    cas = Cas(store, TENANT)
    digest = cas.put(b"object")
    assert digest == cas.put(b"object") == sha256(b"object")
    assert cas.get(digest) == b"object"
    assert (cas.has(digest), cas.has(sha256(b"other"))) == (True, False)
    text = digest.hex()
    assert [x.key for x in store.list("")] == [f"cas/{TENANT}/sha256/{text[:2]}/{text[2:]}"]


def test_an_absent_object_is_missing_and_named(store: Store) -> None:
    digest = sha256(b"object")
    with pytest.raises(DataError) as caught:
        Cas(store, TENANT).get(digest)
    assert (caught.value.code, caught.value.place) == ("OBJECT_MISSING", layout.cas(TENANT, digest))
    assert to_text(digest) in caught.value.cause


def test_an_object_that_was_changed_is_corrupt_at_every_call(store: Store) -> None:
    cas = Cas(store, TENANT)
    digest = cas.put(b"object")
    key = layout.cas(TENANT, digest)
    assert cas.get(digest) == b"object"
    behind(store, key, b"objecT")
    for call in (lambda: cas.get(digest), lambda: cas.has(digest), lambda: cas.put(b"object")):
        with pytest.raises(DataError) as caught:
            call()
        assert (caught.value.code, caught.value.place) == ("OBJECT_CORRUPT", key)
        assert to_text(digest) in caught.value.cause
        assert to_text(sha256(b"objecT")) in caught.value.cause


def test_many_objects_are_announced_in_one_batch_before_the_first_is_stored(store: Store) -> None:
    seen: list[str] = []

    class Watched:
        url = store.url

        def create(self, key: str, body: bytes) -> Any:
            seen.append(key)
            return store.create(key, body)

    objects = [b"b", b"a", b"b", *(b"%d" % number for number in range(20))]
    digests = Cas(Watched(), TENANT).put_all(objects, RUN, 7, now_us=NOW_US)
    assert digests == [sha256(body) for body in objects]
    assert seen[0] == layout.retention(TENANT, RUN, 7)
    batch = RetentionBatch.from_bytes(store.read(seen[0]).body)
    assert batch.digests == sorted(set(digests))
    assert batch.retention_class == "experimental"
    assert batch.gc_eligible_after_utc == rules.eligible_after("experimental", NOW_US)
    cas = Cas(store, TENANT)
    assert [cas.get(digest) for digest in digests] == objects


def test_a_retried_batch_is_found_again_and_another_takes_the_next_number(store: Store) -> None:
    cas = Cas(store, TENANT)
    prefix = layout.retention_prefix(TENANT, RUN)
    for now_us in (NOW_US, NOW_US + 1):  # the retry comes a little later the same day
        cas.put_all([b"one"], RUN, 0, now_us=now_us, retention_class="golden")
    assert [x.key for x in store.list(prefix)] == [layout.retention(TENANT, RUN, 0)]
    cas.put_all([b"two"], RUN, 0, now_us=NOW_US)
    assert [x.key for x in store.list(prefix)][1:] == [layout.retention(TENANT, RUN, 1)]


def test_a_crowd_of_foreign_batches_is_an_error_and_no_object_is_stored(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cas_module, "BATCH_SEQS_MAX", 3)
    for seq in range(3):
        store.create(layout.retention(TENANT, RUN, seq), b"foreign")
    cas = Cas(store, TENANT)
    assert code_of(lambda: cas.put_all([b"x"], RUN, 0, now_us=NOW_US)) == "STORE_ANSWER_UNKNOWN"
    assert not cas.has(sha256(b"x"))


# ---- tenants -------------------------------------------------------------------------------


@pytest.mark.parametrize("tenant", ["", "..", ".", "a/b", "a/../b", "ä"])
def test_a_tenant_that_is_more_than_one_component_is_refused(store: Store, tenant: str) -> None:
    for make in (
        Cas,
        Ledger,
        lambda s, t: WalStore(s, t, RUN),
        lambda s, t: WalStore(s, TENANT, t),
    ):
        assert code_of(lambda make=make: make(store, tenant)) == "NAME_INVALID"


def test_no_name_leads_into_another_tenants_part(store: Store) -> None:
    digest = Cas(store, "other").put(b"object")
    cas, ledger = Cas(store, TENANT), Ledger(store, TENANT)
    assert code_of(lambda: cas.get(digest)) == "OBJECT_MISSING"
    for call in (
        lambda: ledger.lease("../../other", SERVICE),
        lambda: ledger.take(ENV, "..", RUN, 60, "w"),
        lambda: ledger.current("a/b", SERVICE),
        lambda: ledger.target(ENV, SERVICE, "../x"),
        lambda: ledger.put_approval(R1, "../../x", b""),
        lambda: ledger.look("../x", ENV, 1, 0),
        lambda: cas.put_all([b"x"], "../x", 0, now_us=NOW_US),
    ):
        assert code_of(call) == "NAME_INVALID"


# ---- the log -------------------------------------------------------------------------------

FINAL = {name: bytes([number]) * 32 for number, name in enumerate(FINALIZE_FIELDS)}


@pytest.fixture
def wal(store: Store) -> WalStore:
    return WalStore(store, TENANT, RUN)


def finished(wal: WalStore) -> WalRecord:
    wal.append("PREPARE", {"policy_hash": R1})
    wal.append("CERT_SIGNED", {"certificate_hash": R2})
    return wal.append("FINALIZE", FINAL)


def test_a_log_is_read_as_it_was_written(wal: WalStore) -> None:
    assert wal.read().records == ()
    last = finished(wal)
    state = wal.read()
    assert [record.record_type for record in state.records] == [
        "PREPARE",
        "CERT_SIGNED",
        "FINALIZE",
    ]
    assert (state.last, state.terminal, state.terminal_hash) == (last, True, last.record_hash)
    assert [listed.key for listed in wal.store.list("")] == [
        layout.wal_record(TENANT, RUN, seq) for seq in range(3)
    ]


def test_an_equal_record_at_the_end_is_not_repeated_and_an_ended_run_takes_no_other(
    wal: WalStore,
) -> None:
    first = wal.append("PREPARE", {"n": 1})
    assert wal.append("PREPARE", {"n": 1}) == first
    assert wal.append("PREPARE", {"n": 2}).wal_seq == 1
    last = wal.append("FINALIZE", FINAL)
    assert wal.append("FINALIZE", FINAL) == last
    assert code_of(lambda: wal.append("ROLLBACK", {})) == "RUN_ENDED"
    assert len(wal.read().records) == 3


def test_writers_side_by_side_leave_one_sound_log_with_one_end(store: Store) -> None:
    gate = threading.Barrier(6)

    def work(number: int) -> str:
        wal = WalStore(store, TENANT, RUN)
        gate.wait()
        try:
            wal.append("PREPARE", {"same": True})
            return wal.append("FINALIZE" if number % 2 else "ROLLBACK", FINAL).record_type
        except RefusedError as error:
            return error.code

    with ThreadPoolExecutor(6) as pool:
        told = list(pool.map(work, range(6)))
    state = WalStore(store, TENANT, RUN).read()
    assert [record.record_type for record in state.records] == ["PREPARE", state.last_type]
    assert state.terminal
    assert set(told) <= {state.last_type, "RUN_ENDED"}


def broken_by(change: str, wal: WalStore) -> None:
    """Damage a finished log behind the store's back."""
    store, second = wal.store, layout.wal_record(TENANT, RUN, 1)
    records = wal.read().records
    if change == "a gap":
        store.create(layout.wal_record(TENANT, RUN, 4), records[2].to_bytes())
    elif change == "a foreign name":
        store.create(layout.wal_prefix(TENANT, RUN) + "notes", b"")
    elif change == "a changed payload":
        behind(store, second, records[1].model_copy(update={"payload": {"x": 1}}).to_bytes())
    elif change == "a repeated record":
        behind(store, second, records[0].to_bytes())
    elif change == "half a record":
        behind(store, second, records[1].to_bytes()[:-5])
    elif change == "a record after the end":
        store.create(layout.wal_record(TENANT, RUN, 3), records[2].to_bytes())


@pytest.mark.parametrize(
    "change",
    [
        "a gap",
        "a foreign name",
        "a changed payload",
        "a repeated record",
        "half a record",
        "a record after the end",
    ],
)
def test_a_damaged_log_is_found_and_left_as_it_is(wal: WalStore, change: str) -> None:
    finished(wal)
    broken_by(change, wal)
    before = [(listed.key, wal.store.read(listed.key)) for listed in wal.store.list("")]
    for call in (wal.read, lambda: wal.append("ROLLBACK", {})):
        with pytest.raises(DataError) as caught:
            call()
        assert caught.value.code == "WAL_CORRUPTION"
        assert layout.wal_prefix(TENANT, RUN) in caught.value.place
    assert [(listed.key, wal.store.read(listed.key)) for listed in wal.store.list("")] == before


@pytest.mark.parametrize(("tenant", "run_id"), [("other", RUN), (TENANT, OTHER_RUN)])
def test_a_log_copied_from_another_run_or_tenant_is_found(
    store: Store, wal: WalStore, tenant: str, run_id: str
) -> None:
    finished(WalStore(store, tenant, run_id))
    for seq in range(3):
        body = store.read(layout.wal_record(tenant, run_id, seq)).body
        store.create(layout.wal_record(TENANT, RUN, seq), body)
    assert code_of(wal.read) == "WAL_CORRUPTION"


def test_a_run_is_committed_once_and_a_repeat_is_harmless(wal: WalStore) -> None:
    assert wal.committed() is None
    pointer = committed_from(finished(wal))
    assert recovery_action(wal.read(), wal.committed()) is RecoveryAction.ROLL_FORWARD
    wal.publish(pointer)
    wal.publish(pointer)
    assert wal.committed() == pointer
    assert recovery_action(wal.read(), wal.committed()) is RecoveryAction.COMMITTED


def test_another_pointer_is_a_conflict_and_stays(wal: WalStore) -> None:
    pointer = committed_from(finished(wal))
    other = pointer.model_copy(update={"checkpoint_hash": R2})
    wal.publish(other)
    assert code_of(lambda: wal.publish(pointer)) == "COMMITTED_CONFLICT"
    assert wal.committed() == other
    assert recovery_action(wal.read(), wal.committed()) is RecoveryAction.CONFLICT


def test_a_pointer_that_cannot_be_read_is_refused_by_its_key(wal: WalStore) -> None:
    key = layout.committed(TENANT, RUN)
    wal.store.create(key, cbor.encode({"trace_tail_hash": R1}))
    with pytest.raises(DataError) as caught:
        wal.committed()
    assert (caught.value.code, caught.value.place) == ("RECORD_INVALID", key)
