"""Record the histories that ``test_replay`` replays: ``python -m tests.replay.record``.

Runs real rollouts on a real server and writes one JSON file a workflow. Histories of a released
version are never rewritten: a change of behaviour adds files beside them.
"""

import asyncio
import json
import tempfile
from pathlib import Path

from temporalio.client import Client

from lockstep import __version__
from tests.processes import wait_until
from tests.replay.strict import HISTORIES
from tests.world import BAD, GOOD, TemporalServer, World
from workflows.connection import connect


def run_cases(world: World) -> dict[str, str]:
    """Case → run id: a success, a gate failure in prod, an abort in a bake."""
    success = world.start(world.release("1.0.0"))["run_id"]
    world.set_metrics("prod", BAD)
    failure = world.start(world.release("1.1.0"), expect=4)["run_id"]
    world.set_metrics("prod", GOOD)
    aborted = world.start(world.release("1.2.0"), "--detach")["run_id"]
    wait_until(lambda: "bake" in world.status(aborted)["waits_for"], "the first bake", 60)
    world.json("abort", aborted, "--reason", "recorded for replay")
    wait_until(lambda: world.status(aborted)["status"] == "rolled_back", "the abort ends", 60)
    return {"success": success, "gate-failure": failure, "abort": aborted}


async def save(client: Client, cases: dict[str, str]) -> list[Path]:
    """Write the rollout of each case and its children; returns the files."""
    written = []
    async for found in client.list_workflows(""):
        handle = client.get_workflow_handle(found.id, run_id=found.run_id)
        history = await handle.fetch_history()
        started = history.events[0].workflow_execution_started_event_attributes
        family = (found.id, started.root_workflow_execution.workflow_id)
        for case, run_id in cases.items():
            if f"rollout/demo/{run_id}" in family:
                name = "-".join([case, *found.id.split("/")[:1], *found.id.split("/")[2:-1]])
                name = f"{name.replace(run_id, '').rstrip('-')}.{__version__}.json"
                path = HISTORIES / name
                document = {"workflow_id": found.id, "history": history.to_json_dict()}
                path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
                written.append(path)
    return written


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = TemporalServer(Path(folder)).start()
        world = World(
            Path(folder) / "w", server, environments=("dev", "prod"), cohorts=(25, 100), bake_s=2
        )
        try:
            world.build()
            world.start_worker()
            world.adopt()
            cases = run_cases(world)

            async def fetch() -> list[Path]:
                return await save(await connect(server.address, "default"), cases)

            for path in sorted(asyncio.run(fetch())):
                print(path.name)
        finally:
            world.stop()
            server.program.stop()


if __name__ == "__main__":
    main()
