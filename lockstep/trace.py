"""The trace: what a run did, in order, as a hash chain (docs/spec/bytes.md §7).

``links`` and ``tail`` chain any list of maps; ``validate_trace`` also checks the frame that this
product writes (header, iter records with t = 0, 1, …, end). Nothing that binds the trace is named
in it, and the tail inside the last record is left out while hashing.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from lockstep.digest import h
from lockstep.errors import DataError
from lockstep.exact import digest32
from lockstep.record import Digest32, Record

SCHEMA_VERSION: Final = "lockstep.trace.v1"
SEGMENT_SCHEMA_VERSION: Final = "lockstep.trace-segment.v1"
RECORDS_MAX = 100_000
"""Bounds a hostile list; a full 3 × 5 rollout has some hundred records."""

TAIL_KEY = "trace_tail_hash"
H0 = h(["trace_chain_v1"])
"""The link before the first record."""

Text = Annotated[str, Field(min_length=1, max_length=1000)]
UInt64 = Annotated[int, Field(ge=0, le=2**64 - 1)]


class RunHeader(Record):
    kind: Literal["run_header"]
    schema_version: Literal["lockstep.trace.v1"]
    tenant_id: Text
    run_id: Text
    replay_token: Digest32
    release_hash: Digest32
    env: Annotated[list[Text], Field(min_length=1)]
    policy_bundle_hash: Digest32
    operator_contracts_root_hash: Digest32
    determinism_profile_hash: Digest32
    env_manifest_hash: Digest32


class IterRecord(Record):
    kind: Literal["iter"]
    t: UInt64
    """The 0-based decision index, never a time."""
    stage: Text
    action: Text
    operator_id: Text
    operator_seq: UInt64
    status: Text
    gate_result: Text | None = None
    evidence: dict[Text, Digest32] | None = None


class RunEnd(Record):
    kind: Literal["run_end"]
    final_status: Literal["success", "failed", "rolled_back"]
    release_hash: Digest32
    sbom_hash: Digest32
    gate_report_hashes: list[Digest32]
    """Every look, in the order of ``t``."""
    rollback_report_hash: Digest32 | None = None
    trace_tail_hash: Digest32 | None = None


class QualificationHeader(Record):
    kind: Literal["qualification_header"]
    schema_version: Literal["lockstep.trace.v1"]
    tenant_id: Text
    run_id: Text
    replay_token: Digest32
    code_commit: Text


class QualificationEnd(Record):
    kind: Literal["qualification_end"]
    final_status: Literal["success", "failed"]
    trace_tail_hash: Digest32 | None = None


class Segment(Record):
    """The records of one cohort, stored before the next cohort starts; a list linked backwards."""

    schema_version: Literal["lockstep.trace-segment.v1"] = SEGMENT_SCHEMA_VERSION
    prev: Digest32 | None = None
    """Object digest of the segment before; absent in the first."""
    records: Annotated[list[dict[str, Any]], Field(min_length=1)]


FRAMES: dict[str, tuple[type[Record], type[Record]]] = {
    "rollout": (RunHeader, RunEnd),
    "qualification": (QualificationHeader, QualificationEnd),
}


def _invalid(cause: str, place: str = "") -> DataError:
    return DataError("TRACE_INVALID", cause, place=place, hint="restore the trace's segments")


def _maps(records: Any) -> list[dict[str, Any]]:
    if type(records) not in (list, tuple) or len(records) > RECORDS_MAX:
        raise _invalid("a trace is a list of records")
    if any(type(record) is not dict for record in records):
        raise _invalid("a trace record is a map")
    return list(records)


# ---- the chain -----------------------------------------------------------------------------


def _next_link(link: bytes, record: dict[str, Any]) -> bytes:
    return h(["trace_chain_v1", link, h(record)])


def _without_tail(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != TAIL_KEY}


def links(records: list[dict[str, Any]]) -> list[bytes]:
    """Every link, h0 first; the last record's own ``trace_tail_hash`` is left out of its hash.

    Raises:
        DataError: TRACE_INVALID, or CBOR_INVALID for a record outside the profile.
    """
    chain, maps = [H0], _maps(records)
    for index, record in enumerate(maps):
        is_last = index == len(maps) - 1
        chain.append(_next_link(chain[-1], _without_tail(record) if is_last else record))
    return chain


def tail(records: list[dict[str, Any]]) -> bytes:
    """The last link: ``trace_tail_hash`` = ``trace_root_hash``."""
    return links(records)[-1]


def extend(link: bytes, records: list[dict[str, Any]]) -> bytes:
    """Carry a chain on over records that follow; start from ``H0``.

    Raises:
        DataError: TRACE_INVALID; a record carries a tail, which only a sealed trace's last may.
    """
    digest32(link, TAIL_KEY)
    for record in _maps(records):
        if TAIL_KEY in record:
            raise _invalid("a record that carries the tail cannot be chained over")
        link = _next_link(link, record)
    return link


def seal(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The finished trace: the same records, the last one carrying the tail.

    Raises:
        DataError: TRACE_INVALID; no records, or sealed before.
    """
    maps = _maps(records)
    if not maps or TAIL_KEY in maps[-1]:
        raise _invalid("nothing to seal, or sealed before")
    return [*maps[:-1], {**maps[-1], TAIL_KEY: tail(maps)}]


# ---- the frame -----------------------------------------------------------------------------


def run_header(
    *,
    tenant_id: str,
    run_id: str,
    replay_token: bytes,
    release_hash: bytes,
    env: list[str],
    policy_bundle_hash: bytes,
    operator_contracts_root_hash: bytes,
    determinism_profile_hash: bytes,
    env_manifest_hash: bytes,
) -> dict[str, Any]:
    """First record of a rollout's trace; ``env`` lists the environments in order."""
    return RunHeader.from_map(
        {
            "kind": "run_header",
            "schema_version": SCHEMA_VERSION,
            "tenant_id": tenant_id,
            "run_id": run_id,
            "replay_token": replay_token,
            "release_hash": release_hash,
            "env": env,
            "policy_bundle_hash": policy_bundle_hash,
            "operator_contracts_root_hash": operator_contracts_root_hash,
            "determinism_profile_hash": determinism_profile_hash,
            "env_manifest_hash": env_manifest_hash,
        }
    ).to_map()


def iter_record(
    t: int,
    stage: str,
    action: str,
    operator_id: str,
    operator_seq: int,
    status: str,
    gate_result: str | None = None,
    evidence: dict[str, bytes] | None = None,
) -> dict[str, Any]:
    """One decision: ``stage`` like "staging/25", ``evidence`` name → 32-byte digest."""
    return IterRecord.from_map(
        {
            "kind": "iter",
            "t": t,
            "stage": stage,
            "action": action,
            "operator_id": operator_id,
            "operator_seq": operator_seq,
            "status": status,
            "gate_result": gate_result,
            "evidence": evidence,
        }
    ).to_map()


def run_end(
    final_status: str,
    release_hash: bytes,
    sbom_hash: bytes,
    gate_report_hashes: list[bytes],
    rollback_report_hash: bytes | None = None,
) -> dict[str, Any]:
    """Last record of a rollout's trace, before ``seal`` adds the tail."""
    return RunEnd.from_map(
        {
            "kind": "run_end",
            "final_status": final_status,
            "release_hash": release_hash,
            "sbom_hash": sbom_hash,
            "gate_report_hashes": gate_report_hashes,
            "rollback_report_hash": rollback_report_hash,
        }
    ).to_map()


def qualification_header(
    *, tenant_id: str, run_id: str, replay_token: bytes, code_commit: str
) -> dict[str, Any]:
    """First record of a qualification trace; nothing in it names the release."""
    return QualificationHeader.from_map(
        {
            "kind": "qualification_header",
            "schema_version": SCHEMA_VERSION,
            "tenant_id": tenant_id,
            "run_id": run_id,
            "replay_token": replay_token,
            "code_commit": code_commit,
        }
    ).to_map()


def qualification_end(final_status: str) -> dict[str, Any]:
    """Last record of a qualification trace, before ``seal`` adds the tail."""
    return QualificationEnd.from_map(
        {"kind": "qualification_end", "final_status": final_status}
    ).to_map()


def _check(model: type[Record], record: dict[str, Any], index: int) -> None:
    place = f"record {index}"
    try:
        read = model.from_map(record)
    except DataError as error:
        raise _invalid(error.cause, place) from None
    if read.to_map() != record:  # an optional field given as null
        raise _invalid("not the form it is written in", place)


def validate_trace(records: list[dict[str, Any]], kind: str) -> None:
    """Check frame, closed fields, ``t`` = 0, 1, …, the release's name and a sealed tail.

    ``kind`` is "rollout" or "qualification".

    An unsealed trace (no tail in the last record) is held to everything else.

    Raises:
        DataError: TRACE_INVALID, naming the record.
    """
    if type(kind) is not str or kind not in FRAMES:
        raise _invalid(f"a trace is one of {', '.join(FRAMES)}")
    first_model, last_model = FRAMES[kind]
    maps = _maps(records)
    if len(maps) < 2:
        raise _invalid("a trace has at least a header and an end")
    _check(first_model, maps[0], 0)
    _check(last_model, maps[-1], len(maps) - 1)
    for index, record in enumerate(maps[1:-1], start=1):
        _check(IterRecord, record, index)
        if record["t"] != index - 1:
            raise _invalid(f"t is {record['t']}, not {index - 1}", place=f"record {index}")
    if kind == "rollout" and maps[0]["release_hash"] != maps[-1]["release_hash"]:
        raise _invalid("run_end names another release than run_header")
    if TAIL_KEY in maps[-1] and maps[-1][TAIL_KEY] != tail(maps):
        raise _invalid("the sealed tail is not the chain's last link")
