"""One supervised process of the demo service: started, asked who it is, restarted when it dies."""

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

START_MAX_S = 15.0
HEALTH_EVERY_S = 2.0
HEALTH_MAX_S = 2.0
END_MAX_S = 6.0  # the service lets requests in flight finish for 5 s
RESTART_AFTER_S = (0.2, 0.5, 1.0, 2.0, 5.0)  # by failures in a row, the last one for ever
FIRST_TRIES = 2
STEADY_S = 30.0  # one that ran this long starts the row anew
ANSWER_MAX_BYTES = 64 * 1024


async def get(port: int, path: str, timeout_s: float = HEALTH_MAX_S) -> bytes:
    """Body of a 200 answer from a loopback port.

    Raises:
        OSError: no such answer within ``timeout_s``.
    """
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            raw = await reader.read(ANSWER_MAX_BYTES)
            while chunk := await reader.read(ANSWER_MAX_BYTES - len(raw)):
                raw += chunk
        finally:
            writer.close()
    head, _, body = raw.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise OSError(f"{path}: {head[:40]!r}")
    return body


@dataclass(slots=True)
class ServiceProcess:
    """Keeps one service running out of ``folder`` until it is ended.

    ``on_port`` is told the port while a process listens and None while none does.
    """

    folder: Path
    environment: str
    on_port: Callable[[int | None], None]
    healthy: bool = False
    artifacts: Mapping[str, str] = field(default_factory=dict)
    configs: Mapping[str, str] = field(default_factory=dict)
    starts: int = 0
    pid: int | None = None
    _task: asyncio.Task | None = None
    _first: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self) -> None:
        self._task = asyncio.create_task(self._supervise())

    async def wait_healthy(self, timeout_s: float = START_MAX_S) -> bool:
        """Whether the process answered for itself within ``timeout_s`` and ``FIRST_TRIES``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._first.wait()
        return self.healthy

    async def end(self) -> None:
        """End the process and its supervision."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            since = loop.time()
            process = await self._start()
            try:
                await self._watch(process)
            finally:
                self.healthy = False
                self.pid = None
                self.on_port(None)
                await self._stop(process)
            failures = 0 if loop.time() - since > STEADY_S else failures + 1
            if failures >= FIRST_TRIES:
                self._first.set()  # whoever waits for the first answer has waited enough
            await asyncio.sleep(RESTART_AFTER_S[min(failures, len(RESTART_AFTER_S) - 1)])

    async def _start(self) -> asyncio.subprocess.Process:
        self.starts += 1
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(self.folder / "artifacts" / "service.py"),
            "--config",
            str(self.folder / "configs" / "config.json"),
            "--environment",
            self.environment,
            stdin=asyncio.subprocess.PIPE,  # it ends with us, however we end
            stdout=asyncio.subprocess.PIPE,
        )
        self.pid = process.pid
        return process

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Learn port and identity, then look after its health until it exits."""
        try:
            async with asyncio.timeout(START_MAX_S):
                port = int(await process.stdout.readline())
            identity = json.loads(await get(port, "/-/identity"))
            self.artifacts, self.configs = identity["artifacts"], identity["configs"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            print(f"agent: {self.folder.name} did not start: {error}", file=sys.stderr, flush=True)
            return
        self.healthy = True
        self.on_port(port)
        self._first.set()
        ended = asyncio.ensure_future(process.wait())
        try:
            while not ended.done():
                await asyncio.wait([ended], timeout=HEALTH_EVERY_S)
                if not ended.done():
                    self.healthy = await self._answers(port)
        finally:
            ended.cancel()
        print(
            f"agent: {self.folder.name} ended with {process.returncode}",
            file=sys.stderr,
            flush=True,
        )

    async def _answers(self, port: int) -> bool:
        try:
            await get(port, "/-/health")
        except OSError:
            return False
        return True

    async def _stop(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is not None:
            return
        process.stdin.close()
        try:
            async with asyncio.timeout(END_MAX_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
