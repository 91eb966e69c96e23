"""What the folder store promises beyond the port: many processes, SIGKILL, a broken disk."""

import fcntl
import multiprocessing
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from activities.adapters.store import file, open_store
from lockstep.digest import sha256
from lockstep.errors import DataError, UnavailableError
from lockstep.ports import Store, WriteOutcome

FORK = multiprocessing.get_context("fork")
"""Sixteen fresh interpreters would take longer to start than to race."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


def in_processes(count: int, work: Callable[[int], object]) -> list[object]:
    """Run ``work(0..count-1)`` in as many processes, started together; their answers in order."""
    gate = FORK.Barrier(count)
    answers = FORK.SimpleQueue()

    def begin(number: int) -> None:
        gate.wait()
        answers.put((number, work(number)))

    processes = [FORK.Process(target=begin, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    found = dict(answers.get() for _ in processes)
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return [found[number] for number in range(count)]


def test_of_sixteen_processes_that_create_a_key_exactly_one_wins(root: Path) -> None:
    def work(number: int) -> list[str]:
        store = open_store(root.as_uri())
        body = b"process %d" % number
        race = [f"race/{index % 5}/{index}" for index in range(30)]
        return [key for key in race if store.create(key, body).outcome is WriteOutcome.CREATED]

    wins = in_processes(16, work)
    store = open_store(root.as_uri())
    assert sorted(key for won in wins for key in won) == sorted(
        f"race/{index % 5}/{index}" for index in range(30)
    )
    for number, won in enumerate(wins):
        assert all(store.read(key).body == b"process %d" % number for key in won)


def test_of_sixteen_processes_that_count_in_one_pointer_no_increment_is_lost(root: Path) -> None:
    open_store(root.as_uri()).create("counter/c", b"0 start")

    def work(number: int) -> int:
        store, done = open_store(root.as_uri()), 0
        while done < 5:
            stored = store.read("counter/c")
            body = b"%d by %d" % (int(stored.body.split()[0]) + 1, number)
            done += store.swap("counter/c", body, stored.version).landed
        return done

    assert in_processes(16, work) == [5] * 16
    assert open_store(root.as_uri()).read("counter/c").body.split()[0] == b"80"


# ---- SIGKILL -------------------------------------------------------------------------------

WRITER = """
import sys, time
from activities.adapters.store import open_store
from lockstep.digest import sha256
store, round_ = open_store(sys.argv[1]), sys.argv[2]
version = (store.read("pointer/p") or store.create("pointer/p", b"0")).version
for number in range(1_000_000):
    body = (round_ + "/" + str(number) + " ").encode() * 300
    key = "cas/t/" + sha256(body).hex()
    assert store.create(key, body).landed
    written = store.swap("pointer/p", b"%d " % number + round_.encode(), version)
    assert written.landed, written
    version = written.version
    print(key, number, flush=True)
"""


def killed_writer(root: Path, round_: int, run_s: float) -> list[str]:
    """Let a writer work, kill it without warning; what it had acknowledged by then."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, root.as_uri(), f"round{round_}"], stdout=subprocess.PIPE
    )
    with process.stdout as output:
        assert select.select([output], [], [], 20)[0]
        time.sleep(run_s)
        process.send_signal(signal.SIGKILL)
        process.wait()
        told = output.read().decode()
    return told[: told.rindex("\n")].splitlines()


def test_what_was_acknowledged_before_a_sigkill_is_intact(root: Path) -> None:
    store = open_store(root.as_uri())
    acknowledged: list[str] = []
    for round_ in range(5):
        lines = killed_writer(root, round_, run_s=0.05 + 0.013 * round_)
        acknowledged += [line.split()[0] for line in lines]
        last = int(lines[-1].split()[1])
        # The pointer is the last one told or the one that was being written when the kill came.
        assert int(store.read("pointer/p").body.split()[0]) in (last, last + 1)
    visible = {listed.key for listed in store.list("cas/t/")}
    assert len(acknowledged) >= 5
    assert visible.issuperset(acknowledged)
    for key in visible:  # also those that were written and never told
        assert sha256(store.read(key).body).hex() == key.removeprefix("cas/t/")


def test_what_killed_writers_left_is_cleared_when_it_is_old_and_never_listed(root: Path) -> None:
    open_store(root.as_uri()).create("k/1", b"body")
    old, young = root / ".tmp" / "old", root / ".tmp" / "young"
    for leftover in (old, young):
        leftover.write_bytes(b"half")
    os.utime(old, (0, 0))
    store = open_store(root.as_uri())
    store.create("k/2", b"body")
    assert (old.exists(), young.exists()) == (False, True)
    assert [listed.key for listed in store.list("")] == ["k/1", "k/2"]


# ---- durability ----------------------------------------------------------------------------


@pytest.fixture
def synced(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was fsynced, in order, relative to the root; a temporary file counts as ``file``."""
    seen: list[str] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}")).relative_to(root.resolve())
        seen.append("file" if path.parts[:1] == (".tmp",) else str(path))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    return seen


def test_an_answer_comes_after_body_name_and_every_new_folder_are_durable(
    root: Path, synced: list[str]
) -> None:
    store = open_store(root.as_uri())
    version = store.create("a/b/c/one", b"1").version
    assert synced[:2] == ["file", "a/b/c"]
    assert set(synced) == {"file", "a/b/c", "a/b", "a", "."}
    synced.clear()
    store.create("a/b/c/two", b"2")
    assert synced == ["file", "a/b/c"]
    synced.clear()
    store.create("a/b/d/three", b"3")
    assert synced == ["file", "a/b/d", "a/b"]
    synced.clear()
    store.swap("a/b/c/one", b"new", version)
    assert synced == ["file", "a/b/c"]


def test_another_process_vouches_for_an_object_only_after_its_own_fsync(
    root: Path, synced: list[str]
) -> None:
    open_store(root.as_uri()).create("a/b/one", b"1")
    synced.clear()
    second = open_store(root.as_uri())
    assert second.create("a/b/one", b"1").outcome is WriteOutcome.OURS
    assert synced == ["a/b", "a", "."]


# ---- locks ---------------------------------------------------------------------------------


def lock_file(root: Path, key: str) -> int:
    path = root / ".tmp" / "locks" / sha256(key.encode()).hex()[:2]
    return os.open(path, os.O_RDWR | os.O_CREAT)


def test_a_swap_waits_for_the_lock_and_a_lock_held_too_long_is_an_error(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(root.as_uri())
    version = store.create("k/p", b"one").version
    held = lock_file(root, "k/p")
    fcntl.flock(held, fcntl.LOCK_EX)
    timer = threading.Timer(0.1, lambda: fcntl.flock(held, fcntl.LOCK_UN))
    timer.start()
    assert store.swap("k/p", b"two", version).landed
    timer.join()

    fcntl.flock(held, fcntl.LOCK_EX)
    monkeypatch.setattr(file, "LOCK_WAIT_MAX_S", 0.05)
    with pytest.raises(UnavailableError) as caught:
        store.swap("k/p", b"three", store.read("k/p").version)
    os.close(held)
    assert caught.value.code == "STORE_UNREACHABLE"
    assert store.read("k/p").body == b"two"


# ---- a disk that fails ---------------------------------------------------------------------


def every_call(store: Store) -> list[Callable[[], object]]:
    return [
        lambda: store.read("k/1"),
        lambda: store.create("k/1", b"body"),
        lambda: store.swap("k/1", b"body", "version"),
        lambda: list(store.list("")),
    ]


def test_an_absent_folder_is_unreachable_and_never_an_empty_store(tmp_path: Path) -> None:
    store = open_store((tmp_path / "absent").as_uri())
    for call in every_call(store):
        with pytest.raises(UnavailableError) as caught:
            call()
        assert caught.value.code == "STORE_UNREACHABLE"
        assert str(tmp_path / "absent") in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_taken_away_in_use_is_unreachable(root: Path) -> None:
    store = open_store(root.as_uri())
    store.create("k/1", b"body")
    root.rename(root.with_name("elsewhere"))
    for call in every_call(store):
        with pytest.raises(UnavailableError):
            call()
    assert not root.exists()
    root.with_name("elsewhere").rename(root)
    assert store.read("k/1").body == b"body"


def test_a_file_in_the_place_of_the_folder_is_unreachable(root: Path) -> None:
    root.rmdir()
    root.write_bytes(b"")
    for call in every_call(open_store(root.as_uri())):
        with pytest.raises(UnavailableError) as caught:
            call()
        assert str(root) in str(caught.value)


def test_a_disk_without_room_leaves_nothing_half_written(root: Path) -> None:
    """A limit on file sizes stands in for a full disk: the write breaks off in the middle."""

    def work(_: int) -> str:
        store = open_store(root.as_uri())
        version = store.create("k/p", b"old").version
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
        told = []
        for call in (
            lambda: store.create("k/1", b"x" * 20_000),
            lambda: store.swap("k/p", b"x" * 20_000, version),
        ):
            try:
                call()
            except UnavailableError as error:
                told.append(error.code)
        return " ".join(told)

    assert in_processes(1, work) == ["STORE_UNREACHABLE STORE_UNREACHABLE"]
    store = open_store(root.as_uri())
    assert [listed.key for listed in store.list("")] == ["k/p"]
    assert store.read("k/p").body == b"old"
    assert [path.name for path in (root / ".tmp").iterdir()] == ["locks"]


def test_foreign_files_are_neither_listed_nor_in_the_way(root: Path) -> None:
    (root / "lost+found").mkdir()
    (root / "notes.txt~").write_bytes(b"")
    (root / "link").symlink_to(root)
    store = open_store(root.as_uri())
    store.create("k/1", b"body")
    assert [listed.key for listed in store.list("")] == ["k/1"]


def test_a_body_over_the_limit_is_refused_before_it_is_read(root: Path) -> None:
    with open(root / "huge", "wb") as sparse:
        sparse.truncate(300 * 1024 * 1024)
    with pytest.raises(DataError) as caught:
        open_store(root.as_uri()).read("huge")
    assert caught.value.code == "OBJECT_TOO_LARGE"
