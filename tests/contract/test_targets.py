"""The Target port, against a real demo agent with real processes behind a real proxy."""

import os
import signal
import time

import pytest
from demo_agent import Agent, free_port, release, running

from activities.adapters.targets import open_target
from lockstep.digest import sha256, to_text
from lockstep.documents import DocumentError
from lockstep.errors import DataError, FencedError, RefusedError, UnavailableError
from lockstep.ports import Target

NEW = "a" * 64
OTHER = "b" * 64


@pytest.fixture
def agent(tmp_path):
    with running(tmp_path / "agent") as one:
        yield one


@pytest.fixture
def target(agent) -> Target:
    return open_target("demo", {"admin_url": agent.admin_url})


def bring_up(target: Target, epoch: int, name: str = NEW, **config: object):
    target.fence(epoch)
    return target.prepare(release(name, **config), epoch)


def test_a_service_from_before_lockstep_runs_as_legacy_with_all_the_traffic(agent, target):
    state = target.state()
    assert state.fence_epoch == 0
    assert [(i.release, i.weight, i.healthy) for i in state.instances] == [("legacy", 100, True)]
    assert agent.users(3) == [(200, "legacy")] * 3


def test_prepare_runs_the_release_at_weight_0_and_proves_by_digest_what_runs(agent, target):
    wanted = release(NEW)
    instance = bring_up(target, 1)
    assert (instance.release, instance.weight, instance.healthy) == (NEW, 0, True)
    assert instance.artifacts == {"service.py": to_text(sha256(wanted.artifacts["service.py"]))}
    assert instance.configs == {"config.json": to_text(sha256(wanted.configs["config.json"]))}
    assert {name for _, name in agent.users(20)} == {"legacy"}
    assert target.prepare(wanted, 1) == instance
    assert [e["change"] for e in agent.effects()] == ["seed", "fence", "start"]


def test_a_release_that_does_not_come_up_is_refused_and_leaves_nothing(agent, target):
    with pytest.raises(RefusedError) as refused:
        bring_up(target, 1, latency_ms=-1)
    assert refused.value.code == "NOT_DEPLOYED"
    assert [i.release for i in target.state().instances] == ["legacy"]
    assert not (agent.folder / "instances" / NEW).exists()


def test_a_share_of_one_in_a_hundred_is_exactly_that_and_evenly_spread(agent, target):
    bring_up(target, 1, latency_ms=0)
    target.shift({"legacy": 99, NEW: 1}, 1)
    answered = [name for _, name in agent.users(300)]
    places = [place for place, name in enumerate(answered) if name == NEW]
    assert len(places) == 3
    assert places[1] - places[0] == places[2] - places[1] == 100


def test_the_same_weights_again_are_no_effect_and_change_no_spread(agent, target):
    bring_up(target, 1)
    target.shift({"legacy": 95, NEW: 5}, 1)
    before = agent.effects()
    target.shift({"legacy": 95, NEW: 5}, 1)
    assert agent.effects() == before
    assert before[-1] == {
        "number": 4,
        "epoch": 1,
        "change": "weights",
        "weights": {NEW: 5, "legacy": 95},
    }


def test_releases_that_are_not_named_get_nothing_and_all_0_serves_nobody(agent, target):
    bring_up(target, 1)
    target.shift({NEW: 100}, 1)
    assert {name for _, name in agent.users(5)} == {NEW}
    target.shift({NEW: 0}, 1)
    assert agent.users(2) == [(503, "")] * 2


def test_every_epoch_but_the_fences_is_refused_older_newer_and_before_the_first(agent, target):
    with pytest.raises(FencedError):
        target.shift({"legacy": 100}, 1)
    target.fence(7)
    target.fence(7)
    for epoch in (0, 6, 8):
        for change in (
            lambda epoch=epoch: target.prepare(release(NEW), epoch),
            lambda epoch=epoch: target.shift({"legacy": 100}, epoch),
            lambda epoch=epoch: target.retire("legacy", epoch),
            lambda epoch=epoch: target.adopt("legacy", NEW, epoch),
        ):
            with pytest.raises(FencedError):
                change()
    with pytest.raises(FencedError):
        target.fence(6)
    assert target.state().fence_epoch == 7
    assert [e["change"] for e in agent.effects()] == ["seed", "fence"]


def test_weights_that_are_none_are_refused_and_nothing_moves(agent, target):
    bring_up(target, 1)
    for weights in ({"legacy": 99}, {"legacy": 101, NEW: -1}, {}):
        with pytest.raises(DataError):
            target.shift(weights, 1)
    with pytest.raises(RefusedError, match="NOT_DEPLOYED"):
        target.shift({OTHER: 100}, 1)
    assert target.state().of("legacy").weight == 100


def test_retire_takes_down_what_has_no_traffic_and_only_that(agent, target):
    bring_up(target, 1)
    with pytest.raises(RefusedError, match="TARGET_DRIFT"):
        target.retire("legacy", 1)
    target.retire(NEW, 1)
    target.retire(NEW, 1)
    assert [i.release for i in target.state().instances] == ["legacy"]
    assert not (agent.folder / "instances" / NEW).exists()
    assert [e["change"] for e in agent.effects()] == ["seed", "fence", "start", "retire"]


def test_adopt_renames_the_running_instance_and_its_series(agent, target):
    target.fence(1)
    pid = agent.state()["instances"][0]["pid"]
    target.adopt("legacy", NEW, 1)
    target.adopt("legacy", NEW, 1)
    assert agent.users(2) == [(200, NEW)] * 2
    assert [(i["release"], i["pid"]) for i in agent.state()["instances"]] == [(NEW, pid)]
    page = agent.get(agent.admin_url + "/metrics")[2].decode()
    assert f'demo_requests_total{{code="200",release="{NEW}"}} 2.0' in page
    assert "legacy" not in page
    assert [e["change"] for e in agent.effects()] == ["seed", "fence", "adopt"]


def test_a_killed_agent_comes_back_as_it_was_and_leaves_no_process_behind(agent, target):
    bring_up(target, 3)
    target.shift({"legacy": 75, NEW: 25}, 3)
    effects, pids = agent.effects(), [i["pid"] for i in agent.state()["instances"]]
    agent.kill()
    _wait_until(lambda: not any(_runs(pid) for pid in pids))
    agent.start()
    state = target.state()
    assert state.fence_epoch == 3
    assert [(i.release, i.weight, i.healthy) for i in state.instances] == [
        (NEW, 25, True),
        ("legacy", 75, True),
    ]
    assert agent.effects() == effects
    assert sorted(name for _, name in agent.users(4)) == [NEW, "legacy", "legacy", "legacy"]


def test_a_dead_release_keeps_its_share_as_503_lacks_capacity_and_is_started_again(agent, target):
    bring_up(target, 1)
    target.shift({NEW: 100}, 1)
    os.kill(_instance(agent, NEW)["pid"], signal.SIGKILL)
    _wait_until(lambda: (503, "") in agent.users(1))
    _wait_until(lambda: target.capacity(NEW, 1) == f"{NEW[:12]} is not healthy")
    _wait_until(lambda: target.capacity(NEW, 1) is None)
    assert _instance(agent, NEW)["starts"] == 2
    assert agent.users(2) == [(200, NEW)] * 2
    page = agent.get(agent.admin_url + "/metrics")[2].decode()
    assert f'demo_requests_total{{code="503",release="{NEW}"}}' in page
    assert target.capacity(OTHER, 1) == f"{OTHER[:12]} does not run"


def test_an_empty_agent_has_no_releases(tmp_path):
    with running(tmp_path / "agent", seeded=False) as agent:
        target = open_target("demo", {"admin_url": agent.admin_url})
        assert target.state().instances == ()
        assert agent.users(1) == [(503, "")]


def test_an_absent_agent_is_unreachable_and_named():
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(UnavailableError) as unreachable:
        open_target("demo", {"admin_url": url}).state()
    assert unreachable.value.code == "TARGET_UNREACHABLE"
    assert unreachable.value.place == url


def test_something_else_at_the_address_is_no_agent(agent: Agent):
    with pytest.raises(UnavailableError, match="no demo agent"):
        open_target("demo", {"admin_url": agent.proxy_url}).state()


@pytest.mark.parametrize(
    ("kind", "settings", "field"),
    [
        ("demo", {}, "admin_url"),
        ("demo", {"admin_url": "127.0.0.1:1"}, "admin_url"),
        ("demo", {"admin_url": "http://127.0.0.1:1", "more": 1}, "more"),
        ("haproxy", {}, "kind"),
    ],
)
def test_settings_that_are_none_are_named(kind, settings, field):
    with pytest.raises(DocumentError) as broken:
        open_target(kind, settings)
    assert broken.value.problems[0].field[0] == field


def test_every_target_says_what_it_cannot(target):
    assert target.kind == "demo"
    assert all(sentence.endswith(".") for sentence in target.cannot)


def _instance(agent: Agent, name: str) -> dict:
    return next(one for one in agent.state()["instances"] if one["release"] == name)


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def _wait_until(done, timeout_s: float = 10.0) -> None:
    end = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.05)
