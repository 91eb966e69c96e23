"""Preflight: everything that can be known before any target is touched (spec rollout §2).

Each environment's own worker looks at its target and source; the control worker judges the rest,
writes the report, and only when all is well the rollout manifest and the log's first record. All
checks run and all are reported; one that has nothing to check with says ``not_configured``.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from temporalio import activity

from activities import tracing
from activities.bench import MICROS, Bench
from activities.calls import step
from activities.certifying import authorise_start, rollout_key, verify_for
from activities.in_use import expected_digests
from activities.moving import check_runs_exactly, drift
from lockstep import determinism, operators, utc
from lockstep.digest import from_text, sha256, to_text
from lockstep.error_codes import exit_of
from lockstep.errors import DataError, Exit, LockstepError, RefusedError
from lockstep.ledger import lapsed
from lockstep.messages import (
    CheckOutcome,
    CheckResult,
    EnvironmentPlan,
    PreflightEnvironmentRequest,
    PreflightEnvironmentResult,
    PreflightRequest,
    PreflightResult,
    RunContext,
)
from lockstep.plan import resolve_plan
from lockstep.policy import Policy
from lockstep.ports import Selection
from lockstep.profile import EnvironmentProfile, EnvironmentSpec
from lockstep.release.manifest import Manifest
from lockstep.reports import PreflightReport, RolloutManifest
from lockstep.trace import iter_record, run_header
from lockstep.trust.verify import TrustReport

FAILURES_SHOWN = 5
LAST_MINUTE_US = 60 * MICROS

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


def _check(
    name: str, judge: Callable[[], str], environment: str = "", outcome: CheckOutcome | None = None
) -> CheckResult:
    """Run one check: its detail when it holds, its code and cause when it does not."""
    try:
        detail = judge()
    except LockstepError as error:
        return CheckResult(
            name=name,
            outcome=CheckOutcome.FAIL,
            code=error.code,
            detail=f"{error.place} {error.cause}".strip()[:600],
            environment=environment,
        )
    return CheckResult(
        name=name,
        outcome=outcome or CheckOutcome.PASS,
        detail=detail[:600],
        environment=environment,
    )


def _not_configured(name: str, why: str, environment: str = "") -> CheckResult:
    return CheckResult(
        name=name, outcome=CheckOutcome.NOT_CONFIGURED, detail=why, environment=environment
    )


@dataclass(frozen=True)
class EnvironmentPreflight:
    """On the environment's worker: its target, its source, its lease. Reads only."""

    bench: Bench

    @activity.defn(name="preflight.environment")
    @step
    def preflight_environment(
        self, request: PreflightEnvironmentRequest
    ) -> PreflightEnvironmentResult:
        bench, run = self.bench, request.run
        bench.own(run, request.environment)
        spec = bench.environment(run, request.environment)
        name = spec.name
        lease, _ = bench.ledger.lease(name, run.service)
        busy = (
            lease is not None
            and lease.state != "free"
            and lease.holder != run.run_id
            and not lapsed(lease, bench.store.now())
        )
        checks = [
            _check("rollback_target", lambda: self._rollback_target(run, spec), name),
            _check("target_reachable", lambda: self._reachable(spec), name),
        ]
        reachable = checks[-1].outcome is CheckOutcome.PASS
        later: tuple[tuple[str, Callable[[], str]], ...] = (
            ("target_state", lambda: self._state(run, spec)),
            ("metrics", lambda: self._metrics(run, spec)),
            ("capacity", lambda: self._capacity(run, spec)),
        )
        for check, judge in later:
            if busy:
                detail = f"run {lease.holder} holds the lease: checked when it is taken"
                checks.append(
                    CheckResult(
                        name=check, outcome=CheckOutcome.DEFERRED, detail=detail, environment=name
                    )
                )
            elif reachable or check == "metrics":
                checks.append(_check(check, judge, name))
        held = f"run {lease.holder} until {lease.deadline}" if busy else "free"
        outcome = CheckOutcome.DEFERRED if busy else CheckOutcome.PASS
        checks.append(_check("lease", lambda: self._lease(run, spec, busy, held), name, outcome))
        checks.append(_not_configured("windows", "the profile names no windows", name))
        return PreflightEnvironmentResult(checks=tuple(checks))

    def _lease(self, run: RunContext, spec: EnvironmentSpec, busy: bool, held: str) -> str:
        if busy and self.bench.policy(run).concurrency == "refuse":
            raise RefusedError("LEASE_BUSY", f"{spec.name} is held by {held}")
        return held

    def _rollback_target(self, run: RunContext, spec: EnvironmentSpec) -> str:
        """The release to go back to exists and what it is made of is at hand."""
        current = self.bench.ledger.current(spec.name, run.service)
        if current is None or current.last_good is None:
            if self._serves_unadopted(spec):
                raise RefusedError(
                    "ADOPT_FIRST", f"{run.service} serves in {spec.name} and was never adopted"
                )
            if self.bench.policy(run).first_release != "allow":
                raise RefusedError(
                    "FIRST_RELEASE_REFUSED", f"no release was ever committed in {spec.name}"
                )
            return "first release: back to weight 0"
        artifacts, configs = expected_digests(self.bench, spec.name, run.service, current.last_good)
        return (
            f"{current.last_good.hex()[:12]} with {len(artifacts)} artefacts "
            f"and {len(configs)} configurations"
        )

    def _serves_unadopted(self, spec: EnvironmentSpec) -> bool:
        return any(i.weight > 0 for i in self.bench.target(spec).state().instances)

    def _reachable(self, spec: EnvironmentSpec) -> str:
        target = self.bench.target(spec)
        state = target.state()
        return f"{target.kind}, {len(state.instances)} instances, fence {state.fence_epoch}"

    def _state(self, run: RunContext, spec: EnvironmentSpec) -> str:
        """What carries the traffic is the expected release, by its digests."""
        state = self.bench.target(spec).state()
        current = self.bench.ledger.current(spec.name, run.service)
        serving = current.serving if current else None
        problem = drift(state, serving.hex() if serving else None)
        if problem:
            raise RefusedError("TARGET_DRIFT", problem)
        if serving is None:
            return "serves nothing, as recorded"
        wanted = expected_digests(self.bench, spec.name, run.service, serving)
        instance = state.of(serving.hex())
        if instance is not None:
            check_runs_exactly(instance, *wanted)
        return f"{serving.hex()[:12]} carries 100 %"

    def _metrics(self, run: RunContext, spec: EnvironmentSpec) -> str:
        """Every query returns data for the release that runs now."""
        source = self.bench.source(spec)
        current = self.bench.ledger.current(spec.name, run.service)
        if current is None or current.serving is None:
            return "nothing serves yet: no series to expect"
        now_us = self.bench.now_us()
        selection = Selection(spec.name, run.service, current.serving.hex(), None)
        opened = list(source.open(selection))
        closed = opened or list(source.close(selection, now_us - LAST_MINUTE_US, now_us))
        side = source.parse(selection, opened or closed, closed).canary
        if "latency" not in side:
            raise DataError("SOURCE_INVALID", f"no series of {current.serving.hex()[:12]}")
        return f"{source.kind}, {len(closed)} answers"

    def _capacity(self, run: RunContext, spec: EnvironmentSpec) -> str:
        current = self.bench.ledger.current(spec.name, run.service)
        if current is None or current.serving is None:
            return "nothing serves yet"
        reason = self.bench.target(spec).capacity(current.serving.hex(), 100)
        if reason is not None:
            raise RefusedError("CAPACITY", reason)
        return "the serving release can carry all of it"


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
        checks = [*request.checks]
        try:
            trust = verify_for(bench, run).report
            checks += _trust_checks(trust)
        except LockstepError as error:
            checks.append(_check("objects", _raiser(error)))
        checks.append(
            _check("policy_and_profile", lambda: self._plan_matches(request, policy, profile))
        )
        checks.append(_check("authorisation", lambda: authorise_start(bench, run).require().reason))
        checks.append(_check("secrets", self._secrets))
        checks.append(
            _not_configured("rotation_record", "key rotation is not part of this version")
        )
        checks.append(_check("migrations", lambda: self._migrations(run, policy)))
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
        if wal.read().records:
            return  # PREPARE stands: this is a retry, and a later record may stand after it
        wal.append(
            "PREPARE",
            {
                "operation": "rollout",
                "environments": profile.names(),
                "service": run.service,
                "release_hash": from_text(run.release_hash),
                "policy_bundle_hash": from_text(run.policy_bundle_hash),
                "env_manifest_hash": from_text(run.env_manifest_hash),
                "rollout_manifest_hash": manifest.digest(),
            },
        )

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


def _raiser(error: LockstepError) -> Callable[[], str]:
    def judge() -> str:
        raise error

    return judge


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
