"""Canonical CBOR, both directions strict (docs/spec/bytes.md §1).

``encode`` accepts exactly null, booleans, integers in [-2^64, 2^64-1], finite binary64 floats,
byte strings, text, lists or tuples and maps with text keys, and gives the one byte string that
stands for the value. ``decode`` accepts exactly the byte strings that ``encode`` can give.
"""

import math
from typing import Any

import cbor2

from lockstep.errors import DataError

DEPTH_MAX = 64
SIZE_MAX_BYTES = 16 * 1024 * 1024
INT_MIN, INT_MAX = -(2**64), 2**64 - 1


def _refuse(cause: str) -> DataError:
    return DataError("CBOR_INVALID", cause, hint="the bytes were not written by this profile")


def _key_order(key: str) -> tuple[int, bytes]:
    raw = key.encode("utf-8")
    return len(raw), raw  # the length stands in the encoded head, so this is encoded-key order


def _checked(value: Any, depth: int) -> Any:
    """Return ``value`` with every map sorted, or refuse what the profile does not hold."""
    kind = type(value)
    if kind is str:
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise _refuse("text holds a lone surrogate") from None
        return value
    if kind is bytes or kind is bool or value is None:
        return value
    if kind is int:
        if not INT_MIN <= value <= INT_MAX:
            raise _refuse("integer outside [-2^64, 2^64-1]")
        return value
    if kind is float:
        if not math.isfinite(value):
            raise _refuse("NaN or infinity")
        return value
    if depth > DEPTH_MAX:
        raise _refuse(f"deeper than {DEPTH_MAX} levels")
    if kind is list or kind is tuple:
        return [_checked(item, depth + 1) for item in value]
    if kind is dict:
        for key in value:
            if type(key) is not str:
                raise _refuse("map key is not text")
            _checked(key, depth)
        return {key: _checked(value[key], depth + 1) for key in sorted(value, key=_key_order)}
    raise _refuse(f"type {kind.__name__} is outside the profile")


def encode(value: Any) -> bytes:
    """Return the canonical bytes of ``value``.

    Raises:
        DataError: CBOR_INVALID; the value is outside the profile.
    """
    return cbor2.dumps(_checked(value, 0))


def decode(data: bytes, *, size_max_bytes: int = SIZE_MAX_BYTES) -> Any:
    """Return the value whose canonical bytes are ``data``.

    Raises:
        DataError: CBOR_INVALID; ``data`` is not what ``encode`` would give, or is too large.
    """
    if len(data) > size_max_bytes:
        raise _refuse(f"{len(data)} bytes, more than the limit of {size_max_bytes}")
    try:
        value = cbor2.loads(data, max_depth=DEPTH_MAX + 2)
    except Exception as error:  # cbor2 raises several unrelated classes on hostile input
        raise _refuse(f"not readable: {type(error).__name__}") from None
    if encode(value) != data:
        raise _refuse("not the canonical form")
    return value
