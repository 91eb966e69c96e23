"""The whole road on real parts: to COMMITTED, and back, with what an operator does on the way."""

import asyncio

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowHistory

from activities.adapters.store import Cas
from client.devstack.releases import make_demo_release
from client.files import read_policy
from lockstep import layout
from lockstep.digest import from_text
from lockstep.gates.evaluate import evaluate_bytes
from lockstep.messages import PAYLOAD_MAX_BYTES
from tests.world import BAD, GOOD, SERVICE, TENANT, World
from workflows.connection import connect

pytestmark = pytest.mark.e2e

STAGES = [f"{e}/{p}" for e in ("dev", "staging", "prod") for p in (1, 5, 25, 50, 100)]
EVENTS_MAX = 300


@pytest.fixture(scope="module")
def world(worlds) -> World:
    made = worlds()
    made.start_worker()
    made.adopt()
    return made


@pytest.fixture(autouse=True)
def _good_metrics(world: World) -> None:
    for name in world.environments:
        world.set_metrics(name, GOOD)


def serving(world: World, environment: str) -> tuple[str, int]:
    exposed = [i for i in world.target(environment).instances if i.weight > 0]
    assert len(exposed) == 1
    return "sha256:" + exposed[0].release, exposed[0].weight


def histories(world: World) -> list[WorkflowHistory]:
    async def fetch() -> list[WorkflowHistory]:
        client = await connect(world.server.address, "default")
        return [history async for history in client.list_workflows("").map_histories()]

    return asyncio.run(fetch())


def of_run(found: list[WorkflowHistory], run_id: str) -> list[WorkflowHistory]:
    """The rollout and its children."""
    wanted = f"rollout/{TENANT}/{run_id}"
    mine = []
    for history in found:
        started = history.events[0].workflow_execution_started_event_attributes
        if wanted in (history.workflow_id, started.parent_workflow_execution.workflow_id):
            mine.append(history)
    return mine


def test_a_good_release_is_carried_to_committed(world: World) -> None:
    release = world.release("1.0.0")
    before = {name: serving(world, name)[0] for name in world.environments}
    told = world.start(release)
    assert told["status"] == "success"
    assert told["committed"] is True
    status = world.status(told["run_id"])
    assert [row["stage"] for row in status["stages"]] == STAGES
    assert {row["outcome"] for row in status["stages"]} == {"PASS"}
    assert status["rollback_releases"] == before
    for name in world.environments:
        assert serving(world, name) == (release, 100)
        current = world.ledger.current(name, SERVICE)
        assert current.serving == current.last_good == from_text(release)
    assert world.store.read(layout.committed(TENANT, told["run_id"])) is not None
    world.client("verify", told["run_id"])


def test_every_verdict_is_recomputed_offline_from_bytes(world: World) -> None:
    told = world.start(world.release("1.0.1"))
    cas = Cas(world.store, TENANT)
    policy = read_policy(world.folder / "policy.yaml")
    for row in world.status(told["run_id"])["stages"]:
        snapshot = cas.get(from_text(row["snapshot_hash"]))
        verdict = evaluate_bytes(snapshot, policy, policy.digest())
        assert verdict.digest() == from_text(row["verdict_hash"])


def test_histories_are_lean_and_no_payload_exceeds_eight_kib(world: World) -> None:
    told = world.start(world.release("1.0.2"))
    found = of_run(histories(world), told["run_id"])
    assert len(found) == 1 + len(world.environments)
    assert sum(len(history.events) for history in found) <= EVENTS_MAX
    largest = max(
        len(payload.data)
        for history in found
        for event in history.events
        for payload in _payloads(event)
    )
    assert largest <= PAYLOAD_MAX_BYTES


def _payloads(event):
    """Every payload anywhere inside an event."""
    stack = [event]
    while stack:
        message = stack.pop()
        if isinstance(message, Payload):
            yield message
            continue
        for field, value in message.ListFields():
            if field.message_type is None:
                continue
            if field.message_type.GetOptions().map_entry:
                entries = value.values()
                stack.extend(entry for entry in entries if hasattr(entry, "ListFields"))
            elif field.is_repeated:
                stack.extend(value)
            else:
                stack.append(value)


def test_the_same_start_twice_is_one_run(world: World) -> None:
    release = world.release("1.0.3")
    first = world.start(release)
    effects = len(world.effects("prod"))
    again = world.start(release)
    assert again["run_id"] == first["run_id"]
    assert again["status"] == "success"
    assert len(world.effects("prod")) == effects


def test_a_release_that_fails_in_prod_goes_back_everywhere_and_the_next_one_passes(
    world: World,
) -> None:
    good = serving(world, "prod")[0]
    world.set_metrics("prod", BAD)
    bad = world.release("2.0.0")
    told = world.start(bad, expect=4)
    assert told["status"] == "rolled_back"
    assert told["committed"] is False
    status = world.status(told["run_id"])
    assert status["stages"][-1]["stage"] == "prod/1"
    assert status["stages"][-1]["outcome"] == "FAIL"
    for name in world.environments:
        assert serving(world, name) == (good, 100)
        current = world.ledger.current(name, SERVICE)
        assert current.serving == current.last_good == from_text(good)
        assert from_text(bad) in current.withdrawn
    assert world.store.read(layout.committed(TENANT, told["run_id"])) is None
    world.client("verify", told["run_id"])
    world.set_metrics("prod", GOOD)
    assert world.start(world.release("2.0.1"))["status"] == "success"


@pytest.mark.parametrize(
    ("canary", "baseline", "reason"),
    [
        ({**GOOD, "requests": 0}, GOOD, "NO_TRAFFIC"),
        (GOOD, {**GOOD, "latency": {"kind": "p95", "p95_us": 0}}, "ZERO_BASELINE"),
        ({"requests": 10, "errors": 0}, GOOD, "NOT_A_NUMBER"),
        ({**GOOD, "errors": 2000}, GOOD, "IMPOSSIBLE_COUNTS"),
    ],
)
def test_what_cannot_be_judged_fails_with_its_reason_and_goes_back(
    world: World, canary: dict, baseline: dict, reason: str
) -> None:
    good = serving(world, "dev")[0]
    release = world.release(f"3.0.0-{reason.lower().replace('_', '-')}")
    world.set_metrics("dev", canary, baseline)
    told = world.start(release, expect=4)
    assert told["code"] == reason
    assert serving(world, "dev") == (good, 100)


def test_an_unapproved_release_touches_nothing(world: World) -> None:
    before = {name: len(world.effects(name)) for name in world.environments}
    folder = world.folder / "releases" / "unapproved"
    source = make_demo_release(folder, "4.0.0", policy_path=world.folder / "policy.yaml")
    bundle = folder / "bundle"
    world.client("release", "pack", source, "--out", bundle)
    world.client("release", "certify", bundle)
    told = world.start(str(bundle), expect=8)
    assert "APPROVAL_MISSING" in {failure["code"] for failure in told["failures"]}
    assert {name: len(world.effects(name)) for name in world.environments} == before
    assert world.store.read(layout.wal_record(TENANT, told["run_id"], 0)) is None


def test_a_dry_run_reports_preflight_and_touches_nothing(world: World) -> None:
    before = {name: len(world.effects(name)) for name in world.environments}
    release = world.release("4.1.0")
    told = world.start(release, "--dry-run")
    assert told["outcome"] == "passed"
    assert {name: len(world.effects(name)) for name in world.environments} == before
    assert world.store.read(layout.wal_record(TENANT, told["run_id"], 0)) is None
    # and the dry run does not stand in the way of the real one
    assert world.start(release)["status"] == "success"


def test_an_operator_rolls_back_after_the_commit(world: World) -> None:
    first = world.release("5.0.0")
    world.start(first)
    second = world.release("5.1.0")
    world.start(second)
    assert serving(world, "prod") == (second, 100)
    told = world.json("rollback", SERVICE, "--env", "prod", "--reason", "a complaint", expect=None)
    assert serving(world, "prod") == (first, 100), told
    current = world.ledger.current("prod", SERVICE)
    assert current.serving == current.last_good == from_text(first)
    assert from_text(second) in current.withdrawn
    assert serving(world, "staging") == (second, 100)
    world.client("verify", told["run_id"])


def test_target_status_names_drift(world: World) -> None:
    clean = world.json("target", "status", SERVICE)
    assert {row["drift"] for row in clean["environments"]} == {None}


def test_a_release_that_serves_already_and_fails_under_another_profile_goes_on_serving(
    world: World,
) -> None:
    release = world.release("6.0.0")
    assert world.start(release)["status"] == "success"
    other = world.folder / "profile-2.yaml"
    text = (world.folder / "profile.yaml").read_text()
    other.write_text(text.replace("lease_s: 20", "lease_s: 21"))
    world.set_metrics("dev", BAD)
    told = world.start(release, "--profile", str(other), expect=4)
    assert told["status"] == "rolled_back"
    assert serving(world, "dev") == (release, 100)
    current = world.ledger.current("dev", SERVICE)
    assert current.serving == current.last_good == from_text(release)
    assert current.withdrawn.count(from_text(release)) == 0
