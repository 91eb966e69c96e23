"""Operators, missing evidence and busy environments, on real parts with real bakes."""

import asyncio

import pytest

from tests.processes import wait_until
from tests.world import GOOD, SERVICE, World
from workflows.connection import connect

pytestmark = pytest.mark.e2e

BAKE_S = 2


@pytest.fixture(scope="module")
def world(worlds) -> World:
    made = worlds(
        environments=("dev", "prod"),
        cohorts=(25, 100),
        bake_s=BAKE_S,
        policy_extra={"inconclusive_max_s": 2, "extend_s": 1},
        profile_extra={"source_max_s": 2},
    )
    made.start_worker()
    made.adopt()
    return made


@pytest.fixture(autouse=True)
def _good_metrics(world: World) -> None:
    for name in world.environments:
        world.set_metrics(name, GOOD)


def begin(world: World, version: str) -> str:
    return world.start(world.release(version), "--detach")["run_id"]


def until_stage(world: World, run_id: str, stage: str) -> None:
    wait_until(lambda: world.status(run_id)["stage"] == stage, f"{run_id} reaches {stage}")


def ended(world: World, run_id: str) -> dict:
    wait_until(
        lambda: world.status(run_id)["status"] not in ("running", "paused", "held"),
        f"{run_id} ends",
        60,
    )
    return world.status(run_id)


def share(world: World, environment: str, release: str) -> int:
    instance = world.target(environment).of(release.removeprefix("sha256:"))
    return instance.weight if instance else 0


def test_abort_in_a_bake_goes_back_at_once(world: World) -> None:
    run_id = begin(world, "1.0.0")
    until_stage(world, run_id, "dev/25")
    release = world.status(run_id)["release_hash"]
    told = world.json("abort", run_id, "--reason", "changed our minds", expect=None)
    assert told["accepted"] is True
    status = ended(world, run_id)
    assert status["status"] == "rolled_back"
    assert status["code"] == "ABORTED"
    assert "changed our minds" in status["cause"]
    assert share(world, "dev", release) == 0
    # an action on a run that has ended is refused and changes nothing
    assert "RUN_ENDED" in world.refused("abort", run_id, "--reason", "once more")


def test_a_pause_keeps_the_cohort_and_a_resume_goes_on(world: World) -> None:
    run_id = begin(world, "1.1.0")
    until_stage(world, run_id, "dev/25")
    release = world.status(run_id)["release_hash"]
    world.json("pause", run_id, "--reason", "lunch")
    wait_until(
        lambda: "resume" in world.status(run_id)["waits_for"], "the rollout waits for a resume"
    )
    assert world.status(run_id)["status"] == "paused"
    assert share(world, "dev", release) == 25
    lease, _ = world.ledger.lease("dev", SERVICE)
    assert lease.state == "waiting"
    world.json("resume", run_id, "--reason", "back")
    assert ended(world, run_id)["status"] == "success"


def test_a_source_out_of_reach_holds_and_never_rolls_back(world: World) -> None:
    release = world.release("1.2.0")
    world.set_metrics("dev", GOOD)
    run_id = world.start(release, "--detach")["run_id"]
    until_stage(world, run_id, "dev/25")
    world.set_metrics("dev", None)
    wait_until(lambda: world.status(run_id)["status"] == "held", "the rollout is held", 40)
    status = world.status(run_id)
    assert "SOURCE_UNREACHABLE" in status["waits_for"]
    assert share(world, "dev", release) == 25
    assert status["stages"][-1]["verdict_hash"] is None
    # whoever waits for it is told that a person is needed, and the rollout stays as it is
    assert world.start(release, expect=6)["status"] == "held"
    world.set_metrics("dev", GOOD)
    world.json("resume", run_id, "--reason", "the source is back")
    assert ended(world, run_id)["status"] == "success"


def test_a_second_rollout_on_a_busy_environment_waits_for_its_turn(world: World) -> None:
    first_release, second_release = world.release("1.3.0"), world.release("1.3.1")
    first = world.start(first_release, "--detach")["run_id"]
    until_stage(world, first, "dev/25")
    second = world.start(second_release, "--detach")["run_id"]
    wait_until(
        lambda: (
            "turn" in world.status(second)["waits_for"]
            or "holds" in world.status(second)["waits_for"]
        ),
        "the second waits",
        40,
    )
    assert share(world, "dev", second_release) == 0
    assert ended(world, first)["status"] == "success"
    assert ended(world, second)["status"] == "success"
    assert share(world, "prod", second_release) == 100


def test_cancelling_in_the_temporal_ui_is_an_abort(world: World) -> None:
    run_id = begin(world, "1.4.0")
    until_stage(world, run_id, "dev/25")

    async def cancel() -> None:
        client = await connect(world.server.address, "default")
        await client.get_workflow_handle(f"rollout/demo/{run_id}").cancel()

    asyncio.run(cancel())
    status = ended(world, run_id)
    assert status["status"] == "rolled_back"
    assert share(world, "dev", status["release_hash"]) == 0


def test_waiting_ends_at_a_stage_or_a_time_and_the_rollout_goes_on(world: World) -> None:
    release = world.release("1.5.0")
    told = world.start(release, "--until", "dev/25")
    assert world.status(told["run_id"])["status"] == "running"
    assert world.start(release, "--timeout", "0.5", expect=7)["status"] == "running"
    assert ended(world, told["run_id"])["status"] == "success"
