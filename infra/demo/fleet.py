"""Carries out what the agent's state says: files, processes, shares. One change at a time.

Order of every change: decide (``agent_state``, pure) → make it possible (files, process) → write it
down and fsync → let it take effect. A crash after the writing is finished at the next start.
"""

import asyncio
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from infra.demo import agent_state as rules
from infra.demo.agent_state import AgentState, Placed, Refusal, checked_name
from infra.demo.journal import Journal
from infra.demo.metrics import Metrics
from infra.demo.process import ServiceProcess
from infra.demo.proxy import Backend, Router

LEGACY = "legacy"
IN_FLIGHT_MAX_S = 5.0
FILES_MAX = 32
NEEDED = (("artifacts", "service.py"), ("configs", "config.json"))

Files = Mapping[str, bytes]


class Fleet:
    """The instances of one environment behind one proxy."""

    def __init__(
        self, folder: Path, environment: str, service: str, router: Router, metrics: Metrics
    ) -> None:
        self._folder = folder
        self._environment = environment
        self._service = service
        self._router = router
        self._metrics = metrics
        self._journal = Journal(folder)
        self._state = AgentState()
        self._processes: dict[str, ServiceProcess] = {}
        self._lock = asyncio.Lock()

    async def begin(self, seed: Path | None) -> None:
        """Bring up what the state names; an agent without a state starts from ``seed``.

        Raises:
            ValueError, OSError: the state or the seed cannot be read.
        """
        known = self._journal.load()
        if known is not None:
            self._state = known
        elif seed is not None:
            files = [
                {path.name: path.read_bytes() for path in sorted((seed / kind).iterdir())}
                for kind in ("artifacts", "configs")
            ]
            self._write_files(LEGACY, *files)
            self._state = rules.seeded(AgentState(), LEGACY, LEGACY)
            self._journal.write(self._state)
        self._drop_strangers()
        for placed in self._state.instances:
            self._launch(placed.release, placed.folder)
        self._share()
        await asyncio.gather(*(one.wait_healthy() for one in self._processes.values()))

    async def end(self) -> None:
        await asyncio.gather(*(one.end() for one in self._processes.values()))

    def document(self) -> dict[str, Any]:
        """What runs, as observed (GET /admin/state)."""
        return {
            "schema_version": rules.SCHEMA_VERSION,
            "service": self._service,
            "environment": self._environment,
            "fence_epoch": self._state.fence,
            "effects": self._state.effects,
            "instances": [self._shown(one) for one in self._state.instances],
        }

    def _shown(self, placed: Placed) -> dict[str, Any]:
        process = self._processes[placed.release]
        return {
            "release": placed.release,
            "weight": self._router.backends[placed.release].weight,
            "healthy": process.healthy,
            "artifacts": process.artifacts,
            "configs": process.configs,
            "starts": process.starts,
            "pid": process.pid,
        }

    # ---- changes ----------------------------------------------------------------------------

    async def fence(self, epoch: Any) -> None:
        async with self._lock:
            await self._apply(rules.fence_raised(self._state, epoch))

    async def start(self, release: Any, epoch: Any, artifacts: Files, configs: Files) -> dict:
        """Bring ``release`` up at weight 0 and say what runs; running already, say only that."""
        checked_name(release)
        for kind, name in NEEDED:
            if name not in (artifacts if kind == "artifacts" else configs):
                raise Refusal(422, "NOT_DEPLOYED", f"the release has no {kind}/{name}")
        if max(len(artifacts), len(configs)) > FILES_MAX:
            raise Refusal(400, "DOCUMENT_INVALID", f"more than {FILES_MAX} files of a kind")
        async with self._lock:
            planned = rules.started(self._state, epoch, release, release)
            if planned is not self._state:
                await asyncio.to_thread(self._write_files, release, artifacts, configs)
                self._launch(release, release)
                if not await self._processes[release].wait_healthy():
                    await self._take_down(release)
                    await asyncio.to_thread(self._remove_files, release)
                    raise Refusal(422, "NOT_DEPLOYED", f"{release} did not come up; see the log")
                await self._apply(planned)
            return self._shown(self._state.of(release))

    async def shift(self, weights: Any, epoch: Any) -> None:
        async with self._lock:
            await self._apply(rules.weighted(self._state, epoch, weights))
            self._share()

    async def retire(self, release: str, epoch: Any) -> None:
        """Take ``release`` down after its requests in flight; they have ``IN_FLIGHT_MAX_S``."""
        async with self._lock:
            placed = self._state.of(release)
            planned = rules.retired(self._state, epoch, release)
            if placed is None:
                return
            await self._apply(planned)
            await self._take_down(release)
            await asyncio.to_thread(self._remove_files, placed.folder)

    async def adopt(self, name: Any, release: Any, epoch: Any) -> None:
        """Let the instance ``name`` be known as ``release``; its process goes on."""
        checked_name(release)
        async with self._lock:
            planned = rules.adopted(self._state, epoch, name, release)
            if planned is self._state:
                return
            await self._apply(planned)
            backend = self._router.backends.pop(name)
            self._processes[release] = self._processes.pop(name)
            backend.renamed(release, self._metrics.meter(release))
            self._metrics.forget(name)
            self._router.backends[release] = backend

    # ---- how --------------------------------------------------------------------------------

    async def _apply(self, planned: AgentState) -> None:
        if planned is self._state:
            return
        await asyncio.to_thread(self._journal.write, planned)
        self._state = planned

    def _share(self) -> None:
        weights = {one.release: one.weight for one in self._state.instances}
        shown = {name: backend.weight for name, backend in self._router.backends.items()}
        if weights != shown:  # the same shares again must not disturb the even spread
            self._router.set_weights(weights)

    def _launch(self, release: str, folder: str) -> None:
        backend = Backend(release, self._metrics.meter(release))
        self._router.backends[release] = backend
        process = ServiceProcess(
            self._folder / "instances" / folder, self._environment, partial(_listens, backend)
        )
        self._processes[release] = process
        process.begin()

    async def _take_down(self, release: str) -> None:
        backend = self._router.backends.pop(release)
        await _until(lambda: backend.busy == 0, IN_FLIGHT_MAX_S)
        await self._processes.pop(release).end()
        backend.close()
        self._metrics.forget(release)

    def _write_files(self, folder: str, artifacts: Files, configs: Files) -> None:
        self._remove_files(folder)
        for kind, files in (("artifacts", artifacts), ("configs", configs)):
            place = self._folder / "instances" / folder / kind
            place.mkdir(parents=True)
            for name, body in files.items():
                (place / checked_name(name)).write_bytes(body)

    def _remove_files(self, folder: str) -> None:
        shutil.rmtree(self._folder / "instances" / folder, ignore_errors=True)

    def _drop_strangers(self) -> None:
        """Files of a start or retirement that a crash cut short."""
        known = {one.folder for one in self._state.instances}
        place = self._folder / "instances"
        place.mkdir(parents=True, exist_ok=True)
        for path in place.iterdir():
            if path.name not in known:
                self._remove_files(path.name)


def _listens(backend: Backend, port: int | None) -> None:
    backend.port = port


async def _until(done: Callable[[], bool], timeout_s: float) -> None:
    """Wait for ``done``, at most ``timeout_s``."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    while not done() and loop.time() < end:
        await asyncio.sleep(0.02)
