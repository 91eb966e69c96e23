"""The qualification of a demo release: three steps that are really run, each with its record.

What is recorded is what was found, without times, paths or ports, so that the same release
qualifies to the same bytes. A fault that only shows under load passes here, as it would in life:
finding it is the rollout's part.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activities.adapters.bounded_http import Unanswered, exchange
from lockstep.digest import sha256, to_text

START_MAX_S = 20.0
ANSWER_MAX_S = 5.0
ANSWER_MAX_BYTES = 64 * 1024
END_MAX_S = 10.0


@dataclass(frozen=True, slots=True)
class Checked:
    """One step: its name, ``success`` or ``failed``, and what was found."""

    name: str
    status: str
    record: dict[str, Any]


def qualify(folder: Path, environments: Sequence[str]) -> list[Checked]:
    """Run every step; a failed one does not hide the next."""
    return [
        _step("compile", lambda: _compile(folder)),
        _step("configuration", lambda: _configuration(folder)),
        _step("smoke", lambda: {name: _smoke(folder, name) for name in environments}),
    ]


def _step(name: str, run: Any) -> Checked:
    try:
        return Checked(name, "success", {"found": run()})
    except (OSError, ValueError, SyntaxError, subprocess.TimeoutExpired) as error:
        return Checked(name, "failed", {"error": f"{type(error).__name__}: {error}"})


def _compile(folder: Path) -> dict[str, str]:
    source = (folder / "artifacts" / "service.py").read_bytes()
    compile(source, "service.py", "exec", dont_inherit=True)
    return {"file": "service.py", "digest": to_text(sha256(source))}


def _configuration(folder: Path) -> dict[str, Any]:
    raw = (folder / "configs" / "config.json").read_bytes()
    fields = json.loads(raw)
    if not isinstance(fields, dict):
        raise ValueError("config.json: an object is needed")
    return {"file": "config.json", "digest": to_text(sha256(raw)), "fields": sorted(fields)}


def _smoke(folder: Path, environment: str) -> dict[str, Any]:
    """Start the release as its target will, ask who it is and whether it works, and end it.

    Raises:
        OSError, ValueError, TimeoutExpired: it does not start, answer or end.
    """
    process = subprocess.Popen(  # noqa: S603 (this interpreter and the release's own file)
        [
            *(sys.executable, str(folder / "artifacts" / "service.py")),
            *("--config", str(folder / "configs" / "config.json")),
            *("--environment", environment),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    too_late = threading.Timer(START_MAX_S, process.kill)  # ends a read that would wait for ever
    too_late.start()
    try:
        first_line = process.stdout.readline()
        if not first_line:
            raise ValueError(f"it does not start in {environment}")
        address = f"http://127.0.0.1:{int(first_line)}"
        health = _get(address + "/-/health").decode().strip()
        identity = json.loads(_get(address + "/-/identity"))
        process.stdin.close()
        code = process.wait(END_MAX_S)
    finally:
        too_late.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
        process.stdin.close()
    if identity != _files_of(folder):
        raise ValueError(f"it says it runs other files in {environment}")
    if code != 0:
        raise ValueError(f"it ended with {code} in {environment}")
    return {"health": health, "identity": identity, "exit": code}


def _files_of(folder: Path) -> dict[str, dict[str, str]]:
    return {
        kind: {path.name: to_text(sha256(path.read_bytes())) for path in (folder / kind).iterdir()}
        for kind in ("artifacts", "configs")
    }


def _get(url: str) -> bytes:
    try:
        answer = exchange("GET", url, timeout_s=ANSWER_MAX_S, size_max_bytes=ANSWER_MAX_BYTES)
    except Unanswered as error:
        raise ValueError(f"it does not answer: {error}") from None
    if answer.status != 200:
        raise ValueError(f"it answers with status {answer.status}")
    return answer.body
