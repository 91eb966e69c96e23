"""Real programs for tests: started by us, watched by condition, ended by the pid we got."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

STOP_WITHIN_S = 15.0


def free_port() -> int:
    with socket.socket() as claim:
        claim.bind(("127.0.0.1", 0))
        return claim.getsockname()[1]


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], object], what: str, within_s: float = 30.0) -> object:
    """Return the first true answer of ``condition``; fail naming ``what`` after ``within_s``."""
    give_up = time.monotonic() + within_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > give_up:
            raise AssertionError(f"not within {within_s} s: {what}")
        time.sleep(0.05)


class Program:
    """One process of ours with its output in a file."""

    def __init__(self, name: str, command: Sequence[str | Path], log: Path) -> None:
        self.name = name
        self.command = [str(part) for part in command]
        self.log = log
        self.process: subprocess.Popen | None = None

    def start(self) -> "Program":
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        return self

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL, as a crash: no drain, no goodbye."""
        if self.process is not None and self.running:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(STOP_WITHIN_S)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after a bound."""
        if self.process is None or not self.running:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def check(self) -> bool:
        """True while it runs; fails with the end of its log when it ended by itself."""
        if not self.running:
            tail = self.log.read_text(errors="replace")[-3000:]
            raise AssertionError(f"{self.name} ended by itself:\n{tail}")
        return True


def python_program(name: str, arguments: Sequence[str | Path], log: Path) -> Program:
    return Program(name, [sys.executable, *arguments], log)


def script(name: str) -> Path:
    """An installed script beside the interpreter that runs the tests."""
    return Path(sys.executable).parent / name
