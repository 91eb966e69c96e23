"""One small release and the trust around it, all of fixed keys and times: pure, no store."""

import json
from dataclasses import dataclass, replace
from typing import Any

from lockstep import determinism, operators
from lockstep.digest import sha256
from lockstep.policy import resolve_policy
from lockstep.release import authoring
from lockstep.release.evidence import RECOMPUTE, ReleaseEvidence, RuntimeEnv, Toolchain
from lockstep.trust import ed25519
from lockstep.trust.approvals import Approval, approve
from lockstep.trust.certificate import read_certificate, sign_certificate
from lockstep.trust.certify import Signer, certify_release
from lockstep.trust.equalities import Expected
from lockstep.trust.keys import KeyDescriptor, describe
from lockstep.trust.root import (
    PURPOSE_OF_ROLE,
    REVOCATIONS_SCHEMA,
    ROOT_SCHEMA,
    RevocationBundle,
    RevocationPayload,
    RootPayload,
    TrustRoot,
    sign_revocations,
    sign_root,
)
from lockstep.trust.verify import Rules, TrustData, TrustReport, verify_release

TENANT = "acme"
SERVICE = "shop"
BORN = "2026-11-01T00:00:00Z"
CERTIFIED = "2026-11-20T10:00:00Z"
APPROVED = "2026-11-20T11:00:00Z"
NOW = "2026-11-21T12:00:00Z"
NEXT_UPDATE = "2026-12-01T00:00:00Z"
KEYS_END = "2027-11-01T00:00:00Z"

LOCK = b"click==8.5.1 \\\n    --hash=sha256:" + b"a" * 64 + b"\n"
SBOM = json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []}).encode()


@dataclass(frozen=True)
class Key:
    descriptor: KeyDescriptor
    private_key: bytes

    @property
    def key_id(self) -> str:
        return self.descriptor.key_id

    @property
    def pair(self) -> tuple[KeyDescriptor, bytes]:
        return self.descriptor, self.private_key


def key(purpose: Any, number: int = 0, **changes: Any) -> Key:
    """The ``number``-th fixed key of a purpose."""
    private_key = sha256(f"{purpose} {number}".encode())
    facts = {
        "not_before": BORN,
        "not_after": KEYS_END,
        "rotation_max_age_days": 365,
        "origin": "a fixed test key",
        **changes,
    }
    return Key(describe(purpose, ed25519.public_of(private_key), **facts), private_key)


ROOT = key("root")
SIGNER = key("release-certificate")
COMMITTER = key("rollout-certificate")
APPROVER = key("approval")
SECOND_APPROVER = key("approval", 1)
OPERATOR = key("operator")
GRANTER = key("step-grant")
ALL_KEYS = (ROOT, SIGNER, COMMITTER, APPROVER, SECOND_APPROVER, OPERATOR, GRANTER)


def root_payload(keys: tuple[Key, ...] = ALL_KEYS, **changes: Any) -> RootPayload:
    roles: dict[str, list[str]] = {}
    for role, purpose in PURPOSE_OF_ROLE.items():
        holders = sorted(k.key_id for k in keys if k.descriptor.purpose == purpose)
        if holders:
            roles[role] = holders
    return RootPayload.from_map(
        {
            "type": "trust-root",
            "schema_version": ROOT_SCHEMA,
            "version": 1,
            "tenant_id": TENANT,
            "keys": [k.descriptor.to_map() for k in sorted(keys, key=lambda k: k.key_id)],
            "roles": roles,
            "thresholds": {"root": 1},
            "not_after": KEYS_END,
            **changes,
        }
    )


def root(keys: tuple[Key, ...] = ALL_KEYS, **changes: Any) -> TrustRoot:
    return sign_root(root_payload(keys, **changes), [ROOT.pair])


def revocations(*entries: tuple[str, str, str], signer: Key = ROOT, **changes: Any):
    """A bundle of (key id, reason, invalid_from) entries."""
    return sign_revocations(revocation_payload(*entries, **changes), [signer.pair])


def revocation_payload(*entries: tuple[str, str, str], **changes: Any) -> RevocationPayload:
    return RevocationPayload.from_map(
        {
            "type": "revocation-bundle",
            "schema_version": REVOCATIONS_SCHEMA,
            "version": 1,
            "tenant_id": TENANT,
            "issued_at": BORN,
            "next_update": NEXT_UPDATE,
            "entries": [
                {"key_id": key_id, "reason": why, "revoked_at": since, "invalid_from": since}
                for key_id, why, since in entries
            ],
            **changes,
        }
    )


def document(**changes: Any) -> authoring.ReleaseDocument:
    return authoring.read_document(
        {
            "service": SERVICE,
            "version": "1.2.3",
            "code_commit": "0123456789abcdef0123456789abcdef01234567",
            "artifacts": [{"name": "service.py", "path": "s", "media_type": "text/x-python"}],
            "configs": [{"name": "config.json", "path": "c"}],
            "evidence": {
                "lockfile": "l",
                "toolchain": "t",
                "runtime_env": "r",
                "sbom": "b",
                "policy": "p",
            },
            "qualification": {"steps": [{"name": "unit-tests", "status": "success"}]},
            **changes,
        }
    )


def inputs(**changes: Any) -> authoring.Inputs:
    facts: dict[str, Any] = {
        "files": {
            ("evidence", "lockfile"): LOCK,
            ("evidence", "sbom"): SBOM,
            ("artifacts", 0, "path"): b"print('hello')\n",
            ("configs", 0, "path"): b"{}\n",
        },
        "policy": resolve_policy({"schema_version": "lockstep.policy.v1", "service": SERVICE}),
        "toolchain": Toolchain(
            python_version="3.11.7", pip_version="23.2.1", installer_version="pip 23.2.1"
        ),
        "runtime_env": RuntimeEnv(variables={"LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}),
        "determinism_profile": determinism.profile_bytes(),
        "operator_registry": operators.registry_bytes(),
    }
    return authoring.Inputs(**{**facts, **changes})


def evidence_of(packed: authoring.Packed) -> ReleaseEvidence:
    return ReleaseEvidence(
        manifest=packed.manifest.to_bytes(),
        certificate=b"",
        evidence=packed.evidence,
        trace=packed.trace,
        checkpoint=packed.checkpoint,
        lineage=packed.lineage,
    )


def packed() -> ReleaseEvidence:
    return evidence_of(authoring.pack(document(), inputs(), TENANT))


def expected(release: ReleaseEvidence, **changes: Any) -> Expected:
    facts: dict[str, Any] = {
        "policy_bundle_hash": sha256(release.evidence["policy_bundle"]),
        "profiles": determinism.accepted_profiles(),
        "operator_roots": operators.accepted_roots(),
    }
    return Expected(**{**facts, **changes})


def trust(
    trust_root: TrustRoot | None = None,
    current: RevocationBundle | None = None,
    pinned: RevocationBundle | None = None,
) -> TrustData:
    data = (trust_root or root()).to_bytes()
    return TrustData(
        root=data,
        pinned_root=sha256(data),
        revocations=(current or revocations()).to_bytes(),
        pinned_revocations=(pinned or revocations()).to_bytes(),
    )


def certified(release: ReleaseEvidence | None = None, signer: Key = SIGNER) -> ReleaseEvidence:
    release = release or packed()
    certificate = certify_release(
        release,
        trust(),
        expected(release),
        Signer(descriptor=signer.descriptor, private_key=signer.private_key),
        tenant_id=TENANT,
        now=CERTIFIED,
    )
    return replace(release, certificate=certificate)


def resigned(release: ReleaseEvidence, signer: Key = SIGNER, **changes: Any) -> ReleaseEvidence:
    """The release with other claims in its certificate, properly signed."""
    payload, _ = read_certificate(release.certificate)
    certificate = sign_certificate({**payload, **changes}, signer.private_key)
    return replace(release, certificate=certificate)


def approval_payload(release: ReleaseEvidence, by: Key = APPROVER, **changes: Any) -> Approval:
    bound = {
        name: RECOMPUTE[name](release)
        for name in ("trace_root_hash", "checkpoint_hash", "lineage_root_hash")
    }
    facts = {
        "tenant_id": TENANT,
        "service": SERVICE,
        "policy_bundle_hash": sha256(release.evidence["policy_bundle"]),
        "manifest_hash": sha256(release.manifest),
        "approver": by.key_id,
        "time": APPROVED,
        **bound,
    }
    return Approval(**{**facts, **changes})


def approval(release: ReleaseEvidence, by: Key = APPROVER, **changes: Any) -> bytes:
    payload = approval_payload(release, by, **changes)
    return approve(payload, *by.pair, signer_key_id=SIGNER.key_id)


def approved(release: ReleaseEvidence | None = None, by: Key = APPROVER) -> ReleaseEvidence:
    release = release or certified()
    return replace(release, approvals=(approval(release, by),))


def judged(
    release: ReleaseEvidence,
    data: TrustData | None = None,
    *,
    now: str = NOW,
    tenant_id: str = TENANT,
    want: Expected | None = None,
    **rules: Any,
) -> TrustReport:
    facts = Rules(tenant_id=tenant_id, expected=want or expected(release), **rules)
    return verify_release(release, data or trust(), facts, now=now)


def failed(report: TrustReport) -> dict[str, str | None]:
    """Check → code of everything that is neither passed nor not configured."""
    return {
        check.name: check.code
        for check in report.checks
        if check.outcome not in ("pass", "not_configured")
    }
