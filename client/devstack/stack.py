"""``up``, ``down`` and ``status`` of the embedded stack: plan what is missing, do only that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from client.devstack import folder as folders
from client.devstack import processes, roles, server
from client.devstack import state as stacks
from client.devstack.state import Process, Stack
from lockstep.errors import DataError

# What runs needs no more than seconds to hand over; anything left over is durable.
END_MAX_S = (("load", 5.0), ("worker", 10.0), ("agent", 10.0), ("temporal", 10.0))
REPAIRS_MAX = 3

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What ``up`` was asked for; None leaves it as the stack has it (new: split, under load)."""

    port_base: int | None = None
    workers: str | None = None
    load: bool | None = None


def status(folder: Path) -> dict[str, Any]:
    """The status document; asks the kernel only, never a server.

    Raises:
        DataError: STACK_STATE; the folder holds no readable stack.
    """
    folder = folder.resolve()
    stack = stacks.load_stack(folder)
    return stacks.status_document(stack, folder, _running(stack) if stack else [])


def up(folder: Path, wanted: Wanted, say: Say) -> dict[str, Any]:
    """Bring the stack in ``folder`` up, or back up, and wait until every part is ready.

    A part that runs is left alone. What this call started and could not make ready it ends again;
    a new stack that did not come up leaves nothing.

    Raises:
        DataError: STACK_STATE; a taken port, an unusable folder, a part that does not come up.
        UnavailableError: SERVER_BINARY_MISSING.
    """
    folder = folder.resolve()
    was_there = folders.claim(folder)
    try:
        with folders.locked(folder):
            known = stacks.load_stack(folder)
            program = server.find_program()
            stack = _configured(known, folder, wanted)
            try:
                return _repair(stack, program, say)
            except BaseException:
                if known is None:  # new: the folder held nothing of anybody's before
                    _end_all(stack)
                    folders.empty(folder)
                raise
    except BaseException:
        if not folders.content(folder):
            folders.remove(folder, keep=was_there)
        raise


def down(folder: Path, *, purge: bool, say: Say) -> dict[str, Any]:
    """End every process of the stack; with ``purge`` remove its folder too.

    Raises:
        DataError: STACK_STATE; no stack's folder, or a process that even SIGKILL did not end.
    """
    folder = folder.resolve()
    if not folder.exists():
        return stacks.status_document(None, folder, [])
    if folders.content(folder) and stacks.load_stack(folder) is None:
        raise DataError("STACK_STATE", "this folder is no stack's", place=str(folder))
    with folders.locked(folder):
        stack = stacks.load_stack(folder)
        if stack is not None:
            _end_all(stack, say)
        if purge:
            folders.empty(folder)
        else:
            return stacks.status_document(stack, folder, [])
    folders.remove(folder)
    return stacks.status_document(None, folder, [])


# ---- what it should be ----------------------------------------------------------------------


def _configured(known: Stack | None, folder: Path, wanted: Wanted) -> Stack:
    """The stack as it should be, written down before anything of it runs."""
    if known is None:
        stack = Stack(
            stack_id=uuid4().hex,
            folder=str(folder),
            ports=stacks.choose_ports(folder, wanted.port_base, roles.is_free),
            workers=wanted.workers or "split",
            load=wanted.load is not False,
        )
    else:
        if wanted.port_base is not None and stacks.ports_at(wanted.port_base) != known.ports:
            raise DataError(
                "STACK_STATE",
                f"this stack has its ports already, from {known.ports.temporal} on",
                place=str(folder),
                hint="leave --port-base out, or client dev down --purge first",
            )
        stack = known.model_copy(
            update={
                "folder": str(folder),
                "workers": wanted.workers or known.workers,
                "load": known.load if wanted.load is None else wanted.load,
            }
        )
    stacks.save_stack(stack)  # first of all: it is what tells a stack's folder from any other
    for name in ("logs", "ready", "store"):
        (folder / name).mkdir(exist_ok=True)
    return stack


# ---- processes ------------------------------------------------------------------------------


def _running(stack: Stack) -> list[Process]:
    """Live processes of the stack: those written down, and any that carry its id."""
    recorded = [process for process in stack.processes if processes.is_alive(process)]
    known = {(process.pid, process.ticks) for process in recorded}
    found = processes.belonging(stack.stack_id, stack.path / "logs")
    return recorded + [one for one in found if (one.pid, one.ticks) not in known]


def _repair(stack: Stack, program: Path, say: Say) -> dict[str, Any]:
    """Repair until all runs: a part may die while others are being brought back."""
    for _ in range(REPAIRS_MAX):
        _repair_once(stack, program, say)
        document = status(stack.path)
        if document["state"] == "up":
            return document
    raise DataError(
        "STACK_STATE",
        f"{', '.join(document['missing'])} ended {REPAIRS_MAX} times; see the logs",
        place=str(stack.path / "logs"),
    )


def _repair_once(stack: Stack, program: Path, say: Say) -> None:
    plan = stacks.plan_repair(stacks.wanted_roles(stack), _running(stack))
    _end(plan.end)
    for role in plan.start:
        for port in roles.ports_of(stack, role):
            if not roles.is_free(port):
                raise stacks.port_taken(port)
    started: list[Process] = []
    try:
        roles.write_files(stack)
        # Users come last: an agent that is not there yet would be counted as a failing service.
        for users in (False, True):
            wanted = [role for role in plan.start if role.startswith("load-") == users]
            _bring_up(stack, wanted, plan.keep, started, program, say)
        roles.require_alive(started)
    except BaseException:
        _end(started)
        stacks.save_stack(stack.model_copy(update={"processes": list(plan.keep)}))
        raise


def _bring_up(
    stack: Stack,
    wanted: Sequence[str],
    kept: Sequence[Process],
    started: list[Process],
    program: Path,
    say: Say,
) -> None:
    """Start all of ``wanted``, each written down at once, then wait for each to be ready."""
    if wanted:
        say(f"starting {', '.join(wanted)}")
    before = len(started)
    for role in wanted:
        started.append(roles.start(stack, role, program))
        stacks.save_stack(stack.model_copy(update={"processes": [*kept, *started]}))
    for process in started[before:]:
        roles.wait_ready(stack, process)
        say(f"ready: {process.role}")


def _end_all(stack: Stack, say: Say = lambda line: None) -> None:
    running = _running(stack)
    if running:
        say(f"ending {', '.join(process.role for process in running)}")
    _end(running)
    if (stack.path / stacks.STATE_FILE).exists():
        stacks.save_stack(stack.model_copy(update={"processes": []}))


def _end(ending: Sequence[Process]) -> None:
    """Users first, the server last.

    Raises:
        DataError: STACK_STATE; one did not even end by SIGKILL.
    """
    left: list[Process] = []
    for kind, wait_s in END_MAX_S:
        some = [process for process in ending if process.role.partition("-")[0] == kind]
        left += processes.end(some, wait_s)
    if left:
        raise DataError("STACK_STATE", f"process {left[0].pid} ({left[0].role}) does not end")
