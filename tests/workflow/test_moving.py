"""Moving traffic on a real target: nothing moves unready, unfenced or unannounced."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from activities import moving
from activities.adapters.targets import open_target
from activities.moving import MovingActivities, check_capacity, confirm
from activities.tracing import empty_cursor
from lockstep.digest import from_text
from lockstep.errors import UnavailableError
from lockstep.gates.opening import Opening
from lockstep.ledger import Current, TargetRecord
from lockstep.messages import PrepareRequest, ShiftRequest
from lockstep.ports import Target
from tests.contract.demo_agent import Agent, release
from tests.processes import wait_until
from tests.workflow.place import CANARY, OTHER, SERVICE, STABLE, Place, performed, refused

ENV = "dev"


@pytest.fixture
def target(agent: Agent) -> Target:
    """STABLE with all the traffic, fenced at epoch 1."""
    found = open_target("demo", {"admin_url": agent.admin_url})
    found.fence(1)
    found.adopt("legacy", STABLE, 1)
    return found


@pytest.fixture
def held(place_with_agent: Place) -> Place:
    """The run holds the lease of the environment under epoch 1."""
    run = place_with_agent.run
    place_with_agent.bench.ledger.take(ENV, SERVICE, run.run_id, 60, "test")
    return place_with_agent


def weights(target: Target) -> dict[str, int]:
    return {one.release: one.weight for one in target.state().instances}


def changes(agent: Agent) -> list[str]:
    return [effect["change"] for effect in agent.effects()]


def record_of(place: Place) -> TargetRecord | None:
    return place.bench.ledger.target(ENV, SERVICE, "main")


@contextmanager
def stopped(agent: Agent, name: str) -> Iterator[None]:
    """The release's process hangs: it is there and does not answer."""
    pid = next(one["pid"] for one in agent.state()["instances"] if one["release"] == name)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


# ---- capacity and read-back ----------------------------------------------------------------


def test_both_sides_must_be_ready(agent: Agent, target: Target) -> None:
    with pytest.raises(UnavailableError, match=f"CAPACITY: {CANARY[:12]} does not run"):
        check_capacity(target, CANARY, STABLE, 5)
    target.prepare(release(CANARY), 1)
    check_capacity(target, CANARY, STABLE, 5)
    check_capacity(target, CANARY, None, 100)
    with pytest.raises(UnavailableError, match=f"CAPACITY: {OTHER[:12]} does not run"):
        check_capacity(target, CANARY, OTHER, 5)


def test_a_shift_counts_when_it_reads_back_as_asked(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "CONFIRM_PAUSE_S", 0.0)
    target.prepare(release(CANARY), 1)
    assert confirm(target, {STABLE: 100, CANARY: 0}).of(STABLE).weight == 100
    with pytest.raises(UnavailableError) as caught:
        confirm(target, {STABLE: 95, CANARY: 5})
    assert caught.value.code == "SHIFT_UNCONFIRMED"
    assert caught.value.cause == "asked for aaaaaaaaaaaa 95 %, cccccccccccc 5 %, read " + (
        "aaaaaaaaaaaa 100 %"
    )
    target.shift({STABLE: 95, CANARY: 5}, 1)
    assert confirm(target, {STABLE: 95, CANARY: 5}).of(CANARY).weight == 5


def test_a_share_of_a_release_that_hangs_is_not_confirmed(
    agent: Agent, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "CONFIRM_PAUSE_S", 0.0)
    with stopped(agent, STABLE):
        wait_until(lambda: not target.state().of(STABLE).healthy, "the agent sees it hang")
        with pytest.raises(UnavailableError, match="read aaaaaaaaaaaa 100 %, unhealthy"):
            confirm(target, {STABLE: 100})
        with pytest.raises(UnavailableError, match="is not healthy"):
            check_capacity(target, STABLE, None, 100)


# ---- shift ---------------------------------------------------------------------------------


def shift(place: Place, percent: int, epoch: int = 1, baseline: str | None = STABLE):
    return ShiftRequest(
        run=place.run,
        environment=ENV,
        epoch=epoch,
        percent=percent,
        baseline_release=f"sha256:{baseline}" if baseline else None,
        lease_for_s=60,
    )


def test_a_shift_is_announced_made_confirmed_and_its_window_opened(
    agent: Agent, target: Target, held: Place
) -> None:
    target.prepare(release(CANARY), 1)
    result = performed(MovingActivities(held.bench).shift, shift(held, 5))
    assert weights(target) == {STABLE: 95, CANARY: 5}
    record = record_of(held)
    assert (record.phase, record.desired_weight, record.epoch) == ("done", 5, 1)
    assert record.owner_run == held.run.run_id
    assert record.canary_release.hex() == CANARY
    assert record.safe_state.release.hex() == record.stable_release.hex() == STABLE
    assert record.safe_state.weight == 100
    opening = Opening.from_bytes(held.bench.cas.get(from_text(result.opened)))
    assert opening.reached


def test_a_shift_that_is_retried_has_no_second_effect(
    agent: Agent, target: Target, held: Place
) -> None:
    target.prepare(release(CANARY), 1)
    activity = MovingActivities(held.bench).shift
    first = performed(activity, shift(held, 5))
    effects = agent.effects()
    second = performed(activity, shift(held, 5))
    assert agent.effects() == effects
    assert changes(agent).count("weights") == 1
    assert second.opened == first.opened


def test_a_first_release_gets_everything_and_its_safe_state_is_nothing(
    agent: Agent, target: Target, held: Place
) -> None:
    target.prepare(release(CANARY), 1)
    performed(MovingActivities(held.bench).shift, shift(held, 1, baseline=None))
    assert weights(target) == {STABLE: 0, CANARY: 100}
    record = record_of(held)
    assert (record.stable_release, record.safe_state.release) == (None, None)
    assert record.safe_state.weight == 0


def test_what_is_not_ready_gets_no_traffic_and_no_announcement(
    agent: Agent, target: Target, held: Place
) -> None:
    failure = refused(MovingActivities(held.bench).shift, shift(held, 5))
    assert (failure.type, failure.non_retryable) == ("CAPACITY", False)
    assert record_of(held) is None
    assert "weights" not in changes(agent)


def test_an_older_owner_moves_nothing(agent: Agent, target: Target, held: Place) -> None:
    target.prepare(release(CANARY), 1)
    ledger = held.bench.ledger
    ledger.seize(ENV, SERVICE, "f" * 16, 60)
    failure = refused(MovingActivities(held.bench).shift, shift(held, 5))
    assert (failure.type, failure.non_retryable) == ("FENCED", True)
    assert record_of(held) is None
    assert weights(target) == {STABLE: 100, CANARY: 0}


def test_a_fenced_target_refuses_even_a_holder_that_does_not_know_yet(
    agent: Agent, target: Target, held: Place
) -> None:
    target.prepare(release(CANARY), 1)
    target.fence(2)
    failure = refused(MovingActivities(held.bench).shift, shift(held, 5))
    assert failure.type == "FENCED"
    assert weights(target) == {STABLE: 100, CANARY: 0}


def test_a_source_out_of_reach_undoes_no_shift(agent: Agent, target: Target, held: Place) -> None:
    """Absence of evidence only stops progress: the gate finds out and says so."""
    target.prepare(release(CANARY), 1)
    held.metrics.unlink()
    result = performed(MovingActivities(held.bench).shift, shift(held, 5))
    assert weights(target) == {STABLE: 95, CANARY: 5}
    assert record_of(held).phase == "done"
    Opening.from_bytes(held.bench.cas.get(from_text(result.opened)))


def test_another_environments_traffic_is_not_touched(held: Place) -> None:
    request = shift(held, 5).model_copy(update={"environment": "prod"})
    assert refused(MovingActivities(held.bench).shift, request).type == "NOT_AUTHORISED"


# ---- prepare -------------------------------------------------------------------------------


def serve(place: Place, name: str) -> None:
    """CURRENT names what the environment serves."""
    serving = bytes.fromhex(name)

    def change(_: Current | None) -> Current:
        return Current(serving=serving, last_good=serving, withdrawn=[], epoch=1, write_id="-")

    place.bench.ledger.set_current(ENV, SERVICE, 1, change)


def prepare(place: Place) -> PrepareRequest:
    return PrepareRequest(run=place.run, environment=ENV, epoch=1, cursor=empty_cursor())


@pytest.mark.parametrize(
    ("recorded", "why"),
    [
        (None, f"{STABLE} serves and was never adopted"),
        (OTHER, "bbbbbbbbbbbb should carry 100 %, found aaaaaaaaaaaa 100 %"),
    ],
)
def test_nothing_is_started_where_something_else_serves_than_recorded(
    agent: Agent, target: Target, held: Place, recorded: str | None, why: str
) -> None:
    if recorded:
        serve(held, recorded)
    failure = refused(MovingActivities(held.bench).prepare, prepare(held))
    assert (failure.type, failure.non_retryable) == ("TARGET_DRIFT", True)
    assert failure.message == f"dev: {why}"
    assert "start" not in changes(agent)


def test_only_what_nobody_may_go_back_to_is_taken_down(
    agent: Agent, target: Target, held: Place
) -> None:
    for name in (CANARY, OTHER, "d" * 64):
        target.prepare(release(name), 1)
    serve(held, STABLE)
    before = TargetRecord.from_map(
        {
            "desired_weight": 100,
            "owner_run": held.run.run_id,
            "epoch": 1,
            "stable_release": bytes.fromhex(OTHER),
            "canary_release": bytes.fromhex(STABLE),
            "safe_state": {"release": bytes.fromhex(OTHER), "weight": 100},
            "phase": "done",
            "write_id": "-",
        }
    )
    held.bench.ledger.set_target(ENV, SERVICE, "main", 1, lambda _: before)
    failure = refused(MovingActivities(held.bench).prepare, prepare(held))
    assert failure.type == "NO_SAFE_TARGET"  # the canary's files are not in this store
    assert sorted(weights(target)) == sorted([STABLE, OTHER, CANARY])
