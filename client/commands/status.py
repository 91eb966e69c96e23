"""``client status RUN``: where a run stands, quickly, from whoever still knows it."""

import asyncio
from typing import TYPE_CHECKING, Any

import click

from client.output import emit, output_option, say
from lockstep.errors import DataError, Exit, LockstepError, UnavailableError

if TYPE_CHECKING:
    from lockstep.settings import Context


@click.command()
@click.argument("run")
@output_option
def status(run: str, output: str) -> int:
    """Say where RUN stands.

    Asks its workflow; when the server is gone or knows it no more, the store's records.
    """
    from client.context import load
    from client.run_status import run_id_of

    run_id, context = run_id_of(run), load()
    document = status_of(context, run_id)
    emit(document, output, _table)
    return Exit.DONE


def status_of(context: "Context", run_id: str) -> dict[str, Any]:
    """The status document from the server, else from the store.

    Raises:
        DataError: RUN_UNKNOWN; neither knows the run.
        UnavailableError: the server is out of reach and the store knows no end of the run.
    """
    problem: LockstepError | None = None
    try:
        document = asyncio.run(_ask(context, run_id))
    except UnavailableError as error:
        document, problem = None, error
    if document is not None:
        return document
    return _stored(context, run_id, problem)


async def _ask(context: "Context", run_id: str) -> dict[str, Any] | None:
    from client.run_status import Watcher
    from client.server import connected

    async with connected(context) as server:
        return await Watcher(server, context, run_id).ask()


def _stored(context: "Context", run_id: str, problem: LockstepError | None) -> dict[str, Any]:
    from client.context import Stored
    from client.ended import ended_run, stored_run

    # While the server is merely away an open log says nothing: its workflow may be at work.
    known = (ended_run if problem else stored_run)(Stored(context), run_id)
    if known is None:
        raise problem or DataError("RUN_UNKNOWN", f"neither server nor store knows run {run_id}")
    if problem:
        say(f"{problem}; as the store tells it")
    return known


def _table(document: dict[str, Any]) -> str:
    from client.render.tree import end_text

    return end_text(document)
