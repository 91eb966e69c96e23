"""Exact types at the door: no subclass, no coercion, no ``True`` that passes for a number."""

from typing import Any

from lockstep.errors import DataError

UINT64_MAX = 2**64 - 1
DIGEST_BYTES = 32


def digest32(value: Any, field: str) -> bytes:
    """Return ``value`` if it is a raw digest.

    Raises:
        DataError: DIGEST_INVALID; not exactly 32 raw bytes (hex text is never one).
    """
    if type(value) is not bytes or len(value) != DIGEST_BYTES:
        raise DataError("DIGEST_INVALID", f"{field} is not {DIGEST_BYTES} raw bytes", place=field)
    return value


def text(value: Any, field: str) -> str:
    """Return ``value`` if it is text that UTF-8 can hold.

    Raises:
        DataError: RECORD_INVALID; not text, or it holds a lone surrogate.
    """
    if type(value) is not str:
        raise DataError("RECORD_INVALID", f"{field} is not text", place=field)
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise DataError(
                "RECORD_INVALID", f"{field} holds a lone surrogate", place=field
            ) from None
    return value


def uint64(value: Any, field: str) -> int:
    """Return ``value`` if it is an integer in [0, 2^64-1].

    Raises:
        DataError: RECORD_INVALID; anything else, booleans and floats included.
    """
    if type(value) is not int or not 0 <= value <= UINT64_MAX:
        raise DataError("RECORD_INVALID", f"{field} is not a uint64", place=field)
    return value


def items(value: Any, field: str) -> list[Any]:
    """Return ``value`` as a new list if it is a list or a tuple.

    Raises:
        DataError: RECORD_INVALID; anything else, text included.
    """
    if type(value) is not list and type(value) is not tuple:
        raise DataError("RECORD_INVALID", f"{field} is not a list", place=field)
    return list(value)
