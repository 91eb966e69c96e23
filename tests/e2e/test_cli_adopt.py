"""Adoption on a real agent and a file store: what is refused, and what a killed attempt leaves."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from activities.adapters.secrets import SigningKey, resolve_key
from activities.adapters.store import open_store
from activities.adapters.targets import open_target
from activities.adapters.trust_setup import create_dev_trust
from client.adoption import Adopted, Subject, adopt
from client.context import Stored
from lockstep import hashes
from lockstep.errors import LockstepError, RefusedError, UnavailableError
from lockstep.ports import BringUp, Instance, Target, TargetState
from lockstep.profile import EnvironmentSpec, SourceSpec, TargetSpec
from lockstep.settings import Context
from tests.contract import demo_agent

pytestmark = pytest.mark.e2e

SERVICE = "checkout"
TOKEN = bytes(32)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[demo_agent.Agent]:
    with demo_agent.running(tmp_path / "agent") as running:
        yield running


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    (tmp_path / "store").mkdir()
    return Stored(Context(name="t", tenant_id="demo", store=(tmp_path / "store").as_uri()))


@pytest.fixture
def key(tmp_path: Path, stored: Stored) -> SigningKey:
    now = stored.store.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    trust = create_dev_trust(tmp_path / "keys", open_store(stored.store.url), "demo", now)
    return resolve_key(trust.keys["operator"], development=True)


def target_of(agent: demo_agent.Agent) -> Target:
    return open_target("demo", {"admin_url": agent.admin_url})


def subject(agent: demo_agent.Agent, key: SigningKey) -> Subject:
    spec = EnvironmentSpec(
        name="dev",
        production=True,
        targets=[TargetSpec(name="main", kind="demo", settings={"admin_url": agent.admin_url})],
        sources=[SourceSpec(name="main", kind="file")],
        task_queue="lockstep-dev",
    )
    return Subject(service=SERVICE, spec=spec, key=key, replay_token=TOKEN)


class Failing:
    """The real target, until the named call: then it is out of reach, as if the client died."""

    def __init__(self, inner: Target, call: str) -> None:
        self.inner, self.call = inner, call
        self.kind, self.cannot = inner.kind, inner.cannot

    def _pass(self, call: str) -> None:
        if call == self.call:
            raise UnavailableError("TARGET_UNREACHABLE", "gone")

    def state(self) -> TargetState:
        return self.inner.state()

    def fence(self, epoch: int) -> None:
        self._pass("fence")
        self.inner.fence(epoch)

    def capacity(self, release: str, percent: int) -> str | None:
        return self.inner.capacity(release, percent)

    def prepare(self, bring_up: BringUp, epoch: int) -> Instance:
        return self.inner.prepare(bring_up, epoch)

    def shift(self, weights: Mapping[str, int], epoch: int) -> None:
        self.inner.shift(weights, epoch)

    def retire(self, release: str, epoch: int) -> None:
        self.inner.retire(release, epoch)

    def adopt(self, name: str, release: str, epoch: int) -> None:
        self._pass("adopt")
        self.inner.adopt(name, release, epoch)
        self._pass("after adopt")


def settled(stored: Stored, agent: demo_agent.Agent, done: Adopted) -> None:
    """Store and target agree, the lease is free, and one signed record says what was adopted."""
    current = stored.ledger.current("dev", SERVICE)
    assert current is not None
    assert current.serving == current.last_good == done.release_hash
    record = stored.ledger.target("dev", SERVICE, "main")
    assert record is not None
    assert (record.stable_release, record.desired_weight) == (done.release_hash, 0)
    lease, _ = stored.ledger.lease("dev", SERVICE)
    assert lease is not None
    assert lease.state == "free"
    carrying = [(one.release, one.weight) for one in target_of(agent).state().instances]
    assert carrying == [(done.release_hash.hex(), 100)]
    assert len(stored.ledger.adoptions("dev", SERVICE)) == 1


def test_what_runs_is_known_by_the_name_of_its_record(
    agent: demo_agent.Agent, stored: Stored, key: SigningKey
) -> None:
    done = adopt(stored, target_of(agent), subject(agent, key))
    assert done.changed
    settled(stored, agent, done)
    again = adopt(stored, target_of(agent), subject(agent, key))
    assert not again.changed
    assert again.release_hash == done.release_hash
    settled(stored, agent, done)


@pytest.mark.parametrize("call", ["fence", "adopt", "after adopt"])
def test_an_attempt_that_died_is_finished_by_the_next(
    agent: demo_agent.Agent, stored: Stored, key: SigningKey, call: str
) -> None:
    with pytest.raises(UnavailableError):
        adopt(stored, Failing(target_of(agent), call), subject(agent, key))
    assert len(stored.ledger.adoptions("dev", SERVICE)) == (0 if call == "fence" else 1)
    lease, _ = stored.ledger.lease("dev", SERVICE)
    assert lease is not None
    assert lease.state == "free"
    done = adopt(stored, target_of(agent), subject(agent, key))
    assert done.changed
    settled(stored, agent, done)


def test_a_lease_that_a_killed_attempt_left_is_given_back(
    agent: demo_agent.Agent, stored: Stored, key: SigningKey
) -> None:
    done = adopt(stored, target_of(agent), subject(agent, key))
    # As if it had been killed between CURRENT and the lease: the same run holds it again.
    run_id = hashes.run_id("demo", "adopt", SERVICE, done.release_hash, TOKEN, done.epoch + 1)
    stored.ledger.take("dev", SERVICE, run_id, 60, "w")
    assert not adopt(stored, target_of(agent), subject(agent, key)).changed
    settled(stored, agent, done)


def test_nothing_to_adopt_is_refused_and_nothing_written(
    tmp_path: Path, stored: Stored, key: SigningKey
) -> None:
    with demo_agent.running(tmp_path / "empty", seeded=False) as agent:
        refused(stored, agent, key, "NOT_DEPLOYED")


def test_two_that_share_the_traffic_are_refused(
    agent: demo_agent.Agent, stored: Stored, key: SigningKey
) -> None:
    target = target_of(agent)
    (seed,) = target.state().instances
    target.fence(1)
    target.prepare(demo_agent.release("b" * 64), 1)
    target.shift({seed.release: 90, "b" * 64: 10}, 1)
    refused(stored, agent, key, "TARGET_DRIFT")


def test_a_service_that_another_run_holds_is_not_adopted(
    agent: demo_agent.Agent, stored: Stored, key: SigningKey
) -> None:
    stored.ledger.take("dev", SERVICE, "other-run", 60, "w")
    refused(stored, agent, key, "LEASE_BUSY")


def refused(stored: Stored, agent: demo_agent.Agent, key: SigningKey, code: str) -> None:
    with pytest.raises(LockstepError) as error:
        adopt(stored, target_of(agent), subject(agent, key))
    assert isinstance(error.value, RefusedError)
    assert error.value.code == code
    assert stored.ledger.current("dev", SERVICE) is None
    assert stored.ledger.adoptions("dev", SERVICE) == []
