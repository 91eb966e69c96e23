"""``client list``: the runs that the server knows, newest first."""

import asyncio
from typing import TYPE_CHECKING, Any

import click

from client.output import columns, emit, output_option
from lockstep.errors import Exit

if TYPE_CHECKING:
    from client.server import Execution
    from lockstep.settings import Context

SCHEMA_VERSION = "lockstep.runs.v1"
ROW_SCHEMA = "lockstep.runs-row.v1"

OPEN_MAX = 1000
"""Open environments looked through; each service has one an environment at most."""

_ENDED_BADLY = ("failed", "terminated", "canceled", "timed_out")


@click.command("list")
@click.option("--service", help="Runs of this service only.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="The newest N."
)
@output_option
def list_runs(service: str | None, limit: int, output: str) -> int:
    """List runs, newest first."""
    from client.context import load

    runs = asyncio.run(_list(load(), service, limit))
    if output == "jsonl":
        emit([{"schema_version": ROW_SCHEMA, **one} for one in runs], output)
        return Exit.DONE
    emit({"schema_version": SCHEMA_VERSION, "runs": runs}, output, lambda value: _table(runs))
    return Exit.DONE


async def _list(context: "Context", service: str | None, limit: int) -> list[dict[str, Any]]:
    from client.server import connected
    from workflows.client_api import ENVIRONMENT, ROLLBACK, ROLLOUT

    query = f"WorkflowType IN ('{ROLLOUT}', '{ROLLBACK}')"
    if service is not None:
        quoted = service.replace("\\", "").replace("'", "")
        query += f" AND LockstepService = '{quoted}'"
    at_work = f"WorkflowType = '{ENVIRONMENT}' AND ExecutionStatus = 'Running'"
    async with connected(context) as server:
        found = await server.list(query, limit)
        open_children = await server.list(at_work, OPEN_MAX)
    children = {one.parent_id: one for one in open_children}
    # A rollback inside a rollout is a part of it, not a run of its own.
    return [row_of(one, children.get(one.workflow_id)) for one in found if not one.parent_id]


def row_of(one: "Execution", child: "Execution | None" = None) -> dict[str, Any]:
    """One run out of what the server lists: memo, search attributes, workflow status.

    While an environment's workflow is open it knows the stage, and whether a person is awaited.
    """
    at = child or one
    status = at.attributes.get("LockstepStatus")
    if one.status in _ENDED_BADLY:
        status = "failed"  # the workflow itself broke or was ended from outside
    return {
        "run_id": one.memo.get("run_id") or one.workflow_id.rsplit("/", 1)[-1],
        "operation": one.memo.get("operation") or one.workflow_type.lower(),
        "service": one.memo.get("service") or one.attributes.get("LockstepService"),
        "release_hash": one.memo.get("release_hash") or one.attributes.get("LockstepRelease"),
        "status": status,
        "stage": at.attributes.get("LockstepStage"),
        "started": one.started,
    }


def _table(runs: list[dict[str, Any]]) -> str:
    rows = [
        (
            one["run_id"],
            one["operation"],
            one["service"] or "–",
            (one["release_hash"] or "–").removeprefix("sha256:")[:12],
            one["status"] or "–",
            one["stage"] or "–",
            one["started"],
        )
        for one in runs
    ]
    head = ("RUN", "OPERATION", "SERVICE", "RELEASE", "STATUS", "STAGE", "STARTED")
    return columns(rows, head)
