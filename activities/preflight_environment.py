"""Preflight of one environment, by its own worker: target, source, lease. It reads only."""

from collections.abc import Callable
from dataclasses import dataclass

from temporalio import activity

from activities.bench import MICROS, Bench
from activities.calls import step
from activities.checks import not_configured, run_check
from activities.in_use import expected_digests
from activities.moving import check_runs_exactly, drift
from lockstep import messages as m
from lockstep.digest import from_text, to_text
from lockstep.errors import DataError, RefusedError
from lockstep.ledger import lapsed
from lockstep.messages import (
    CheckOutcome,
    CheckResult,
    PreflightEnvironmentRequest,
    PreflightEnvironmentResult,
    RunContext,
)
from lockstep.ports import Selection
from lockstep.profile import EnvironmentSpec

LAST_MINUTE_US = 60 * MICROS
CHECKS_NUMBERS = 4 * 10**12
"""Retention numbers of stored checks lie apart from those of the trace's steps."""


@dataclass(frozen=True)
class EnvironmentPreflight:
    bench: Bench

    @activity.defn(name="preflight.environment")
    @step
    def preflight_environment(
        self, request: PreflightEnvironmentRequest
    ) -> PreflightEnvironmentResult:
        """Safe to retry: nothing is touched, and what is written is named by its digest."""
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
            run_check("rollback_target", lambda: self._rollback_target(run, spec), name),
            run_check("target_reachable", lambda: self._reachable(spec), name),
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
                checks.append(run_check(check, judge, name))
        held = f"run {lease.holder} until {lease.deadline}" if busy else "free"
        outcome = CheckOutcome.DEFERRED if busy else CheckOutcome.PASS
        checks.append(run_check("lease", lambda: self._lease(run, spec, busy, held), name, outcome))
        checks.append(not_configured("windows", "the profile names no windows", name))
        body = m.EnvironmentChecks(checks=tuple(checks)).model_dump_json().encode()
        digest = bench.cas.put_all([body], run.run_id, CHECKS_NUMBERS, now_us=bench.now_us())[0]
        return PreflightEnvironmentResult(checks=to_text(digest))

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
        # The release to come is asked about as the canary it will be; judged is what runs.
        canary = from_text(run.release_hash).hex()
        selection = Selection(spec.name, run.service, canary, current.serving.hex())
        opened = list(source.open(selection))
        closed = opened or list(source.close(selection, now_us - LAST_MINUTE_US, now_us))
        side = source.parse(selection, opened or closed, closed).baseline
        if side is None or "latency" not in side:
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
