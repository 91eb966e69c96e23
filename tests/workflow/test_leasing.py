"""Waiting for an environment in turn, keeping it, giving it back, and the order before it."""

import threading
from collections.abc import Callable

import pytest
from temporalio.exceptions import FailureError
from temporalio.testing import ActivityEnvironment

from activities import leasing, tracing
from activities.leasing import LeaseActivities
from lockstep.errors import DataError
from lockstep.ledger import Lease
from lockstep.messages import AcquireRequest, Done, HoldRequest, WaitForLeaseRequest
from lockstep.policy import COHORTS_DEFAULT
from tests.processes import wait_until
from tests.workflow.place import SERVICE, Place, performed, refused
from tests.workflow.test_tracing import record

ENV = "dev"
A, B, C = "a" * 16, "b" * 16, "c" * 16
WAIT_MAX_S = 20.0
SOME_LOOKS_S = 0.1


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leasing, "POLL_S", 0.01)
    monkeypatch.setattr(leasing, "TURN_S", 0.4)


class Waiter:
    """One run in the line, in a thread as in a worker."""

    def __init__(self, place: Place, run_id: str) -> None:
        self.place = place
        self.environment = ActivityEnvironment()
        request = WaitForLeaseRequest(run=place.other_run(run_id), environment=ENV)
        self.answers: list[object] = []
        self._thread = threading.Thread(target=self._wait, args=(request,), daemon=True)
        self._thread.start()
        wait_until(lambda: run_id in waiters(place), f"{run_id} stands in the line")

    def _wait(self, request: WaitForLeaseRequest) -> None:
        try:
            answer = self.environment.run(LeaseActivities(self.place.bench).wait, request)
        except FailureError as error:
            answer = error
        self.answers.append(answer)

    def goes_within(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def join(self) -> object:
        self._thread.join(WAIT_MAX_S)
        (answer,) = self.answers
        return answer


def lease_of(place: Place) -> Lease | None:
    return place.bench.ledger.lease(ENV, SERVICE)[0]


def waiters(place: Place) -> list[str]:
    lease = lease_of(place)
    return list(lease.waiters) if lease else []


def take(place: Place, run_id: str, lease_s: int = 60) -> Lease:
    lease = place.bench.ledger.take(ENV, SERVICE, run_id, lease_s, run_id)
    assert isinstance(lease, Lease)
    return lease


def free(place: Place, run_id: str) -> None:
    place.bench.ledger.free(ENV, SERVICE, run_id, lease_of(place).epoch)


# ---- waiting -------------------------------------------------------------------------------


def test_nobody_waits_where_no_lease_was_ever_taken(place: Place) -> None:
    request = WaitForLeaseRequest(run=place.run, environment=ENV)
    assert performed(LeaseActivities(place.bench).wait, request) == Done()


def test_one_further_back_does_not_go_while_another_stands_before_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leasing, "TURN_S", 1_000.0)
    take(place, A)
    place.bench.ledger.wait(ENV, SERVICE, B)
    second = Waiter(place, C)
    assert waiters(place) == [B, C]
    free(place, A)
    assert not second.goes_within(SOME_LOOKS_S)
    take(place, B)  # taking leaves the line
    free(place, B)
    assert second.join() == Done()


def test_nobody_goes_while_the_lease_is_held(place: Place) -> None:
    take(place, A)
    waiter = Waiter(place, B)
    assert not waiter.goes_within(SOME_LOOKS_S)
    free(place, A)
    assert waiter.join() == Done()


def test_one_that_waits_and_never_takes_does_not_block_the_line(place: Place) -> None:
    take(place, A)
    dead = place.bench.ledger.wait(ENV, SERVICE, B)
    assert dead.waiters == [B]
    alive = Waiter(place, C)
    free(place, A)
    assert alive.join() == Done()
    assert B in waiters(place)


def test_one_that_is_told_to_stop_waiting_leaves_the_line(place: Place) -> None:
    take(place, A)
    waiter = Waiter(place, B)
    waiter.environment.cancel()
    assert isinstance(waiter.join(), FailureError)
    assert waiters(place) == []


def test_a_lapsed_lease_is_as_good_as_a_free_one(place: Place) -> None:
    take(place, A, lease_s=1)
    assert Waiter(place, B).join() == Done()


def test_waiting_for_another_tenants_environment_is_refused(place: Place) -> None:
    run = place.run.model_copy(update={"tenant_id": "other"})
    request = WaitForLeaseRequest(run=run, environment=ENV)
    assert refused(LeaseActivities(place.bench).wait, request).type == "NOT_AUTHORISED"


def test_the_place_in_line_is_counted_from_nought_and_a_stranger_has_none() -> None:
    lease = Lease(
        holder=A,
        epoch=1,
        deadline="2026-01-01T00:00:00Z",
        state="free",
        waiters=[B, C],
        write_id="w",
    )
    assert [leasing._place(lease, run_id) for run_id in (B, C, A)] == [0, 1, 0]


# ---- holding -------------------------------------------------------------------------------


def hold(place: Place, run_id: str, epoch: int, *, waiting: bool = False, free: bool = False):
    return HoldRequest(
        run=place.other_run(run_id), environment=ENV, epoch=epoch, waiting=waiting, free=free
    )


def test_a_lease_is_kept_as_waiting_for_longer_than_the_hourly_renewal(place: Place) -> None:
    taken = take(place, A, lease_s=1)
    activity = LeaseActivities(place.bench).hold
    assert performed(activity, hold(place, A, 1, waiting=True)) == Done()
    waiting = lease_of(place)
    assert (waiting.state, waiting.epoch) == ("waiting", taken.epoch)
    performed(activity, hold(place, A, 1))
    active = lease_of(place)
    assert active.state == "active"
    assert waiting.deadline > active.deadline > taken.deadline


def test_a_newer_owners_lease_is_not_renewed(place: Place) -> None:
    take(place, A)
    free(place, A)
    take(place, B)
    failure = refused(LeaseActivities(place.bench).hold, hold(place, A, 1))
    assert (failure.type, failure.non_retryable) == ("FENCED", True)
    assert lease_of(place).holder == B


def test_giving_back_is_done_once_and_again_and_never_to_a_newer_owner(place: Place) -> None:
    activity = LeaseActivities(place.bench).hold
    take(place, A)
    for _ in range(2):
        assert performed(activity, hold(place, A, 1, free=True)) == Done()
        assert lease_of(place).state == "free"
    take(place, B)
    assert performed(activity, hold(place, A, 1, free=True)) == Done()
    assert (lease_of(place).holder, lease_of(place).state) == (B, "active")


# ---- the order of environments -------------------------------------------------------------


def request_after(place: Place, records: list[dict], passed: tuple[str, ...]) -> AcquireRequest:
    cursor = tracing.empty_cursor()
    if records:
        cursor = tracing.append(place.bench, place.run, cursor, records)
    return AcquireRequest(run=place.run, environment="prod", cursor=cursor, passed=passed)


def looks(*percents: int, result: str = "PASS") -> list[dict]:
    found = [record(t, stage=f"dev/{percent}") for t, percent in enumerate(percents)]
    return [{**look, "gate_result": result} for look in found]


def test_production_is_entered_after_every_cohort_before_it_passed(place: Place) -> None:
    request = request_after(place, looks(*COHORTS_DEFAULT), ("dev",))
    LeaseActivities(place.bench)._check_order(request)


def test_a_later_look_that_passes_makes_up_for_an_inconclusive_one(place: Place) -> None:
    records = looks(1, result="INCONCLUSIVE") + [
        {**look, "t": look["t"] + 1, "operator_seq": look["t"] + 1}
        for look in looks(*COHORTS_DEFAULT)
    ]
    LeaseActivities(place.bench)._check_order(request_after(place, records, ("dev",)))


@pytest.mark.parametrize(
    ("records", "passed"),
    [
        (lambda: [], ("dev",)),
        (lambda: looks(*COHORTS_DEFAULT), ()),
        (lambda: looks(*COHORTS_DEFAULT[:-1]), ("dev",)),
        (lambda: looks(*COHORTS_DEFAULT[1:]), ("dev",)),
        (lambda: looks(*COHORTS_DEFAULT, result="FAIL"), ("dev",)),
        (lambda: looks(*COHORTS_DEFAULT, result="INCONCLUSIVE"), ("dev",)),
    ],
    ids=["no trace", "not told", "last missing", "first missing", "failed", "inconclusive"],
)
def test_nobodys_word_stands_for_a_look_in_the_trace(
    place: Place, records: Callable[[], list[dict]], passed: tuple[str, ...]
) -> None:
    request = request_after(place, records(), passed)
    with pytest.raises(DataError, match="PLAN_MISMATCH: prod was asked for before dev passed"):
        LeaseActivities(place.bench)._check_order(request)


def test_no_lease_is_taken_out_of_order(place: Place) -> None:
    failure = refused(LeaseActivities(place.bench).acquire, request_after(place, [], ("dev",)))
    assert (failure.type, failure.non_retryable) == ("PLAN_MISMATCH", True)
    assert place.bench.ledger.lease("prod", SERVICE)[0] is None


def test_a_busy_environment_is_an_answer_that_names_the_holder(place: Place) -> None:
    take(place, A)
    request = AcquireRequest(
        run=place.run, environment=ENV, cursor=tracing.empty_cursor(), passed=()
    )
    answer = performed(LeaseActivities(place.bench).acquire, request)
    assert (answer.outcome, answer.code) == ("busy", "LEASE_BUSY")
    assert A in answer.detail
    assert lease_of(place).holder == A


def test_the_first_in_line_keeps_its_place_until_it_has_taken(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leasing, "TURN_S", 1_000.0)
    take(place, A)
    first, second = Waiter(place, B), Waiter(place, C)
    free(place, A)
    assert first.join() == Done()
    assert not second.goes_within(SOME_LOOKS_S)
    take(place, B)
    free(place, B)
    assert second.join() == Done()


def test_a_release_that_is_not_in_the_store_leaves_no_lease_behind(place: Place) -> None:
    """Lease and gate are one step: nobody holds an environment that it may not enter."""
    request = AcquireRequest(
        run=place.run, environment=ENV, cursor=tracing.empty_cursor(), passed=()
    )
    assert refused(LeaseActivities(place.bench).acquire, request).non_retryable
    assert lease_of(place).state == "free"
