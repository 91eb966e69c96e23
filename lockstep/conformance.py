"""Run a conformance file through the product's own code (docs/spec/bytes.md §10).

A file that cannot be read as ``lockstep.vectors.v1``, or names a function that does not exist, is
DOCUMENT_INVALID. Everything else is a result: a vector agrees, or it differs and both values are
shown. An error that is not one of ours counts as a difference, whatever was expected.
"""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lockstep import cbor, commit, dsse, hashes, lineage, trace, wal
from lockstep.checkpoint import Checkpoint, StatelessCheckpoint
from lockstep.digest import h, sha256
from lockstep.errors import DataError, LockstepError
from lockstep.gates import numbers
from lockstep.trust import certificate, ed25519

SCHEMA_VERSION = "lockstep.vectors.v1"
LEVELS = ("must", "choice", "advisory")
DECIDING_LEVELS = ("must", "choice")
VECTORS_MAX = 100_000
NEST_MAX_BYTES = 64 * 1024 * 1024
LEVELS_DEEP_MAX = 4 * cbor.DEPTH_MAX
"""Notation is followed this deep; far below, every function has refused the value already."""

_TOO_DEEP = object()
"""Stands for whatever lies deeper: a value that no function accepts."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one vector gave; ``expected`` and ``got`` are JSON values in the vectors' notation."""

    id: str
    fn: str
    level: str
    agrees: bool
    expected: Any
    got: Any
    note: str
    """Why the value was refused, or the vector's own note."""

    @property
    def decides(self) -> bool:
        """Whether a difference here fails the run."""
        return self.level in DECIDING_LEVELS


def _ed25519_verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    ed25519.verify(public_key, message, signature)
    return True


def _wal_from_cbor(raws: list[bytes]) -> bytes:
    last = wal.fold(raws).last
    if last is None:
        raise DataError("WAL_CORRUPTION", "no records")
    return last.record_hash


def _committed_from_wal(raws: list[bytes]) -> bytes:
    """COMMITTED's bytes for a stored log, as recovery would publish them."""
    last = wal.fold(raws).last
    if last is None:
        raise DataError("WAL_CORRUPTION", "no records")
    return commit.committed_from(last).to_bytes()


def _recovery_action(raws: list[bytes], committed: bytes | None) -> str:
    pointer = None if committed is None else commit.Committed.from_bytes(committed)
    return commit.recovery_action(wal.fold(raws), pointer).value


def _trace_frame(kind: str, records: list[dict]) -> bytes:
    trace.validate_trace(records, kind)
    return trace.tail(records)


FUNCTIONS: dict[str, tuple[Callable[..., Any], int]] = {
    # ---- the functions of the specification, with the number of their arguments
    "encode": (cbor.encode, 1),
    "decode": (cbor.decode, 1),
    "H": (h, 1),
    "deps_lock_v1": (hashes.deps_lock_v1, 3),
    "replay_token_v1": (hashes.replay_token_v1, 4),
    "trace_chain_v1": (trace.tail, 1),
    "trace_links": (trace.links, 1),
    "wal_record_v1": (wal.record_hash_v1, 6),
    "wal_verify": (wal.verify, 1),
    "wal_from_cbor": (_wal_from_cbor, 1),
    "lineage_object": (lineage.lineage_object, 3),
    "lineage_leaf": (lineage.leaf, 3),
    "lineage_node": (lineage.node, 2),
    "lineage_root": (lineage.root, 1),
    "ed25519_key": (ed25519.admit_key, 1),
    "ed25519_verify": (_ed25519_verify, 3),
    "cert_from_cbor": (lambda data, key: certificate.open_certificate(data, key)[1], 2),
    "promotion_mismatches": (certificate.promotion_mismatches, 2),
    "error_rate": (numbers.error_rate, 2),
    "error_rate_value": (numbers.error_rate_value, 1),
    "p95": (numbers.p95, 1),
    "p95_delta": (numbers.p95_delta, 2),
    "replay_failures": (numbers.replay_failures, 1),
    "dsse_pae": (dsse.pae, 2),
    # ---- our own, for the rules that the list above does not reach
    "toolchain_hash": (hashes.toolchain_hash, 3),
    "toolchain_pairs_hash": (hashes.toolchain_pairs_hash, 1),
    "release_hash": (hashes.release_hash, 2),
    "adoption_release_hash": (hashes.adoption_release_hash, 1),
    "run_id": (hashes.run_id, 6),
    "qualification_run_id": (hashes.qualification_run_id, 3),
    "policy_gate_hash": (hashes.policy_gate_hash, 1),
    "authz_query_hash": (hashes.authz_query_hash, 5),
    "authz_decision_hash": (hashes.authz_decision_hash, 4),
    "trace_frame": (_trace_frame, 2),
    "committed_from_wal": (_committed_from_wal, 1),
    "recovery_action": (_recovery_action, 2),
    "checkpoint_hash": (lambda data: sha256(Checkpoint.from_bytes(data).to_bytes()), 1),
    "stateless_checkpoint_hash": (
        lambda data: sha256(StatelessCheckpoint.from_bytes(data).to_bytes()),
        1,
    ),
}


# ---- the notation --------------------------------------------------------------------------


def _unreadable(cause: str, place: str = "") -> DataError:
    return DataError("DOCUMENT_INVALID", cause, place=place, hint="see docs/spec/vectors.md")


def _hex(value: Any, place: str) -> bytes:
    try:
        return bytes.fromhex(value)
    except (TypeError, ValueError):
        raise _unreadable("not hex digits", place) from None


def _nest(value: Any, place: str) -> bytes:
    if type(value) is not list or len(value) != 3 or type(value[1]) is not int:
        raise _unreadable("$nest is not [hex, n, hex]", place)
    opening, times, rest = _hex(value[0], place), value[1], _hex(value[2], place)
    if times < 0 or len(opening) * times > NEST_MAX_BYTES:
        raise _unreadable(f"$nest is negative or over {NEST_MAX_BYTES} bytes", place)
    return opening * times + rest


def _binary64(value: Any, place: str) -> float:
    raw = _hex(value, place)
    if len(raw) != 8:
        raise _unreadable("$f64 is not 16 hex digits", place)
    return struct.unpack(">d", raw)[0]


_NOTATION = {"$bytes": _hex, "$f64": _binary64, "$nest": _nest}


def from_notation(value: Any, place: str = "", depth: int = 0) -> Any:
    """The value that a JSON value of the vector notation stands for."""
    if depth > LEVELS_DEEP_MAX:
        return _TOO_DEEP
    if type(value) is dict:
        if len(value) == 1:
            ((key, item),) = value.items()
            if key in _NOTATION:
                return _NOTATION[key](item, place)
        return {key: from_notation(item, place, depth + 1) for key, item in value.items()}
    if type(value) is list:
        return [from_notation(item, place, depth + 1) for item in value]
    return value


def to_notation(value: Any) -> Any:
    """The JSON value that stands for a value of the profile."""
    if type(value) is bytes:
        return {"$bytes": value.hex()}
    if type(value) is float:
        return {"$f64": struct.pack(">d", value).hex()}
    if type(value) is dict:
        return {key: to_notation(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return [to_notation(item) for item in value]
    return value


def _shown(value: Any) -> str:
    """One text a value: 1, 1.0 and true are three values, 0.0 and -0.0 two."""
    return json.dumps(to_notation(value), sort_keys=True, default=repr)


# ---- running -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Vector:
    id: str
    fn: str
    args: list[Any]
    expect: dict[str, Any]
    value: Any
    """What ``expect`` stands for, where it gives a value."""
    level: str
    note: str


def _read_vector(value: Any, index: int) -> _Vector:
    place = f"vectors[{index}]"
    if type(value) is not dict:
        raise _unreadable("a vector is an object", place)
    name, fn, args, expect = (value.get(key) for key in ("id", "fn", "args", "expect"))
    level, note = value.get("level", "must"), value.get("note", "")
    if type(name) is not str or not name:
        raise _unreadable("id is not text", place)
    if type(fn) is not str or fn not in FUNCTIONS:
        raise _unreadable(f"no function {str(fn)[:60]!a}", f"{place}.fn")
    if type(args) is not list:
        raise _unreadable("args is not a list", f"{place}.args")
    if type(expect) is not dict or len(expect) != 1 or set(expect) - {"hex", "value", "reject"}:
        raise _unreadable("expect is not one of hex, value, reject", f"{place}.expect")
    if "reject" in expect and expect["reject"] is not True:
        raise _unreadable("reject can only be true", f"{place}.expect")
    if "hex" in expect:
        _hex(expect["hex"], f"{place}.expect")
    if level not in LEVELS or type(note) is not str:
        raise _unreadable(f"level is not one of {', '.join(LEVELS)}", f"{place}.level")
    printable = name.encode("utf-8", "backslashreplace").decode()
    return _Vector(
        id=printable,
        fn=fn,
        args=from_notation(args, f"{place}.args"),
        expect=expect,
        value=from_notation(expect.get("value"), f"{place}.expect"),
        level=level,
        note=note,
    )


def _call(vector: _Vector) -> tuple[Any, Any, str]:
    """(value, None, "") or (None, what to show instead, why)."""
    function, arity = FUNCTIONS[vector.fn]
    if len(vector.args) != arity:
        return None, {"reject": True}, f"{vector.fn} takes {arity} arguments"
    try:
        return function(*vector.args), None, ""
    except LockstepError as error:
        return None, {"reject": True}, str(error)
    except Exception as error:  # a defect of ours must show as a difference, not end the run
        return None, {"crash": type(error).__name__}, str(error)


def _judge(vector: _Vector) -> Result:
    expect = vector.expect
    value, instead, why = _call(vector)
    if instead is not None:
        got, agrees = instead, instead == expect
    elif "hex" in expect:
        got = {"hex": value.hex()} if type(value) is bytes else {"value": to_notation(value)}
        agrees = type(value) is bytes and value == bytes.fromhex(expect["hex"])
    else:
        got = {"value": to_notation(value)}
        agrees = "value" in expect and _shown(value) == _shown(vector.value)
    note = why or vector.note
    return Result(vector.id, vector.fn, vector.level, agrees, expect, got, note)


def parse(data: bytes) -> Any:
    """The JSON value of a vector file, ready for ``run``.

    Raises:
        DataError: DOCUMENT_INVALID; not UTF-8 JSON, nested beyond reading, or a repeated key.
    """

    def closed(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) != len(pairs):
            raise _unreadable("an object names a key twice")
        return value

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=closed)
    except (ValueError, RecursionError) as error:
        raise _unreadable(f"not readable as JSON: {str(error)[:200]}") from None


def run(document: Any) -> list[Result]:
    """Run every vector of a parsed file, in its order.

    Raises:
        DataError: DOCUMENT_INVALID; not this schema, broken notation, or an unknown function.
    """
    if type(document) is not dict or document.get("schema_version") != SCHEMA_VERSION:
        raise _unreadable(f"schema_version is not {SCHEMA_VERSION}", "schema_version")
    vectors = document.get("vectors")
    if type(vectors) is not list or len(vectors) > VECTORS_MAX:
        raise _unreadable(f"vectors is not a list of at most {VECTORS_MAX}", "vectors")
    return [_judge(vector) for vector in [_read_vector(v, i) for i, v in enumerate(vectors)]]


def all_agree(results: list[Result]) -> bool:
    """Whether every vector that decides agrees."""
    return all(result.agrees for result in results if result.decides)
