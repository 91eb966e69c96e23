"""``client abort | pause | resume RUN --reason …``: what a person may do to a run under way."""

import asyncio
from typing import TYPE_CHECKING

import click

from client.output import emit, output_option
from lockstep.errors import DataError, Exit, RefusedError

if TYPE_CHECKING:
    from lockstep.messages import ActionResult
    from lockstep.settings import Context

SCHEMA_VERSION = "lockstep.action.v1"


def _action(name: str, text: str, help_text: str) -> click.Command:
    @click.argument("run")
    @click.option("--reason", required=True, help="Why; it is kept with the run.")
    @click.option("--action-id", help="Repeat an earlier action under its own id.")
    @output_option
    def command(run: str, reason: str, action_id: str | None, output: str) -> int:
        return act(name, run, reason, action_id, output)

    return click.command(name, help=f"{text}\n\n{help_text}")(command)


def act(name: str, run: str, reason: str, action_id: str | None, output: str) -> int:
    """Send one action and print what became of it.

    Raises:
        DataError: RUN_UNKNOWN.
        RefusedError: RUN_ENDED, or why the run did not take the action.
        UnavailableError: TEMPORAL_UNREACHABLE or WORKER_SILENT.
    """
    from client.context import load
    from client.inputs import operator_key
    from client.run_status import run_id_of

    if not reason.strip():
        raise DataError("USAGE", "--reason is empty", hint="say why; it is kept with the run")
    run_id, context = run_id_of(run), load()
    key_id = operator_key(context).key_id
    action = action_id or id_of_action(key_id, name, run_id, reason)
    answer = asyncio.run(_send(context, run_id, name, action, reason, key_id))
    value = {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "action": name,
        "action_id": action,
        "accepted": answer.accepted,
        "status": answer.status,
        "detail": answer.detail,
    }
    emit(value, output, f"{name} {run_id}: {answer.detail or answer.status}")
    return Exit.DONE if answer.accepted else Exit.USAGE


def id_of_action(key_id: str, name: str, run_id: str, reason: str) -> str:
    """A fresh id for each command line: a second pause an hour later is another action.

    The client library repeats a lost request under the same id, so one command acts once.
    """
    from secrets import token_hex

    from lockstep.digest import h

    return h(["operator_action_v1", key_id, name, run_id, reason, token_hex(8)]).hex()[:32]


async def _send(
    context: "Context", run_id: str, name: str, action_id: str, reason: str, key_id: str
) -> "ActionResult":
    from temporalio.client import (
        WorkflowUpdateFailedError,
        WorkflowUpdateRPCTimeoutOrCancelledError,
    )
    from temporalio.service import RPCError, RPCStatusCode

    from client.server import CONNECT_MAX_S
    from lockstep.errors import UnavailableError
    from lockstep.messages import ActionRequest, ActionResult
    from workflows.client_api import rollout_id
    from workflows.connection import RPC_TIMEOUT, connect, unreachable

    client = await connect(context.temporal_address, context.namespace, timeout_s=CONNECT_MAX_S)
    handle = client.get_workflow_handle(rollout_id(context.tenant_id, run_id))
    request = ActionRequest(action_id=action_id, reason=reason, principal=key_id)
    try:
        return await handle.execute_update(
            name, request, id=action_id, result_type=ActionResult, rpc_timeout=RPC_TIMEOUT
        )
    except WorkflowUpdateFailedError as error:
        raise RefusedError("RUN_ENDED", str(error.cause), place=run_id) from None
    except WorkflowUpdateRPCTimeoutOrCancelledError:
        raise UnavailableError(
            "WORKER_SILENT", f"{name} {run_id}: no worker answers", place=context.temporal_address
        ) from None
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise unreachable(context.temporal_address, error) from None
        if "completed" in error.message:
            raise RefusedError("RUN_ENDED", f"run {run_id} has ended", place=run_id) from None
        raise DataError("RUN_UNKNOWN", f"the server knows no run {run_id}") from None


abort = _action(
    "abort",
    "Stop RUN and go back.",
    "Traffic returns to the rollback release in every environment that the run raised.",
)
pause = _action(
    "pause",
    "Keep RUN at its cohort.",
    "Gates go on judging and a failed one still rolls back; nothing grows until resume.",
)
resume = _action("resume", "Let RUN go on after a pause or a hold.", "Its gates still decide.")
