"""Reports of a run: closed, versioned maps in the store, each with a JSON twin.

They are written for people and for machines that come later; no decision reads one back.
"""

from typing import Any

from lockstep.record import Digest32, Record, Utc


class PreflightReport(Record):
    """Every check of spec rollout §2 in its fixed order, those not built as not_configured."""

    schema_version: str = "lockstep.preflight-report.v1"
    tenant_id: str
    run_id: str
    service: str
    release_hash: Digest32
    policy_bundle_hash: Digest32
    env_manifest_hash: Digest32
    trust_report_hash: Digest32 | None = None
    rollout_manifest_hash: Digest32 | None = None
    authz_decision_hash: Digest32 | None = None
    checked_at: Utc
    outcome: str
    checks: list[dict[str, Any]]


class RolloutManifest(Record):
    """What a rollout will do, fixed before it starts (spec rollout §1)."""

    schema_version: str = "lockstep.rollout-manifest.v1"
    rollout_id: str
    tenant_id: str
    service: str
    release_hash: Digest32
    cohorts: dict[str, list[int]]
    rollback_ref: dict[str, str]
    """Environment → ``last_good`` or a digest as text."""
    policy_bundle_hash: Digest32
    env_manifest_hash: Digest32
    guard_conditions: list[dict[str, Any]]


class RollbackReport(Record):
    """How one environment went back: what moved, what was read back, how it fares."""

    schema_version: str = "lockstep.rollback-report.v1"
    tenant_id: str
    run_id: str
    service: str
    environment: str
    epoch: int
    reason_code: str
    reason: str
    release_hash: Digest32
    rollback_release_hash: Digest32 | None = None
    weights: dict[str, int]
    """Release name → percent as read back afterwards."""
    artifacts: dict[str, Digest32]
    configs: dict[str, Digest32]
    health: str
    """verified, unverified or unhealthy."""
    health_detail: str
    health_snapshot_hash: Digest32 | None = None
    outcome: str
    finished_at: Utc


class DeploymentReport(Record):
    """The end of a run in one place."""

    schema_version: str = "lockstep.deployment-report.v1"
    tenant_id: str
    run_id: str
    operation: str
    service: str
    release_hash: Digest32
    sbom_hash: Digest32
    final_status: str
    code: str
    cause: str
    committed: bool
    trace_tail_hash: Digest32
    trace_final_hash: Digest32 | None = None
    """Absent only where the trace itself was lost (TRACE_MISSING)."""
    gate_report_hashes: list[Digest32]
    rollback_report_hashes: dict[str, Digest32]
    certificate_hash: Digest32 | None = None
    stages: list[dict[str, Any]]
    """Every look: stage, action, outcome, snapshot_hash, verdict_hash, and its window as started
    and ended."""
    epochs: dict[str, int]
    """Environment → lease epoch of this run there."""
    rollback_releases: dict[str, Digest32]
    """Environment → the release this run would have gone back to."""
    finished_at: Utc


class RecoveryReport(Record):
    """What a recovery found and did (spec bytes §6)."""

    schema_version: str = "lockstep.recovery-report.v1"
    tenant_id: str
    run_id: str
    action: str
    detail: str
    recovered_at: Utc
