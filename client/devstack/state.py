"""What a stack remembers of itself (``stack.json``), and what it should run.

A stack is a folder, its ports, and the processes it started. A process is told by its id *and* its
start time: an id alone is soon somebody else's.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lockstep.errors import DataError

STATE_FILE = "stack.json"
FRESH_FILE = "stack.json.new"
STATE_SCHEMA = "lockstep.dev-stack.v1"
STATUS_SCHEMA = "lockstep.dev-status.v1"
ENVIRONMENTS = ("dev", "staging", "prod")
PRODUCTION = ENVIRONMENTS[-1]
SERVICE = "checkout"
TENANT = "demo"
NAMESPACE = "default"
CONTEXT = "dev"

# Below the range that the kernel hands out by itself, so that a port that was free when the stack
# was made is not some client's connection when a part is started again.
PORTS_FROM, PORTS_TO = 12_000, 32_000
PORTS_STEP = 50

Port = Annotated[int, Field(ge=1024, le=65_535)]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Ports(_Closed):
    temporal: Port
    ui: Port
    proxies: dict[str, Port]
    admins: dict[str, Port]
    worker_metrics: dict[str, Port]

    def all(self) -> list[int]:
        return [
            self.temporal,
            self.ui,
            *self.proxies.values(),
            *self.admins.values(),
            *self.worker_metrics.values(),
        ]


class Process(_Closed):
    role: str
    pid: int
    ticks: int
    """Start time as the kernel counts it: clock ticks since boot."""
    started: str
    log: str


class Stack(_Closed):
    """One embedded stack; the file is rewritten after every process that is started or ended."""

    schema_version: Literal["lockstep.dev-stack.v1"] = STATE_SCHEMA
    stack_id: str
    """Random; every process of the stack carries it in its environment."""
    folder: str
    ports: Ports
    workers: Literal["split", "all"]
    load: bool
    processes: list[Process] = Field(default_factory=list)

    @property
    def path(self) -> Path:
        return Path(self.folder)

    @property
    def temporal_address(self) -> str:
        return f"127.0.0.1:{self.ports.temporal}"

    @property
    def ui_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.ui}"

    @property
    def store_url(self) -> str:
        return (self.path / "store").as_uri()

    def proxy_url(self, environment: str) -> str:
        return f"http://127.0.0.1:{self.ports.proxies[environment]}/"

    def admin_url(self, environment: str) -> str:
        return f"http://127.0.0.1:{self.ports.admins[environment]}"

    def metrics_url(self, environment: str) -> str:
        return self.admin_url(environment) + "/metrics"


def worker_roles(workers: str) -> tuple[str, ...]:
    """The worker's own roles; the processes are called ``worker-<role>``."""
    return ("all",) if workers == "all" else ("control", *ENVIRONMENTS)


def wanted_roles(stack: Stack) -> list[str]:
    """Every process the stack should run, in the order in which they are started."""
    return [
        "temporal",
        *(f"agent-{name}" for name in ENVIRONMENTS),
        *(f"worker-{role}" for role in worker_roles(stack.workers)),
        *(f"load-{name}" for name in ENVIRONMENTS if stack.load),
    ]


@dataclass(frozen=True, slots=True)
class Repair:
    """What brings a stack from what runs to what should run."""

    end: tuple[Process, ...]
    start: tuple[str, ...]
    keep: tuple[Process, ...]


def plan_repair(wanted: Sequence[str], running: Iterable[Process]) -> Repair:
    """End what is not wanted or runs twice, start what is missing, leave the rest alone."""
    keep: dict[str, Process] = {}
    end = []
    for process in running:
        if process.role in wanted and process.role not in keep:
            keep[process.role] = process
        else:
            end.append(process)
    missing = tuple(role for role in wanted if role not in keep)
    return Repair(tuple(end), missing, tuple(keep.values()))


def choose_ports(folder: Path, base: int | None, is_free: Callable[[int], bool]) -> Ports:
    """Ports for a new stack: from ``base`` on, else the first free block.

    Where the search begins follows from the folder, so that stacks side by side do not all try
    the same block first.

    Raises:
        DataError: STACK_STATE; a port of ``base`` is taken, or there is no free block.
    """
    if base is not None:
        ports = ports_at(base)
        for port in ports.all():
            if not is_free(port):
                raise port_taken(port)
        return ports
    blocks = (PORTS_TO - PORTS_FROM) // PORTS_STEP
    first = int.from_bytes(hashlib.sha256(str(folder).encode()).digest()[:4], "big") % blocks
    for number in range(blocks):
        ports = ports_at(PORTS_FROM + (first + number) % blocks * PORTS_STEP)
        if all(map(is_free, ports.all())):
            return ports
    raise DataError("STACK_STATE", f"no free ports from {PORTS_FROM} to {PORTS_TO}")


def ports_at(base: int) -> Ports:
    """The block at ``base``: server and UI, then the workers' metrics, then the environments."""
    roles = ("all", "control", *ENVIRONMENTS)
    try:
        return Ports(
            temporal=base,
            ui=base + 1,
            worker_metrics={role: base + 2 + place for place, role in enumerate(roles)},
            proxies={name: base + 10 + 2 * place for place, name in enumerate(ENVIRONMENTS)},
            admins={name: base + 11 + 2 * place for place, name in enumerate(ENVIRONMENTS)},
        )
    except ValidationError:
        raise DataError(
            "USAGE", f"--port-base {base}: 1024 to {65_535 - PORTS_STEP} is needed"
        ) from None


def port_taken(port: int) -> DataError:
    return DataError(
        "STACK_STATE",
        f"port {port} is taken by another program",
        place=f"127.0.0.1:{port}",
        hint="client dev up --port-base N with other ports, or another --dir",
    )


def status_document(
    stack: Stack | None, folder: Path, running: Sequence[Process]
) -> dict[str, Any]:
    """``client dev status``: the same fields whatever the state (docs/reference/cli.md)."""
    alive = {process.role for process in running}
    wanted = wanted_roles(stack) if stack else []
    whole = bool(wanted) and alive >= set(wanted)
    return {
        "schema_version": STATUS_SCHEMA,
        "state": "up" if whole else "partial" if alive else "down",
        "temporal_address": stack.temporal_address if stack else "",
        "namespace": NAMESPACE if stack else "",
        "ui_url": stack.ui_url if stack else "",
        "store": stack.store_url if stack else "",
        "proxy_url": stack.proxy_url(PRODUCTION) if stack else "",
        "metrics_url": stack.metrics_url(PRODUCTION) if stack else "",
        "folder": str(folder),
        "processes": [
            {"role": one.role, "pid": one.pid, "started": one.started, "log": one.log}
            for one in sorted(running, key=lambda one: _place(wanted, one.role))
        ],
        "missing": [role for role in wanted if role not in alive],
        "environments": {
            name: {
                "proxy_url": stack.proxy_url(name),
                "metrics_url": stack.metrics_url(name),
                "admin_url": stack.admin_url(name),
            }
            for name in (ENVIRONMENTS if stack else ())
        },
    }


def _place(wanted: Sequence[str], role: str) -> int:
    return wanted.index(role) if role in wanted else len(wanted)


# ---- the file -------------------------------------------------------------------------------


def load_stack(folder: Path) -> Stack | None:
    """The stack of ``folder``; None where there is none.

    Raises:
        DataError: STACK_STATE; the file is not what ``save_stack`` writes.
    """
    path = folder / STATE_FILE
    try:
        return Stack.model_validate(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # a ValidationError is a ValueError
        raise DataError(
            "STACK_STATE",
            f"cannot be read: {str(error).splitlines()[0]}",
            place=str(path),
            hint="it is not a stack's; choose another --dir",
        ) from None


def save_stack(stack: Stack) -> None:
    """Replace the stack's file in one step."""
    path = stack.path / STATE_FILE
    fresh = stack.path / FRESH_FILE
    fresh.write_text(stack.model_dump_json(indent=1) + "\n")
    os.replace(fresh, path)
