"""``client watch RUN``: the live tree of a run, for as long as it lasts."""

import asyncio
from typing import Any

import click

from client.output import output_option, say
from lockstep.errors import DataError, LockstepError, UnavailableError


@click.command()
@click.argument("run")
@click.option("--until", metavar="STAGE", help="Stop once prod/25, prod or done has passed.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0), help="At most so many seconds."
)
@output_option
def watch(run: str, until: str | None, timeout_s: float | None, output: str) -> int:
    """Show RUN's live tree until it ends.

    Survives a server that goes away and comes back. Exits as start-rollout does; Ctrl-C stops
    nothing. A run that waits for a person is watched on; its exit code at --timeout is 6.
    """
    from client.commands.start_rollout import finish
    from client.context import Stored, load, reattach_with
    from client.run_status import exit_of_status, run_id_of

    run_id = run_id_of(run)
    reattach_with(f"client watch {run_id}")
    context = load()
    try:
        followed = asyncio.run(_follow(context, run_id, until, timeout_s))
    except (UnavailableError, DataError) as error:
        document = _from_store(Stored(context), run_id, error)
        say(f"{error}; as the store tells it")
        return finish(document, exit_of_status(document), output)
    return finish(followed.document, followed.exit, output, followed)


async def _follow(context: Any, run_id: str, until: str | None, timeout_s: float | None) -> Any:
    from client.follow import Wait, follow
    from client.render.show import open_show
    from client.server import CONNECT_MAX_S
    from workflows.client_api import rollout_id
    from workflows.connection import connect

    client = await connect(context.temporal_address, context.namespace, timeout_s=CONNECT_MAX_S)
    wait = Wait(until=until, timeout_s=timeout_s, stop_when_held=False)
    workflow_id = rollout_id(context.tenant_id, run_id)
    return await follow(client, context, run_id, workflow_id, wait, open_show())


def _from_store(stored: Any, run_id: str, error: LockstepError) -> dict[str, Any]:
    """How the run ended, as stored; the server's own answer where that is all there is."""
    from client.ended import ended_run

    if isinstance(error, DataError) and error.code != "RUN_UNKNOWN":
        raise error
    known = ended_run(stored, run_id)
    if known is None:
        raise error
    return known
