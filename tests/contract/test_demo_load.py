"""The load generator against a real proxy: steady, complete, and not ended by an outage."""

import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager

import pytest
from demo_agent import release, running

from activities.adapters.targets import open_target

RATE_PER_S = 200
NEW = "a" * 64


@pytest.fixture
def agent(tmp_path):
    with running(tmp_path / "agent") as one:
        target = open_target("demo", {"admin_url": one.admin_url})
        target.fence(1)
        target.prepare(release(NEW), 1)
        yield one


@contextmanager
def loaded(agent):
    """The load's statistics, a function that gives the seconds so far."""
    stats = agent.folder.parent / "stats.jsonl"
    program = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "infra.demo.load", "--url", agent.proxy_url + "/work"),
            *("--rate", str(RATE_PER_S), "--stats", str(stats)),
        ]
    )

    def seconds() -> list[dict]:
        return [json.loads(line) for line in stats.open()] if stats.exists() else []

    try:
        yield seconds
        program.terminate()
        assert program.wait(10) == 0
    finally:
        program.kill()
        program.wait()


def wait_for(seconds, count: int) -> list[dict]:
    end = time.monotonic() + count + 10
    while len(seconds()) < count:
        assert time.monotonic() < end, "the load reports nothing"
        time.sleep(0.05)
    return seconds()


def summed(lines: list[dict], field: str) -> Counter:
    total: Counter = Counter()
    for line in lines:
        total.update(line[field])
    return total


def test_no_request_is_lost_while_shares_move_and_each_latency_counts_from_its_time(agent):
    target = open_target("demo", {"admin_url": agent.admin_url})
    with loaded(agent) as seconds:
        wait_for(seconds, 1)
        for turn in range(40):
            percent = (1, 25, 50, 100)[turn % 4]
            target.shift({NEW: percent, "legacy": 100 - percent}, 1)
            time.sleep(0.02)
        lines = wait_for(seconds, 3)
    assert sum(line["lost"] for line in lines) == 0
    assert summed(lines, "codes").keys() == {"200"}
    assert summed(lines, "releases").keys() == {NEW, "legacy"}
    assert min(line["p50_us"] for line in lines) < 80_000
    assert max(line["max_us"] for line in lines) >= 32_000


def test_an_outage_of_the_proxy_is_counted_and_survived(agent):
    with loaded(agent) as seconds:
        wait_for(seconds, 1)
        agent.kill()
        down = len(wait_for(seconds, len(seconds()) + 2))
        assert seconds()[down - 1]["lost"] > 0
        agent.start()
        lines = wait_for(seconds, len(seconds()) + 2)
    assert lines[-1]["lost"] == 0
    assert lines[-1]["codes"].keys() == {"200"}
