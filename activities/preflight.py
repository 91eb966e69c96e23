"""Preflight: everything that can be known before any target is touched (spec rollout §2).

Each environment's own worker looks at its target and source; the control worker judges the rest,
writes the report, and only when all is well the rollout manifest and the log's first record. All
checks run and all are reported; one that has nothing to check with says ``not_configured``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from temporalio import activity

from activities import tracing
from activities.bench import MICROS, Bench
from activities.calls import step
from activities.certifying import authorise_start, rollout_key, verify_for
from activities.checks import not_configured, run_check
from lockstep import determinism, operators, utc
from lockstep.digest import from_text, sha256, to_text
from lockstep.error_codes import exit_of
from lockstep.errors import DataError, Exit, LockstepError, RefusedError
from lockstep.messages import (
    CheckOutcome,
    CheckResult,
    EnvironmentChecks,
    EnvironmentPlan,
    PreflightRequest,
    PreflightResult,
    RunContext,
)
from lockstep.plan import resolve_plan
from lockstep.policy import Policy
from lockstep.profile import EnvironmentProfile
from lockstep.release.manifest import Manifest
from lockstep.reports import PreflightReport, RolloutManifest
from lockstep.trace import iter_record, run_header
from lockstep.trust.verify import TrustReport

FAILURES_SHOWN = 5

# Names of a trust report's checks → the preflight check they belong to, in preflight's order.
TRUST_CHECKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("schemas", ("certificate_fields", "manifest", "policy")),
    ("objects", ("evidence", "lineage")),
    (
        "certificate",
        (
            "trust_root",
            "trust_pin",
            "trust_root_fresh",
            "revocations_current",
            "revocations_fresh",
            "revocations_pinned",
            "certificate_signature",
            "key_window",
            "revocation",
            "certificate_window",
            "authorisation",
            "qualification",
            "approvals",
        ),
    ),
    ("dependency_lock", ("bound_hashes",)),
    ("checkpoint_compatibility", ("checkpoint",)),
    ("equalities", ("equalities",)),
)
FIXED_ORDER = (
    "schemas",
    "objects",
    "certificate",
    "dependency_lock",
    "checkpoint_compatibility",
    "equalities",
    "policy_and_profile",
    "authorisation",
    "rollback_target",
    "target_reachable",
    "target_state",
    "metrics",
    "capacity",
    "secrets",
    "rotation_record",
    "migrations",
    "lease",
    "windows",
)
"""The order of the report; within one check, the profile's order of environments."""


@dataclass(frozen=True)
class RunPreflight:
    """On the control worker: evidence, policy, order; then the report and PREPARE."""

    bench: Bench

    @activity.defn(name="preflight.run")
    @step
    def preflight_run(self, request: PreflightRequest) -> PreflightResult:
        """Safe to retry: the report is content-addressed and PREPARE is found again."""
        bench, run = self.bench, request.run
        bench.own(run)
        policy, profile = bench.policy(run), bench.profile(run)
        trust: TrustReport | None = None
        checks = [*request.unanswered, *self._checked(request)]
        try:
            trust = verify_for(bench, run).report
            checks += _trust_checks(trust)
        except (DataError, RefusedError) as error:
            checks += _unjudged(error)
        checks.append(
            run_check("policy_and_profile", lambda: self._plan_matches(request, policy, profile))
        )
        checks.append(
            run_check("authorisation", lambda: authorise_start(bench, run).require().reason)
        )
        checks.append(run_check("secrets", self._secrets))
        checks.append(not_configured("rotation_record", "key rotation is not part of this version"))
        checks.append(run_check("migrations", lambda: self._migrations(run, policy)))
        ordered = _ordered(checks, profile.names())
        failed = [check for check in ordered if check.outcome is CheckOutcome.FAIL]
        rollback = self._rollback_releases(run, profile)
        plan = resolve_plan(policy, profile)
        manifest = self._rollout_manifest(run, plan)
        report, authz = self._report(run, trust, manifest, ordered, failed), None
        objects = [report.to_bytes()] + ([trust.to_bytes()] if trust else [])
        if failed or request.dry_run:
            bench.cas.put_all(objects, owner=run.run_id, seq=0, now_us=bench.now_us())
            return PreflightResult(
                passed=not failed,
                exit_code=_exit_code(failed),
                report=to_text(report.digest()),
                failures=tuple(failed[:FAILURES_SHOWN]),
                rollback_releases=rollback,
            )
        objects.append(manifest.to_bytes())
        authz = authorise_start(bench, run)
        return self._begin(run, profile, plan, report, trust, manifest, objects, rollback, authz)

    def _begin(
        self,
        run: RunContext,
        profile: EnvironmentProfile,
        plan: Sequence[Any],
        report: PreflightReport,
        trust: TrustReport | None,
        manifest: RolloutManifest,
        objects: Sequence[bytes],
        rollback: dict[str, str],
        authz: Any,
    ) -> PreflightResult:
        """Passed: the trace's first segment, then PREPARE, which names the rollout manifest."""
        bench = self.bench
        evidence = {
            "preflight_report": report.digest(),
            "rollout_manifest": manifest.digest(),
            "authz_decision": authz.decision_hash,
        }
        if trust is not None:
            evidence["trust_report"] = trust.digest()
        records = [
            run_header(
                tenant_id=run.tenant_id,
                run_id=run.run_id,
                replay_token=from_text(run.replay_token),
                release_hash=from_text(run.release_hash),
                env=profile.names(),
                policy_bundle_hash=from_text(run.policy_bundle_hash),
                operator_contracts_root_hash=operators.root_hash(),
                determinism_profile_hash=determinism.profile_hash(),
                env_manifest_hash=from_text(run.env_manifest_hash),
            ),
            iter_record(
                t=0,
                stage="preflight",
                action="preflight",
                operator_id=operators.PREFLIGHT,
                operator_seq=0,
                status="ok",
                evidence=evidence,
            ),
        ]
        cursor = tracing.append(bench, run, tracing.empty_cursor(), records, objects)
        self._prepare_log(run, profile, manifest)
        return PreflightResult(
            passed=True,
            report=to_text(report.digest()),
            cursor=cursor,
            plan=tuple(EnvironmentPlan(**asdict(environment)) for environment in plan),
            rollback_releases=rollback,
        )

    def _prepare_log(
        self, run: RunContext, profile: EnvironmentProfile, manifest: RolloutManifest
    ) -> None:
        wal = self.bench.wal(run.run_id)
        state = wal.read()
        if state.terminal:
            raise RefusedError("RUN_ENDED", f"run {run.run_id} ended in {state.last_type}")
        if state.records:
            return  # PREPARE stands: this is a retry, and a later record may stand after it
        wal.append(
            "PREPARE",
            {
                "operation": "rollout",
                "attempt": run.attempt,
                "environments": profile.names(),
                "service": run.service,
                "release_hash": from_text(run.release_hash),
                "policy_bundle_hash": from_text(run.policy_bundle_hash),
                "env_manifest_hash": from_text(run.env_manifest_hash),
                "rollout_manifest_hash": manifest.digest(),
            },
        )

    def _checked(self, request: PreflightRequest) -> Iterator[CheckResult]:
        """What the environments' own workers found."""
        for digest in request.checked:
            body = self.bench.cas.get(from_text(digest))
            yield from EnvironmentChecks.model_validate_json(body).checks

    # ---- the single checks ------------------------------------------------------------------

    def _plan_matches(
        self, request: PreflightRequest, policy: Policy, profile: EnvironmentProfile
    ) -> str:
        """Policy and profile are valid, agree, and are what the start named."""
        plan = resolve_plan(policy, profile)
        asked = [(queue.name, queue.task_queue) for queue in request.environments]
        if asked != [(environment.name, environment.task_queue) for environment in plan]:
            raise DataError("PLAN_MISMATCH", "the request's environments are not the profile's")
        if policy.service != request.run.service:
            raise DataError("PLAN_MISMATCH", f"the policy is for service {policy.service}")
        return ", ".join(f"{environment.name} {environment.cohorts}" for environment in plan)

    def _secrets(self) -> str:
        """The key that signs at the end must be at hand before anything begins."""
        return f"rollout certificate key {rollout_key(self.bench).key_id}"

    def _migrations(self, run: RunContext, policy: Policy) -> str:
        index = self.bench.ledger.release_index(from_text(run.release_hash))
        if index is None:
            raise DataError("OBJECT_MISSING", f"no release {run.release_hash}")
        manifest = Manifest.from_bytes(self.bench.cas.get(index.manifest_hash))
        blocked = manifest.forward_only()
        if blocked and policy.on_failure == "rollback":
            raise RefusedError(
                "MIGRATION_BLOCKED", f"{', '.join(blocked)} cannot be undone, on_failure: rollback"
            )
        return f"{len(manifest.migrations)} migrations, {len(blocked)} forward only"

    def _rollback_releases(self, run: RunContext, profile: EnvironmentProfile) -> dict[str, str]:
        found = {}
        for name in profile.names():
            current = self.bench.ledger.current(name, run.service)
            if current is not None and current.last_good is not None:
                found[name] = to_text(current.last_good)
        return found

    # ---- what is written --------------------------------------------------------------------

    def _rollout_manifest(self, run: RunContext, plan: Sequence[Any]) -> RolloutManifest:
        return RolloutManifest(
            rollout_id=run.run_id,
            tenant_id=run.tenant_id,
            service=run.service,
            release_hash=from_text(run.release_hash),
            cohorts={environment.name: list(environment.cohorts) for environment in plan},
            rollback_ref={environment.name: "last_good" for environment in plan},
            policy_bundle_hash=from_text(run.policy_bundle_hash),
            env_manifest_hash=from_text(run.env_manifest_hash),
            guard_conditions=[],
        )

    def _report(
        self,
        run: RunContext,
        trust: TrustReport | None,
        manifest: RolloutManifest,
        checks: Sequence[CheckResult],
        failed: Sequence[CheckResult],
    ) -> PreflightReport:
        return PreflightReport(
            tenant_id=run.tenant_id,
            run_id=run.run_id,
            service=run.service,
            release_hash=from_text(run.release_hash),
            policy_bundle_hash=from_text(run.policy_bundle_hash),
            env_manifest_hash=from_text(run.env_manifest_hash),
            trust_report_hash=sha256(trust.to_bytes()) if trust else None,
            rollout_manifest_hash=None if failed else manifest.digest(),
            checked_at=utc.from_seconds(self.bench.now_us() // MICROS),
            outcome="refused" if failed else "passed",
            checks=[_stored(check) for check in checks],
        )


def _unjudged(error: LockstepError) -> list[CheckResult]:
    """Evidence that cannot even be read: its objects fail, and nothing can be said of the rest."""

    def judge() -> str:
        raise error

    others = [name for name, _ in TRUST_CHECKS if name != "objects"]
    why = "cannot be judged: the release's objects cannot be read"
    return [run_check("objects", judge), *(not_configured(name, why) for name in others)]


def _stored(check: CheckResult) -> dict[str, Any]:
    kept = check.model_dump(mode="json")
    return {name: value for name, value in kept.items() if value != ""}


def _trust_checks(report: TrustReport) -> list[CheckResult]:
    """Preflight's evidence checks, each out of the trust report's finer ones."""
    by_name = {check.name: check for check in report.checks}
    results = []
    for name, parts in TRUST_CHECKS:
        found = [by_name[part] for part in parts if part in by_name]
        bad = next((check for check in found if check.outcome in ("fail", "stale")), None)
        if bad is not None:
            results.append(
                CheckResult(
                    name=name,
                    outcome=CheckOutcome.FAIL,
                    code=bad.code or "EVIDENCE_INVALID",
                    detail=f"{bad.name}: {bad.detail}"[:600],
                )
            )
        else:
            detail = "; ".join(f"{check.name} {check.outcome}" for check in found)
            results.append(CheckResult(name=name, outcome=CheckOutcome.PASS, detail=detail[:600]))
    return results


def _ordered(checks: Sequence[CheckResult], environments: Sequence[str]) -> list[CheckResult]:
    places = {name: index for index, name in enumerate(environments)}
    return sorted(checks, key=lambda c: (FIXED_ORDER.index(c.name), places.get(c.environment, -1)))


def _exit_code(failed: Sequence[CheckResult]) -> int:
    """3, or 8 where certificate or evidence is what was refused, or 9 for a busy lease."""
    exits = {exit_of(check.code) for check in failed}
    for code in (Exit.IN_THE_WAY, Exit.EVIDENCE_REFUSED):
        if code in exits:
            return int(code)
    return int(Exit.PREFLIGHT_REFUSED) if failed else int(Exit.DONE)
