"""The one way to reach Temporal: same converter, same limits, for client, worker and replay."""

import asyncio
import dataclasses
from collections.abc import Sequence
from datetime import timedelta

from temporalio.api.common.v1 import Payload
from temporalio.client import Client, TLSConfig
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, PayloadCodec
from temporalio.runtime import Runtime
from temporalio.service import RPCError

from lockstep.errors import LockstepError, UnavailableError
from lockstep.messages import PAYLOAD_MAX_BYTES


class SizeGuard(PayloadCodec):
    """Refuse a payload over 8 KiB where it is made, with a clear error, not in the server."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        for payload in payloads:
            if len(payload.data) > PAYLOAD_MAX_BYTES:
                raise LockstepError(
                    "PAYLOAD_TOO_LARGE",
                    f"a message of {len(payload.data)} bytes, limit {PAYLOAD_MAX_BYTES}",
                )
        return list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return list(payloads)


DATA_CONVERTER: DataConverter = dataclasses.replace(
    pydantic_data_converter, payload_codec=SizeGuard()
)


async def connect(
    address: str,
    namespace: str,
    *,
    timeout_s: float = 8.0,
    identity: str | None = None,
    runtime: Runtime | None = None,
    interceptors: Sequence = (),
    plugins: Sequence = (),
    tls: TLSConfig | bool = False,
) -> Client:
    """Connect and check that the server answers for ``namespace``.

    Raises:
        UnavailableError: TEMPORAL_UNREACHABLE, naming the address, within ``timeout_s``.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await Client.connect(
                address,
                namespace=namespace,
                data_converter=DATA_CONVERTER,
                identity=identity,
                runtime=runtime,
                interceptors=interceptors,
                plugins=plugins,
                tls=tls,
            )
    except (RuntimeError, RPCError, TimeoutError, OSError) as error:
        raise unreachable(address, error) from None


def unreachable(address: str, error: BaseException) -> UnavailableError:
    """The one wording for a server that does not answer."""
    why = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return UnavailableError(
        "TEMPORAL_UNREACHABLE",
        f"no Temporal server answers: {why}",
        place=address,
        hint="client dev up, or check the context's temporal_address",
    )


RPC_TIMEOUT = timedelta(seconds=8)
"""Bound of a single call from the client; a command never hangs longer on a dead server."""
