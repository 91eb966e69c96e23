"""Questions to the Temporal server, asked as plain requests: no workflow types, no converter.

``client status`` has to be quick, and the full client library costs a quarter of a second to
import; its service layer costs half. Answers are JSON values in the shapes of
``lockstep.messages``. Starting and updating is left to ``workflows.connection``.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from temporalio.api.common.v1 import Payload, Payloads, WorkflowExecution
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    ListWorkflowExecutionsRequest,
    QueryWorkflowRequest,
)
from temporalio.service import (
    ConnectConfig,
    RPCError,
    RPCStatusCode,
    ServiceClient,
    WorkflowService,
)

from lockstep.errors import DataError, UnavailableError
from lockstep.settings import Context

CONNECT_MAX_S = 6.0
"""With the start of the program and the telling of it, well within ten seconds."""
CALL_MAX = timedelta(seconds=8)
LIST_PAGE = 100

_GONE = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.CANCELLED)
_NO_WORKER = (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.FAILED_PRECONDITION)


@dataclass(frozen=True, slots=True)
class Execution:
    """One workflow as the server lists it."""

    workflow_id: str
    first_run_id: str
    workflow_type: str
    parent_id: str
    closed: bool
    status: str
    started: str
    attributes: dict[str, Any]
    memo: dict[str, Any]


@dataclass(frozen=True)
class Server:
    """A connected server, its namespace, and the address for error messages."""

    service: WorkflowService
    namespace: str
    address: str

    async def query(self, workflow_id: str, name: str, *args: Any, run_id: str = "") -> Any | None:
        """The JSON answer of a query; None where the server knows no such workflow.

        Raises:
            UnavailableError: TEMPORAL_UNREACHABLE, or WORKER_SILENT when no worker answers.
        """
        request = QueryWorkflowRequest(
            namespace=self.namespace,
            execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
            query=WorkflowQuery(
                query_type=name, query_args=Payloads(payloads=[_payload(arg) for arg in args])
            ),
        )
        try:
            answer = await self.service.query_workflow(request, retry=False, timeout=CALL_MAX)
        except RPCError as error:
            if _is_unknown(error):
                return None
            raise self._failed(error, f"query {name} of {workflow_id}") from None
        return json.loads(answer.query_result.payloads[0].data)

    async def describe(self, workflow_id: str) -> Execution | None:
        """What the server itself knows of a workflow; None where it knows none."""
        request = DescribeWorkflowExecutionRequest(
            namespace=self.namespace, execution=WorkflowExecution(workflow_id=workflow_id)
        )
        try:
            answer = await self.service.describe_workflow_execution(
                request, retry=True, timeout=CALL_MAX
            )
        except RPCError as error:
            if _is_unknown(error):
                return None
            raise self._failed(error, f"describe {workflow_id}") from None
        return _execution(answer.workflow_execution_info)

    async def list(self, query: str, limit: int) -> list[Execution]:
        """The newest ``limit`` workflows that a visibility query finds."""
        found: list[Execution] = []
        token = b""
        while len(found) < limit:
            request = ListWorkflowExecutionsRequest(
                namespace=self.namespace,
                page_size=min(LIST_PAGE, limit),
                query=query,
                next_page_token=token,
            )
            try:
                answer = await self.service.list_workflow_executions(
                    request, retry=True, timeout=CALL_MAX
                )
            except RPCError as error:
                raise self._failed(error, "list of workflows") from None
            found += [_execution(info) for info in answer.executions]
            token = answer.next_page_token
            if not token:
                break
        return found[:limit]

    def _failed(self, error: RPCError, what: str) -> UnavailableError | DataError:
        if error.status in _GONE:
            return unreachable(self.address, error)
        if error.status in _NO_WORKER:
            return UnavailableError(
                "WORKER_SILENT",
                f"{what}: no worker answers",
                place=self.address,
                hint="start lockstep-worker --role control, or see client dev status",
            )
        if error.status is RPCStatusCode.NOT_FOUND:
            cause = f"the server has no namespace {self.namespace}"
            return DataError("CONTEXT_INVALID", cause, place=self.address)
        return DataError("INTERNAL", f"{what}: {error.message}", place=self.address)


def _is_unknown(error: RPCError) -> bool:
    """Whether the server knows no such workflow; an unknown namespace is "not found" too."""
    return error.status is RPCStatusCode.NOT_FOUND and "amespace" not in error.message


@asynccontextmanager
async def connected(context: Context) -> AsyncIterator[Server]:
    """Connect to the context's server.

    Raises:
        UnavailableError: TEMPORAL_UNREACHABLE, naming the address, within ``CONNECT_MAX_S``.
    """
    address = context.temporal_address
    config = ConnectConfig(target_host=address)
    try:
        async with asyncio.timeout(CONNECT_MAX_S):
            service = await ServiceClient.connect(config)
    except (RuntimeError, RPCError, TimeoutError, OSError) as error:
        raise unreachable(address, error) from None
    yield Server(service.workflow_service, context.namespace, address)


def unreachable(address: str, error: BaseException) -> UnavailableError:
    from workflows.connection import unreachable as worded  # heavy, and only wanted here

    return worded(address, error)


def ui_url(context: Context, workflow_id: str) -> str:
    """The workflow's page in the Temporal UI; empty where the context names no UI."""
    if not context.ui_url:
        return ""
    base = context.ui_url.rstrip("/")
    return f"{base}/namespaces/{context.namespace}/workflows/{quote(workflow_id, safe='')}"


def _payload(value: Any) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(value).encode())


def _value(payload: Payload) -> Any:
    try:
        return json.loads(payload.data)
    except ValueError:  # an attribute of another program in the same namespace
        return None


def _execution(info: WorkflowExecutionInfo) -> Execution:
    started: datetime = info.start_time.ToDatetime(tzinfo=UTC)
    return Execution(
        workflow_id=info.execution.workflow_id,
        first_run_id=info.execution.run_id,
        workflow_type=info.type.name,
        parent_id=info.parent_execution.workflow_id,
        closed=info.status != WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING,
        status=WorkflowExecutionStatus.Name(info.status)
        .removeprefix("WORKFLOW_EXECUTION_STATUS_")
        .lower(),
        started=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        attributes={
            name: _value(payload) for name, payload in info.search_attributes.indexed_fields.items()
        },
        memo={name: _value(payload) for name, payload in info.memo.fields.items()},
    )
