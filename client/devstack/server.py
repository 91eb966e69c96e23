"""Temporal's development server: where it comes from, how it is started, when it is ready."""

import asyncio
from datetime import timedelta
from pathlib import Path

from client.devstack.state import NAMESPACE, Stack
from lockstep.errors import LockstepError

DOWNLOAD_MAX_S = 20.0
ASK_MAX_S = 2.0
ENVIRONMENT = {"TEMPORAL_VERSION_CHECK_DISABLED": "1"}  # it would ask its maker for news


def find_program() -> Path:
    """The server's program, fetched or built where it is not at hand.

    Raises:
        UnavailableError: SERVER_BINARY_MISSING.
    """
    from infra.dev import parts

    return parts.resolve("temporal", fetch=download)


def download(folder: Path) -> Path | None:
    """The SDK's own download, given ``DOWNLOAD_MAX_S``; None where it is refused."""
    from infra.dev.parts import PARTS

    place = folder / "download"
    place.mkdir(exist_ok=True)
    try:
        asyncio.run(_download(place, PARTS["temporal"].version))
    except (RuntimeError, OSError, TimeoutError):
        return None
    files = [path for path in sorted(place.iterdir()) if path.is_file()]
    return files[-1] if files else None


async def _download(place: Path, version: str) -> None:
    """The SDK downloads in order to start: a server in memory, ended at once."""
    from temporalio.testing import WorkflowEnvironment

    async with asyncio.timeout(DOWNLOAD_MAX_S):
        server = await WorkflowEnvironment.start_local(
            download_dest_dir=str(place),
            dev_server_download_version=version,
            dev_server_log_level="error",
        )
    await server.shutdown()


def command(program: Path, stack: Stack) -> list[str]:
    """The command line of the stack's Temporal server."""
    words = [
        *(str(program), "server", "start-dev", "--headless=false", "--ip", "127.0.0.1"),
        *("--port", str(stack.ports.temporal), "--ui-port", str(stack.ports.ui)),
        *("--db-filename", str(stack.path / "temporal.sqlite")),
        *("--namespace", NAMESPACE, "--log-level", "warn"),
    ]
    for name in _search_attributes():
        words += ["--search-attribute", f"{name}=Keyword"]
    return words


def _search_attributes() -> list[str]:
    from workflows.client_api import SEARCH_ATTRIBUTES  # imports the Temporal library

    return [key.name for key in SEARCH_ATTRIBUTES]


def is_ready(stack: Stack) -> bool:
    """Whether it answers, knows the namespace, and has every search attribute registered."""
    return asyncio.run(_is_ready(stack))


async def _is_ready(stack: Stack) -> bool:
    from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
    from temporalio.service import RPCError

    from workflows.connection import connect

    try:
        client = await connect(stack.temporal_address, NAMESPACE, timeout_s=ASK_MAX_S)
        known = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=NAMESPACE),
            timeout=timedelta(seconds=ASK_MAX_S),
        )
    except (LockstepError, RPCError):
        return False
    return set(_search_attributes()) <= set(known.custom_attributes)
