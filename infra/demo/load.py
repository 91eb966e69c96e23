"""Steady load for the demo: an open-loop generator.

``python -m infra.demo.load --url U --rate 420 --stats F``. Arrival times are fixed beforehand and
do not wait for answers, and latency counts from the time a request was *meant* to leave: a slow
release cannot hide by slowing its users down. Arrivals come in ticks of ``TICK_S``; the wake-ups,
not the bytes, are what a small machine pays for. Ends with SIGTERM; outlives a proxy that is down.
"""

import argparse
import asyncio
import json
import os
import signal
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from infra.demo import http1

TICK_S = 0.02
RATE_MAX = 20_000
CONNECTIONS_MAX = 512
CONNECTING_MAX = 32  # while the proxy is down each arrival would otherwise open one more
ANSWER_MAX_S = 10.0
LATE_MAX_S = 2.0
STATS_KEPT_S = 60
RELEASE_HEADER = b"\r\nX-Lockstep-Release: "


@dataclass(slots=True)
class Second:
    """What happened in one second; latency in microseconds from the intended send."""

    sent: int = 0
    lost: int = 0  # no answer at all: refused, reset, late or no connection to spare
    codes: Counter = field(default_factory=Counter)
    releases: Counter = field(default_factory=Counter)
    latencies_us: list[int] = field(default_factory=list)

    def line(self, at_s: int) -> str:
        """One JSON object; the p95 is the nearest rank."""
        ordered = sorted(self.latencies_us)
        p95_us = ordered[max(0, -(-len(ordered) * 95 // 100) - 1)] if ordered else None
        document = {
            "at": at_s,
            "sent": self.sent,
            "lost": self.lost,
            "codes": dict(sorted(self.codes.items())),
            "releases": dict(sorted(self.releases.items())),
            "p50_us": ordered[(len(ordered) - 1) // 2] if ordered else None,
            "p95_us": p95_us,
            "max_us": ordered[-1] if ordered else None,
        }
        return json.dumps(document)


class Connection(asyncio.Protocol):
    """A keep-alive connection; one request at a time."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._buffer = b""
        self.intended: float | None = None  # of the request in flight
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # a TCP transport
        self._load.connections.add(self)

    def send(self, intended: float) -> None:
        self.intended = intended
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        try:
            ends = http1.message_end(self._buffer)
            if ends is None:
                return
            code = http1.status_of(self._buffer)
        except http1.Malformed:
            self.close()
            return
        head_end, end = ends
        raw, self._buffer = self._buffer, b""
        if self.intended is None or len(raw) > end:  # an answer nobody asked for
            self.close()
            return
        intended, self.intended = self.intended, None
        self._load.answered(code, _release_in(raw, head_end), intended)
        if http1.keeps_alive(raw, head_end):
            self._load.idle.append(self)
        else:
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._load.connections.discard(self)
        if self in self._load.idle:
            self._load.idle.remove(self)
        if self.intended is not None:
            self.intended = None
            self._load.second.lost += 1

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _release_in(answer: bytes, head_end: int) -> str:
    start = answer.find(RELEASE_HEADER, 0, head_end)
    if start < 0:
        return ""
    start += len(RELEASE_HEADER)
    return answer[start : answer.index(b"\r\n", start)].decode("ascii", "replace")


class Load:
    """Requests at fixed times to one address."""

    def __init__(self, url: str, rate: int, stats: Path) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self.request = (
            f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n"
        ).encode()
        self._rate = rate
        self._stats = stats
        self._lines: deque[str] = deque(maxlen=STATS_KEPT_S)
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task] = set()
        self.connections: set[Connection] = set()
        self.idle: deque[Connection] = deque()
        self.second = Second()

    def answered(self, code: int, release: str, intended: float) -> None:
        self.second.codes[str(code)] += 1
        self.second.releases[release] += 1
        self.second.latencies_us.append(round((self._loop.time() - intended) * 1e6))

    def _fire(self, intended: float) -> None:
        self.second.sent += 1
        while self.idle:
            connection = self.idle.pop()
            if connection in self.connections:
                connection.send(intended)
                return
        room = len(self.connections) + len(self._connecting) < CONNECTIONS_MAX
        if not room or len(self._connecting) >= CONNECTING_MAX:
            self.second.lost += 1
            return
        task = self._loop.create_task(self._connect(intended))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, intended: float) -> None:
        try:
            async with asyncio.timeout(ANSWER_MAX_S):
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self), self._host, self._port
                )
        except OSError:
            self.second.lost += 1
            return
        if connection in self.connections:
            connection.send(intended)
        else:
            self.second.lost += 1

    async def arrive(self, over: asyncio.Event) -> None:
        """Send until ``over``; a tick that comes less than ``LATE_MAX_S`` late is made up for."""
        start = self._loop.time()
        ticks = sent = 0
        while not over.is_set():
            ticks += 1
            intended = start + ticks * TICK_S
            wait_s = intended - self._loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            due = int(ticks * TICK_S * self._rate)
            if -wait_s > LATE_MAX_S:  # the machine slept; a flood afterwards would be no load
                self.second.sent += due - sent
                self.second.lost += due - sent
            else:
                for _ in range(due - sent):
                    self._fire(intended)
            sent = due

    async def report(self) -> None:
        """Each second one line; the file holds the last ``STATS_KEPT_S``."""
        while True:
            await asyncio.sleep(1.0)
            done, self.second = self.second, Second()
            self._lines.append(done.line(round(time.time())))
            fresh = self._stats.with_suffix(".new")
            fresh.write_text("\n".join(self._lines) + "\n")
            os.replace(fresh, self._stats)
            late = self._loop.time() - ANSWER_MAX_S
            for connection in list(self.connections):
                if connection.intended is not None and connection.intended < late:
                    connection.close()


async def run(url: str, rate: int, stats: Path) -> None:
    """Send ``rate`` requests a second to ``url`` until told to stop, and keep ``stats`` fresh."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, over.set)
    load = Load(url, rate, stats)
    reporting = asyncio.create_task(load.report())
    await load.arrive(over)
    reporting.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description="Open-loop load.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--rate", type=int, required=True, help="requests a second")
    parser.add_argument("--stats", type=Path, required=True)
    arguments = parser.parse_args()
    if not 1 <= arguments.rate <= RATE_MAX:
        parser.error(f"--rate: 1 to {RATE_MAX}")
    asyncio.run(run(arguments.url, arguments.rate, arguments.stats))


if __name__ == "__main__":
    main()
