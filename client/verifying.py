"""Gather from a store what one run, bundle or record claims, and have it recomputed.

Reads only. The rules are in ``lockstep.verify_run`` and ``lockstep.trust.verify``; nothing here
decides, and no server is asked.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from client.context import Stored
from client.releasing import pinned_root, shipped, trust_data
from lockstep import layout
from lockstep.digest import sha256, to_text
from lockstep.errors import DataError, LockstepError
from lockstep.policy import Policy
from lockstep.release.evidence import ReleaseEvidence
from lockstep.run_book import Check, CheckOutcome, RunEvidence
from lockstep.settings import Context
from lockstep.trust.approvals import APPROVED_HASHES
from lockstep.trust.certificate import read_certificate
from lockstep.trust.equalities import Expected
from lockstep.trust.verify import Rules, TrustData, verify_release
from lockstep.verify_run import verify_run
from lockstep.wal import RECORDS_MAX

if TYPE_CHECKING:
    from lockstep.trust.equalities import Equality
    from lockstep.trust.report import TrustReport

VERSIONS_MAX = 10_000

_OUTCOME_OF = {
    "pass": CheckOutcome.PASS,
    "fail": CheckOutcome.FINDING,
    "stale": CheckOutcome.FINDING,
    "not_configured": CheckOutcome.NOT_APPLICABLE,
}


def run_evidence(context: Context, stored: Stored, run_id: str) -> RunEvidence:
    """Everything about a run that lies outside the content-addressed objects.

    Raises:
        DataError: RUN_UNKNOWN; the store holds no log of it.
        UnavailableError: STORE_UNREACHABLE.
    """
    tenant, store = stored.tenant, stored.store
    records = _bodies(stored, layout.wal_prefix(tenant, run_id), RECORDS_MAX)
    if not records:
        raise DataError("RUN_UNKNOWN", f"the store holds no log of run {run_id}")
    pointer = store.read(layout.committed(tenant, run_id))
    reports = store.read(layout.reports(tenant, run_id))
    return RunEvidence(
        tenant_id=tenant,
        run_id=run_id,
        load=stored.cas.get,
        wal_records=records,
        committed=pointer.body if pointer else None,
        trust_roots=_bodies(stored, layout.trust_roots_prefix(tenant), VERSIONS_MAX),
        reports=reports.body if reports else None,
        trust_root_pin=pinned_root(context),
    )


def _bodies(stored: Stored, prefix: str, most: int) -> list[bytes]:
    """Every object under ``prefix``, in key order, as stored."""
    bodies: list[bytes] = []
    for listed in stored.store.list(prefix):
        if len(bodies) == most:
            raise DataError("RECORD_INVALID", f"more than {most} objects", place=prefix)
        found = stored.store.read(listed.key)
        if found is not None:
            bodies.append(found.body)
    return bodies


def check_run(context: Context, stored: Stored, run_id: str) -> list[Check]:
    """Every check of a run, and of the release it committed as of its commit."""
    evidence = run_evidence(context, stored, run_id)
    checks = verify_run(evidence)
    certified = next((one for one in checks if one.name == "certificate"), None)
    if certified is None or certified.outcome is not CheckOutcome.PASS:
        return checks
    try:
        report = _release_as_of_commit(context, stored, evidence)
    except LockstepError as error:
        return [*checks, Check("release/evidence", CheckOutcome.FINDING, error.cause, error.code)]
    return [*checks, *_as_checks(report)]


def _release_as_of_commit(context: Context, stored: Stored, evidence: RunEvidence) -> "TrustReport":
    """The release judged at the time and under the trust that the rollout certificate names.

    Later expiry or a newer Lockstep never disqualify a release that was committed.
    """
    from activities.adapters.releases import load_release
    from lockstep import cbor, hashes
    from lockstep.policy import resolve_policy
    from lockstep.wal import fold

    final = fold(list(evidence.wal_records)).records[-1].payload
    signed, _ = read_certificate(stored.cas.get(final["certificate_hash"]))
    name = hashes.release_hash(final["manifest_hash"], final["release_certificate_hash"])
    release = load_release(stored.cas, stored.ledger, name)
    policy = resolve_policy(cbor.decode(stored.cas.get(final["policy_bundle_hash"])))
    trust = _trust_of(stored, signed, release, evidence.trust_root_pin)
    expected = Expected(
        policy_bundle_hash=policy.digest(),
        profiles=frozenset({signed["determinism_profile_hash"]}),
        operator_roots=frozenset({signed["operator_contracts_root_hash"]}),
    )
    rules = _rules(context, policy, expected)
    return verify_release(release, trust, rules, now=signed["verification_time_utc"])


def _trust_of(
    stored: Stored, signed: dict[str, Any], release: ReleaseEvidence, pin: bytes | None
) -> TrustData:
    """The trust data that the rollout certificate names, found again by digest."""
    tenant = stored.tenant
    roots = _bodies(stored, layout.trust_roots_prefix(tenant), VERSIONS_MAX)
    bundles = _bodies(stored, layout.revocations_prefix(tenant), VERSIONS_MAX)
    claimed, _ = read_certificate(release.certificate)
    return TrustData(
        root=_by_digest(roots, signed["trust_store_hash"], "trust root"),
        pinned_root=pin,
        revocations=_by_digest(bundles, signed["revocation_bundle_hash"], "revocation bundle"),
        pinned_revocations=_by_digest(
            bundles, claimed["revocation_bundle_hash"], "revocation bundle"
        ),
    )


def _by_digest(bodies: Sequence[bytes], digest: bytes, what: str) -> bytes:
    for body in bodies:
        if sha256(body) == digest:
            return body
    raise DataError("TRUST_ROOT_INVALID", f"the store holds no {what} {to_text(digest)}")


def _rules(context: Context, policy: Policy, expected: Expected) -> Rules:
    production = policy.approvals.production
    return Rules(
        tenant_id=context.tenant_id,
        expected=expected,
        service=policy.service,
        approvals_required=production.required,
        separation_of_duty=production.separation_of_duty,
    )


def check_bundle(
    context: Context, stored: Stored, release: ReleaseEvidence, now: str
) -> list[Check]:
    """Every check of a release bundle at ``now``, with the approvals that the store holds."""
    from activities.adapters.releases import release_hash_of
    from lockstep import cbor
    from lockstep.policy import resolve_policy

    try:
        policy = resolve_policy(cbor.decode(release.evidence["policy_bundle"]))
    except LockstepError as error:
        return [Check("release/policy", CheckOutcome.FINDING, error.cause, error.code)]
    name = release_hash_of(release)
    approvals = tuple(record for _, record in stored.ledger.approvals(name))
    approved = replace(release, approvals=approvals)
    rules = _rules(context, policy, shipped(policy.digest()))
    report = verify_release(approved, trust_data(context, stored, release), rules, now=now)
    return _as_checks(report)


def _as_checks(report: "TrustReport") -> list[Check]:
    """A trust report's checks and its nine equalities, in the words of ``verify``.

    What lacks nothing but an approval is not run: the approval's own check is the finding.
    """
    broken = [row for row in report.equalities if not row.equal]
    waiting = [row.name for row in broken if _lacks_approval(row)]
    rests = "rests on release/approvals"
    found: list[Check] = []
    for one in report.checks:
        if one.name == "equalities" and waiting and len(waiting) == len(broken):
            found.append(Check("release/equalities", CheckOutcome.NOT_RUN, rests))
            continue
        outcome = _OUTCOME_OF[one.outcome]
        found.append(Check(f"release/{one.name}", outcome, one.detail, one.code or ""))
    for row in report.equalities:
        name = f"release/equality {row.name}"
        if row.name in waiting:
            found.append(Check(name, CheckOutcome.NOT_RUN, rests))
            continue
        outcome = CheckOutcome.PASS if row.equal else CheckOutcome.FINDING
        said = to_text(row.recomputed) if row.recomputed else ""
        code = "" if row.equal else "EQUALITY_FAILED"
        found.append(Check(name, outcome, row.problem or said, code))
    return found


def _lacks_approval(row: "Equality") -> bool:
    """Whether the claim is what the bytes give, and only nobody has approved it."""
    claimed_well = row.claimed is not None and row.claimed == row.recomputed
    return claimed_well and row.name in APPROVED_HASHES and row.approved is None
