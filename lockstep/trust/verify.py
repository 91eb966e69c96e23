"""Judge a release for promotion: every check, each with its outcome, in one trust report.

Pure and without exceptions for bad evidence: what is wrong becomes a failed check with its code.
Stale trust data is its own outcome, ``stale``: it stops progress and is no finding of harm
(spec rollout §5, §6). The caller reads the clock once and passes ``now``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lockstep import hashes, utc
from lockstep.digest import sha256, to_text
from lockstep.errors import DataError, RefusedError, UnavailableError
from lockstep.policy import Policy
from lockstep.release.evidence import ReleaseEvidence
from lockstep.trust import checks
from lockstep.trust.approvals import Counted, count_approvals
from lockstep.trust.authz import authorize
from lockstep.trust.certificate import open_certificate, read_certificate
from lockstep.trust.equalities import Equality, Expected, nine_equalities, unequal
from lockstep.trust.keys import KeyDescriptor, check_window
from lockstep.trust.report import Check, Judging, KeyWindow, TrustReport, need
from lockstep.trust.root import (
    RevocationBundle,
    TrustRoot,
    check_revocations_fresh,
    check_root_fresh,
    verify_revocations,
    verify_root,
)

__all__ = ["CERTIFY_OPERATOR", "Check", "Rules", "TrustData", "TrustReport", "verify_release"]

CERTIFY_OPERATOR = "release.certify"
"""``operator_id`` in the authorisation query of a release certificate."""


@dataclass(frozen=True, slots=True)
class TrustData:
    """The trust data to verify with, as stored bytes."""

    root: bytes
    pinned_root: bytes | None
    """Digest that the context pins; None: nothing is pinned, and the report says so."""
    revocations: bytes
    """The current bundle."""
    pinned_revocations: bytes | None
    """The bundle that the certificate names; None when the store does not have it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What promotion asks for beside a good certificate."""

    tenant_id: str
    expected: Expected
    service: str | None = None
    """The service under rollout; None: whatever the manifest says."""
    approvals_required: int = 1
    separation_of_duty: bool = True
    starter: str | None = None


def verify_release(
    release: ReleaseEvidence, trust: TrustData, rules: Rules, *, now: str
) -> TrustReport:
    """Verify a release's certificate, evidence, approvals and the nine equalities at ``now``.

    Never raises for bad evidence or bad trust data.
    """
    judging = Judging()
    root = _check_root(judging, trust, rules, now)
    current = _check_revocations(judging, trust, root, now)
    payload = judging.run("certificate_fields", lambda: _fields(release, rules))
    pinned = _check_pinned_revocations(judging, trust, root, payload)
    signer = judging.run("certificate_signature", lambda: _signature(release, root, payload, trust))
    bundles = [bundle for bundle in (pinned, current) if bundle is not None]
    judging.run("key_window", lambda: _key_window(signer, root, payload, now))
    judging.run("revocation", lambda: _revocation(payload, pinned, current))
    manifest = judging.run("manifest", lambda: checks.check_manifest(release, rules.service))
    policy = judging.run("policy", lambda: checks.check_policy(release, manifest))
    judging.run("certificate_window", lambda: _certificate_window(payload, policy, now))
    judging.run("evidence", lambda: checks.check_evidence(release, manifest))
    judging.run("bound_hashes", lambda: checks.check_bound_hashes(release, payload))
    judging.run("authorisation", lambda: _authorisation(payload, root))
    judging.run(
        "qualification",
        lambda: checks.check_qualification(release, manifest, payload, rules.tenant_id),
    )
    judging.run("lineage", lambda: checks.check_lineage(release, manifest))
    judging.run("checkpoint", lambda: checks.check_checkpoint(release, manifest))
    counted = _count(release, root, bundles, signer, rules, now)
    judging.run("approvals", lambda: _approvals(counted, rules))
    approvals = counted.valid if counted else ()
    equalities = nine_equalities(payload, release, rules.expected, approvals)
    judging.run("equalities", lambda: _equalities(equalities))
    return TrustReport(
        tenant_id=rules.tenant_id,
        release_hash=hashes.release_hash(sha256(release.manifest), sha256(release.certificate)),
        verification_time_utc=now,
        trust_store_hash=sha256(trust.root),
        revocation_bundle_hash=sha256(trust.revocations),
        pinned_revocation_bundle_hash=payload["revocation_bundle_hash"] if payload else None,
        key_id=payload["key_id"] if payload else None,
        key_window=(
            KeyWindow(not_before=signer.not_before, not_after=signer.not_after) if signer else None
        ),
        approvers=[approval.approver for approval in approvals],
        checks=judging.checks,
        equalities=equalities,
        outcome=judging.outcome(),
    )


# ---- trust data ----------------------------------------------------------------------------


def _check_root(judging: Judging, trust: TrustData, rules: Rules, now: str) -> TrustRoot | None:
    """The root, once authentic and pinned; nothing is judged by one that is not."""

    def judge() -> tuple[str, TrustRoot]:
        root = verify_root(trust.root, tenant_id=rules.tenant_id, pinned=None)
        return f"version {root.signed_payload.version}, signed by its root keys", root

    root = judging.run("trust_root", judge)
    if trust.pinned_root is None:
        judging.add("trust_pin", "not_configured", "the context pins no trust root")
    elif not judging.run("trust_pin", lambda: _pin(trust.root, trust.pinned_root)):
        return None
    if root is not None:

        def fresh() -> tuple[str, bool]:
            check_root_fresh(root, now)
            return f"holds until before {root.signed_payload.not_after}", True

        judging.run("trust_root_fresh", fresh)
    return root


def _pin(root: bytes, pinned: bytes | None) -> tuple[str, bool]:
    found = sha256(root)
    if found != pinned:
        raise DataError("TRUST_ROOT_INVALID", f"{to_text(found)} is not the pinned digest")
    return to_text(found), True


def _check_revocations(
    judging: Judging, trust: TrustData, root: TrustRoot | None, now: str
) -> RevocationBundle | None:
    def judge() -> tuple[str, RevocationBundle]:
        bundle = verify_revocations(
            trust.revocations, need(root, "the trust root", "TRUST_ROOT_INVALID")
        )
        return f"version {bundle.signed_payload.version}, signed by root keys", bundle

    bundle = judging.run("revocations_current", judge)
    if bundle is not None:

        def fresh() -> tuple[str, bool]:
            check_revocations_fresh(bundle, now)
            return f"next update before {bundle.signed_payload.next_update}", True

        judging.run("revocations_fresh", fresh)
    return bundle


def _check_pinned_revocations(
    judging: Judging, trust: TrustData, root: TrustRoot | None, payload: dict[str, Any] | None
) -> RevocationBundle | None:
    """The bundle that the certificate names: authentic, however old."""

    def judge() -> tuple[str, RevocationBundle]:
        claimed = need(payload, "the certificate", "CERTIFICATE_INVALID")["revocation_bundle_hash"]
        if trust.pinned_revocations is None:
            # Evidence that is missing stops progress; it is no evidence of harm.
            raise UnavailableError(
                "TRUST_STALE", f"the certificate's revocation bundle {to_text(claimed)} is absent"
            )
        if sha256(trust.pinned_revocations) != claimed:
            raise DataError("TRUST_ROOT_INVALID", "not the bundle that the certificate names")
        bundle = verify_revocations(
            trust.pinned_revocations, need(root, "the trust root", "TRUST_ROOT_INVALID")
        )
        return f"version {bundle.signed_payload.version}", bundle

    return judging.run("revocations_pinned", judge)


# ---- the certificate -----------------------------------------------------------------------


def _fields(release: ReleaseEvidence, rules: Rules) -> tuple[str, dict[str, Any]]:
    payload, _ = read_certificate(release.certificate)
    if payload["tenant_id"] != rules.tenant_id:
        raise DataError("CERTIFICATE_INVALID", f"tenant_id: {payload['tenant_id']:.80}")
    return f"version {payload['certificate_version']}", payload


def _signature(
    release: ReleaseEvidence,
    root: TrustRoot | None,
    payload: dict[str, Any] | None,
    trust: TrustData,
) -> tuple[str, KeyDescriptor]:
    root = need(root, "the trust root", "TRUST_ROOT_INVALID")
    payload = need(payload, "the certificate", "CERTIFICATE_INVALID")
    if payload["trust_store_hash"] != sha256(trust.root):
        raise DataError("TRUST_ROOT_INVALID", "the certificate was issued under another trust root")
    key = root.key(payload["key_id"])
    if key.purpose != "release-certificate" or not root.has_role(key.key_id, "signer"):
        raise RefusedError("NOT_AUTHORISED", f"{key.key_id} may not certify a release")
    open_certificate(release.certificate, key.public_key)
    return f"by {key.key_id}", key


def _key_window(
    signer: KeyDescriptor | None,
    root: TrustRoot | None,
    payload: dict[str, Any] | None,
    now: str,
) -> tuple[str, bool]:
    """The signer's key, and the redaction key where one is named, are in force now."""
    signer = need(signer, "the signature", "SIGNATURE_REFUSED")
    check_window(signer, now)
    if payload and root and "redaction_key_id" in payload:
        redaction = root.key(payload["redaction_key_id"])
        if redaction.purpose != "redaction":
            raise DataError("KEY_REFUSED", f"{redaction.key_id} is no redaction key")
        check_window(redaction, now)
    return f"from {signer.not_before} until before {signer.not_after}", True


def _revocation(
    payload: dict[str, Any] | None,
    pinned: RevocationBundle | None,
    current: RevocationBundle | None,
) -> tuple[str, bool]:
    payload = need(payload, "the certificate", "CERTIFICATE_INVALID")
    pinned = need(pinned, "the pinned revocation bundle", "TRUST_STALE")
    current = need(current, "the current revocation bundle", "TRUST_STALE")
    if current.signed_payload.version < pinned.signed_payload.version:
        raise DataError("TRUST_ROOT_INVALID", "the current revocation bundle is an older version")
    signed_at = payload.get("verification_time_utc", "9999-12-31T23:59:59Z")
    for field_name in ("key_id", "redaction_key_id"):
        for name, bundle in (("pinned", pinned), ("current", current)):
            key_id = payload.get(field_name)
            entry = bundle.revokes(key_id, signed_at) if key_id else None
            if entry:
                raise RefusedError(
                    "KEY_REVOKED", f"{key_id} is revoked in the {name} bundle: {entry.reason}"
                )
    return "neither the pinned nor the current bundle revokes it", True


def _certificate_window(
    payload: dict[str, Any] | None, policy: Policy | None, now: str
) -> tuple[str, bool]:
    payload = need(payload, "the certificate", "CERTIFICATE_INVALID")
    policy = need(policy, "the policy", "EVIDENCE_INVALID")
    issued, until = payload.get("verification_time_utc"), payload.get("valid_until_utc")
    if issued is None or until is None:
        raise RefusedError("CERTIFICATE_EXPIRED", "the certificate names no window")
    longest = utc.plus_days(issued, policy.evidence.certificate_max_age_d)
    last = min(until, longest)
    if not issued <= now < last:
        raise RefusedError(
            "CERTIFICATE_EXPIRED", f"it holds from {issued} until before {last}, not at {now}"
        )
    return f"from {issued} until before {last}", True


def _authorisation(payload: dict[str, Any] | None, root: TrustRoot | None) -> tuple[str, bool]:
    """The decision that the certificate binds, taken again: the signer may certify."""
    payload = need(payload, "the certificate", "CERTIFICATE_INVALID")
    decision = authorize(
        need(root, "the trust root", "TRUST_ROOT_INVALID"),
        payload["key_id"],
        CERTIFY_OPERATOR,
        ["release.certify"],
        tenant_id=payload["tenant_id"],
        policy_bundle_hash=payload["policy_bundle_hash"],
    ).require()
    if (
        payload["certificate_version"] == "2"
        and payload["authz_decision_hash"] != decision.decision_hash
    ):
        raise DataError("EQUALITY_FAILED", "authz_decision_hash: not the decision taken again")
    return decision.reason, True


# ---- approvals and equalities --------------------------------------------------------------


def _count(
    release: ReleaseEvidence,
    root: TrustRoot | None,
    bundles: Sequence[RevocationBundle],
    signer: KeyDescriptor | None,
    rules: Rules,
    now: str,
) -> Counted | None:
    if root is None:
        return None
    counted = count_approvals(
        release.approvals,
        root,
        bundles,
        tenant_id=rules.tenant_id,
        now=now,
        signer=signer,
        starter=rules.starter,
        separation_of_duty=rules.separation_of_duty,
    )
    # An approval of other bytes is not one of this release, wherever it lies.
    valid = tuple(
        approval
        for approval in counted.valid
        if approval.manifest_hash == sha256(release.manifest)
        and approval.policy_bundle_hash == rules.expected.policy_bundle_hash
    )
    others = ("an approval of another release",) * (len(counted.valid) - len(valid))
    return Counted(valid=valid, refused=counted.refused + others)


def _approvals(counted: Counted | None, rules: Rules) -> tuple[str, bool]:
    counted = need(counted, "the trust root", "TRUST_ROOT_INVALID")
    if len(counted.valid) < rules.approvals_required:
        why = f"; not counted: {'; '.join(counted.refused)}" if counted.refused else ""
        raise RefusedError(
            "APPROVAL_MISSING",
            f"{len(counted.valid)} of {rules.approvals_required} approvals hold{why}",
        )
    return f"{len(counted.valid)} of {rules.approvals_required} needed", True


def _equalities(equalities: Sequence[Equality]) -> tuple[str, bool]:
    broken = unequal(equalities)
    if broken:
        raise DataError("EQUALITY_FAILED", f"not equal: {', '.join(broken)}")
    return "all nine hold", True
