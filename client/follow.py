"""Wait for a run: show it until it ends, reaches a stage, needs a person, or time is up.

The rollout does not depend on being watched. A server that goes away meanwhile is said so and
asked again; only when it stays away the wait ends as unreachable.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError

from client.render.show import Show
from client.run_status import ENDED, WAITS_FOR_A_PERSON, Watcher, exit_of_status
from client.server import Server
from lockstep.errors import DataError, Exit, UnavailableError
from lockstep.messages import RolloutResult
from lockstep.settings import Context

POLL_S = 0.5
"""How often a run is asked where it stands; its end is noticed at once."""

AWAY_MAX_S = 300.0
"""How long a server may be away in the middle of a wait before the wait is given up."""

RETRY_S = 2.0


@dataclass(frozen=True, slots=True)
class Wait:
    """When to stop waiting, beside the run's end."""

    until: str | None = None
    """``prod/25``, ``prod`` or ``done``: stop once it has passed."""
    timeout_s: float | None = None
    stop_when_held: bool = True
    """Return when a person is needed, instead of waiting for one."""


@dataclass(frozen=True, slots=True)
class Followed:
    """How the wait ended: the newest document, the exit code, and the result if the run ended."""

    document: dict[str, Any]
    exit: int
    result: RolloutResult | None = None


def has_passed(document: dict[str, Any], until: str) -> bool:
    """Whether the run is past ``until``. Every environment passes its cohorts in order."""
    if until == "done":
        return document["status"] in ENDED
    environment, _, percent = until.partition("/")
    states = {row["name"]: row["status"] for row in document["environments"]}
    if states.get(environment) == "passed" or document["committed"]:
        return True
    if not percent:
        return False
    outcomes = {row["stage"]: row["outcome"] for row in document["stages"]}
    return outcomes.get(until) == "PASS"


class _Absence:
    """How long the server has been away, and whether that is too long."""

    def __init__(self) -> None:
        self.since: float | None = None

    def over(self) -> None:
        self.since = None

    def check(self, error: UnavailableError) -> None:
        now = time.monotonic()
        self.since = self.since if self.since is not None else now
        if now - self.since > AWAY_MAX_S:
            raise error


async def follow(
    client: Client, context: Context, run_id: str, workflow_id: str, wait: Wait, show: Show
) -> Followed:
    """Follow one run.

    Raises:
        DataError: RUN_UNKNOWN; the server knows no such run.
        UnavailableError: TEMPORAL_UNREACHABLE or WORKER_SILENT for longer than ``AWAY_MAX_S``.
    """
    server = Server(client.workflow_service, context.namespace, context.temporal_address)
    watcher = Watcher(server, context, run_id, workflow_id)
    give_up = time.monotonic() + wait.timeout_s if wait.timeout_s is not None else None
    absence, document = _Absence(), None
    ending = _ending(client, workflow_id)
    try:
        while True:
            try:
                document = await watcher.ask()
                absence.over()
            except UnavailableError as error:
                absence.check(error)
                show.note(f"{error}; the rollout goes on, asking again")
            if document is None and absence.since is None:
                raise DataError("RUN_UNKNOWN", f"the server knows no run {run_id}")
            if document is not None and absence.since is None:
                show.update(document)
                stopped = _stopped(document, wait)
                if stopped is not None and document["status"] not in ENDED:
                    return Followed(document, stopped)
            if give_up is not None and time.monotonic() >= give_up:
                return Followed(document or {}, _timed_out(document))
            pause_s = RETRY_S if absence.since is not None else POLL_S
            done, _ = await asyncio.wait({ending}, timeout=pause_s)
            if done:
                followed = await _ended(ending, watcher, show)
                if followed is not None:
                    return followed
                ending = _ending(client, workflow_id)  # the server went away; ask anew
                await asyncio.sleep(RETRY_S)
    finally:
        ending.cancel()
        show.close()


def _ending(client: Client, workflow_id: str) -> asyncio.Task[RolloutResult]:
    handle = client.get_workflow_handle(workflow_id, result_type=RolloutResult)
    return asyncio.create_task(handle.result())


async def _ended(
    ending: asyncio.Task[RolloutResult], watcher: Watcher, show: Show
) -> Followed | None:
    """The run's end; None where the wait for it broke and has to begin again."""
    try:
        result = ending.result()
    except RPCError:
        return None
    except WorkflowFailureError as error:
        # Terminated, timed out or broken: none of them is an end that the rollout chose.
        cause = str(error.cause or error)
        raise DataError(
            "INTERNAL",
            f"the workflow ended without a result: {cause}",
            place=watcher.workflow_id,
            hint=f"client status {watcher.run_id}; client target status shows the traffic",
        ) from None
    document = await watcher.ask()
    if document is None:
        raise DataError("RUN_UNKNOWN", f"the server knows no run {watcher.run_id}")
    show.update(document)
    return Followed(document, result.exit_code, result)


def _stopped(document: dict[str, Any], wait: Wait) -> int | None:
    """The exit code to stop waiting with, or None to go on."""
    if wait.until is not None and has_passed(document, wait.until):
        return Exit.DONE
    if wait.stop_when_held and document["status"] in WAITS_FOR_A_PERSON:
        return Exit.HELD
    return None


def _timed_out(document: dict[str, Any] | None) -> int:
    if document is not None and document["status"] in WAITS_FOR_A_PERSON:
        return exit_of_status(document)
    return Exit.WAIT_TIMED_OUT
