"""Leases, CURRENT, retention: the pure rules (docs/spec/bytes.md §3, docs/spec/rollout.md §7)."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep import ledger, utc
from lockstep.errors import DataError, FencedError, RefusedError
from lockstep.ledger import Busy, Current, Lease, SafeState, TargetRecord

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
SOON = "2026-11-21T12:01:00Z"
LATER = "2026-11-21T13:00:00Z"
R1, R2, R3 = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32


def lease(
    holder: str = "run-a",
    epoch: int = 3,
    deadline: str = SOON,
    state: str = "active",
    waiters: tuple[str, ...] = (),
) -> Lease:
    return Lease(
        holder=holder,
        epoch=epoch,
        deadline=deadline,
        state=state,
        waiters=list(waiters),
        write_id="w0",
    )


def take(current: Lease | None, run_id: str, now: datetime = NOW) -> Lease | Busy:
    return ledger.take_lease(current, run_id, now, LATER, "w1")


# ---- times ---------------------------------------------------------------------------------


def test_a_deadline_is_rounded_up_to_the_next_second_and_never_down() -> None:
    assert ledger.deadline_after(NOW, 60) == SOON
    assert ledger.deadline_after(NOW + timedelta(microseconds=1), 60) == "2026-11-21T12:01:01Z"
    assert ledger.deadline_after(NOW - timedelta(microseconds=1), 60) == SOON


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    st.integers(0, 10**7),
)
def test_a_lease_lasts_at_least_as_long_as_asked_and_less_than_a_second_more(
    now: datetime, seconds: int
) -> None:
    held = lease(deadline=ledger.deadline_after(now, seconds))
    end = now + timedelta(seconds=seconds)
    assert not ledger.lapsed(held, end - timedelta(microseconds=1))
    assert ledger.lapsed(held, end + timedelta(seconds=1))


def test_a_lease_has_lapsed_on_its_deadline_and_not_a_microsecond_before() -> None:
    minute = timedelta(seconds=60)
    assert ledger.lapsed(lease(deadline=SOON), NOW + minute)
    assert not ledger.lapsed(lease(deadline=SOON), NOW + minute - timedelta(microseconds=1))


# ---- taking --------------------------------------------------------------------------------


def test_the_first_take_has_epoch_one() -> None:
    assert take(None, "run-a") == lease(epoch=1, deadline=LATER).model_copy(
        update={"write_id": "w1"}
    )


@pytest.mark.parametrize("state", ["active", "waiting"])
def test_a_lease_in_force_is_busy_and_says_who_has_it(state: str) -> None:
    assert take(lease(state=state), "run-b") == Busy("run-a", SOON, 3, state)


@pytest.mark.parametrize("state", ["active", "waiting"])
def test_a_lapsed_lease_may_be_taken_under_the_next_epoch(state: str) -> None:
    taken = take(lease(state=state), "run-b", NOW + timedelta(seconds=60))
    assert (taken.holder, taken.epoch, taken.state) == ("run-b", 4, "active")


@pytest.mark.parametrize("run_id", ["run-a", "run-b"])
def test_a_lease_given_back_is_taken_under_the_next_epoch_by_anybody(run_id: str) -> None:
    taken = take(lease(state="free"), run_id)
    assert (taken.holder, taken.epoch) == (run_id, 4)


@pytest.mark.parametrize("now", [NOW, NOW + timedelta(days=1)])
def test_a_run_that_never_gave_it_back_keeps_its_epoch(now: datetime) -> None:
    taken = take(lease(state="waiting"), "run-a", now)
    assert (taken.holder, taken.epoch, taken.state, taken.deadline) == ("run-a", 3, "active", LATER)


def test_taking_leaves_the_queue_and_keeps_the_others_in_order() -> None:
    taken = take(lease(state="free", waiters=("run-b", "run-c", "run-d")), "run-c")
    assert taken.waiters == ["run-b", "run-d"]


def test_seizing_fences_whoever_holds_it() -> None:
    seized = ledger.seize_lease(lease(), "run-b", LATER, "w1")
    assert (seized.holder, seized.epoch) == ("run-b", 4)
    assert ledger.seize_lease(seized, "run-b", LATER, "w2").epoch == 4
    assert ledger.seize_lease(None, "run-b", LATER, "w1").epoch == 1
    with pytest.raises(FencedError):
        ledger.check_held(seized, "run-a", 3)


# ---- holding and giving back ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "run_id", "epoch"),
    [
        (None, "run-a", 1),
        (lease(), "run-a", 2),  # older
        (lease(), "run-a", 4),  # newer than any known
        (lease(), "run-b", 3),
        (lease(state="free"), "run-a", 3),
    ],
)
def test_only_the_holder_under_its_own_epoch_holds(
    held: Lease | None, run_id: str, epoch: int
) -> None:
    for step in (
        lambda: ledger.check_held(held, run_id, epoch),
        lambda: ledger.renew(held, run_id, epoch, LATER, "w1"),
    ):
        with pytest.raises(FencedError) as caught:
            step()
        assert caught.value.code == "FENCED"


def test_renewing_moves_deadline_and_state_and_nothing_else() -> None:
    renewed = ledger.renew(lease(waiters=("run-b",)), "run-a", 3, LATER, "w1", "waiting")
    assert renewed.to_map() == lease(deadline=LATER, state="waiting").to_map() | {
        "waiters": ["run-b"],
        "write_id": "w1",
    }
    assert ledger.renew(lease(deadline=LATER), "run-a", 3, SOON, "w1").deadline == SOON


def test_renewing_without_change_writes_nothing() -> None:
    held = lease()
    assert ledger.renew(held, "run-a", 3, None, "w1") is held
    assert ledger.renew(held, "run-a", 3, SOON, "w1") is held


def test_giving_back_keeps_the_epoch_and_may_be_repeated() -> None:
    freed = ledger.release(lease(), "run-a", 3, "w1")
    assert (freed.state, freed.epoch, freed.holder) == ("free", 3, "run-a")
    assert ledger.release(freed, "run-a", 3, "w2") is freed
    assert ledger.given_back(freed, "run-a", 3)
    assert not ledger.given_back(lease(), "run-a", 3)
    assert not ledger.given_back(freed, "run-a", 2)
    assert not ledger.given_back(None, "run-a", 3)


def test_what_another_run_has_is_not_given_back() -> None:
    for held, run_id, epoch in ((lease(), "run-b", 3), (lease(), "run-a", 2), (None, "run-a", 1)):
        with pytest.raises(FencedError):
            ledger.release(held, run_id, epoch, "w1")


def test_a_queue_keeps_its_order_and_each_run_once() -> None:
    queue = lease()
    for run_id in ("run-b", "run-c", "run-b"):
        queue = ledger.enqueue(queue, run_id, "w1")
    assert queue.waiters == ["run-b", "run-c"]
    left = ledger.dequeue(queue, "run-b", "w2")
    assert left.waiters == ["run-c"]
    assert ledger.dequeue(left, "run-b", "w3") is left


def test_a_full_queue_refuses_one_more() -> None:
    almost = lease(waiters=tuple(f"run-{n}" for n in range(ledger.WAITERS_MAX - 1)))
    full = ledger.enqueue(almost, "run-x", "w1")
    with pytest.raises(RefusedError) as caught:
        ledger.enqueue(full, "run-y", "w2")
    assert caught.value.code == "LEASE_BUSY"
    assert ledger.enqueue(full, "run-x", "w2") is full


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["take", "free", "wait"]))))
def test_epochs_only_grow_and_no_two_runs_ever_hold_one(steps: list[tuple[str, str]]) -> None:
    held, owner_of = None, {}
    for number, (run_id, step) in enumerate(steps):
        before = held.epoch if held else 0
        now, write_id = NOW + timedelta(seconds=40 * number), f"w{number}"
        if step == "take":
            taken = ledger.take_lease(held, run_id, now, ledger.deadline_after(now, 60), write_id)
            held = held if isinstance(taken, Busy) else taken
        elif held and step == "wait":
            held = ledger.enqueue(held, run_id, write_id)
        elif held and held.holder == run_id:
            held = ledger.release(held, run_id, held.epoch, write_id)
        if held:
            assert held.epoch - before in (0, 1)
            assert owner_of.setdefault(held.epoch, held.holder) == held.holder


# ---- fencing of pointers -------------------------------------------------------------------


def current(epoch: int = 2, **fields: object) -> Current:
    return Current(**{"withdrawn": [], "epoch": epoch, "write_id": "w0", **fields})


@pytest.mark.parametrize("epoch", [2, 3])
def test_current_takes_its_own_epoch_up_to_the_leases(epoch: int) -> None:
    ledger.check_current_epoch(current(), lease(), epoch)
    ledger.check_current_epoch(None, lease(), epoch)


@pytest.mark.parametrize("epoch", [-1, 0, 1, 4])
def test_current_refuses_older_epochs_and_newer_than_known(epoch: int) -> None:
    with pytest.raises(FencedError):
        ledger.check_current_epoch(current(), lease(), epoch)


def test_nothing_is_written_under_a_lease_that_was_never_taken() -> None:
    for epoch in (0, 1):
        with pytest.raises(FencedError):
            ledger.check_current_epoch(None, None, epoch)
    with pytest.raises(FencedError):
        ledger.check_target_epoch(None, None, 1)


def target(epoch: int) -> TargetRecord:
    return TargetRecord(
        desired_weight=5,
        owner_run="run-a",
        epoch=epoch,
        safe_state=SafeState(weight=0),
        phase="intent",
        write_id="w0",
    )


def test_a_target_takes_the_leases_epoch_and_no_other() -> None:
    ledger.check_target_epoch(None, lease(), 3)
    ledger.check_target_epoch(target(2), lease(), 3)
    for epoch in (2, 4):
        with pytest.raises(FencedError):
            ledger.check_target_epoch(target(2), lease(), epoch)
    with pytest.raises(FencedError):
        ledger.check_target_epoch(target(4), lease(), 3)


# ---- CURRENT -------------------------------------------------------------------------------


def facts(record: Current) -> tuple[object, object, list[bytes]]:
    return record.serving, record.last_good, record.withdrawn


def test_serving_moves_first_and_last_good_follows_the_commit() -> None:
    passed = ledger.served(current(serving=R1, last_good=R1), R2)
    assert facts(passed) == (R2, R1, [])
    assert facts(ledger.made_good(passed, R2)) == (R2, R2, [])


def test_a_commit_changes_nothing_where_another_release_serves_by_now() -> None:
    assert ledger.made_good(current(serving=R3, last_good=R1), R2) is None
    assert ledger.made_good(None, R2) is None


def test_a_release_rolled_back_from_is_withdrawn_once() -> None:
    back = ledger.rolled_back(current(serving=R2, last_good=R1), R1, R2)
    assert facts(back) == (R1, R1, [R2])
    assert facts(ledger.rolled_back(back, R1, R2)) == (R1, R1, [R2])
    assert facts(ledger.rolled_back(back, R1, R3)) == (R1, R1, [R2, R3])


def test_a_first_release_rolled_back_from_leaves_nothing_serving() -> None:
    assert facts(ledger.rolled_back(None, None, R1)) == (None, None, [R1])


def test_a_withdrawn_release_is_good_again_once_it_is_committed_or_adopted() -> None:
    again = ledger.served(current(serving=R1, last_good=R1, withdrawn=[R2, R3]), R2)
    assert again.withdrawn == [R2, R3]
    assert facts(ledger.made_good(again, R2)) == (R2, R2, [R3])
    assert facts(ledger.adopted(again, R3)) == (R3, R3, [R2])
    assert facts(ledger.adopted(None, R3)) == (R3, R3, [])


# ---- records -------------------------------------------------------------------------------


def test_records_are_closed_and_come_back_as_they_were_written() -> None:
    for record in (lease(waiters=("run-b",)), current(serving=R1), target(3)):
        assert type(record).from_bytes(record.to_bytes()) == record
        with pytest.raises(DataError):
            type(record).from_map(record.to_map() | {"more": 1})
    assert "serving" not in current().to_map()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epoch", 0),
        ("epoch", True),
        ("holder", "../x"),
        ("holder", ""),
        ("deadline", "2026-11-21 12:00:00"),
        ("state", "gone"),
        ("waiters", ["a/b"]),
        ("write_id", ""),
    ],
)
def test_a_lease_with_a_wrong_field_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(DataError) as caught:
        Lease.from_map(lease().to_map() | {field: value})
    assert caught.value.code == "RECORD_INVALID"
    assert f"Lease.{field}" in caught.value.cause


# ---- retention -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retention_class", "days"),
    [("golden", 3650), ("certified_release", 400), ("experimental", 90), ("ephemeral", 7)],
)
def test_a_window_ends_on_the_first_midnight_after_it(retention_class: str, days: int) -> None:
    midnight_us = utc.to_seconds("2026-11-21T00:00:00Z") * 1_000_000
    end = utc.plus_days("2026-11-21T00:00:00Z", days)
    assert ledger.eligible_after(retention_class, midnight_us) == end
    assert ledger.eligible_after(retention_class, midnight_us + 1) == utc.plus_days(end, 1)
    assert ledger.eligible_after(retention_class, midnight_us - 1) == end


def test_a_policy_may_name_its_own_window() -> None:
    assert ledger.eligible_after("ephemeral", 0, keep_days=30) == "1970-01-31T00:00:00Z"
    assert ledger.eligible_after("ephemeral", 0, keep_days=0) == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize(("retention_class", "days"), [("other", None), ("golden", -1)])
def test_an_unknown_class_or_a_negative_window_is_refused(
    retention_class: str, days: int | None
) -> None:
    with pytest.raises(DataError) as caught:
        ledger.eligible_after(retention_class, 0, days)
    assert caught.value.code == "RECORD_INVALID"
