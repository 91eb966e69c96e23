"""Processes of a stack: started apart from us, found again, ended with a bound. Linux only.

Each carries the stack's random id in its environment. Whatever started it may be killed between
the start and writing that down: what carries the id is the stack's, what does not is never touched.
"""

import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from client.devstack.state import Process
from lockstep.errors import DataError

STACK_VARIABLE = "LOCKSTEP_DEV_STACK"
ROLE_VARIABLE = "LOCKSTEP_DEV_ROLE"
KEPT_VARIABLES = ("LOCKSTEP_CACHE", "LOCKSTEP_TEMPORAL_BIN")
LOG_MAX_BYTES = 10 * 1024 * 1024
POLL_S = 0.05


def spawn(
    role: str, argv: Sequence[str], log: Path, stack_id: str, more: Mapping[str, str]
) -> Process:
    """Start ``argv`` in a session of its own, with both outputs appended to ``log``.

    Raises:
        DataError: STACK_STATE; it cannot be started.
    """
    if log.exists() and log.stat().st_size > LOG_MAX_BYTES:
        log.replace(log.with_suffix(".log.1"))
    environ = {
        # The caller's own overrides must not reach into the stack: its context is its file.
        **{n: v for n, v in os.environ.items() if not _is_override(n)},
        "PYTHONUNBUFFERED": "1",
        **more,
        STACK_VARIABLE: stack_id,
        ROLE_VARIABLE: role,
    }
    try:
        pid = os.posix_spawn(
            argv[0],
            list(argv),
            environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
        )
    except OSError as error:
        raise DataError("STACK_STATE", f"{role}: {error.strerror}", place=argv[0]) from None
    found = _seen(pid)
    if found is None:
        raise DataError("STACK_STATE", f"{role} ended at once: {last_words(log)}", place=str(log))
    ticks, started = found
    return Process(role=role, pid=pid, ticks=ticks, started=started, log=str(log))


def _is_override(name: str) -> bool:
    return name.startswith("LOCKSTEP_") and name not in KEPT_VARIABLES


def _seen(pid: int) -> tuple[int, str] | None:
    """(start in ticks, start in UTC) of a live process; None for one that is gone or a zombie."""
    with contextlib.suppress(ChildProcessError):  # our own child: let its remains go
        os.waitpid(pid, os.WNOHANG)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None
    if fields[0] in "ZX":
        return None
    ticks = int(fields[19])
    since_boot_s = ticks / os.sysconf("SC_CLK_TCK")
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - since_boot_s
    started = datetime.fromtimestamp(time.time() - age_s, UTC)
    return ticks, started.strftime("%Y-%m-%dT%H:%M:%SZ")


def is_alive(process: Process) -> bool:
    """Whether that very process runs, not another one with its id."""
    found = _seen(process.pid)
    return found is not None and found[0] == process.ticks


def belonging(stack_id: str, logs: Path) -> list[Process]:
    """Every live process that carries the stack's id and a role, whoever recorded it."""
    found = []
    mark = f"{STACK_VARIABLE}={stack_id}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # another user's, or gone
            continue
        if mark not in variables:
            continue
        role = _role_of(variables)
        seen = _seen(int(entry.name))
        if seen is None or not role or not _leads_session(int(entry.name)):
            continue
        log = str(logs / f"{role}.log")
        found.append(
            Process(role=role, pid=int(entry.name), ticks=seen[0], started=seen[1], log=log)
        )
    return sorted(found, key=lambda one: one.ticks)


def _role_of(variables: Sequence[bytes]) -> str:
    prefix = f"{ROLE_VARIABLE}=".encode()
    return next((v[len(prefix) :].decode() for v in variables if v.startswith(prefix)), "")


def _leads_session(pid: int) -> bool:
    """What the stack starts leads a session; children of its processes do not."""
    with contextlib.suppress(OSError):
        return os.getsid(pid) == pid
    return False


def end(processes: Sequence[Process], term_max_s: float, kill_max_s: float = 5.0) -> list[Process]:
    """SIGTERM, then SIGKILL after ``term_max_s``; returns what even then did not end."""
    left = _signalled(processes, signal.SIGTERM, term_max_s)
    return _signalled(left, signal.SIGKILL, kill_max_s)


def _signalled(
    processes: Sequence[Process], signum: signal.Signals, wait_s: float
) -> list[Process]:
    left = [process for process in processes if is_alive(process)]
    for process in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signum)
    give_up = time.monotonic() + wait_s
    while left and time.monotonic() < give_up:
        time.sleep(POLL_S)
        left = [process for process in left if is_alive(process)]
    return left


def last_words(log: Path, lines: int = 3) -> str:
    """The end of a log, for an error message."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 4096))
            text = stream.read().decode(errors="replace")
    except OSError:
        return "it left no log"
    return " / ".join(line.strip()[:200] for line in text.strip().splitlines()[-lines:])
