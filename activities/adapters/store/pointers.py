"""The four ways in which records are kept in a store: read, first one stays, newest, read-swap.

A swap that is lost or gets no answer is read and decided anew; so each ``decide`` must be harmless
to repeat. Which records exist and what may follow what is said elsewhere.
"""

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from lockstep.errors import DataError, UnavailableError
from lockstep.ports import Store, WriteOutcome
from lockstep.record import Record

CHANGE_ATTEMPTS_MAX = 64
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.002, 0.25
VERSIONS_MAX = 100_000
"""Numbered entries under one prefix."""

R = TypeVar("R", bound=Record)


def read_record(store: Store, key: str, kind: type[R]) -> tuple[R | None, str | None]:
    """The record and the version it was read at.

    Raises:
        DataError: CBOR_INVALID or RECORD_INVALID, naming the key.
    """
    stored = store.read(key)
    if stored is None:
        return None, None
    return kind.from_bytes(stored.body, place=key), stored.version


def change_record(store: Store, key: str, kind: type[R], decide: Callable[[R | None], Any]) -> Any:
    """Replace a record by what ``decide`` makes of it, and return that.

    What ``decide`` returns unchanged, or what is no ``kind`` (None, Busy), is returned unwritten.

    Raises:
        UnavailableError: STORE_ANSWER_UNKNOWN; other writers were quicker each time, or the store
            gave no usable answer. Nothing was cleaned up.
    """
    for attempt in range(CHANGE_ATTEMPTS_MAX):
        if attempt:
            most_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2**attempt)
            time.sleep(random.uniform(0, most_s))  # noqa: S311 (spreads writers, no secret)
        old, version = read_record(store, key, kind)
        new = decide(old)
        if new == old or not isinstance(new, kind):
            return new
        checked = kind.from_map(new.to_map(), place=key)  # what we would not read, we never write
        if store.swap(key, checked.to_bytes(), version).landed:
            return checked
    raise contended(key)


def contended(place: str) -> UnavailableError:
    return UnavailableError(
        "STORE_ANSWER_UNKNOWN", f"not settled in {CHANGE_ATTEMPTS_MAX} attempts", place=place
    )


def body_of(store: Store, key: str) -> bytes | None:
    stored = store.read(key)
    return None if stored is None else stored.body


def first_stays(store: Store, key: str, body: bytes) -> bytes:
    """Create ``key`` if it is absent, and return the bytes that it has now.

    Raises:
        UnavailableError: STORE_ANSWER_UNKNOWN; ask again.
    """
    written = store.create(key, body)
    if written.landed:
        return body
    there = body_of(store, key) if written.outcome is WriteOutcome.LOST else None
    if there is None:
        raise UnavailableError("STORE_ANSWER_UNKNOWN", "the write was not confirmed", place=key)
    return there


def newest(store: Store, prefix: str, suffix: str) -> tuple[int, bytes] | None:
    """(number, bytes) of the entry with the highest number, as a number: 10 comes after 9.

    Raises:
        DataError: RECORD_INVALID; an entry's name is no number.
    """
    best: tuple[int, str] | None = None
    for count, listed in enumerate(store.list(prefix)):
        name = listed.key.removeprefix(prefix).removesuffix(suffix)
        if not (name.isascii() and name.isdecimal()) or not listed.key.endswith(suffix):
            raise DataError("RECORD_INVALID", "not a numbered entry", place=listed.key)
        if count >= VERSIONS_MAX:
            raise DataError("RECORD_INVALID", f"more than {VERSIONS_MAX} entries", place=prefix)
        best = max(best or (-1, ""), (int(name), listed.key))
    if best is None:
        return None
    body = body_of(store, best[1])
    if body is None:
        raise DataError("OBJECT_MISSING", "listed, then gone", place=best[1])
    return best[0], body
