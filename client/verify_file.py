"""Verify one stored record by what its bytes say it is: certificate, signature, verdict, trace."""

from collections.abc import Callable
from typing import Any

from client.context import Stored
from client.inputs import trust_root_of
from lockstep import cbor, trace
from lockstep.digest import sha256, to_text
from lockstep.errors import DataError
from lockstep.gates.evaluate import GateReport, evaluate_bytes
from lockstep.gates.snapshot import Snapshot
from lockstep.policy import resolve_policy
from lockstep.run_book import Check, CheckOutcome, run_check
from lockstep.settings import Context
from lockstep.trust import certificate, root, signed


def check_file(context: Context, stored: Stored, data: bytes) -> list[Check]:
    """The checks that fit the record; the first is always that it is canonical CBOR."""
    found = [run_check("canonical", lambda: _canonical(data))]
    if found[0].outcome is not CheckOutcome.PASS:
        return found
    name, judge = _judge_of(cbor.decode(data))
    return [*found, run_check(name, lambda: judge(context, stored, data))]


Judge = Callable[[Context, Stored, bytes], str]


def _judge_of(value: Any) -> tuple[str, Judge]:
    if type(value) is list:
        return "trace", _trace
    if type(value) is not dict:
        return "record", _unknown
    payload = value.get("signed_payload")
    if type(payload) is dict:
        if "certificate_version" in payload:
            return "certificate", _certificate
        kind = payload.get("type")
        if kind in ("trust-root", "revocation-bundle"):
            return str(kind), _root if kind == "trust-root" else _revocations
        return "signed record", _signed
    kinds: dict[Any, tuple[str, Judge]] = {
        "lockstep.metrics-snapshot.v1": ("snapshot", _snapshot),
        "lockstep.gate-report.v1": ("gate report", _gate_report),
    }
    return kinds.get(value.get("schema_version"), ("record", _unknown))


def _canonical(data: bytes) -> str:
    cbor.decode(data)
    return f"{len(data)} bytes, {to_text(sha256(data))}"


def _unknown(context: Context, stored: Stored, data: bytes) -> str:
    raise DataError("RECORD_INVALID", "no kind of record that can be verified alone")


def _trace(context: Context, stored: Stored, data: bytes) -> str:
    records = cbor.decode(data)
    first = records[0].get("kind") if records and type(records[0]) is dict else ""
    kind = "qualification" if first == "qualification_header" else "rollout"
    trace.validate_trace(records, kind)
    return f"{kind} trace of {len(records)} records, tail {to_text(trace.tail(records))}"


def _certificate(context: Context, stored: Stored, data: bytes) -> str:
    payload, _ = certificate.read_certificate(data)
    trusted = trust_root_of(context, stored)
    key = trusted.key(payload["key_id"])
    roles = [role for role in ("signer", "committer") if trusted.has_role(key.key_id, role)]
    if not roles:
        raise DataError("KEY_REFUSED", f"{key.key_id} may not sign certificates")
    certificate.open_certificate(data, key.public_key)
    return f"version {payload['certificate_version']}, signed by {key.key_id} ({roles[0]})"


def _root(context: Context, stored: Stored, data: bytes) -> str:
    read = root.verify_root(data, tenant_id=context.tenant_id, pinned=None)
    return f"version {read.signed_payload.version}, signed by its root keys"


def _revocations(context: Context, stored: Stored, data: bytes) -> str:
    bundle = root.verify_revocations(data, trust_root_of(context, stored))
    payload = bundle.signed_payload
    return f"version {payload.version}, {len(payload.entries)} entries, signed by root keys"


def _signed(context: Context, stored: Stored, data: bytes) -> str:
    record = signed.read_signed(data)
    kind = record.signed_payload.get("type")
    key = trust_root_of(context, stored).key(record.key_id)
    signed.open_signed(data, key, str(kind))
    return f"{kind}, signed by {key.key_id}"


def _snapshot(context: Context, stored: Stored, data: bytes) -> str:
    snapshot = Snapshot.from_bytes(data)
    for digest in snapshot.raw:
        stored.cas.get(digest)
    stage = f"{snapshot.environment}/{snapshot.cohort_percent}"
    return f"{stage} of run {snapshot.run_id}, {len(snapshot.raw)} raw answers in the store"


def _gate_report(context: Context, stored: Stored, data: bytes) -> str:
    report = GateReport.from_bytes(data)
    policy = resolve_policy(cbor.decode(stored.cas.get(report.policy_bundle_hash)))
    again = evaluate_bytes(stored.cas.get(report.snapshot_hash), policy, report.policy_bundle_hash)
    if again.to_bytes() != data:
        raise DataError("EQUALITY_FAILED", f"the verdict recomputes to {again.outcome}")
    return f"{report.outcome}, recomputed from its snapshot and policy"
