"""The agent's own HTTP interface on the loopback: state, changes under an epoch, metrics.

GET /admin/state · POST /admin/fence {epoch} · POST /admin/instances {release, epoch, artifacts,
configs} (files in base64) · POST /admin/weights {weights, epoch} · DELETE
/admin/instances/{release}?epoch= · POST /admin/adopt {name, release, epoch} · GET /metrics.
A refusal is {code, cause, …}; an epoch that is not the fence's is 409 with ``known``.
"""

import base64
import binascii
import json
from typing import Any

from aiohttp import web

from infra.demo import metrics
from infra.demo.agent_state import Refusal, checked_name
from infra.demo.fleet import Fleet

BODY_MAX_BYTES = 32 * 1024 * 1024
FLEET = web.AppKey("fleet", Fleet)
METRICS = web.AppKey("metrics", metrics.Metrics)


async def _fields(request: web.Request, *names: str) -> dict[str, Any]:
    """The request's JSON object with exactly these fields."""
    try:
        document = json.loads(await request.read())
    except ValueError:
        raise Refusal(400, "DOCUMENT_INVALID", "the body is no JSON") from None
    if not isinstance(document, dict) or set(document) != set(names):
        raise Refusal(400, "DOCUMENT_INVALID", f"exactly these fields are needed: {names}")
    return document


def _files(document: Any, field: str) -> dict[str, bytes]:
    if not isinstance(document, dict):
        raise Refusal(400, "DOCUMENT_INVALID", f"{field}: a map of name to base64 is needed")
    try:
        return {
            checked_name(name): base64.b64decode(body, validate=True)
            for name, body in document.items()
        }
    except (binascii.Error, TypeError, ValueError):
        raise Refusal(400, "DOCUMENT_INVALID", f"{field}: no base64") from None


async def _state(request: web.Request) -> web.Response:
    return web.json_response(request.app[FLEET].document())


async def _fence(request: web.Request) -> web.Response:
    fields = await _fields(request, "epoch")
    await request.app[FLEET].fence(fields["epoch"])
    return await _state(request)


async def _start(request: web.Request) -> web.Response:
    fields = await _fields(request, "release", "epoch", "artifacts", "configs")
    instance = await request.app[FLEET].start(
        fields["release"],
        fields["epoch"],
        _files(fields["artifacts"], "artifacts"),
        _files(fields["configs"], "configs"),
    )
    return web.json_response(instance)


async def _weights(request: web.Request) -> web.Response:
    fields = await _fields(request, "weights", "epoch")
    await request.app[FLEET].shift(fields["weights"], fields["epoch"])
    return await _state(request)


async def _retire(request: web.Request) -> web.Response:
    text = request.query.get("epoch", "")
    epoch = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else text
    await request.app[FLEET].retire(request.match_info["release"], epoch)
    return await _state(request)


async def _adopt(request: web.Request) -> web.Response:
    fields = await _fields(request, "name", "release", "epoch")
    await request.app[FLEET].adopt(fields["name"], fields["release"], fields["epoch"])
    return await _state(request)


async def _metrics(request: web.Request) -> web.Response:
    body = request.app[METRICS].exposition()
    return web.Response(body=body, headers={"Content-Type": metrics.CONTENT_TYPE})


@web.middleware
async def _refusals(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refusal as refusal:
        return web.json_response(refusal.document, status=refusal.status)


def application(fleet: Fleet, measured: metrics.Metrics) -> web.Application:
    """The agent's administration: every route, over one fleet."""
    app = web.Application(middlewares=[_refusals], client_max_size=BODY_MAX_BYTES)
    app[FLEET] = fleet
    app[METRICS] = measured
    app.add_routes(
        [
            web.get("/admin/state", _state),
            web.post("/admin/fence", _fence),
            web.post("/admin/instances", _start),
            web.post("/admin/weights", _weights),
            web.delete("/admin/instances/{release}", _retire),
            web.post("/admin/adopt", _adopt),
            web.get("/metrics", _metrics),
        ]
    )
    return app
