"""Vectors of docs/spec/bytes.md §6 (WAL, COMMITTED), §7 (trace) and §8 (checkpoint)."""

from typing import Any

from reference import U64_MAX, Vectors, digest, fill, h, write

H0 = bytes.fromhex("3039776e0d7bf8f0171e79c98330bca0c41f0b87b463d9dc0c94348116741caf")
TENANT, RUN = "acme", "0123456789abcdef"

HEADER = {
    "kind": "run_header",
    "schema_version": "lockstep.trace.v1",
    "tenant_id": TENANT,
    "run_id": RUN,
    "replay_token": fill(1),
    "release_hash": fill(2),
    "env": ["dev", "staging", "prod"],
    "policy_bundle_hash": fill(3),
    "operator_contracts_root_hash": fill(4),
    "determinism_profile_hash": fill(5),
    "env_manifest_hash": fill(6),
}
SHIFT = {
    "kind": "iter",
    "t": 0,
    "stage": "dev/25",
    "action": "shift",
    "operator_id": "UML_OS.Deploy.ExecuteRollout_v1",
    "operator_seq": 1,
    "status": "ok",
}
GATE = {
    **SHIFT,
    "t": 1,
    "action": "evaluate",
    "operator_id": "UML_OS.Deploy.EvaluateHealthGates_v1",
    "operator_seq": 2,
    "gate_result": "PASS",
    "evidence": {"snapshot": fill(7), "gate_report": fill(8)},
}
END = {
    "kind": "run_end",
    "final_status": "success",
    "release_hash": fill(2),
    "sbom_hash": fill(9),
    "gate_report_hashes": [fill(8)],
}
QUALIFICATION_HEADER = {
    "kind": "qualification_header",
    "schema_version": "lockstep.trace.v1",
    "tenant_id": TENANT,
    "run_id": "fedcba9876543210",
    "replay_token": fill(1),
    "code_commit": "0123abcd",
}
QUALIFICATION_END = {"kind": "qualification_end", "final_status": "success"}


def _links(records: list[dict]) -> list[bytes]:
    """Written out from the specification; the caller leaves the tail out."""
    chain = [h(["trace_chain_v1"])]
    for record in records:
        chain.append(h(["trace_chain_v1", chain[-1], digest(write(record))]))
    return chain


def _sealed(records: list[dict]) -> list[dict]:
    return [*records[:-1], {**records[-1], "trace_tail_hash": _links(records)[-1]}]


def _changed(records: list[dict], index: int, **fields: Any) -> list[dict]:
    """The trace with some fields of one record set, or left out where the value is ``...``."""
    record = {**records[index], **fields}
    record = {key: value for key, value in record.items() if value is not ...}
    out = list(records)
    out[index] = record
    return out


def trace() -> Vectors:
    out = Vectors()
    full = [HEADER, SHIFT, GATE, END]
    out.gives("trace_chain_v1", [[]], H0, "h0")
    out.gives("trace_links", [[]], [H0])
    out.gives("trace_links", [full], _links(full), "h0 first, then one link per record")
    for count in (1, 2, 4):
        out.gives("trace_chain_v1", [full[:count]], _links(full[:count])[-1])
    out.gives("trace_chain_v1", [_sealed(full)], _links(full)[-1], "the tail is left out")
    wrong_tail = _changed(full, -1, trace_tail_hash=fill(0))
    out.gives("trace_chain_v1", [wrong_tail], _links(full)[-1], "whatever it says")
    inside = _changed(full, 1, trace_tail_hash=fill(0))
    out.gives("trace_chain_v1", [inside], _links(inside)[-1], "only in the last record")
    swapped = [HEADER, GATE, SHIFT, END]
    out.gives("trace_chain_v1", [swapped], _links(swapped)[-1], "order is bound")
    out.refuses("trace_chain_v1", [_changed(full, 1, status=float("nan"))], "NaN in a record")
    out.refuses("trace_chain_v1", [[HEADER, b"\x00"]], "a record is a map")
    out.refuses("trace_chain_v1", [HEADER], "a trace is a list")
    out.refuses("trace_links", [[HEADER, None]], "a record is a map")
    _frames(out, full)
    return out


def _frames(out: Vectors, full: list[dict]) -> None:
    own = [QUALIFICATION_HEADER, {**SHIFT, "stage": "build"}, QUALIFICATION_END]
    failed = _changed(full, -1, final_status="rolled_back", rollback_report_hash=fill(10))
    for kind, good in (("rollout", full), ("rollout", failed), ("qualification", own)):
        out.gives("trace_frame", [kind, good], _links(good)[-1], f"a {kind} trace", level="choice")
        out.gives("trace_frame", [kind, _sealed(good)], _links(good)[-1], "sealed", level="choice")
    for note, records in {
        "no header": full[1:],
        "no end": full[:-1],
        "no records": [],
        "a gap in t": _changed(full, 2, t=2),
        "t starts at 1": [HEADER, {**SHIFT, "t": 1}, END],
        "t is a boolean": _changed(full, 1, t=False),
        "an unknown field": _changed(full, 2, rank=0),
        "a missing field": _changed(full, 2, status=...),
        "null for an absent field": _changed(full, 1, gate_result=None),
        "evidence that is no digest": _changed(full, 2, evidence={"snapshot": "sha256:00"}),
        "an unknown kind": _changed(full, 1, kind="note"),
        "an unknown schema version": _changed(full, 0, schema_version="lockstep.trace.v2"),
        "no environment": _changed(full, 0, env=[]),
        "an unknown final status": _changed(full, -1, final_status="committed"),
        "another release at the end": _changed(full, -1, release_hash=fill(11)),
        "a tail that is not the chain's": _changed(full, -1, trace_tail_hash=fill(0)),
        "the end twice": [*full, END],
        "the certificate named inside": _changed(full, -1, certificate_hash=fill(1)),
    }.items():
        out.refuses("trace_frame", ["rollout", records], note, level="choice")
    out.refuses("trace_frame", ["rollout", own], "a qualification trace", level="choice")
    out.refuses("trace_frame", ["qualification", full], "a rollout's trace", level="choice")
    out.refuses("trace_frame", ["other", full], "an unknown kind of trace", level="choice")
    named = _changed(own, 0, release_hash=fill(2))
    out.refuses("trace_frame", ["qualification", named], "names the release", level="choice")


# ---- WAL and COMMITTED ---------------------------------------------------------------------

EIGHT = (
    "trace_tail_hash",
    "checkpoint_hash",
    "lineage_root_hash",
    "certificate_hash",
    "manifest_hash",
    "policy_bundle_hash",
    "operator_registry_hash",
    "determinism_profile_hash",
)
FINALIZE = {name: fill(number) for number, name in enumerate(EIGHT, start=1)}
FURTHER = {"trace_final_hash": fill(20), "lineage_final_hash": fill(21)}


def _record(seq: int, kind: str, prev: bytes, payload: Any, **other: Any) -> dict:
    """One record with its hash recomputed, so that only the named rule is broken."""
    record = {"tenant_id": TENANT, "run_id": RUN, "wal_seq": seq, "record_type": kind}
    record = {**record, "prev_record_hash": prev, "payload": payload, **other}
    order = ("tenant_id", "run_id", "wal_seq", "record_type", "prev_record_hash", "payload")
    return {**record, "record_hash": h(["wal_record_v1", *(record[name] for name in order)])}


def _log(*steps: tuple[str, dict]) -> list[dict]:
    records: list[dict] = []
    for kind, payload in steps:
        prev = records[-1]["record_hash"] if records else bytes(32)
        records.append(_record(len(records), kind, prev, payload))
    return records


PREPARE = ("PREPARE", {"rollout_manifest_hash": fill(30)})
SIGNED = ("CERT_SIGNED", {"certificate_hash": fill(4)})
COMMIT = ("FINALIZE", {**FINALIZE, **FURTHER})
BACK = ("ROLLBACK", {"trace_tail_hash": fill(1), "trace_final_hash": fill(20)})


def _broken_logs() -> dict[str, list[dict]]:
    good = _log(PREPARE, SIGNED, COMMIT)
    first, second, third = good
    other_run = _record(2, "FINALIZE", second["record_hash"], FINALIZE, run_id="ffff")
    other_tenant = _record(2, "FINALIZE", second["record_hash"], FINALIZE, tenant_id="evil")
    broken = {
        "no records": [],
        "the first record is missing": good[1:],
        "a gap": [first, third],
        "another order": [second, first, third],
        "a repeat": [first, first, second],
        "the sequence starts at 1": [_record(1, *_kind_prev(PREPARE, bytes(32)))],
        "the first link is not 32 zero bytes": [_record(0, *_kind_prev(PREPARE, fill(1)))],
        "a broken link": [first, _record(1, *_kind_prev(SIGNED, fill(1)))],
        "a wrong hash": [first, {**second, "record_hash": fill(0)}],
        "a changed payload": [first, {**second, "payload": {"certificate_hash": fill(5)}}],
        "an unknown type": [_record(0, "NOTE", bytes(32), {})],
        "another run's record": [first, second, other_run],
        "another tenant's record": [first, second, other_tenant],
        "a record after FINALIZE": _log(PREPARE, COMMIT, BACK),
        "a record after ROLLBACK": _log(PREPARE, BACK, PREPARE),
        "FINALIZE twice": _log(PREPARE, COMMIT, COMMIT),
        "an extra field": [{**first, "time": 1}],
        "a missing field": [{k: v for k, v in first.items() if k != "tenant_id"}],
        "a payload that is no map": [{**first, "payload": []}],
        "a sequence that is a boolean": [{**first, "wal_seq": False}],
    }
    for name in EIGHT:
        short = {key: value for key, value in FINALIZE.items() if key != name}
        broken[f"FINALIZE without {name}"] = _log(PREPARE, ("FINALIZE", short))
    for note, value in (
        *(("31 bytes", fill(1)[:31]), ("33 bytes", bytes(33)), ("text of 32", "0" * 32)),
        *(("hex", fill(1).hex()), ("null", None), ("a list of 32", [0] * 32)),
    ):
        bad = ("FINALIZE", {**FINALIZE, "manifest_hash": value})
        broken[f"FINALIZE with {note} for a hash"] = _log(PREPARE, bad)
    return broken


def _kind_prev(step: tuple[str, dict], prev: bytes) -> tuple[str, bytes, dict]:
    return step[0], prev, step[1]


def wal() -> Vectors:
    out = Vectors()
    for seq, kind in enumerate(("PREPARE", "CERT_SIGNED", "FINALIZE", "ROLLBACK")):
        args = [TENANT, RUN, seq, kind, fill(seq), {"b": 1, "a": fill(9)}]
        out.gives("wal_record_v1", args, h(["wal_record_v1", *args]))
    top = [TENANT, RUN, U64_MAX, "PREPARE", bytes(32), {}]
    out.gives("wal_record_v1", top, h(["wal_record_v1", *top]))
    for index, bad, note in (
        *((0, 1, "tenant is text"), (1, b"r", "run is text"), (2, -1, "below 0")),
        *((2, 2**64, "above uint64"), (2, True, "a boolean"), (2, "0", "text")),
        *((3, "COMMIT", "an unknown type"), (3, "prepare", "case counts"), (3, None, "no type")),
        *((4, b"", "an empty link"), (4, fill(1)[:31], "31 bytes"), (4, fill(1).hex(), "hex")),
        *((5, [], "a payload is a map"), (5, None, "no payload")),
        (5, {"x": float("inf")}, "infinity"),
    ):
        out.refuses("wal_record_v1", [*top[:index], bad, *top[index + 1 :]], note)
    for steps in ((PREPARE,), (PREPARE, SIGNED), (PREPARE, SIGNED, COMMIT), (PREPARE, BACK)):
        log = _log(*steps)
        out.gives("wal_verify", [log], log[-1]["record_hash"], level="choice")
        out.gives("wal_from_cbor", [list(map(write, log))], log[-1]["record_hash"], level="choice")
    for note, log in _broken_logs().items():
        out.refuses("wal_verify", [log], note)
        out.refuses("wal_from_cbor", [list(map(write, log))], note)
    raws = list(map(write, _log(PREPARE, SIGNED)))
    out.refuses("wal_from_cbor", [[raws[0], raws[1] + b"\x00"]], "a trailing byte")
    out.refuses("wal_from_cbor", [[raws[0], raws[1][:-1]]], "a torn record")
    out.refuses("wal_from_cbor", [[raws[0], b""]], "an empty record")
    out.refuses("wal_from_cbor", [[raws[0].hex()]], "text is not bytes")
    out.refuses("wal_verify", [{"wal_seq": 0}], "a log is a list")
    _commits(out)
    return out


def _commits(out: Vectors) -> None:
    done, back, opened = _log(PREPARE, SIGNED, COMMIT), _log(PREPARE, BACK), _log(PREPARE, SIGNED)
    pointer = {
        "trace_tail_hash": FINALIZE["trace_tail_hash"],
        "checkpoint_hash": FINALIZE["checkpoint_hash"],
        "lineage_root_hash": FINALIZE["lineage_root_hash"],
        "execution_certificate_hash": FINALIZE["certificate_hash"],
        "wal_terminal_hash": done[-1]["record_hash"],
    }
    out.gives("committed_from_wal", [list(map(write, done))], write(pointer))
    for log, note in ((opened, "no FINALIZE"), (back, "rolled back"), ([], "no records")):
        out.refuses("committed_from_wal", [list(map(write, log))], note)
    same, other = write(pointer), write({**pointer, "checkpoint_hash": fill(99)})
    for log, committed, action in (
        *(([], None, "nothing"), ([], same, "conflict")),
        *((_log(PREPARE), None, "owner_decides"), (_log(PREPARE), same, "conflict")),
        *((opened, None, "owner_decides"), (opened, same, "conflict")),
        *((back, None, "terminal_rollback"), (back, same, "conflict")),
        *((done, None, "roll_forward"), (done, same, "committed"), (done, other, "conflict")),
    ):
        out.gives("recovery_action", [list(map(write, log)), committed], action)
    raws = list(map(write, done))
    extra = write({**pointer, "time": 1})
    short = write({k: v for k, v in pointer.items() if k != "checkpoint_hash"})
    out.refuses("recovery_action", [raws, extra], "COMMITTED has exactly five fields")
    out.refuses("recovery_action", [raws, short], "COMMITTED has exactly five fields")
    out.refuses("recovery_action", [raws[1:], same], "a broken log decides nothing")


# ---- checkpoints ---------------------------------------------------------------------------


def checkpoint() -> Vectors:
    out = Vectors()
    state = {"stage": "dev/25", "outcome": "PASS", "snapshot_hash": fill(7)}
    good = {
        "schema_version": "lockstep.checkpoint.v1",
        "tenant_id": TENANT,
        "run_id": RUN,
        "replay_token": fill(1),
        "cursor": {"environment": "dev", "cohort_index": 2},
        "canary_set": ["cell-a", "cell-b"],
        "gate_states": [{**state, "gate_report_hash": fill(8)}],
        "trace_tail_hash_at_checkpoint": fill(2),
        "manifest_hash": fill(3),
        "policy_bundle_hash": fill(4),
        "determinism_profile_hash": fill(5),
    }
    for value in (good, {**good, "checkpoint_hash_prev": fill(6)}, {**good, "gate_states": []}):
        out.gives("checkpoint_hash", [write(value)], h(value), level="choice")
    for field, bad, note in (
        ("schema_version", "lockstep.checkpoint.v2", "an unknown version"),
        ("cursor", {"environment": "dev", "cohort_index": -1}, "a cohort before the first"),
        ("cursor", {"environment": "dev"}, "half a cursor"),
        ("canary_set", ["cell-b", "cell-a"], "not sorted"),
        ("canary_set", ["cell-a", "cell-a"], "a target twice"),
        ("gate_states", [state], "a look without its report"),
        ("replay_token", fill(1).hex(), "hex is not a digest"),
        ("checkpoint_hash_prev", None, "null for an absent field"),
        ("time", 1, "an unknown field"),
    ):
        out.refuses("checkpoint_hash", [write({**good, field: bad})], note, level="choice")
    for name in good:
        rest = {key: value for key, value in good.items() if key != name}
        out.refuses("checkpoint_hash", [write(rest)], f"without {name}", level="choice")
    empty = {"schema_version": "lockstep.checkpoint.v1", "kind": "stateless"}
    out.gives("stateless_checkpoint_hash", [write(empty)], h(empty), level="choice")
    for value in (good, {**empty, "state": b""}, {**empty, "kind": "model"}, {"kind": "stateless"}):
        out.refuses("stateless_checkpoint_hash", [write(value)], "only itself", level="choice")
    out.refuses("checkpoint_hash", [write(empty)], "a rollout's is never empty", level="choice")
    return out
