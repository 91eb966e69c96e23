"""Canonical CBOR, both directions strict (docs/spec/bytes.md §1).

``encode`` accepts exactly null, booleans, integers in [-2^64, 2^64-1], finite binary64 floats,
byte strings, text, lists or tuples and maps with text keys, at most 64 containers deep, and gives
the one byte string that stands for the value. ``decode`` accepts exactly the byte strings that
``encode`` can give.

How: ``cbor2`` alone does neither. Encoding walks the exact types, sorts the keys and only then
calls plain ``cbor2.dumps`` (its canonical mode would write half floats). Decoding first scans the
heads, so that no tag, odd key, depth or length claim ever reaches ``cbor2.loads``; then it writes
the result again and compares bytes.
"""

from collections.abc import Iterable
from functools import lru_cache
from math import isfinite
from typing import Any

import cbor2

from lockstep.errors import DataError

DEPTH_MAX = 64
"""Containers inside one another, the outermost included."""

SIZE_MAX_BYTES = 16 * 1024 * 1024
INT_MIN, INT_MAX = -(2**64), 2**64 - 1

_PLAIN_TYPES = frozenset({str, bytes, bool, type(None)})
"""Types of which ``cbor2.dumps`` writes every value as the profile wants, or refuses it."""

_KEY_TYPES = {str}
_INT_TYPES = {int}
_CACHED_KEYS_MAX = 64
"""Records have fewer; a larger map is sorted anew each time, so that the cache stays small."""


def _refuse(cause: str) -> DataError:
    return DataError("CBOR_INVALID", cause, hint="the bytes were not written by this profile")


# ---- encoding ------------------------------------------------------------------------------


def _key_order(key: str) -> tuple[int, bytes]:
    raw = key.encode("utf-8")
    return len(raw), raw  # the length stands in the encoded head, so this is encoded-key order


def _sort(keys: tuple[str, ...]) -> tuple[str, ...] | None:
    """The keys in encoded order, or None where they stand in it already."""
    try:
        ordered = tuple(sorted(keys, key=_key_order))
    except UnicodeEncodeError:
        raise _refuse("text holds a lone surrogate") from None
    return None if ordered == keys else ordered


_sort_cached = lru_cache(maxsize=1024)(_sort)  # a few dozen record shapes make up nearly all maps


def _sorted_map(value: dict[Any, Any]) -> dict[str, Any]:
    if value and set(map(type, value)) != _KEY_TYPES:
        raise _refuse("a map key is not text")
    keys = tuple(value)
    ordered = _sort_cached(keys) if len(keys) <= _CACHED_KEYS_MAX else _sort(keys)
    return value if ordered is None else {key: value[key] for key in ordered}


def _changed_items(
    pairs: Iterable[tuple[Any, Any]], levels: int
) -> list[tuple[Any, list[Any] | dict[str, Any]]]:
    """Check every item; return (key or index, sorted form) of those that had to be sorted."""
    changed = []
    for key, item in pairs:
        kind = type(item)
        if kind is int:
            if not INT_MIN <= item <= INT_MAX:
                raise _refuse("integer outside [-2^64, 2^64-1]")
        elif kind in _PLAIN_TYPES:
            continue
        elif kind is float:
            if not isfinite(item):
                raise _refuse("NaN or infinity")
        else:
            sorted_form = _container(item, levels)
            if sorted_form is not item:
                changed.append((key, sorted_form))
    return changed


def _container(value: Any, levels: int) -> Any:
    """Return ``value`` with every map in it sorted: itself where all were sorted already."""
    kind = type(value)
    if kind is not dict and kind is not list and kind is not tuple:
        raise _refuse(f"type {kind.__name__} is outside the profile")
    if levels == 0:
        raise _refuse(f"more than {DEPTH_MAX} containers deep")
    if kind is dict:
        result = _sorted_map(value)
        changed = _changed_items(result.items(), levels - 1)
        # dict() keeps the order, and setting a key that is present does not move it.
        return {**result, **dict(changed)} if changed else result
    if value and set(map(type, value)) == _INT_TYPES:  # histograms: two passes in C, no loop here
        if min(value) < INT_MIN or max(value) > INT_MAX:
            raise _refuse("integer outside [-2^64, 2^64-1]")
        return value
    changed = _changed_items(enumerate(value), levels - 1)
    if not changed:
        return value
    items = list(value)
    for index, item in changed:
        items[index] = item
    return items


def encode(value: Any) -> bytes:
    """Return the canonical bytes of ``value``.

    Raises:
        DataError: CBOR_INVALID; the value is outside the profile.
    """
    replaced = _changed_items(((None, value),), DEPTH_MAX)
    try:
        return cbor2.dumps(replaced[0][1] if replaced else value)
    except UnicodeEncodeError:
        raise _refuse("text holds a lone surrogate") from None


# ---- decoding ------------------------------------------------------------------------------


def _step_of(first: int) -> int:
    """Bytes of an item that its first byte alone measures; 0 sends the item to ``_skip``."""
    major, info = first >> 5, first & 31
    if major in (0, 1):
        return 1 if info < 24 else 1 + (1 << (info - 24)) if info < 28 else 0
    if major in (2, 3):
        return 1 + info if info < 24 else 0
    return {0xF4: 1, 0xF5: 1, 0xF6: 1, 0xFB: 9}.get(first, 0)


_STEP = tuple(_step_of(first) for first in range(256))
_TEXT_STEP = tuple(step if first >> 5 == 3 else 0 for first, step in enumerate(_STEP))


def _skip(data: bytes, at: int, levels: int) -> int:
    """Where the item at ``at`` ends, for one that its first byte does not measure."""
    first = data[at]
    major, info = first >> 5, first & 31
    if major == 6:
        raise _refuse("a tag")
    if major == 7:
        raise _refuse("a short float, undefined or another simple value")
    if info > 27:
        raise _refuse("an indefinite length or a reserved head")
    width = 1 << (info - 24) if info > 23 else 0
    at += 1 + width
    count = int.from_bytes(data[at - width : at], "big") if width else info
    least = 2 * count if major == 5 else count  # every item takes a byte or more
    if least > len(data) - at:
        raise _refuse("truncated, or a claimed length larger than the input")
    if major in (2, 3):
        return at + count
    if levels == 0:
        raise _refuse(f"more than {DEPTH_MAX} containers deep")
    if major == 5:
        return _skip_pairs(data, at, count, levels - 1)
    return _skip_items(data, at, count, levels - 1)


def _skip_items(data: bytes, at: int, count: int, levels: int) -> int:
    for _ in range(count):
        step = _STEP[data[at]]
        at = at + step if step else _skip(data, at, levels)
    return at


def _skip_pairs(data: bytes, at: int, count: int, levels: int) -> int:
    last = b""
    for _ in range(count):
        start, step = at, _TEXT_STEP[data[at]]
        if not step and data[at] >> 5 != 3:
            raise _refuse("a map key is not text")
        at = at + step if step else _skip(data, at, levels)
        key = data[start:at]
        if key <= last:
            raise _refuse("a map key stands twice or out of order")
        last = key
        step = _STEP[data[at]]
        at = at + step if step else _skip(data, at, levels)
    return at


def _scan(data: bytes) -> None:
    """Refuse tags, simple values, depth, length claims and keys that are not text in order.

    Nothing of that may reach ``cbor2.loads``, which would build objects for it.
    """
    try:
        end = _skip_items(data, 0, 1, DEPTH_MAX)
    except IndexError:
        raise _refuse("truncated") from None
    if end != len(data):
        raise _refuse("truncated" if end > len(data) else "bytes after the item")


def decode(data: bytes, *, size_max_bytes: int = SIZE_MAX_BYTES) -> Any:
    """Return the value whose canonical bytes are ``data``.

    Raises:
        DataError: CBOR_INVALID; ``data`` is not what ``encode`` would give, or is too large.
    """
    if type(data) is not bytes:
        raise _refuse("only bytes are decoded")
    if len(data) > size_max_bytes:
        raise _refuse(f"{len(data)} bytes, more than the limit of {size_max_bytes}")
    _scan(data)
    try:
        value = cbor2.loads(data, max_depth=DEPTH_MAX + 2)
    except Exception as error:  # cbor2 raises several unrelated classes on hostile input
        raise _refuse(f"not readable: {type(error).__name__}") from None
    # The scan has proved types, key order and depth, so plain dumps is the whole encoder here. It
    # writes shortest heads, and half floats for NaN and infinities: other bytes in either case.
    if cbor2.dumps(value) != data:
        raise _refuse("not the canonical form")
    return value
