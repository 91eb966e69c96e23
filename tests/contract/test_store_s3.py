"""What the S3 store does when answers are lost, wrong, slow or refused (a real server behind)."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from activities.adapters.store import open_store
from lockstep.errors import DataError, UnavailableError
from lockstep.ports import Store, WriteOutcome
from tests.faults import BREAK_BODY, HANG, PASS, SWALLOW, Answer, FaultProxy
from tests.servers import S3Server, free_port
from tests.stores import BUCKET, wipe

CREATED, OURS, LOST, UNKNOWN = WriteOutcome

AGAIN = Answer(409, "ConditionalRequestConflict")
EXISTS = Answer(412, "PreconditionFailed")
BROKEN = Answer(500, "InternalError")
BROKEN_AFTER_WRITING = Answer(500, "InternalError", forward=True)
BUSY = Answer(503, "SlowDown")

Pair = tuple[Store, Store, FaultProxy]


@pytest.fixture(scope="module")
def shared_pair(s3: S3Server, s3_store: Callable[..., Store]) -> Iterator[Pair]:
    with FaultProxy(s3.port) as proxy:
        direct = s3_store()
        prefix = direct.url.removeprefix(f"s3://{BUCKET}/")
        yield s3_store(prefix=prefix, endpoint=proxy.endpoint), direct, proxy


@pytest.fixture
def pair(s3: S3Server, shared_pair: Pair) -> Iterator[Pair]:
    """A store behind a fault proxy, the same empty store without it, and the proxy."""
    yield shared_pair
    shared_pair[2].reset()
    wipe(s3, shared_pair[1])


def together(calls: list[Callable[[], object]]) -> list[object]:
    """Run calls that mostly wait side by side; their answers, or what they raised."""

    def answer(call: Callable[[], object]) -> object:
        try:
            return call()
        except UnavailableError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(answer, calls))


def within(seconds: float, call: Callable[[], object]) -> UnavailableError:
    started = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        call()
    assert time.monotonic() - started < seconds
    return caught.value


# ---- create --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ([SWALLOW], OURS),
        ([SWALLOW, SWALLOW], OURS),
        ([BROKEN_AFTER_WRITING], OURS),
        ([BROKEN], CREATED),
        ([BUSY], CREATED),
        ([AGAIN, AGAIN], CREATED),
        ([AGAIN, SWALLOW], OURS),
        ([EXISTS], CREATED),  # nothing is there: the object was deleted in between
    ],
)
def test_a_create_whose_answer_is_lost_or_wrong_is_settled_by_its_bytes(
    pair: Pair, script: list[object], outcome: WriteOutcome
) -> None:
    store, direct, proxy = pair
    proxy.scripts["PUT"] = list(script)
    written = store.create("k/1", b"ours")
    assert written.outcome is outcome
    assert direct.read("k/1").body == b"ours"
    assert written.version == direct.read("k/1").version


@pytest.mark.parametrize("script", [[SWALLOW], [BROKEN], [AGAIN], [EXISTS], [BROKEN] * 3])
def test_a_create_on_anothers_object_is_lost_whatever_was_answered(
    pair: Pair, script: list[object]
) -> None:
    store, direct, proxy = pair
    direct.create("k/1", b"another's")
    proxy.scripts["PUT"] = list(script)
    assert store.create("k/1", b"ours").outcome is LOST
    assert direct.read("k/1").body == b"another's"


def test_a_create_that_never_gets_a_usable_answer_is_unknown(pair: Pair) -> None:
    store, direct, proxy = pair
    proxy.always["PUT"] = BROKEN
    assert store.create("k/1", b"ours").outcome is UNKNOWN
    assert proxy.seen.count("PUT") == 6
    assert direct.read("k/1") is None


def test_a_create_that_landed_is_found_even_when_every_answer_was_lost(pair: Pair) -> None:
    store, _, proxy = pair
    proxy.always["PUT"] = SWALLOW
    assert store.create("k/1", b"ours").outcome is OURS


def test_a_create_that_cannot_be_read_back_either_is_unknown(pair: Pair) -> None:
    store, _, proxy = pair
    proxy.always |= {"PUT": SWALLOW, "GET": BROKEN}
    assert store.create("k/1", b"ours").outcome is UNKNOWN


def test_a_conflict_without_end_is_no_loss_but_an_unreachable_store(pair: Pair) -> None:
    store, direct, proxy = pair
    proxy.always["PUT"] = AGAIN
    error = within(10, lambda: store.create("k/1", b"ours"))
    assert (error.code, error.place) == ("STORE_UNREACHABLE", proxy.endpoint)
    assert "409 ConditionalRequestConflict" in error.cause
    assert direct.read("k/1") is None


# ---- swap ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "outcome"),
    [([SWALLOW], OURS), ([BROKEN], CREATED), ([AGAIN], CREATED), ([EXISTS], CREATED)],
)
def test_a_swap_whose_answer_is_lost_or_wrong_is_settled_by_its_bytes(
    pair: Pair, script: list[object], outcome: WriteOutcome
) -> None:
    store, direct, proxy = pair
    version = direct.create("k/p", b"write 1").version
    proxy.scripts["PUT"] = list(script)
    assert store.swap("k/p", b"write 2", version).outcome is outcome
    assert direct.read("k/p").body == b"write 2"


def test_a_swap_that_may_have_been_superseded_is_unknown_and_never_called_lost(pair: Pair) -> None:
    store, direct, proxy = pair
    version = direct.create("k/p", b"write 1").version

    def another_writer() -> None:
        direct.swap("k/p", b"write 3", direct.read("k/p").version)

    proxy.scripts["PUT"], proxy.meanwhile = [SWALLOW], another_writer
    assert store.swap("k/p", b"write 2", version).outcome is UNKNOWN
    assert direct.read("k/p").body == b"write 3"


def test_a_swap_refused_by_the_first_answer_is_lost(pair: Pair) -> None:
    store, direct, _ = pair
    version = direct.create("k/p", b"write 1").version
    direct.swap("k/p", b"write 2", version)
    assert store.swap("k/p", b"write 3", version).outcome is LOST


# ---- read, list, now -----------------------------------------------------------------------


@pytest.mark.parametrize("fault", [SWALLOW, BROKEN, BUSY])
def test_reading_is_tried_again(pair: Pair, fault: object) -> None:
    store, direct, proxy = pair
    direct.create("k/1", b"body")
    proxy.scripts["GET"] = [fault, PASS, fault]
    assert store.read("k/1").body == b"body"
    assert [listed.key for listed in store.list("k/")] == ["k/1"]
    proxy.scripts["HEAD"] = [fault]
    assert store.now() is not None


def test_a_body_that_arrives_changed_is_read_again_and_then_called_corrupt(pair: Pair) -> None:
    store, direct, proxy = pair
    direct.create("k/1", b"body")
    proxy.scripts["GET"] = [BREAK_BODY]
    assert store.read("k/1").body == b"body"
    proxy.always["GET"] = BREAK_BODY
    with pytest.raises(DataError) as caught:
        store.read("k/1")
    assert (caught.value.code, caught.value.place) == ("OBJECT_CORRUPT", "k/1")


def test_a_hung_server_is_reported_within_ten_seconds(pair: Pair) -> None:
    store, _, proxy = pair
    proxy.always |= {"PUT": HANG, "GET": HANG, "HEAD": HANG}
    started = time.monotonic()
    *errors, written = together(
        [
            lambda: store.read("k/1"),
            lambda: list(store.list("k/")),
            store.now,
            lambda: store.create("k/1", b"ours"),
        ]
    )
    assert time.monotonic() - started < 10
    for error in errors:
        assert (error.code, error.place) == ("STORE_UNREACHABLE", proxy.endpoint)
    assert written.outcome is UNKNOWN  # it may have landed


# ---- refusals ------------------------------------------------------------------------------


def every_call(store: Store) -> list[Callable[[], object]]:
    return [
        lambda: store.read("k/1"),
        lambda: store.create("k/1", b"body"),
        lambda: store.swap("k/1", b"body", '"version"'),
        lambda: list(store.list("")),
        store.now,
    ]


def test_a_server_that_is_not_there_is_named(s3_store: Callable[..., Store]) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    started = time.monotonic()
    errors = together(every_call(s3_store(endpoint=endpoint)))
    assert time.monotonic() - started < 10
    for error in errors:
        assert (error.code, error.place) == ("STORE_UNREACHABLE", endpoint)
        assert BUCKET in error.cause


def test_a_bucket_that_is_not_there_is_never_an_empty_store(s3: S3Server) -> None:
    for call in every_call(open_store("s3://absent-bucket", endpoint=s3.endpoint)):
        error = within(5, call)
        assert (error.code, error.place) == ("STORE_UNREACHABLE", s3.endpoint)
        assert "make the bucket" in error.hint


@pytest.mark.parametrize("credentials", [{"AWS_SECRET_ACCESS_KEY": "wrong"}, {}])
def test_wrong_or_missing_credentials_are_named_and_not_shown(
    s3_store: Callable[..., Store],
    monkeypatch: pytest.MonkeyPatch,
    credentials: dict[str, str],
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")[: None if not credentials else 1]:
        monkeypatch.delenv(name)
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    for call in every_call(s3_store()):
        error = within(5, call)
        assert error.code == "STORE_UNREACHABLE"
        assert "redentials" in f"{error} {error.hint}"
        assert "wrong" not in f"{error} {error.hint}"


@pytest.mark.parametrize("endpoint", ["nonsense", "127.0.0.1:1"])
def test_an_endpoint_that_is_no_address_is_refused(
    s3_store: Callable[..., Store], endpoint: str
) -> None:
    with pytest.raises(DataError) as caught:
        s3_store(endpoint=endpoint)
    assert (caught.value.code, caught.value.place) == ("CONTEXT_INVALID", endpoint)


def test_the_endpoint_may_come_from_the_environment(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKSTEP_S3_ENDPOINT", s3.endpoint)
    assert open_store(f"s3://{BUCKET}/environment").read("k/1") is None
