"""acquire, wait, hold: the lease of an environment and the promotion gate before it.

Lease and gate are one activity, so that nobody holds an environment it may not enter. The gate is
the core's pure verification over bytes read now (spec rollout §6).
"""

import time
from contextlib import suppress
from dataclasses import dataclass

from temporalio import activity

from activities import tracing
from activities.bench import Bench
from activities.calls import step
from activities.certifying import verify_for
from lockstep.digest import to_text
from lockstep.errors import DataError, FencedError
from lockstep.ledger import Busy, Lease, lapsed
from lockstep.messages import (
    AcquireRequest,
    AcquireResult,
    Done,
    HoldRequest,
    RunContext,
    WaitForLeaseRequest,
)
from lockstep.operators import ROLLOUT
from lockstep.trace import iter_record

POLL_S = 0.5
# A waiter that died must not block those behind it: each place waits this long for its turn.
TURN_S = 3.0


@dataclass(frozen=True)
class LeaseActivities:
    bench: Bench

    @activity.defn(name="environment.acquire")
    @step
    def acquire(self, request: AcquireRequest) -> AcquireResult:
        """Safe to retry: a lease that this run took is found, not taken again."""
        bench, run = self.bench, request.run
        bench.own(run)
        spec = bench.environment(run, request.environment)
        self._check_order(request)
        lease = bench.ledger.take(
            spec.name, run.service, run.run_id, spec.lease_s, f"{run.run_id}-{spec.name}"
        )
        if isinstance(lease, Busy):
            return AcquireResult(
                outcome="busy",
                code="LEASE_BUSY",
                detail=f"run {lease.holder} holds it until {lease.deadline}",
            )
        try:
            verified = verify_for(bench, run)
        except DataError:
            # Nobody holds what he may not enter, also where the evidence cannot even be read.
            bench.ledger.free(spec.name, run.service, run.run_id, lease.epoch)
            raise
        if verified.outcome != "pass":
            bench.ledger.free(spec.name, run.service, run.run_id, lease.epoch)
            first = next(check for check in verified.checks if check.outcome != "pass")
            return AcquireResult(
                outcome="stale" if verified.outcome == "stale" else "refused",
                code=first.code or "EQUALITY_FAILED",
                detail=f"{first.name}: {first.detail}"[:600],
            )
        current = bench.ledger.current(spec.name, run.service)
        report = verified.report
        record = iter_record(
            t=request.cursor.t,
            stage=f"{spec.name}/promote",
            action="promote",
            operator_id=ROLLOUT,
            operator_seq=request.cursor.t,
            status="ok",
            evidence={"trust_report": report.digest()},
        )
        cursor = tracing.append(bench, run, request.cursor, [record], [report.to_bytes()])
        return AcquireResult(
            outcome="acquired",
            epoch=lease.epoch,
            rollback_release=to_text(current.last_good) if current and current.last_good else None,
            baseline_release=to_text(current.serving) if current and current.serving else None,
            trust_report=to_text(report.digest()),
            cursor=cursor,
        )

    def _check_order(self, request: AcquireRequest) -> None:
        """Every earlier environment passed *in this run*, by its trace, not by anyone's word.

        Raises:
            DataError: PLAN_MISMATCH, naming the environment that did not pass.
        """
        names = self.bench.profile(request.run).names()
        earlier = names[: names.index(request.environment)]
        policy = self.bench.policy(request.run)
        passed = {
            look["stage"]
            for look in tracing.looks_of(tracing.load(self.bench, request.cursor))
            if look["gate_result"] == "PASS"
        }
        for name in earlier:
            judged = [p for p in policy.cohorts_for(name) if p > 0]
            missing = [p for p in judged if f"{name}/{p}" not in passed]
            if missing or name not in request.passed:
                raise DataError(
                    "PLAN_MISMATCH",
                    f"{request.environment} was asked for before {name} passed in this run",
                )

    @activity.defn(name="environment.wait")
    @step
    def wait(self, request: WaitForLeaseRequest) -> Done:
        """Return when the lease can be taken. Safe to retry: standing in line twice is once."""
        bench, run = self.bench, request.run
        bench.own(run)
        bench.ledger.wait(request.environment, run.service, run.run_id)
        free_since: float | None = None
        try:
            while True:
                lease, _ = bench.ledger.lease(request.environment, run.service)
                if lease is None:
                    return Done()
                if lease.state == "free" or lapsed(lease, bench.store.now()):
                    free_since = free_since or time.monotonic()
                    if time.monotonic() - free_since >= TURN_S * _place(lease, run.run_id):
                        # It leaves the line by taking the lease: until then nobody passes it.
                        return Done()
                else:
                    free_since = None
                time.sleep(POLL_S)
        except BaseException:
            bench.ledger.unwait(request.environment, run.service, run.run_id)
            raise

    @activity.defn(name="environment.hold")
    @step
    def hold(self, request: HoldRequest) -> Done:
        """Renew the lease, as waiting where a person is awaited, or give it back."""
        bench, run = self.bench, request.run
        bench.own(run)
        if request.free:
            self._give_back(run, request)
            return Done()
        spec = bench.environment(run, request.environment)
        until_s = spec.lease_s + (HOLD_RENEWAL_S if request.waiting else 0)
        bench.ledger.hold(
            spec.name,
            run.service,
            run.run_id,
            request.epoch,
            until_s=until_s,
            state="waiting" if request.waiting else "active",
        )
        return Done()

    def _give_back(self, run: RunContext, request: HoldRequest) -> None:
        """Free the lease and leave the line; epoch 0 stands for whatever this run holds."""
        ledger, name = self.bench.ledger, request.environment
        ledger.unwait(name, run.service, run.run_id)
        lease, _ = ledger.lease(name, run.service)
        if lease is None or lease.holder != run.run_id:
            return
        if request.epoch in (0, lease.epoch):
            with suppress(FencedError):  # a newer owner has it by now
                ledger.free(name, run.service, run.run_id, lease.epoch)


HOLD_RENEWAL_S = 3_600
"""The workflow renews a waiting lease hourly (spec rollout §7)."""


def _place(lease: Lease, run_id: str) -> int:
    return lease.waiters.index(run_id) if run_id in lease.waiters else 0
