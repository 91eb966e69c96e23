"""A commit that is refused at the very end takes production back too, not only what lies below."""

from pathlib import Path

import pytest

from lockstep import layout
from tests.processes import wait_until
from tests.world import SERVICE, TENANT, World

pytestmark = pytest.mark.e2e


def test_a_rollout_refused_at_its_commit_leaves_nothing_exposed(worlds) -> None:
    world: World = worlds(environments=("dev", "prod"), cohorts=(25, 100), bake_s=2)
    world.start_worker()
    world.adopt()
    before = {name: world.ledger.current(name, SERVICE).serving for name in world.environments}
    release = world.release("1.0.0")
    run_id = world.start(release, "--detach")["run_id"]
    wait_until(lambda: world.status(run_id)["stage"] == "prod/100", "the last bake", 60)
    # Every gate has been passed but the last; the trust root is read once more, at the commit.
    root = Path(world.store_url.removeprefix("file://"), layout.trust_root(TENANT, 1))
    root.chmod(0o644)
    root.write_bytes(root.read_bytes() + b"\x00")
    wait_until(lambda: world.status(run_id)["status"] not in ("running", "held"), "the end", 90)
    status = world.status(run_id)
    assert status["status"] in ("rolled_back", "failed")
    assert status["committed"] is False
    assert world.store.read(layout.committed(TENANT, run_id)) is None
    for name in world.environments:
        exposed = {i.release: i.weight for i in world.target(name).instances if i.weight}
        assert exposed == {before[name].hex(): 100}
        assert world.ledger.current(name, SERVICE).serving == before[name]
