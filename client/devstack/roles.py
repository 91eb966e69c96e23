"""Each role of a stack: its command, its ports, and when it is ready."""

import json
import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from client.devstack import files, processes, server
from client.devstack.state import CONTEXT, SERVICE, TENANT, Process, Stack
from lockstep.errors import DataError

READY_MAX_S = {"temporal": 60.0, "agent": 30.0, "worker": 90.0, "load": 10.0}
ASK_MAX_S = 2.0
ANSWER_MAX_BYTES = 1024 * 1024
LEGACY_VERSION = "1.0.0"


def is_free(port: int) -> bool:
    """Whether a loopback port can be listened on now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def ports_of(stack: Stack, role: str) -> list[int]:
    """The ports that a role listens on."""
    kind, _, name = role.partition("-")
    if kind == "temporal":
        return [stack.ports.temporal, stack.ports.ui]
    if kind == "agent":
        return [stack.ports.proxies[name], stack.ports.admins[name]]
    return [stack.ports.worker_metrics[name]] if kind == "worker" else []


def start(stack: Stack, role: str, program: Path) -> Process:
    """Start one role; ``program`` is the Temporal binary."""
    log = stack.path / "logs" / f"{role}.log"
    kind, _, name = role.partition("-")
    more: dict[str, str] = {}
    if kind == "temporal":
        argv, more = server.command(program, stack), server.ENVIRONMENT
    elif kind == "agent":
        argv = _agent_command(stack, name)
    elif kind == "worker":
        (stack.path / "ready" / role).unlink(missing_ok=True)
        argv = _worker_command(stack, name)
    else:
        argv = [
            *(sys.executable, "-P", "-m", "infra.demo.load"),
            *("--url", stack.proxy_url(name), "--rate", str(files.LOAD_PER_S)),
            *("--stats", str(stack.path / "logs" / f"{role}.stats.jsonl")),
        ]
    return processes.spawn(role, argv, log, stack.stack_id, more)


def _agent_command(stack: Stack, environment: str) -> list[str]:
    from client.devstack.releases import write_service

    seed = stack.path / "seed"
    if not seed.exists():
        write_service(seed, LEGACY_VERSION)
    return [
        *(sys.executable, "-P", "-m", "infra.demo.agent"),
        *("--environment", environment, "--service", SERVICE),
        *("--folder", str(stack.path / "agents" / environment)),
        *("--proxy-port", str(stack.ports.proxies[environment])),
        *("--admin-port", str(stack.ports.admins[environment])),
        *("--seed-release", str(seed)),
    ]


def _worker_command(stack: Stack, role: str) -> list[str]:
    program = Path(sys.executable).with_name("lockstep-worker")
    if not program.exists():
        raise DataError(
            "STACK_STATE",
            "lockstep-worker is not installed beside this Python",
            place=str(program),
            hint="make setup, or install the package",
        )
    return [
        *(str(program), "--config", str(stack.path / files.SETTINGS_FILE)),
        *("--context", CONTEXT, "--role", role),
        *("--ready-file", str(stack.path / "ready" / f"worker-{role}")),
        *("--metrics", f"127.0.0.1:{stack.ports.worker_metrics[role]}"),
    ]


def write_files(stack: Stack) -> None:
    """Store, trust and documents; safe to repeat."""
    from activities.adapters.store import open_store
    from activities.adapters.trust_setup import create_dev_trust

    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    trust = create_dev_trust(stack.path / "keys", open_store(stack.store_url), TENANT, now)
    files.write_whole(stack.path / files.POLICY_FILE, files.policy_text())
    files.write_whole(stack.path / files.PROFILE_FILE, files.profile_text(stack))
    files.write_whole(
        stack.path / files.SETTINGS_FILE, files.settings_text(stack, trust.pin, trust.keys)
    )


def wait_ready(stack: Stack, process: Process) -> None:
    """Return when the role serves; a role that ends or is too slow raises."""
    kind, _, name = process.role.partition("-")
    give_up = time.monotonic() + READY_MAX_S[kind]
    while not _is_ready(stack, process, kind, name):
        require_alive([process])
        if time.monotonic() > give_up:
            raise DataError(
                "STACK_STATE",
                f"{process.role} was not ready within {READY_MAX_S[kind]:.0f} s: "
                + processes.last_words(Path(process.log)),
                place=process.role,
            )
        time.sleep(processes.POLL_S)


def _is_ready(stack: Stack, process: Process, kind: str, name: str) -> bool:
    if kind == "temporal":
        return server.is_ready(stack)
    if kind == "agent":
        return _serves(stack.admin_url(name) + "/admin/state")
    if kind == "worker":
        return (stack.path / "ready" / process.role).exists()
    return True


def _serves(url: str) -> bool:
    """Whether an agent answers there with every instance healthy."""
    from activities.adapters.bounded_http import Unanswered, exchange

    try:
        answer = exchange("GET", url, timeout_s=ASK_MAX_S, size_max_bytes=ANSWER_MAX_BYTES)
        document = json.loads(answer.body)
    except (Unanswered, ValueError):
        return False
    return answer.status == 200 and all(one["healthy"] for one in document["instances"])


def require_alive(started: list[Process]) -> None:
    for process in started:
        if not processes.is_alive(process):
            raise DataError(
                "STACK_STATE",
                f"{process.role} ended: {processes.last_words(Path(process.log))}",
                place=process.role,
            )
