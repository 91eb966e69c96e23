"""A real demo agent for tests: its own process, its own ports, its own folder."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from infra.demo import service
from lockstep.ports import BringUp

READY_MAX_S = 20.0
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
SERVICE = Path(service.__file__).read_bytes()


def release(name: str, **config: object) -> BringUp:
    document = {"version": "1.0.0", **config}
    return BringUp(name, {"service.py": SERVICE}, {"config.json": json.dumps(document).encode()})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Agent:
    """One agent; ``start`` after ``kill`` takes up its folder again on the same ports."""

    def __init__(self, folder: Path, *, seeded: bool) -> None:
        self.folder = folder
        self.proxy_url = f"http://127.0.0.1:{free_port()}"
        self.admin_url = f"http://127.0.0.1:{free_port()}"
        self.process: subprocess.Popen | None = None
        self._seed = folder.parent / (folder.name + "-seed")
        if seeded:
            wanted = release("seed", latency_ms=0)
            for kind, files in (("artifacts", wanted.artifacts), ("configs", wanted.configs)):
                (self._seed / kind).mkdir(parents=True)
                for name, body in files.items():
                    (self._seed / kind / name).write_bytes(body)

    def start(self) -> None:
        command = [
            *(sys.executable, "-m", "infra.demo.agent"),
            *("--environment", "dev", "--service", "checkout", "--folder", str(self.folder)),
            *("--proxy-port", self.proxy_url.rsplit(":", 1)[1]),
            *("--admin-port", self.admin_url.rsplit(":", 1)[1]),
        ]
        if self._seed.exists():
            command += ["--seed-release", str(self._seed)]
        self.process = subprocess.Popen(command)
        end = time.monotonic() + READY_MAX_S
        while not self._answers():
            assert self.process.poll() is None, "the agent ended at its start"
            assert time.monotonic() < end, "the agent is not ready"
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return self.get(self.admin_url + "/admin/state")[0] == 200
        except OSError:
            return False

    @staticmethod
    def get(url: str) -> tuple[int, str, bytes]:
        """(status, release that answered, body)."""
        try:
            with DIRECT.open(url, timeout=5) as answer:
                return answer.status, answer.headers.get("X-Lockstep-Release", ""), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers.get("X-Lockstep-Release", ""), error.read()

    def users(self, count: int) -> list[tuple[int, str]]:
        """(status, release) of ``count`` requests, one after the other."""
        return [self.get(self.proxy_url + "/")[:2] for _ in range(count)]

    def state(self) -> dict:
        return json.loads(self.get(self.admin_url + "/admin/state")[2])

    def effects(self) -> list[dict]:
        lines = (self.folder / "effects.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def kill(self) -> None:
        """SIGKILL: it gets no chance to write anything."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)


@contextmanager
def running(folder: Path, *, seeded: bool = True):
    agent = Agent(folder, seeded=seeded)
    try:
        agent.start()
        yield agent
    finally:
        agent.stop()
