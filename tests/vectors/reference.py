"""What the vectors are computed with: a second, plain writer that shares nothing with Lockstep.

Slow and short on purpose, so that it can be checked by eye against docs/spec/bytes.md §1.
"""

import hashlib
import struct
from typing import Any

U64_MAX = 2**64 - 1


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    for info, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 256**width:
            return bytes([major << 5 | info]) + number.to_bytes(width, "big")
    raise OverflowError(number)


def write(value: Any) -> bytes:
    """Canonical bytes of a value that is known to lie inside the profile."""
    if value is None or value is True or value is False:
        return {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value]
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        return _head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(map(write, value))
    rows = sorted((write(key), write(item)) for key, item in value.items())
    return _head(5, len(rows)) + b"".join(key + item for key, item in rows)


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def h(value: Any) -> bytes:
    return digest(write(value))


def fill(number: int) -> bytes:
    """A digest that is easy to see in a dump: one byte, thirty-two times."""
    return bytes([number]) * 32


def notation(value: Any) -> Any:
    """The JSON form of a value: bytes and floats marked, everything else as it is."""
    if isinstance(value, bytes):
        return {"$bytes": value.hex()}
    if isinstance(value, float):
        return {"$f64": struct.pack(">d", value).hex()}
    if isinstance(value, dict):
        return {key: notation(item) for key, item in value.items()}
    if isinstance(value, list):
        return [notation(item) for item in value]
    return value


class Vectors:
    """The vectors of one file, numbered per group in the order they are added."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._numbers: dict[str, int] = {}

    def _add(self, group: str, fn: str, args: list, expect: dict, level: str, note: str) -> None:
        number = self._numbers[group] = self._numbers.get(group, 0) + 1
        row = {"id": f"{group}-{number:03d}", "fn": fn, "args": notation(args), "expect": expect}
        self.rows.append({**row, "level": level, **({"note": note} if note else {})})

    def gives(
        self, fn: str, args: list, result: Any, note: str = "", *, level: str = "must"
    ) -> None:
        """``fn`` of ``args`` is ``result``: exactly these bytes, or this value."""
        is_bytes = isinstance(result, bytes)
        expect = {"hex": result.hex()} if is_bytes else {"value": notation(result)}
        self._add(fn, fn, args, expect, level, note)

    def refuses(self, fn: str, args: list, note: str, *, level: str = "must") -> None:
        """``fn`` of ``args`` is a clear error."""
        self._add(f"{fn}-reject", fn, args, {"reject": True}, level, note)
