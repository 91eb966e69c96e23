"""Recompute from stored bytes everything that one run claims, with no server and no clock.

The caller hands over the run's log, its pointer, its reports' digests, the tenant's trust roots
and a way to load objects by digest; nothing that the run says about itself is believed. What
comes back is a list of checks; one finding is enough to distrust the run (docs/spec/bytes.md).
"""

from collections.abc import Callable

from lockstep import cbor, hashes, layout, lineage, trace
from lockstep.checkpoint import Checkpoint
from lockstep.commit import Committed, RecoveryAction, recovery_action
from lockstep.digest import sha256, to_text
from lockstep.errors import DataError
from lockstep.gates.evaluate import GateReport, evaluate_bytes
from lockstep.gates.snapshot import Snapshot
from lockstep.run_book import (
    Check,
    CheckOutcome,
    NotApplicable,
    RunBook,
    RunEvidence,
    differs,
    run_check,
    same,
)
from lockstep.trust import certificate, root

CHECKPOINTS_MAX = 10_000

REPORT_KINDS = (
    "preflight_report",
    "trust_report",
    "rollback_report",
    "deployment_report",
    "recovery_report",
    "gate_report",
)
"""What REPORTS may list; each kind is also the name of its schema."""

DECISIONS = ("authz_decision",)
"""Names in a trace's evidence whose hash binds values, not a stored object."""


def verify_run(evidence: RunEvidence) -> list[Check]:
    """Every check in a fixed order; one that rests on a failed one is ``not_run``."""
    book = RunBook(evidence)
    done: dict[str, Check] = {}
    for name, needs, function in _CHECKS:
        unmet = [need for need in needs if done[need].outcome is not CheckOutcome.PASS]
        if unmet:
            done[name] = Check(name, CheckOutcome.NOT_RUN, f"rests on {unmet[0]}")
            continue
        done[name] = run_check(name, lambda function=function: function(book))
    return list(done.values())


# ---- log, pointer, trace -------------------------------------------------------------------


def _log(book: RunBook) -> str:
    records = len(book.log.records)
    if not records:
        raise DataError("RUN_UNKNOWN", "the run has no log")
    return f"{records} records, the last one {book.log.last_type}"


def _pointer(book: RunBook) -> str:
    raw = book.evidence.committed
    pointer = None if raw is None else Committed.from_bytes(raw, place="COMMITTED")
    action = recovery_action(book.log, pointer)
    if action is RecoveryAction.COMMITTED:
        return "COMMITTED equals FINALIZE"
    if action is RecoveryAction.ROLL_FORWARD:
        raise DataError("COMMITTED_CONFLICT", "FINALIZE without COMMITTED: recovery has not run")
    if action is RecoveryAction.CONFLICT:
        raise DataError("COMMITTED_CONFLICT", "COMMITTED differs from what the log says")
    return "no COMMITTED, as it should be"


def _trace(book: RunBook) -> str:
    end = book.end
    records = book.trace
    if trace.TAIL_KEY not in records[-1]:
        raise DataError("TRACE_INVALID", "the trace is not sealed")
    same("TRACE_INVALID", "trace_tail_hash", end.get("trace_tail_hash"), trace.tail(records))
    status = records[-1]["final_status"]
    if (status == "success") != book.committed:
        raise DataError("TRACE_INVALID", f"the trace ends {status}, the log {book.log.last_type}")
    return f"{len(records)} records chained to {to_text(trace.tail(records))}"


def _identity(book: RunBook) -> str:
    """Tenant, run id and replay token follow from the request's own bytes."""
    header, evidence = book.header, book.evidence
    same("TRACE_INVALID", "tenant_id", evidence.tenant_id, header["tenant_id"])
    same("TRACE_INVALID", "run_id", evidence.run_id, header["run_id"])
    token = hashes.replay_token(header["policy_bundle_hash"], header["env_manifest_hash"])
    same("TRACE_INVALID", "replay_token", token, header["replay_token"])
    prepared = book.log.records[0].payload
    wanted = prepared.get("environments", book.profile.names())
    same("TRACE_INVALID", "env", wanted, header["env"])
    for name in header["env"]:
        if book.profile.environment(name) is None:
            raise DataError("TRACE_INVALID", f"env: the profile has no {name}")
    names = ("operation", "service", "attempt")
    if all(name in prepared for name in names):
        operation, service, attempt = (prepared[name] for name in names)
        tenant, release = evidence.tenant_id, header["release_hash"]
        derived = hashes.run_id(tenant, operation, service, release, token, attempt)
        same("TRACE_INVALID", "run_id", derived, evidence.run_id)
    return f"release {to_text(header['release_hash'])}"


def _release(book: RunBook) -> str:
    """The release that ran is the one whose manifest and certificate the log names."""
    end = book.end
    if not book.committed:
        raise NotApplicable("only FINALIZE names the release's own objects")
    manifest, signed = end["manifest_hash"], end.get("release_certificate_hash")
    certificate.read_certificate(book.object(signed, "release_certificate_hash"))
    book.object(manifest, "manifest_hash")
    name = hashes.release_hash(manifest, signed)
    same("EQUALITY_FAILED", "release_hash", name, book.header["release_hash"])
    return "manifest and certificate give the release's name"


def _objects(book: RunBook) -> str:
    """Every object that the trace names is there, whole."""
    names = [
        (f"{record['stage']} {name}", digest)
        for record in book.trace[1:-1]
        for name, digest in record.get("evidence", {}).items()
        if name not in DECISIONS
    ]
    for what, digest in names:
        book.object(digest, what)
    return f"{len(names)} objects named by the trace"


# ---- verdicts ------------------------------------------------------------------------------


def _verdicts(book: RunBook) -> str:
    """Each verdict again from its snapshot and the policy; each raw answer is still there."""
    policy_hash = book.header["policy_bundle_hash"]
    for look in book.looks:
        evidence, stage = look["evidence"], look["stage"]
        data = book.object(evidence["snapshot"], f"{stage} snapshot")
        snapshot = Snapshot.from_bytes(data)
        where = f"{snapshot.environment}/{snapshot.cohort_percent}"
        same("EVIDENCE_INVALID", "the snapshot's stage", stage, where)
        same("EVIDENCE_INVALID", f"{stage} run_id", book.evidence.run_id, snapshot.run_id)
        release = book.header["release_hash"]
        same("EVIDENCE_INVALID", f"{stage} release_hash", release, snapshot.release_hash)
        for digest in snapshot.raw:
            book.object(digest, f"{stage} raw answer")
        report = evaluate_bytes(data, book.policy, policy_hash)
        stored = GateReport.from_bytes(book.object(evidence["gate_report"], f"{stage} verdict"))
        same("EQUALITY_FAILED", f"{stage} outcome", report.outcome, stored.outcome)
        same("EQUALITY_FAILED", f"{stage} verdict", report.digest(), evidence["gate_report"])
        same("EQUALITY_FAILED", f"{stage} gate_result", report.outcome, look.get("gate_result"))
    return f"{len(book.looks)} verdicts recomputed, all the same"


def _transcript(book: RunBook) -> str:
    """run_end lists every look in order, and a committed run passed the last of each cohort."""
    reports = [look["evidence"]["gate_report"] for look in book.looks]
    same("TRACE_INVALID", "gate_report_hashes", reports, book.trace[-1]["gate_report_hashes"])
    if not book.committed:
        return f"{len(reports)} looks in order"
    last = {look["stage"]: look["gate_result"] for look in book.looks}
    stages = [
        f"{name}/{percent}"
        for name in book.profile.names()
        for percent in book.policy.cohorts_for(name)
    ]
    same("EQUALITY_FAILED", "the stages of the plan", stages, list(last))
    failed = [stage for stage, result in last.items() if result != "PASS"]
    if failed:
        raise DataError("EQUALITY_FAILED", f"committed although {failed[0]} did not pass")
    return f"{len(reports)} looks in order, every cohort of the plan passed"


# ---- what a commit binds -------------------------------------------------------------------


def _lineage(book: RunBook) -> str:
    if not book.committed:
        raise NotApplicable("only a committed run has a lineage")
    end = book.end
    rows = cbor.decode(book.object(end.get("lineage_final_hash"), "lineage_final_hash"))
    same("LINEAGE_INVALID", "lineage_root_hash", lineage.root(rows), end["lineage_root_hash"])
    named = {row[2] for row in rows}
    wanted = {
        "manifest_hash": end["manifest_hash"],
        "release_certificate_hash": end["release_certificate_hash"],
        "policy_bundle_hash": end["policy_bundle_hash"],
        "env_manifest_hash": book.header["env_manifest_hash"],
        "checkpoint_hash": end["checkpoint_hash"],
    }
    for look in book.looks:
        for kind in ("snapshot", "gate_report"):
            wanted[f"{look['stage']} {kind}"] = look["evidence"][kind]
    for what, digest in wanted.items():
        if digest not in named:
            raise DataError("LINEAGE_INVALID", f"the lineage does not cover {what}")
    for kind, name, digest in rows:
        book.object(digest, f"{kind}/{name}")
    return f"{len(rows)} objects under one root"


def _checkpoint(book: RunBook) -> str:
    """The chain of checkpoints, newest first, each of this very run."""
    if not book.committed:
        raise NotApplicable("only FINALIZE names a checkpoint")
    header = book.header
    digest: bytes | None = book.end["checkpoint_hash"]
    count = 0
    links = set(trace.links(book.trace))
    while digest is not None:
        if count == CHECKPOINTS_MAX:
            raise DataError("RECORD_INVALID", f"more than {CHECKPOINTS_MAX} checkpoints")
        found = Checkpoint.from_bytes(book.object(digest, "checkpoint"))
        for name in ("tenant_id", "run_id", "replay_token", "policy_bundle_hash"):
            same("EQUALITY_FAILED", f"checkpoint {name}", header[name], getattr(found, name))
        if found.trace_tail_hash_at_checkpoint not in links:
            raise DataError("EQUALITY_FAILED", "a checkpoint's trace tail is no link of the trace")
        digest = found.checkpoint_hash_prev
        count += 1
    return f"{count} checkpoints"


def _certificate(book: RunBook) -> str:
    """The signature under the trust root it pins, and every hash it binds."""
    if not book.committed:
        raise NotApplicable("only a committed run has a certificate")
    end, header, signed = book.end, book.header, book.certificate
    key_id = _check_signature(book, book.object(end["certificate_hash"], "certificate"))
    expected = {
        "tenant_id": book.evidence.tenant_id,
        "run_id": book.evidence.run_id,
        "replay_token": header["replay_token"],
        "manifest_hash": end["manifest_hash"],
        "trace_root_hash": end["trace_tail_hash"],
        "checkpoint_hash": end["checkpoint_hash"],
        "policy_bundle_hash": header["policy_bundle_hash"],
        "determinism_profile_hash": header["determinism_profile_hash"],
        "operator_contracts_root_hash": header["operator_contracts_root_hash"],
        "lineage_root_hash": end["lineage_root_hash"],
        "policy_gate_hash": hashes.policy_gate_hash(book.trace[-1]["gate_report_hashes"]),
        "sbom_hash": book.trace[-1]["sbom_hash"],
    }
    for name, value in expected.items():
        same("EQUALITY_FAILED", f"certificate {name}", value, signed.get(name))
    for name, value in {
        "policy_bundle_hash": header["policy_bundle_hash"],
        "env_manifest_hash": header["env_manifest_hash"],
        "determinism_profile_hash": header["determinism_profile_hash"],
        "operator_registry_hash": header["operator_contracts_root_hash"],
    }.items():
        same("EQUALITY_FAILED", f"FINALIZE {name}", value, end.get(name))
    return f"signed by {key_id}; {len(expected)} bound values recomputed"


def _check_signature(book: RunBook, data: bytes) -> str:
    signed, _ = certificate.read_certificate(data)
    pinned = signed["trust_store_hash"]
    pin = book.evidence.trust_root_pin
    if pin is not None and pin != pinned:
        raise differs("TRUST_ROOT_INVALID", "the certificate's trust root", pin, pinned)
    stored = next((raw for raw in book.evidence.trust_roots if sha256(raw) == pinned), None)
    if stored is None:
        raise DataError("TRUST_ROOT_INVALID", f"no trust root {to_text(pinned)} in the store")
    trusted = root.verify_root(stored, tenant_id=book.evidence.tenant_id, pinned=pinned)
    key = trusted.key(signed["key_id"])
    if not trusted.has_role(key.key_id, "committer"):
        raise DataError("KEY_REFUSED", f"{key.key_id} may not sign rollout certificates")
    certificate.open_certificate(data, key.public_key)
    signed_at = signed["verification_time_utc"]
    if not key.not_before <= signed_at < key.not_after:
        raise DataError("CERTIFICATE_EXPIRED", f"signed at {signed_at}, outside the key's window")
    return key.key_id


# ---- the ends that are no commit, and the reports ------------------------------------------


def _rollback(book: RunBook) -> str:
    """What ROLLBACK's payload names: the last verdict and the report of the way back."""
    end = book.end
    if book.committed:
        raise NotApplicable("the run was committed")
    reports = book.trace[-1]["gate_report_hashes"]
    if "gate_report_hash" in end or reports:
        last = reports[-1] if reports else None
        same("WAL_CORRUPTION", "gate_report_hash", last, end.get("gate_report_hash"))
    if "rollback_report_hash" in end:
        book.object(end["rollback_report_hash"], "rollback_report_hash")
        return "the last verdict and the rollback report are there"
    return "no report of a way back: nothing had been exposed"


def _reports(book: RunBook) -> str:
    if book.evidence.reports is None:
        raise NotApplicable("the run has no reports yet")
    if not book.log.terminal:
        raise DataError("WAL_CORRUPTION", "REPORTS exist, but the log has not ended")
    reports = _listed(book.evidence, book.evidence.reports)
    for kind, digest in reports.items():
        value = cbor.decode(book.object(digest, kind))
        if type(value) is not dict:
            raise DataError("RECORD_INVALID", f"{kind} is no report")
        schema = f"lockstep.{kind.replace('_', '-')}.v1"
        same("RECORD_INVALID", f"{kind} schema_version", schema, value.get("schema_version"))
        named = value.get("run_id", book.evidence.run_id)
        same("RECORD_INVALID", f"{kind} run_id", book.evidence.run_id, named)
        if "committed" in value:
            same("EQUALITY_FAILED", f"{kind} committed", book.committed, value["committed"])
        if "trace_tail_hash" in value:
            tail = book.end.get("trace_tail_hash")
            same("EQUALITY_FAILED", f"{kind} trace_tail_hash", tail, value["trace_tail_hash"])
    return f"{len(reports)} reports"


def _listed(evidence: RunEvidence, raw: bytes) -> dict[str, bytes]:
    """The kinds and digests that REPORTS lists."""
    key = layout.reports(evidence.tenant_id, evidence.run_id)
    try:
        value = cbor.decode(raw)
    except DataError as error:
        raise DataError(error.code, f"REPORTS: {error.cause}", place=key) from None
    if type(value) is not dict:
        raise DataError("RECORD_INVALID", "REPORTS is no map", place=key)
    for kind, digest in value.items():
        if kind not in REPORT_KINDS:
            raise DataError("RECORD_INVALID", f"REPORTS: no report is a {kind!r:.40}", place=key)
        if type(digest) is not bytes or len(digest) != 32:
            raise DataError("RECORD_INVALID", f"REPORTS: {kind} is no digest", place=key)
    return value


_CHECKS: tuple[tuple[str, tuple[str, ...], Callable[[RunBook], str]], ...] = (
    ("log", (), _log),
    ("pointer", ("log",), _pointer),
    ("trace", ("log",), _trace),
    ("identity", ("trace",), _identity),
    ("release", ("trace",), _release),
    ("objects", ("trace",), _objects),
    ("verdicts", ("trace",), _verdicts),
    ("transcript", ("trace",), _transcript),
    ("lineage", ("trace",), _lineage),
    ("checkpoint", ("trace",), _checkpoint),
    ("certificate", ("trace",), _certificate),
    ("rollback", ("trace",), _rollback),
    ("reports", ("log",), _reports),
)
"""Name, what it rests on, and the function; the order in which they are printed."""
