"""``file://``: objects as files, each visible whole or not at all, durable when acknowledged.

Create: temporary file, fsync, ``link(2)`` (which fails if the name is taken), fsync of the folder
and of every folder above it that may be new. Swap: the same file, renamed over the old one while
holding a lock file. A killed process leaves at most a file under ``.tmp/`` and never a lock, since
``flock`` ends with its holder. ``rename`` alone would overwrite, so it never creates an object.
"""

import errno
import fcntl
import os
import random
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from activities.adapters.store.keys import RESERVED, check_key, check_prefix, check_size, conflict
from lockstep.digest import sha256
from lockstep.errors import DataError, UnavailableError
from lockstep.layout import component
from lockstep.ports import Listed, Stored, WriteOutcome, Written

LOCK_WAIT_MAX_S = 10.0
LOCK_POLL_MAX_S = 0.01
STAGED_AGE_MAX_S = 86_400
"""Older temporary files were left by killed writers; no live one works for a day on one file."""
SETTLED_MAX = 4_096
"""Folders remembered as durable; forgetting them costs one fsync each, nothing else."""


class FileStore:
    """One folder tree on a local file system, shared by any number of processes."""

    def __init__(self, root: Path) -> None:
        self.url = root.as_uri()
        self._root = str(root)
        self._tmp = os.path.join(self._root, RESERVED)
        self._settled: set[str] = set()
        self._swept = False

    def read(self, key: str) -> Stored | None:
        path = self._path(key)
        with self._mapped(path):
            body = self._load(path, key)
        return None if body is None else Stored(body, _version(body))

    def create(self, key: str, body: bytes) -> Written:
        path = self._path(key)
        check_size(len(body), key)
        with self._mapped(path):
            # Most repeats are of objects that are there: ask before writing a second copy.
            there = self._load(path, key)
            if there is None:
                with self._staged(body) as staged:
                    created = self._link(staged, path, key)
                if created:
                    self._settle(path)
                    return Written(WriteOutcome.CREATED, _version(body))
                there = self._load(path, key)
            if there is None:
                raise conflict(key)
            # The winner may not have reached its own fsync yet, and we are about to vouch for it.
            self._settle(path)
        if there == body:
            return Written(WriteOutcome.OURS, _version(body))
        return Written(WriteOutcome.LOST)

    def swap(self, key: str, body: bytes, expected: str | None) -> Written:
        if expected is None:
            return self.create(key, body)
        path = self._path(key)
        check_size(len(body), key)
        with self._mapped(path), self._locked(key):
            there = self._load(path, key)
            if there == body:
                self._settle(path)
                return Written(WriteOutcome.OURS, _version(body))
            if there is None or _version(there) != expected:
                return Written(WriteOutcome.LOST)
            with self._staged(body) as staged:
                os.rename(staged, path)
            self._settle(path)
        return Written(WriteOutcome.CREATED, _version(body))

    def list(self, prefix: str, after: str = "") -> Iterator[Listed]:
        folder = os.path.join(self._root, check_prefix(prefix))
        with self._mapped(folder):
            self._check_root()
            yield from self._walk(folder, prefix, after)

    def now(self) -> datetime:
        return datetime.now(UTC)

    # ---- reading ---------------------------------------------------------------------------

    def _path(self, key: str) -> str:
        return os.path.join(self._root, check_key(key))

    def _load(self, path: str, key: str) -> bytes | None:
        try:
            with open(path, "rb", buffering=0) as file:
                check_size(os.fstat(file.fileno()).st_size, key)
                return file.readall()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            self._check_root()
            return None

    def _check_root(self) -> None:
        """An absent root is an unreachable store; it must never read as an empty one."""
        if not stat.S_ISDIR(os.stat(self._root).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "the store is not a folder", self._root)

    def _walk(self, folder: str, prefix: str, after: str) -> Iterator[Listed]:
        try:
            with os.scandir(folder) as entries:
                # A folder sorts as its keys do, with the slash: "a-b" < "a/x" < "a0".
                found = sorted(
                    (entry.name + "/" * entry.is_dir(follow_symlinks=False), entry)
                    for entry in entries
                    if _ours(entry.name, prefix)
                )
        except (FileNotFoundError, NotADirectoryError):
            return
        for name, entry in found:
            key = prefix + name
            if name.endswith("/"):
                if key > after or after.startswith(key):
                    yield from self._walk(entry.path, key, after)
            elif key > after and entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):
                    facts = entry.stat(follow_symlinks=False)
                    yield Listed(key, facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC))

    # ---- writing ---------------------------------------------------------------------------

    @contextmanager
    def _staged(self, body: bytes) -> Iterator[str]:
        """Hold ``body`` in a durable temporary file; gone afterwards, whatever happens."""
        self._prepare_tmp()
        staged = os.path.join(self._tmp, uuid.uuid4().hex)
        fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
        try:
            with open(fd, "wb", buffering=0) as file:
                rest = memoryview(body)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(fd)
            yield staged
        finally:
            with suppress(FileNotFoundError):
                os.unlink(staged)

    def _link(self, staged: str, path: str, key: str) -> bool:
        """Give the temporary file its name; False when the name is taken."""
        try:
            try:
                os.link(staged, path)
            except FileNotFoundError:
                self._make_folder(os.path.dirname(path), key)
                os.link(staged, path)
        except FileExistsError:
            return False
        except NotADirectoryError:
            raise conflict(key) from None
        return True

    def _make_folder(self, folder: str, key: str) -> None:
        if folder == self._root:
            self._check_root()
            return
        try:
            os.mkdir(folder)
        except FileNotFoundError:
            self._make_folder(os.path.dirname(folder), key)
            self._make_folder(folder, key)
        except FileExistsError:
            if not os.path.isdir(folder):
                raise conflict(key) from None
        else:
            self._settled.discard(folder)

    def _settle(self, path: str) -> None:
        """Make the name ``path`` durable, and each folder above it that may be new."""
        folder = os.path.dirname(path)
        _fsync_folder(folder)
        if len(self._settled) > SETTLED_MAX:
            self._settled.clear()
        while folder != self._root and folder not in self._settled:
            above = os.path.dirname(folder)
            _fsync_folder(above)
            self._settled.add(folder)
            folder = above

    def _prepare_tmp(self) -> None:
        """Make ``.tmp`` on first use, and clear what killed writers left there long ago."""
        if self._swept and os.path.isdir(self._tmp):
            return
        self._check_root()
        os.makedirs(os.path.join(self._tmp, "locks"), exist_ok=True)
        oldest = time.time() - STAGED_AGE_MAX_S
        with os.scandir(self._tmp) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if entry.is_file() and entry.stat().st_mtime < oldest:
                        os.unlink(entry.path)
        self._swept = True

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Exclude other swaps of ``key``: 256 lock files, never deleted, shared by all keys."""
        self._prepare_tmp()
        path = os.path.join(self._tmp, "locks", sha256(key.encode()).hex()[:2])
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            give_up = time.monotonic() + LOCK_WAIT_MAX_S
            while not _try_lock(fd):
                if time.monotonic() > give_up:
                    raise UnavailableError(
                        "STORE_UNREACHABLE", f"locked for {LOCK_WAIT_MAX_S:.0f} s", place=path
                    )
                time.sleep(random.uniform(0, LOCK_POLL_MAX_S))  # noqa: S311 (spread, no secret)
            try:
                yield
            finally:
                # A child forked meanwhile shares this lock; closing our side would not end it.
                fcntl.flock(fd, fcntl.LOCK_UN)
        finally:
            os.close(fd)

    @contextmanager
    def _mapped(self, path: str) -> Iterator[None]:
        """Turn what the operating system says into what the caller can act on."""
        try:
            yield
        except OSError as error:
            raise UnavailableError(
                "STORE_UNREACHABLE",
                error.strerror or str(error),
                place=str(error.filename or path),
                hint=f"check the folder {self._root}: mounted, writable, with free space",
            ) from error


def _version(body: bytes) -> str:
    return sha256(body).hex()


def _ours(name: str, prefix: str) -> bool:
    """Whether a store could have written ``name`` (a disk also holds lost+found and the like)."""
    try:
        return bool(component(name)) and (prefix != "" or name != RESERVED)
    except DataError:
        return False


def _fsync_folder(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
