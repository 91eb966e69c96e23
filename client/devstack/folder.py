"""The folder of a stack: whose it is, who may work on it, and how it is removed."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from client.devstack.state import FRESH_FILE, STATE_FILE
from lockstep.errors import DataError

LOCK_FILE = ".lock"
PROBE_FILE = ".writable"


def content(folder: Path) -> list[str]:
    """What lies in the folder, the state file last; without what an interrupted ``up`` leaves."""
    if not folder.is_dir():
        return []
    names = {entry.name for entry in folder.iterdir()} - {LOCK_FILE, PROBE_FILE, FRESH_FILE}
    return sorted(names, key=lambda name: (name == STATE_FILE, name))


def claim(folder: Path) -> bool:
    """Make the folder where it is missing; returns whether it was there.

    Raises:
        DataError: STACK_STATE; it cannot be written, or belongs to something else.
    """
    was_there = folder.exists()
    if content(folder) and not (folder / STATE_FILE).exists():
        raise DataError(
            "STACK_STATE",
            "this folder holds other things than a stack",
            place=str(folder),
            hint="choose an empty or a new folder with --dir",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / PROBE_FILE
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DataError(
            "STACK_STATE",
            f"cannot be written: {error.strerror}",
            place=str(folder),
            hint="choose another folder with --dir",
        ) from None
    return was_there


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only ``up`` or ``down`` of this folder; a second one is told, not queued.

    Raises:
        DataError: STACK_STATE; another one is at work.
    """
    while True:
        with (folder / LOCK_FILE).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataError(
                    "STACK_STATE",
                    "another client dev is at work on this stack",
                    place=str(folder),
                    hint="wait for it, then see client dev status",
                ) from None
            if _is_still(folder / LOCK_FILE, lock.fileno()):
                yield
                return
        folder.mkdir(parents=True, exist_ok=True)  # a purge removed both between open and lock


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the file that is open is the one at ``path``."""
    with contextlib.suppress(OSError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False


def empty(folder: Path) -> None:
    """Remove all but the lock, which its holder still holds.

    The state file goes last: while anything is left, the folder is known as a stack's.
    """
    for name in (PROBE_FILE, FRESH_FILE):
        (folder / name).unlink(missing_ok=True)
    for name in content(folder):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def remove(folder: Path, *, keep: bool = False) -> None:
    """Remove what is left of an empty stack's folder: the lock and, unless ``keep``, itself."""
    for name in (PROBE_FILE, FRESH_FILE, LOCK_FILE):
        (folder / name).unlink(missing_ok=True)
    if not keep:
        with contextlib.suppress(OSError):  # somebody put something there meanwhile: theirs
            folder.rmdir()
