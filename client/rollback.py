"""Send a service back by an operator's word: its own run, its own log, one person is enough."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.service import RPCError

from client.context import Stored
from client.output import say
from client.server import CONNECT_MAX_S
from lockstep import hashes, trace
from lockstep.digest import to_text
from lockstep.error_codes import exit_of
from lockstep.errors import DataError, Exit, RefusedError
from lockstep.messages import RollbackRequest, RollbackResult, RunContext, TraceCursor
from lockstep.policy import Policy
from lockstep.profile import EnvironmentProfile, EnvironmentSpec
from lockstep.settings import Context
from workflows import client_api as api
from workflows.connection import RPC_TIMEOUT, connect, unreachable

REASON_CODE = "OPERATOR"
POLL_S = 0.5
TASK_TIMEOUT = timedelta(seconds=5)

_EXIT_OF_REFUSAL = (
    Exit.PREFLIGHT_REFUSED,
    Exit.EVIDENCE_REFUSED,
    Exit.IN_THE_WAY,
    Exit.UNREACHABLE,
)


@dataclass(frozen=True)
class Back:
    """What goes back, where to, and why."""

    context: Context
    policy: Policy
    profile: EnvironmentProfile
    spec: EnvironmentSpec
    service: str
    to: bytes | None
    reason: str
    starter: str


def request_of(stored: Stored, back: Back) -> RollbackRequest:
    """The request. Its run is named after the release that is left and the epoch it will hold.

    Raises:
        RefusedError: ROLLBACK_TARGET_MISSING; nothing is recorded as serving.
    """
    current = stored.ledger.current(back.spec.name, back.service)
    if current is None or current.serving is None:
        raise RefusedError(
            "ROLLBACK_TARGET_MISSING",
            f"nothing is recorded as serving {back.service} in {back.spec.name}",
            hint="client target status shows what is known; client adopt records what runs",
        )
    lease, _ = stored.ledger.lease(back.spec.name, back.service)
    epoch = lease.epoch + 1 if lease else 1
    tenant = back.context.tenant_id
    token = hashes.replay_token(back.policy.digest(), back.profile.digest())
    run = RunContext(
        tenant_id=tenant,
        run_id=hashes.run_id(tenant, "rollback", back.service, current.serving, token, epoch),
        service=back.service,
        release_hash=to_text(current.serving),
        policy_bundle_hash=to_text(back.policy.digest()),
        env_manifest_hash=to_text(back.profile.digest()),
        replay_token=to_text(token),
        attempt=epoch,
        starter=back.starter,
    )
    return RollbackRequest(
        run=run,
        environment=back.spec.name,
        task_queue=back.spec.task_queue,
        expected_epoch=epoch,
        reason_code=REASON_CODE,
        reason=back.reason,
        to=to_text(back.to) if back.to else None,
        rollback_max_s=back.policy.rollback_max_s,
        cursor=TraceCursor(t=0, tail=to_text(trace.H0)),
        own_run=True,
    )


def store_documents(stored: Stored, back: Back, run_id: str) -> None:
    """The workers read policy and profile by digest; put them where they look."""
    now_us = int(stored.store.now().timestamp() * 1_000_000)
    documents = [back.policy.to_bytes(), back.profile.to_bytes()]
    stored.cas.put_all(documents, run_id, 0, now_us=now_us)


async def roll_back(stored: Stored, back: Back, *, timeout_s: float | None) -> dict[str, Any]:
    """Start the workflow, or attach to the one of this epoch, and wait for its end.

    Raises:
        UnavailableError: TEMPORAL_UNREACHABLE.
        DataError: INTERNAL; the workflow ended without a result.
    """
    context = back.context
    client = await connect(context.temporal_address, context.namespace, timeout_s=CONNECT_MAX_S)
    request = request_of(stored, back)
    await asyncio.to_thread(store_documents, stored, back, request.run.run_id)
    try:
        handle = await _start(client, request)
        result = await _wait(handle, timeout_s)
    except RPCError as error:
        raise unreachable(context.temporal_address, error) from None
    except WorkflowFailureError as error:
        raise DataError(
            "INTERNAL", f"the workflow ended without a result: {error.cause}", place=handle.id
        ) from None
    return {
        "run_id": request.run.run_id,
        "workflow_id": handle.id,
        "release_hash": request.run.release_hash,
        "status": result.status if result else "running",
        "code": result.code if result else "",
        "detail": result.detail if result else "",
        "to": (result.to if result else None) or request.to,
        "report": result.report if result else None,
        "exit_code": int(exit_of_result(result)),
    }


async def _start(client: Client, request: RollbackRequest) -> WorkflowHandle[Any, RollbackResult]:
    run = request.run
    attributes = (
        (api.SERVICE, run.service),
        (api.ENVIRONMENT_NAME, request.environment),
        (api.STATUS, "running"),
        (api.STAGE, request.environment),
        (api.RELEASE, run.release_hash[7:19]),
        (api.OWNER, run.starter),
    )
    return await client.start_workflow(
        api.ROLLBACK,
        request,
        id=api.rollback_id(run.tenant_id, request.environment, run.service, request.expected_epoch),
        task_queue=api.CONTROL_QUEUE,
        result_type=RollbackResult,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        task_timeout=TASK_TIMEOUT,
        search_attributes=TypedSearchAttributes(
            [SearchAttributePair(key, value) for key, value in attributes]
        ),
        memo={
            "run_id": run.run_id,
            "operation": "rollback",
            "service": run.service,
            "release_hash": run.release_hash,
        },
        static_summary=f"{run.service}: {request.environment} back, by an operator",
        static_details=f"**{request.reason}**\n\nby `{run.starter}`, run `{run.run_id}`",
        rpc_timeout=RPC_TIMEOUT,
    )


async def _wait(
    handle: WorkflowHandle[Any, RollbackResult], timeout_s: float | None
) -> RollbackResult | None:
    """The result, saying on the way how far it is; None when time is up first."""
    ending = asyncio.create_task(handle.result())
    said, waited_s = "", 0.0
    try:
        while timeout_s is None or waited_s < timeout_s:
            done, _ = await asyncio.wait({ending}, timeout=POLL_S)
            if done:
                return ending.result()
            waited_s += POLL_S
            now = await _progress(handle)
            if now and now != said:
                say(now)
                said = now
        return None
    finally:
        ending.cancel()


async def _progress(handle: WorkflowHandle[Any, RollbackResult]) -> str:
    try:
        return str(await handle.query(api.QUERY_STATUS, rpc_timeout=RPC_TIMEOUT))
    except RPCError:
        return ""  # only talk: a worker that is busy moving traffic need not answer


def exit_of_result(result: RollbackResult | None) -> Exit:
    """Exit code of an operator's rollback."""
    if result is None:
        return Exit.WAIT_TIMED_OUT
    if result.status in ("verified", "unverified"):
        return Exit.DONE
    if result.status in ("fenced", "superseded"):
        return Exit.ROLLED_BACK
    named = exit_of(result.code)
    return named if named in _EXIT_OF_REFUSAL and not result.report else Exit.ROLLBACK_FAILED
