"""The checks of a release's evidence, one function each: (detail, value) or a LockstepError.

Each takes what earlier checks gave, None where they failed, and says so by name. They are run, in
order and into one report, by ``lockstep.trust.verify``.
"""

from typing import Any

from lockstep import cbor, hashes
from lockstep.digest import sha256
from lockstep.errors import DataError
from lockstep.policy import Policy, resolve_policy
from lockstep.release.evidence import (
    RECOMPUTE,
    ReleaseEvidence,
    check_sbom,
    lineage_bytes,
    read_trace,
)
from lockstep.release.manifest import EVIDENCE_KINDS, STATELESS, Manifest
from lockstep.release.qualification import check_checkpoint as hold_checkpoint
from lockstep.release.qualification import check_qualification as hold_qualification
from lockstep.release.qualification import identity, step_bounds
from lockstep.trust.report import need

BOUND_BESIDE_THE_NINE = ("toolchain_hash", "runtime_env_hash", "sbom_hash")


def check_manifest(release: ReleaseEvidence, service: str | None) -> tuple[str, Manifest]:
    """The manifest is whole and of the service asked about."""
    manifest = Manifest.from_bytes(release.manifest)
    if service is not None and manifest.service != service:
        raise DataError("EVIDENCE_INVALID", f"the manifest is of service {manifest.service}")
    return f"{manifest.service} {manifest.version}", manifest


def check_policy(release: ReleaseEvidence, manifest: Manifest | None) -> tuple[str, Policy]:
    """The policy bundle is a resolved policy, for the manifest's own service."""
    manifest = need(manifest, "the manifest", "RECORD_INVALID")
    data = release.evidence.get("policy_bundle", b"")
    policy = resolve_policy(cbor.decode(data))
    if policy.to_bytes() != data:
        raise DataError("EVIDENCE_INVALID", "the policy bundle is not a resolved policy")
    if policy.service != manifest.service:
        raise DataError("EVIDENCE_INVALID", f"the policy is for service {policy.service}")
    return "resolved", policy


def check_evidence(release: ReleaseEvidence, manifest: Manifest | None) -> tuple[str, bool]:
    """Each piece of evidence has the bytes that the manifest names."""
    manifest = need(manifest, "the manifest", "RECORD_INVALID")
    for kind in EVIDENCE_KINDS:
        if sha256(release.evidence.get(kind, b"")) != manifest.evidence[kind]:
            raise DataError("EVIDENCE_INVALID", f"{kind}: not the bytes that the manifest names")
    check_sbom(release.evidence["sbom"])
    return f"all {len(EVIDENCE_KINDS)} kinds as the manifest names them", True


def check_bound_hashes(
    release: ReleaseEvidence, payload: dict[str, Any] | None
) -> tuple[str, bool]:
    """The bound hashes beside the nine, recomputed."""
    payload = need(payload, "the certificate", "CERTIFICATE_INVALID")
    for name in BOUND_BESIDE_THE_NINE:
        if name in payload and payload[name] != RECOMPUTE[name](release):
            raise DataError("EQUALITY_FAILED", f"{name}: the stored bytes give another hash")
    # A release certificate rests on no gate report: its transcript is the empty one.
    if payload["certificate_version"] == "2" and (
        payload["policy_gate_hash"] != hashes.policy_gate_hash([])
    ):
        raise DataError("EQUALITY_FAILED", "policy_gate_hash: not the empty transcript's")
    return ", ".join(BOUND_BESIDE_THE_NINE), True


def check_qualification(
    release: ReleaseEvidence,
    manifest: Manifest | None,
    payload: dict[str, Any] | None,
    tenant_id: str,
) -> tuple[str, bool]:
    """The stored trace is a successful qualification of this commit, as the certificate says."""
    manifest = need(manifest, "the manifest", "RECORD_INVALID")
    payload = need(payload, "the certificate", "CERTIFICATE_INVALID")
    who = identity(
        tenant_id,
        manifest.code_commit,
        RECOMPUTE["policy_bundle_hash"](release),
        RECOMPUTE["runtime_env_hash"](release),
    )
    records = read_trace(release.trace)
    hold_qualification(records, tenant_id, manifest.code_commit, who)
    start, end = step_bounds(records)
    claimed = {"run_id": who.run_id, "replay_token": who.replay_token}
    for name, value in {**claimed, "step_start": start, "step_end": end}.items():
        if payload[name] != value:
            raise DataError("EQUALITY_FAILED", f"{name}: not the qualification run's")
    return f"run {who.run_id}, steps {start} to {end}, success", True


def check_lineage(release: ReleaseEvidence, manifest: Manifest | None) -> tuple[str, bool]:
    """The stored lineage is exactly the one that follows from the manifest."""
    manifest = need(manifest, "the manifest", "RECORD_INVALID")
    if release.lineage != lineage_bytes(manifest):
        raise DataError("LINEAGE_INVALID", "the stored lineage is not the manifest's")
    return f"{len(manifest.lineage_rows())} objects", True


def check_checkpoint(release: ReleaseEvidence, manifest: Manifest | None) -> tuple[str, bool]:
    """The release's checkpoint is of the state schema that its manifest names."""
    manifest = need(manifest, "the manifest", "RECORD_INVALID")
    schema = manifest.checkpoint_compatibility.schema_name
    hold_checkpoint(release.checkpoint, schema, STATELESS)
    return f"state schema {schema}", True
