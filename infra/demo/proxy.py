"""A weighted HTTP proxy: which release answers the next request, and how that went.

Weights are exact, not drawn: smooth weighted round robin gives a weight of 1 in 100 precisely one
request of each hundred, evenly spread. A release whose process is gone keeps its share and its
failures are counted as 503 of that release, so that harm is seen instead of routed around. A change
of weights holds for the next request; those in flight finish where they are.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Mapping

from infra.demo import http1
from infra.demo.metrics import Meter

CONNECTIONS_MAX = 512  # to one release; beyond it an answer is 503, as from a full server
ANSWER_MAX_S = 10.0
IDLE_MAX_S = 30.0  # well under the 75 s after which the service itself hangs up
SWEEP_S = 1.0
RELEASE_HEADER = b"X-Lockstep-Release"

FAILED = http1.answer(503, "Service Unavailable", "the release did not answer\n")
NOBODY = http1.answer(503, "Service Unavailable", "no release has a share of the traffic\n")
REFUSED = http1.answer(400, "Bad Request", "not understood\n", close=True)


class Exchange:
    """One request on its way: who waits for the answer, and since when."""

    __slots__ = ("backend", "bodiless", "client", "request", "since")

    def __init__(self, client: "Client", backend: "Backend", request: bytes, since: float) -> None:
        self.client = client
        self.backend = backend
        self.request = request
        self.bodiless = request.startswith(b"HEAD ")
        self.since = since

    def finish(self, code: int, answer: bytes, now: float) -> None:
        self.backend.meter.count(code, now - self.since)
        self.client.answered(answer)


class Upstream(asyncio.Protocol):
    """A keep-alive connection to one release's process; one exchange at a time."""

    def __init__(self, backend: "Backend") -> None:
        self.backend = backend
        self.exchange: Exchange | None = None
        self.quiet_since = backend.loop.time()
        self._buffer = b""
        self._lost = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # a TCP transport
        self.backend.joined(self)

    def send(self, exchange: Exchange) -> None:
        """Pass one request on; a connection that is gone already fails it."""
        if self._lost:  # it hung up between its opening and this first request
            exchange.finish(503, FAILED, self.backend.loop.time())
            return
        self.exchange = exchange
        self._transport.write(exchange.request)

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:  # bytes that nobody asked for
            self.close()
            return
        self._buffer = self._buffer + data if self._buffer else data
        try:
            ends = http1.message_end(self._buffer, bodiless=exchange.bodiless)
            if ends is None:
                return
            head_end, end = ends
            code = http1.status_of(self._buffer)
        except http1.Malformed:
            self.close()
            return
        raw, self._buffer = self._buffer[:end], self._buffer[end:]
        self.exchange = None
        self.quiet_since = self.backend.loop.time()
        if http1.keeps_alive(raw, head_end) and not self._buffer:
            self.backend.idle.append(self)
        else:
            self.close()
        line_end = raw.index(b"\r\n")
        named = raw[:line_end] + self.backend.header + raw[line_end:]
        shown = http1.without_connection(named, head_end + len(self.backend.header))
        exchange.finish(code, shown, self.quiet_since)

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        self.backend.lost(self)
        if self.exchange is not None:
            exchange, self.exchange = self.exchange, None
            exchange.finish(503, FAILED, self.backend.loop.time())

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Backend:
    """One release behind the proxy: its port, its connections, its share."""

    def __init__(self, release: str, meter: Meter) -> None:
        self.release = release
        self.header = b"\r\n" + RELEASE_HEADER + b": " + release.encode()
        self.meter = meter
        self.weight = 0
        self.owed = 0  # smooth weighted round robin's running value
        self.port: int | None = None  # None while no process listens
        self.loop = asyncio.get_running_loop()
        self.idle: deque[Upstream] = deque()
        self._all: set[Upstream] = set()
        self._connecting: set[asyncio.Task] = set()

    def renamed(self, release: str, meter: Meter) -> None:
        """Be known as ``release`` from the next answer on."""
        self.release, self.meter = release, meter
        self.header = b"\r\n" + RELEASE_HEADER + b": " + release.encode()

    @property
    def busy(self) -> int:
        return len(self._connecting) + sum(1 for one in self._all if one.exchange is not None)

    def forward(self, exchange: Exchange) -> None:
        """Send a request over an idle connection or a new one; 503 when neither can be had."""
        if self.idle:
            self.idle.pop().send(exchange)
        elif self.port is None or len(self._all) + len(self._connecting) >= CONNECTIONS_MAX:
            exchange.finish(503, FAILED, self.loop.time())
        else:
            task = self.loop.create_task(self._connect(exchange, self.port))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self, exchange: Exchange, port: int) -> None:
        try:
            async with asyncio.timeout(ANSWER_MAX_S):
                _, upstream = await self.loop.create_connection(
                    lambda: Upstream(self), "127.0.0.1", port
                )
        except OSError:  # TimeoutError is one
            exchange.finish(503, FAILED, self.loop.time())
            return
        upstream.send(exchange)

    def joined(self, upstream: Upstream) -> None:
        self._all.add(upstream)

    def lost(self, upstream: Upstream) -> None:
        self._all.discard(upstream)
        if upstream in self.idle:
            self.idle.remove(upstream)

    def sweep(self, now: float) -> None:
        """Close what waited too long for an answer, or for a request."""
        for one in list(self._all):
            exchange = one.exchange
            since, limit_s = (
                (one.quiet_since, IDLE_MAX_S)
                if exchange is None
                else (exchange.since, ANSWER_MAX_S)
            )
            if now - since > limit_s:
                one.close()

    def close(self) -> None:
        for one in list(self._all):
            one.close()


class Router:
    """Chooses the release of each request."""

    def __init__(self) -> None:
        self.backends: dict[str, Backend] = {}

    def set_weights(self, weights: Mapping[str, int]) -> None:
        """All shares at once: between two requests there is no half-made change."""
        for backend in self.backends.values():
            backend.weight = weights.get(backend.release, 0)
            backend.owed = 0

    def choose(self) -> Backend | None:
        """The release of the next request; None when nobody has a share."""
        chosen, total = None, 0
        for backend in self.backends.values():
            backend.owed += backend.weight
            total += backend.weight
            if backend.weight and (chosen is None or backend.owed > chosen.owed):
                chosen = backend
        if chosen is not None:
            chosen.owed -= total
        return chosen

    async def sweep_for_ever(self) -> None:
        """End what waited too long, release by release, at a steady pace."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            for backend in self.backends.values():
                backend.sweep(loop.time())


class Client(asyncio.Protocol):
    """A connection from a user; its requests are answered in order, one at a time."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._buffer = b""
        self._waiting = False
        self._keep = True
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # a TCP transport

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if not self._waiting:
            self._next()
        elif len(self._buffer) > http1.BODY_MAX_BYTES + http1.HEAD_MAX_BYTES:
            self._transport.abort()  # it pipelines without end

    def _next(self) -> None:
        try:
            ends = http1.message_end(self._buffer)
        except http1.Malformed:
            self._transport.write(REFUSED)
            self._transport.close()
            return
        if ends is None:
            return
        head_end, end = ends
        raw, self._buffer = self._buffer[:end], self._buffer[end:]
        self._keep = http1.keeps_alive(raw, head_end)
        self._waiting = True
        backend = self._router.choose()
        if backend is None:
            self.answered(NOBODY)
            return
        request = http1.without_connection(raw, head_end)
        backend.forward(Exchange(self, backend, request, backend.loop.time()))

    def answered(self, answer: bytes) -> None:
        """Write one answer, then go on with what the user has sent meanwhile."""
        self._waiting = False
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(answer)
        if not self._keep:
            self._transport.close()
        elif self._buffer:
            # Later, not now: a long pipeline must not become a deep call stack.
            asyncio.get_running_loop().call_soon(self._again)

    def _again(self) -> None:
        if not self._waiting and not self._transport.is_closing():
            self._next()

    def connection_lost(self, error: Exception | None) -> None:
        self._buffer = b""


async def listen(router: Router, claim: socket.socket) -> asyncio.Server:
    """Serve users on ``claim``, a bound socket."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Client(router), sock=claim)
