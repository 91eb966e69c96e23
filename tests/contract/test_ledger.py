"""Leases, pointers and indexes over every store (docs/spec/bytes.md §3, rollout.md §7)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activities.adapters.store import Ledger
from lockstep import cbor, hashes, layout
from lockstep import ledger as rules
from lockstep.errors import FencedError
from lockstep.ledger import Busy, Current, Lease, ReleaseIndex, SafeState, TargetRecord
from lockstep.ports import Store
from tests.stores import behind, code_of

TENANT, RUN, OTHER_RUN = "acme", "00aa11bb22cc33dd", "ff00ff00ff00ff00"
ENV, SERVICE = "prod", "checkout"
R1, R2 = b"\x01" * 32, b"\x02" * 32


# ---- leases --------------------------------------------------------------------------------


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store, TENANT)


class Clocked:
    """A store whose time a test sets; everything else is the real store's."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.url = store.url
        self.time = datetime(2026, 11, 21, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_a_lease_is_taken_held_given_back_and_taken_again(ledger: Ledger) -> None:
    assert ledger.lease(ENV, SERVICE) == (None, None)
    taken = ledger.take(ENV, SERVICE, RUN, 60, "w1")
    assert (taken.holder, taken.epoch, taken.write_id) == (RUN, 1, "w1")
    assert ledger.lease(ENV, SERVICE)[0] == taken
    busy = ledger.take(ENV, SERVICE, OTHER_RUN, 60, "w2")
    assert busy == Busy(RUN, taken.deadline, 1, "active")
    assert ledger.take(ENV, SERVICE, RUN, 60, "w1").epoch == 1
    ledger.free(ENV, SERVICE, RUN, 1)
    ledger.free(ENV, SERVICE, RUN, 1)
    assert ledger.take(ENV, SERVICE, OTHER_RUN, 60, "w2").epoch == 2
    assert code_of(lambda: ledger.free(ENV, SERVICE, RUN, 1)) == "FENCED"


def test_leases_are_judged_by_the_stores_time(store: Store) -> None:
    clocked = Clocked(store)
    ledger = Ledger(clocked, TENANT)
    taken = ledger.take(ENV, SERVICE, RUN, 60, "w1")
    assert taken.deadline == "2026-11-21T12:01:00Z"
    clocked.time += timedelta(seconds=59, microseconds=999_999)
    assert isinstance(ledger.take(ENV, SERVICE, OTHER_RUN, 60, "w2"), Busy)
    clocked.time += timedelta(microseconds=1)
    assert ledger.take(ENV, SERVICE, OTHER_RUN, 60, "w2").epoch == 2
    assert code_of(lambda: ledger.hold(ENV, SERVICE, RUN, 1)) == "FENCED"


def test_a_lease_that_lapsed_and_nobody_took_is_still_held(store: Store) -> None:
    clocked = Clocked(store)
    ledger = Ledger(clocked, TENANT)
    ledger.take(ENV, SERVICE, RUN, 60, "w1")
    clocked.time += timedelta(days=1, microseconds=1)
    assert ledger.hold(ENV, SERVICE, RUN, 1, until_s=30).deadline == "2026-11-22T12:00:31Z"


def test_holding_proves_the_epoch_and_sets_deadline_and_state(ledger: Ledger) -> None:
    taken = ledger.take(ENV, SERVICE, RUN, 60, "w1")
    assert ledger.hold(ENV, SERVICE, RUN, 1) == taken
    waiting = ledger.hold(ENV, SERVICE, RUN, 1, until_s=3600, state="waiting")
    assert (waiting.state, waiting.deadline > taken.deadline) == ("waiting", True)
    assert waiting.write_id != taken.write_id
    for run_id, epoch in ((RUN, 0), (RUN, 2), (OTHER_RUN, 1)):
        with pytest.raises(FencedError):
            ledger.hold(ENV, SERVICE, run_id, epoch, until_s=60)
    assert ledger.lease(ENV, SERVICE)[0] == waiting


def test_a_step_after_giving_back_is_told_so_until_somebody_takes_the_lease(ledger: Ledger) -> None:
    ledger.take(ENV, SERVICE, RUN, 60, "w1")
    assert ledger.hold_or_given_back(ENV, SERVICE, RUN, 1, until_s=60) is True
    ledger.free(ENV, SERVICE, RUN, 1)
    assert ledger.hold_or_given_back(ENV, SERVICE, RUN, 1, until_s=60) is False
    ledger.take(ENV, SERVICE, OTHER_RUN, 60, "w2")
    assert code_of(lambda: ledger.hold_or_given_back(ENV, SERVICE, RUN, 1, until_s=60)) == "FENCED"


def test_a_seized_lease_fences_its_holder_and_a_repeat_keeps_the_epoch(ledger: Ledger) -> None:
    ledger.take(ENV, SERVICE, RUN, 60, "w1")
    assert ledger.seize(ENV, SERVICE, OTHER_RUN, 60).epoch == 2
    assert ledger.seize(ENV, SERVICE, OTHER_RUN, 60).epoch == 2
    assert code_of(lambda: ledger.hold(ENV, SERVICE, RUN, 1)) == "FENCED"


def test_waiting_runs_stand_in_order(ledger: Ledger) -> None:
    assert ledger.wait(ENV, SERVICE, OTHER_RUN) is None
    ledger.take(ENV, SERVICE, RUN, 60, "w1")
    for run_id in ("b", "c", "b"):
        ledger.wait(ENV, SERVICE, run_id)
    assert ledger.lease(ENV, SERVICE)[0].waiters == ["b", "c"]
    ledger.unwait(ENV, SERVICE, "b")
    assert ledger.unwait(ENV, SERVICE, "b").waiters == ["c"]
    assert ledger.lease(ENV, SERVICE)[0].holder == RUN


def test_of_many_runs_that_want_a_lease_one_has_it_at_a_time(store: Store) -> None:
    inside: list[str] = []
    epochs: list[int] = []

    def work(number: int) -> None:
        ledger, run_id = Ledger(store, TENANT), f"run-{number}"
        while True:
            taken = ledger.take(ENV, SERVICE, run_id, 60, f"w{number}")
            if isinstance(taken, Lease):
                break
        inside.append(run_id)
        assert inside == [run_id]
        epochs.append(taken.epoch)
        inside.remove(run_id)
        ledger.free(ENV, SERVICE, run_id, taken.epoch)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work, number) for number in range(4)]:
            future.result()
    assert sorted(epochs) == [1, 2, 3, 4]


# ---- CURRENT and targets -------------------------------------------------------------------


def test_current_moves_under_its_epoch_and_a_repeat_writes_nothing(ledger: Ledger) -> None:
    assert ledger.current(ENV, SERVICE) is None
    ledger.take(ENV, SERVICE, RUN, 60, "w1")
    first = ledger.set_current(ENV, SERVICE, 1, lambda now: rules.served(now, R1))
    assert (first.serving, first.epoch) == (R1, 1)
    assert ledger.current(ENV, SERVICE) == first
    assert ledger.set_current(ENV, SERVICE, 1, lambda now: rules.served(now, R1)) == first
    assert ledger.set_current(ENV, SERVICE, 1, lambda _: None) == first
    good = ledger.set_current(ENV, SERVICE, 1, lambda now: rules.made_good(now, R1))
    assert (good.last_good, good.write_id != first.write_id) == (R1, True)


def test_current_refuses_older_owners_and_epochs_nobody_was_given(ledger: Ledger) -> None:
    def change(now: Current | None) -> Current:
        return rules.served(now, R1)

    assert code_of(lambda: ledger.set_current(ENV, SERVICE, 1, change)) == "FENCED"
    ledger.take(ENV, SERVICE, RUN, 60, "w1")
    ledger.set_current(ENV, SERVICE, 1, change)
    ledger.seize(ENV, SERVICE, OTHER_RUN, 60)
    # The same content under the new epoch is written, and shuts the older owner out.
    assert ledger.set_current(ENV, SERVICE, 2, change).epoch == 2
    for epoch in (0, 1, 3):
        assert code_of(lambda epoch=epoch: ledger.set_current(ENV, SERVICE, epoch, change)) == (
            "FENCED"
        )


def target_at(weight: int, phase: str = "intent") -> Callable[[TargetRecord | None], TargetRecord]:
    def change(_: TargetRecord | None) -> TargetRecord:
        return TargetRecord(
            desired_weight=weight,
            owner_run=RUN,
            epoch=1,
            stable_release=R1,
            canary_release=R2,
            safe_state=SafeState(release=R1, weight=100),
            phase=phase,
            write_id=rules.UNWRITTEN,
        )

    return change


def test_a_target_is_announced_then_confirmed_under_the_lease_in_force(ledger: Ledger) -> None:
    ledger.take(ENV, SERVICE, RUN, 60, "w1")
    intent = ledger.set_target(ENV, SERVICE, "cell-1", 1, target_at(5))
    assert ledger.target(ENV, SERVICE, "cell-1") == intent
    done = ledger.set_target(ENV, SERVICE, "cell-1", 1, target_at(5, "done"))
    assert (done.phase, done.write_id != intent.write_id) == ("done", True)
    ledger.seize(ENV, SERVICE, OTHER_RUN, 60)
    for epoch in (1, 3):
        with pytest.raises(FencedError):
            ledger.set_target(ENV, SERVICE, "cell-1", epoch, target_at(25))
    assert ledger.target(ENV, SERVICE, "cell-1") == done
    assert ledger.target(ENV, SERVICE, "cell-2") is None


def test_changes_side_by_side_are_all_applied(store: Store) -> None:
    Ledger(store, TENANT).take(ENV, SERVICE, RUN, 60, "w1")

    def work(number: int) -> None:
        gone = bytes([number]) * 32
        Ledger(store, TENANT).set_current(
            ENV, SERVICE, 1, lambda now: rules.rolled_back(now, R1, gone)
        )

    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(work, number) for number in range(10, 22)]:
            future.result()
    withdrawn = Ledger(store, TENANT).current(ENV, SERVICE).withdrawn
    assert sorted(withdrawn) == [bytes([number]) * 32 for number in range(10, 22)]


def test_a_pointer_that_cannot_be_read_is_never_overwritten(ledger: Ledger) -> None:
    key = layout.lease(TENANT, ENV, SERVICE)
    ledger.store.create(key, b"\xff")
    for call in (
        lambda: ledger.take(ENV, SERVICE, RUN, 60, "w1"),
        lambda: ledger.seize(ENV, SERVICE, RUN, 60),
        lambda: ledger.lease(ENV, SERVICE),
    ):
        assert code_of(call) == "CBOR_INVALID"
    assert ledger.store.read(key).body == b"\xff"


# ---- indexes -------------------------------------------------------------------------------


def test_a_release_is_found_by_a_name_that_its_parts_make(ledger: Ledger) -> None:
    index = ReleaseIndex(manifest_hash=R1, certificate_hash=R2)
    name = hashes.release_hash(R1, R2)
    assert ledger.release_index(name) is None
    ledger.put_release_index(name, index)
    ledger.put_release_index(name, index)
    assert ledger.release_index(name) == index
    assert code_of(lambda: ledger.put_release_index(R1, index)) == "OBJECT_CORRUPT"
    behind(
        ledger.store,
        layout.release(TENANT, name),
        ReleaseIndex(manifest_hash=R2, certificate_hash=R2).to_bytes(),
    )
    assert code_of(lambda: ledger.release_index(name)) == "OBJECT_CORRUPT"


def test_the_first_approval_of_a_key_stays(ledger: Ledger) -> None:
    assert ledger.approvals(R1) == []
    assert ledger.put_approval(R1, "key-b", b"first") == b"first"
    assert ledger.put_approval(R1, "key-b", b"second") == b"first"
    ledger.put_approval(R1, "key-a", b"third")
    ledger.put_approval(R2, "key-c", b"elsewhere")
    assert ledger.approvals(R1) == [("key-a", b"third"), ("key-b", b"first")]


def test_adoptions_are_numbered_and_an_equal_one_is_not_repeated(ledger: Ledger) -> None:
    assert ledger.latest_adoption(ENV, SERVICE) is None
    numbers = [ledger.append_adoption(ENV, SERVICE, body) for body in (b"1", b"1", b"2", b"1")]
    assert numbers == [0, 0, 1, 2]
    assert ledger.latest_adoption(ENV, SERVICE) == (2, b"1")
    assert ledger.adoptions(ENV, SERVICE) == [b"1", b"2", b"1"]


def test_adoptions_side_by_side_are_all_kept(store: Store) -> None:
    def work(number: int) -> int:
        return Ledger(store, TENANT).append_adoption(ENV, SERVICE, b"record %d" % number)

    with ThreadPoolExecutor(5) as pool:
        numbers = list(pool.map(work, range(5)))
    assert sorted(numbers) == [0, 1, 2, 3, 4]
    assert sorted(Ledger(store, TENANT).adoptions(ENV, SERVICE)) == [
        b"record %d" % number for number in range(5)
    ]


def test_the_first_snapshot_of_a_look_stays(ledger: Ledger) -> None:
    where = (RUN, ENV, 25, 0)
    assert ledger.look(*where) is None
    assert ledger.put_look(*where, R1) == R1
    assert ledger.put_look(*where, R2) == R1
    assert ledger.look(*where) == R1
    assert ledger.look(RUN, ENV, 25, 1) is None
    behind(ledger.store, layout.look(TENANT, *where), cbor.encode("text"))
    assert code_of(lambda: ledger.look(*where)) == "RECORD_INVALID"


def test_the_first_index_of_reports_stays(ledger: Ledger) -> None:
    assert ledger.reports_index(RUN) is None
    assert ledger.put_reports_index(RUN, {"gate_report": R1}) == {"gate_report": R1}
    assert ledger.put_reports_index(RUN, {"gate_report": R2}) == {"gate_report": R1}
    assert ledger.reports_index(RUN) == {"gate_report": R1}
    assert code_of(lambda: ledger.put_reports_index(OTHER_RUN, {"x": b"short"})) == "RECORD_INVALID"


def test_the_latest_version_of_trust_data_is_the_highest_number_not_the_last_name(
    ledger: Ledger,
) -> None:
    assert ledger.latest_trust_root() is None
    for version in (1, 2, 9, 10):
        ledger.put_trust_root(version, b"root %d" % version)
        ledger.put_revocations(version, b"bundle %d" % version)
    assert ledger.latest_trust_root() == (10, b"root 10")
    assert ledger.latest_revocations() == (10, b"bundle 10")
    assert (ledger.trust_root(9), ledger.trust_root(3)) == (b"root 9", None)
    assert (ledger.revocations(9), ledger.revocations(3)) == (b"bundle 9", None)


def test_a_published_version_is_never_replaced(ledger: Ledger) -> None:
    ledger.put_trust_root(1, b"root")
    ledger.put_trust_root(1, b"root")
    assert code_of(lambda: ledger.put_trust_root(1, b"other")) == "TRUST_ROOT_INVALID"
    assert ledger.trust_root(1) == b"root"
