"""What a policy may ask for beside the default: each on a small world of its own."""

import pytest

from lockstep.digest import from_text
from tests.processes import wait_until
from tests.world import BAD, GOOD, SERVICE, World

pytestmark = pytest.mark.e2e

SMALL = {"environments": ("dev", "prod"), "cohorts": (25, 100)}


def share(world: World, environment: str, release: str) -> int:
    instance = world.target(environment).of(release.removeprefix("sha256:"))
    return instance.weight if instance else 0


def test_a_busy_environment_is_refused_where_the_policy_says_so(worlds) -> None:
    world: World = worlds(**SMALL, bake_s=4, policy_extra={"concurrency": "refuse"})
    world.start_worker()
    world.adopt()
    release, second = world.release("1.0.0"), world.release("1.0.1")
    first = world.start(release, "--detach")["run_id"]
    wait_until(lambda: "bake" in world.status(first)["waits_for"], "the first bake", 60)
    told = world.start(second, expect=9)
    assert told["code"] == "LEASE_BUSY"
    assert share(world, "dev", second) == 0
    wait_until(lambda: world.status(first)["committed"], "the first commit", 60)
    # nothing of the refused start stands in the way of the next one
    assert world.start(second)["status"] == "success"


def test_a_failure_is_held_for_a_person_where_the_policy_says_so(worlds) -> None:
    world: World = worlds(**SMALL, policy_extra={"on_failure": "hold"})
    world.start_worker()
    world.adopt()
    world.set_metrics("dev", BAD)
    release = world.release("1.0.0")
    told = world.start(release, expect=6)
    assert told["status"] == "held"
    assert share(world, "dev", release) == 25
    world.json("abort", told["run_id"], "--reason", "looked at it")
    wait_until(
        lambda: world.status(told["run_id"])["status"] == "rolled_back", "the abort ends", 60
    )
    assert share(world, "dev", release) == 0


def test_lower_environments_stay_where_the_policy_says_so(worlds) -> None:
    world: World = worlds(**SMALL, policy_extra={"lower_environments": "keep"})
    world.start_worker()
    world.adopt()
    world.set_metrics("prod", BAD)
    release = world.release("1.0.0")
    assert world.start(release, expect=4)["status"] == "rolled_back"
    assert share(world, "dev", release) == 100
    assert share(world, "prod", release) == 0


def test_a_service_that_serves_was_never_adopted_and_is_refused(worlds) -> None:
    world: World = worlds(**SMALL)
    world.start_worker()
    before = {name: len(world.effects(name)) for name in world.environments}
    told = world.start(world.release("1.0.0"), expect=3)
    assert "ADOPT_FIRST" in {failure["code"] for failure in told["failures"]}
    assert {name: len(world.effects(name)) for name in world.environments} == before


def test_a_first_release_is_carried_and_a_bad_one_goes_back_to_nothing(worlds) -> None:
    world: World = worlds(
        **SMALL,
        seeded=False,
        policy_extra={"first_release": "allow", "gate": {"absolute_p95_max_us": 200_000}},
    )
    world.start_worker()
    world.set_metrics("dev", BAD)
    bad = world.release("0.9.0")
    assert world.start(bad, expect=4)["status"] == "rolled_back"
    assert all(i.weight == 0 for i in world.target("dev").instances)
    assert world.ledger.current("dev", SERVICE).serving is None
    world.set_metrics("dev", GOOD)
    good = world.release("1.0.0")
    assert world.start(good)["status"] == "success"
    assert share(world, "prod", good) == 100
    assert world.ledger.current("prod", SERVICE).last_good == from_text(good)


def test_an_environment_without_a_worker_is_refused_by_name(worlds) -> None:
    world: World = worlds(**SMALL)
    world.start_worker("control")
    world.start_worker("dev")
    world.adopt()
    told = world.start(world.release("1.0.0"), expect=3)
    absent = [f for f in told["failures"] if f["code"] == "NO_WORKER"]
    assert [failure["environment"] for failure in absent] == ["prod"]
