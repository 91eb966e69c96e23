"""The store port: what every store does alike (docs/spec/bytes.md §3)."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from activities.adapters.store import open_store
from activities.adapters.store.keys import BODY_MAX_BYTES, check_size
from lockstep.errors import DataError
from lockstep.ports import Store, WriteOutcome

CREATED, OURS, LOST = WriteOutcome.CREATED, WriteOutcome.OURS, WriteOutcome.LOST


def keys(store: Store, prefix: str = "", after: str = "") -> list[str]:
    return [listed.key for listed in store.list(prefix, after)]


# ---- create and read -----------------------------------------------------------------------


def test_what_was_created_is_read_back_and_nothing_else_is_there(store: Store) -> None:
    assert store.read("runs/t/r/COMMITTED") is None
    written = store.create("runs/t/r/COMMITTED", b"body")
    assert (written.outcome, written.landed) == (CREATED, True)
    stored = store.read("runs/t/r/COMMITTED")
    assert stored is not None
    assert (stored.body, stored.version) == (b"body", written.version)
    assert keys(store) == ["runs/t/r/COMMITTED"]


def test_equal_bytes_are_ours_and_other_bytes_are_lost(store: Store) -> None:
    store.create("k/1", b"first")
    again, other = store.create("k/1", b"first"), store.create("k/1", b"second")
    assert (again.outcome, again.landed) == (OURS, True)
    assert (other.outcome, other.landed) == (LOST, False)
    assert store.read("k/1").body == b"first"


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_a_body_of_any_size_comes_back_whole(store: Store, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert store.create("k/body", body).outcome is CREATED
    assert store.read("k/body").body == body
    assert store.create("k/body", body).outcome is OURS


def test_a_body_on_the_size_limit_is_taken_and_one_past_it_refused() -> None:
    check_size(BODY_MAX_BYTES, "k/1")
    with pytest.raises(DataError) as caught:
        check_size(BODY_MAX_BYTES + 1, "k/1")
    assert (caught.value.code, caught.value.place) == ("OBJECT_TOO_LARGE", "k/1")


# ---- swap ----------------------------------------------------------------------------------


def test_a_swap_replaces_exactly_the_version_that_was_read(store: Store) -> None:
    first = store.swap("k/p", b"write 1", None)
    assert first.outcome is CREATED
    second = store.swap("k/p", b"write 2", first.version)
    assert second.outcome is CREATED
    assert second.version not in (None, first.version)
    assert store.swap("k/p", b"write 3", first.version).outcome is LOST
    assert store.read("k/p").body == b"write 2"
    assert store.swap("k/p", b"write 3", second.version).outcome is CREATED
    assert store.read("k/p").body == b"write 3"


def test_a_repeated_swap_recognises_its_own_bytes(store: Store) -> None:
    first = store.swap("k/p", b"write 1", None)
    second = store.swap("k/p", b"write 2", first.version)
    again = store.swap("k/p", b"write 2", first.version)
    assert (again.outcome, again.version) == (OURS, second.version)
    assert store.swap("k/p", b"write 1", None).outcome is LOST


def test_a_swap_of_what_is_not_there_is_lost_and_makes_nothing(store: Store) -> None:
    version = store.create("k/other", b"x").version
    assert store.swap("k/p", b"write", version).outcome is LOST
    assert store.read("k/p") is None


# ---- list ----------------------------------------------------------------------------------


def test_a_listing_is_in_key_order_also_where_folders_and_names_interleave(store: Store) -> None:
    wanted = ["l/a-b", "l/a.b", "l/a/x", "l/a/y/z", "l/a0", "l/b", "l/b-/c"]
    for key in reversed(wanted):
        store.create(key, b"body")
    store.create("m/other", b"body")
    assert keys(store, "l/") == wanted == sorted(wanted)
    assert keys(store, "l/a/") == ["l/a/x", "l/a/y/z"]
    assert keys(store) == [*wanted, "m/other"]
    assert keys(store, "absent/") == []
    for index, key in enumerate(wanted):
        assert keys(store, "l/", after=key) == wanted[index + 1 :]
    assert keys(store, "l/", after="l/a/w") == wanted[2:]


def test_a_listing_gives_size_and_time(store: Store) -> None:
    store.create("k/1", b"12345")
    (listed,) = store.list("k/")
    assert listed.size == 5
    assert abs(listed.modified - datetime.now(UTC)) < timedelta(seconds=10)


def test_a_listing_ends_at_its_own_level(store: Store) -> None:
    for key in ("runs/run1/x", "runs/run10/x"):
        store.create(key, b"")
    assert keys(store, "runs/run1/") == ["runs/run1/x"]
    with pytest.raises(DataError) as caught:
        list(store.list("runs/run1"))
    assert caught.value.code == "NAME_INVALID"


def test_a_listing_longer_than_a_page_is_whole(store: Store) -> None:
    wanted = [f"p/{number % 7}/{number:04d}" for number in range(1100)]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda key: store.create(key, b"").landed, wanted))
    assert keys(store, "p/") == sorted(wanted)
    assert keys(store, "p/", after="p/5/1000") == [k for k in sorted(wanted) if k > "p/5/1000"]


# ---- keys ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a/", "a//b", "a/../b", "./a", "a/.", ".tmp/a", "ä/b", "a b", "a\n", "x" * 201],
)
def test_a_key_outside_the_rules_is_refused_by_every_call(store: Store, key: str) -> None:
    for call in (
        lambda: store.read(key),
        lambda: store.create(key, b""),
        lambda: store.swap(key, b"", None),
        lambda: store.swap(key, b"", "version"),
    ):
        with pytest.raises(DataError) as caught:
            call()
        assert caught.value.code == "NAME_INVALID"
    assert keys(store) == []


def test_a_component_on_the_length_limit_is_taken(store: Store) -> None:
    assert store.create("k/" + "x" * 200, b"body").outcome is CREATED


@pytest.mark.parametrize(("first", "second"), [("k/a", "k/a/b"), ("k/a/b", "k/a")])
def test_a_key_that_would_be_a_path_prefix_of_another_is_refused(
    store: Store, first: str, second: str
) -> None:
    store.create(first, b"body")
    assert store.read(second) is None
    with pytest.raises(DataError) as caught:
        store.create(second, b"body")
    assert (caught.value.code, caught.value.place) == ("NAME_INVALID", second)
    assert keys(store) == [first]


# ---- time and addresses --------------------------------------------------------------------


def test_the_store_tells_the_time_in_utc(store: Store) -> None:
    now = store.now()
    assert now.utcoffset() == timedelta(0)
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=5)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "relative/path",
        "/absolute/path",
        "file://host/path",
        "file://relative",
        "http://bucket/prefix",
        "s3://",
        "s3:///prefix",
        "s3://user:word@bucket/prefix",
        "s3://bucket/prefix?versionId=1",
    ],
)
def test_an_address_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(DataError) as caught:
        open_store(url)
    assert caught.value.code == "CONTEXT_INVALID"
    assert caught.value.place == url


def test_the_address_of_an_open_store_opens_it_again(store: Store, s3) -> None:
    store.create("k/1", b"body")
    assert open_store(store.url, endpoint=s3.endpoint).read("k/1").body == b"body"


# ---- writers side by side ------------------------------------------------------------------


def side_by_side(count: int, work: Callable[[int], None]) -> None:
    """Run ``work(0..count-1)`` in as many threads, started together."""
    gate = threading.Barrier(count)

    def begin(number: int) -> None:
        gate.wait()
        work(number)

    with ThreadPoolExecutor(count) as pool:
        for future in [pool.submit(begin, number) for number in range(count)]:
            future.result()


def test_of_eight_threads_that_create_a_key_exactly_one_wins(store: Store) -> None:
    wins: list[tuple[str, int]] = []

    def work(number: int) -> None:
        for index in range(25):
            key = f"race/{index}"
            if store.create(key, b"writer %d" % number).outcome is CREATED:
                wins.append((key, number))

    side_by_side(8, work)
    assert sorted(key for key, _ in wins) == sorted(f"race/{index}" for index in range(25))
    assert all(store.read(key).body == b"writer %d" % number for key, number in wins)


def test_of_eight_threads_that_count_in_one_pointer_no_increment_is_lost(store: Store) -> None:
    store.create("counter/c", b"0 start")

    def work(number: int) -> None:
        done = 0
        while done < 6:
            stored = store.read("counter/c")
            count = int(stored.body.split()[0]) + 1
            body = b"%d by %d" % (count, number)
            done += store.swap("counter/c", body, stored.version).landed

    side_by_side(8, work)
    assert store.read("counter/c").body.split()[0] == b"48"
