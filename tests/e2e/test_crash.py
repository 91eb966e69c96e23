"""Kill anything at any moment: the rollout goes on from the same step with the same decisions."""

import time
from collections import Counter

import pytest

from activities.adapters.store import Cas
from client.files import read_policy
from lockstep.digest import from_text
from lockstep.gates.evaluate import evaluate_bytes
from tests.processes import wait_until
from tests.world import TENANT, World

pytestmark = pytest.mark.e2e

BAKE_S = 3
SETTLE_S = 2
STAGES = ["dev/25", "dev/100", "prod/25", "prod/100"]
BAKE_ERROR_MAX_S = 8.0


@pytest.fixture(scope="module")
def world(worlds) -> World:
    made = worlds(environments=("dev", "prod"), cohorts=(25, 100), bake_s=BAKE_S, settle_s=SETTLE_S)
    made.start_worker("control")
    for name in made.environments:
        made.start_worker(name)
    made.adopt()
    return made


def begin(world: World, version: str) -> tuple[str, str]:
    release = world.release(version)
    return world.start(release, "--detach")["run_id"], release


def weight_changes(world: World, environment: str, release: str) -> list[tuple[int, int]]:
    """(epoch, weight of the release) of every change that the target really made."""
    name = release.removeprefix("sha256:")
    return [
        (effect["epoch"], effect["weights"].get(name, 0))
        for effect in world.effects(environment)
        if effect["change"] == "weights" and name in effect["weights"]
    ]


def shifted_to(world: World, environment: str, release: str, percent: int) -> bool:
    return any(weight == percent for _, weight in weight_changes(world, environment, release))


def check_same_as_undisturbed(world: World, run_id: str, release: str) -> None:
    """Same stages, one look each, verdicts that recompute, each effect once per epoch."""
    wait_until(
        lambda: world.status(run_id)["status"] not in ("running", "held"), f"{run_id} ends", 120
    )
    status = world.status(run_id)
    assert status["status"] == "success", status["cause"]
    assert [row["stage"] for row in status["stages"]] == STAGES
    assert [(row["outcome"], row["looks"]) for row in status["stages"]] == [("PASS", 1)] * 4
    cas, policy = Cas(world.store, TENANT), read_policy(world.folder / "policy.yaml")
    for row in status["stages"]:
        verdict = evaluate_bytes(cas.get(from_text(row["snapshot_hash"])), policy, policy.digest())
        assert verdict.digest() == from_text(row["verdict_hash"])
    for name in world.environments:
        changes = Counter(weight_changes(world, name, release))
        assert set(changes.values()) == {1}, changes
        assert [weight for _, weight in changes] == [25, 100]
    world.client("verify", run_id)


def test_sigkill_of_the_worker_in_the_middle_of_a_shift(world: World) -> None:
    run_id, release = begin(world, "1.0.0")
    # The target has moved, the activity settles and has not answered: the worst moment.
    wait_until(lambda: shifted_to(world, "dev", release, 25), "the first shift's effect", 60)
    world.programs["worker-dev"].kill()
    world.start_worker("dev")
    check_same_as_undisturbed(world, run_id, release)


def test_sigkill_of_every_worker_in_the_middle_of_a_bake(world: World) -> None:
    run_id, release = begin(world, "1.1.0")
    wait_until(lambda: "bake" in world.status(run_id)["waits_for"], "the first bake", 60)
    started = time.monotonic()
    for role in ("control", "dev", "prod"):
        world.programs[f"worker-{role}"].kill()
    for role in ("control", "dev", "prod"):
        world.start_worker(role)
    wait_until(lambda: shifted_to(world, "dev", release, 100), "the next shift", 60)
    assert time.monotonic() - started < BAKE_S + BAKE_ERROR_MAX_S
    check_same_as_undisturbed(world, run_id, release)


def test_sigkill_of_the_temporal_server(world: World) -> None:
    run_id, release = begin(world, "1.2.0")
    wait_until(lambda: shifted_to(world, "dev", release, 25), "the first shift", 60)
    world.server.program.kill()
    world.server.start()
    check_same_as_undisturbed(world, run_id, release)


def test_sigterm_drains_a_worker_in_the_middle_of_a_shift(world: World) -> None:
    run_id, release = begin(world, "1.3.0")
    wait_until(lambda: shifted_to(world, "dev", release, 25), "the first shift's effect", 60)
    world.programs["worker-dev"].stop()
    world.start_worker("dev")
    check_same_as_undisturbed(world, run_id, release)
