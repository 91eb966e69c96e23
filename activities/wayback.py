"""The way back: traffic to the rollback release, read back, its health, then the report.

Lowering exposure needs no proof and is blocked by nothing (spec rollout, first law): not by a
freeze, a stale record, missing metrics, or another run's lease, which a fresh epoch fences.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from temporalio import activity

from activities import tracing
from activities.bench import MICROS, Bench
from activities.calls import step
from activities.in_use import bring_up, expected_digests, release_name
from activities.moving import check_runs_exactly, confirm, shielded
from lockstep import determinism, operators, utc
from lockstep.digest import from_text, to_text
from lockstep.errors import LockstepError, RefusedError, UnavailableError
from lockstep.gates.numbers import error_rate
from lockstep.ledger import Current, SafeState, TargetRecord, rolled_back
from lockstep.messages import (
    BeginRollbackRequest,
    BeginRollbackResult,
    MoveBackRequest,
    RollbackResult,
)
from lockstep.ports import Selection, Target, TargetState
from lockstep.profile import EnvironmentSpec
from lockstep.reports import RollbackReport
from lockstep.trace import iter_record, run_header

# Long enough for tens of requests of a small service, short beside any bake.
HEALTH_WINDOW_S = 2.0
HEALTH_PAUSE_S = 1.0
RETENTION_NUMBERS = 3 * 10**12


@dataclass(frozen=True)
class Health:
    word: str
    """verified, unverified (nothing to judge by) or unhealthy."""
    detail: str


@dataclass(frozen=True)
class BeginRollbackActivities:
    """On the control worker: which release to go back to, under which epoch."""

    bench: Bench

    @activity.defn(name="rollback.begin")
    @step
    def begin(self, request: BeginRollbackRequest) -> BeginRollbackResult:
        """Safe to retry: a lease seized before is kept, and the log's first record is the same."""
        bench, run = self.bench, request.run
        bench.own(run)
        ledger = bench.ledger
        current = ledger.current(request.environment, run.service)
        wanted = from_text(request.only_if_serving) if request.only_if_serving else None
        if wanted is not None and (current is None or current.serving != wanted):
            return BeginRollbackResult(
                outcome="superseded",
                detail=f"{request.environment} serves another release by now",
                cursor=request.cursor,
            )
        policy = bench.policy(run)
        to, withdraw = self._choose(request, current)
        lease = ledger.seize(request.environment, run.service, run.run_id, policy.rollback_max_s)
        cursor = request.cursor
        if request.own_run:
            cursor = self._open_run(request, withdraw)
        return BeginRollbackResult(
            outcome="begin",
            epoch=lease.epoch,
            to=to_text(to) if to else None,
            withdraw=to_text(withdraw),
            rollback_max_s=policy.rollback_max_s,
            cursor=cursor,
        )

    def _choose(
        self, request: BeginRollbackRequest, current: Current | None
    ) -> tuple[bytes | None, bytes]:
        """(release to go back to, release that is left).

        Raises:
            RefusedError: ROLLBACK_TARGET_MISSING, ROLLBACK_REF_STALE or NO_SAFE_TARGET.
        """
        run = request.run
        if not request.own_run:
            to = from_text(request.to) if request.to else None
            return to, from_text(run.release_hash)
        if current is None or current.serving is None:
            raise RefusedError("ROLLBACK_TARGET_MISSING", f"nothing serves {run.service}")
        record = self._record(request)
        left = exposed_canary(current, record) or current.serving
        if request.to is not None:
            to = from_text(request.to)
        elif left != current.last_good:
            to = current.last_good
        else:
            to = record.stable_release if record else None
        if to is None:
            raise RefusedError("NO_SAFE_TARGET", f"no release before {left.hex()[:12]} is known")
        if to in current.withdrawn:
            raise RefusedError(
                "ROLLBACK_REF_STALE", f"{to.hex()[:12]} was itself withdrawn", hint="name another"
            )
        if to == left:
            raise RefusedError("ROLLBACK_REF_STALE", f"{to.hex()[:12]} is what serves already")
        return to, left

    def _record(self, request: BeginRollbackRequest) -> TargetRecord | None:
        spec = self.bench.environment(request.run, request.environment)
        return self.bench.ledger.target(spec.name, request.run.service, spec.targets[0].name)

    def _open_run(self, request: BeginRollbackRequest, withdraw: bytes) -> Any:
        """An operator's rollback has a log and a trace of its own."""
        bench, run = self.bench, request.run
        header = run_header(
            tenant_id=run.tenant_id,
            run_id=run.run_id,
            replay_token=from_text(run.replay_token),
            release_hash=from_text(run.release_hash),
            env=[request.environment],
            policy_bundle_hash=from_text(run.policy_bundle_hash),
            operator_contracts_root_hash=operators.root_hash(),
            determinism_profile_hash=determinism.profile_hash(),
            env_manifest_hash=from_text(run.env_manifest_hash),
        )
        cursor = tracing.append(bench, run, tracing.empty_cursor(), [header])
        bench.wal(run.run_id).append(
            "PREPARE",
            {
                "operation": "rollback",
                "attempt": run.attempt,
                "environments": [request.environment],
                "service": run.service,
                "release_hash": from_text(run.release_hash),
                "withdraw": withdraw,
                "policy_bundle_hash": from_text(run.policy_bundle_hash),
                "env_manifest_hash": from_text(run.env_manifest_hash),
                "reason": request.reason,
            },
        )
        return cursor


def exposed_canary(current: Current, record: TargetRecord | None) -> bytes | None:
    """The release of a rollout under way here, which a rollback by an operator leaves."""
    if record is None or record.canary_release is None or record.desired_weight == 0:
        return None
    return record.canary_release if record.canary_release != current.last_good else None


@dataclass(frozen=True)
class MoveBackActivities:
    """On the environment's worker: the traffic itself."""

    bench: Bench

    @activity.defn(name="rollback.move")
    @step
    def move_back(self, request: MoveBackRequest) -> RollbackResult:
        """Safe to retry: weights are absolute and every later step finds its own traces."""
        bench, run = self.bench, request.run
        bench.own(run, request.environment)
        spec = bench.environment(run, request.environment)
        to = from_text(request.to) if request.to else None
        target = bench.target(spec)
        try:
            bench.ledger.hold_or_given_back(
                spec.name,
                run.service,
                run.run_id,
                request.epoch,
                until_s=request.rollback_max_s + spec.lease_s,
            )
        except UnavailableError:
            # The store is away, but the target itself still holds this epoch: exposure is lowered
            # now, and a later attempt writes down that it was.
            self._lower_without_records(request, target, to)
            raise
        target.fence(request.epoch)
        weights = self._move(request, spec, target, to)
        health = self._health(request, spec, to)
        gone = from_text(request.withdraw)
        if health.word != "unhealthy" and gone != to:
            target.retire(gone.hex(), request.epoch)
        report = self._report(request, spec, to, weights, health)
        return self._finish(request, spec, to, gone, report, health)

    def _lower_without_records(
        self, request: MoveBackRequest, target: Target, to: bytes | None
    ) -> None:
        """All traffic to the rollback release where it runs and this epoch is the target's own."""
        state = target.state()
        gone = from_text(request.withdraw)
        held = state.fence_epoch == request.epoch
        if held and to is not None and to != gone and state.of(to.hex()) is not None:
            with shielded():
                target.shift({gone.hex(): 0, to.hex(): 100}, request.epoch)

    def _move(
        self,
        request: MoveBackRequest,
        spec: EnvironmentSpec,
        target: Target,
        to: bytes | None,
    ) -> Mapping[str, int]:
        """Record the intent, move, read back, record that it is done."""
        gone = from_text(request.withdraw).hex()
        if to is not None and target.state().of(to.hex()) is None:
            target.prepare(bring_up(self.bench, to), request.epoch)
        # A first release goes back to weight 0: nobody served before it. Where the release that
        # is left is the one to go back to, it carries everything.
        weights = {gone: 0} | ({to.hex(): 100} if to is not None else {})
        running = {instance.release for instance in target.state().instances}
        weights = {name: weight for name, weight in weights.items() if name in running}
        self._announce(request, spec, to, "intent")
        with shielded():
            if weights:
                target.shift(weights, request.epoch)
            state = self._confirmed(request, target, weights)
        if to is not None:
            instance = state.of(to.hex())
            if instance is None:
                raise UnavailableError("SHIFT_UNCONFIRMED", f"{to.hex()[:12]} vanished")
            wanted = expected_digests(self.bench, spec.name, request.run.service, to)
            check_runs_exactly(instance, *wanted)
        self._announce(request, spec, to, "done")
        return {i.release: i.weight for i in state.instances}

    def _confirmed(
        self, request: MoveBackRequest, target: Target, weights: Mapping[str, int]
    ) -> TargetState:
        """Read back; after ``rollback_max_s`` an unhealthy target is a failure, not a wait.

        Raises:
            RefusedError: ROLLBACK_FAILED. A target out of reach is waited for without end.
        """
        try:
            return confirm(target, dict(weights))
        except UnavailableError as error:
            if error.code == "SHIFT_UNCONFIRMED" and self._seconds_left(request) <= 0:
                raise RefusedError("ROLLBACK_FAILED", error.cause) from None
            raise

    def _seconds_left(self, request: MoveBackRequest) -> float:
        """Of ``rollback_max_s``, counted from when the way back was asked for."""
        begun_s = self.bench.now_us() / MICROS
        if activity.in_activity():
            begun_s = activity.info().scheduled_time.timestamp()
        return begun_s + request.rollback_max_s - self.bench.now_us() / MICROS

    def _announce(
        self, request: MoveBackRequest, spec: EnvironmentSpec, to: bytes | None, phase: str
    ) -> None:
        def change(_: TargetRecord | None) -> TargetRecord:
            return TargetRecord(
                desired_weight=0,
                owner_run=request.run.run_id,
                epoch=request.epoch,
                stable_release=to,
                canary_release=from_text(request.withdraw),
                safe_state=SafeState(release=to, weight=100 if to else 0),
                phase=phase,
                write_id="-",
            )

        self.bench.ledger.set_target(
            spec.name, request.run.service, spec.targets[0].name, request.epoch, change
        )

    def _health(self, request: MoveBackRequest, spec: EnvironmentSpec, to: bytes | None) -> Health:
        """The rollback release's own health, until it is good or ``rollback_max_s`` has passed."""
        if to is None:
            return Health("verified", "nothing serves, as before the first release")
        give_up = time.monotonic() + self._seconds_left(request)
        while True:
            health = self._look(request, spec, to)
            if health.word != "unhealthy" or time.monotonic() > give_up:
                return health
            time.sleep(HEALTH_PAUSE_S)

    def _look(self, request: MoveBackRequest, spec: EnvironmentSpec, to: bytes) -> Health:
        """One fresh window of the rollback release: its errors, by strict-v1's limit."""
        source = self.bench.source(spec)
        selection = Selection(
            spec.name, request.run.service, release_name(request.withdraw), to.hex()
        )
        start_us = self.bench.now_us()
        try:
            opened = list(source.open(selection))
            time.sleep(HEALTH_WINDOW_S)
            closed = list(source.close(selection, start_us, self.bench.now_us()))
            sides = source.parse(selection, opened, closed)
        except LockstepError as error:
            return Health("unverified", f"read back and healthy at the target; {error}"[:300])
        side = sides.baseline or {"requests": 0, "errors": 0}
        requests, errors = side["requests"], side["errors"]
        if requests == 0:
            return Health("unverified", "read back and healthy at the target; no traffic to judge")
        verdict = error_rate(errors, requests)
        word = "verified" if verdict == "pass" else "unhealthy"
        return Health(word, f"{errors} errors of {requests} requests since the way back")

    def _report(
        self,
        request: MoveBackRequest,
        spec: EnvironmentSpec,
        to: bytes | None,
        weights: Mapping[str, int],
        health: Health,
    ) -> RollbackReport:
        run = request.run
        artifacts, configs = (
            expected_digests(self.bench, spec.name, run.service, to) if to else ({}, {})
        )
        return RollbackReport(
            tenant_id=run.tenant_id,
            run_id=run.run_id,
            service=run.service,
            environment=spec.name,
            epoch=request.epoch,
            reason_code=request.reason_code,
            reason=request.reason,
            release_hash=from_text(request.withdraw),
            rollback_release_hash=to,
            weights=dict(weights),
            artifacts=artifacts,
            configs=configs,
            health=health.word,
            health_detail=health.detail,
            outcome="failed" if health.word == "unhealthy" else "rolled_back",
            finished_at=utc.from_seconds(self.bench.now_us() // MICROS),
        )

    def _finish(
        self,
        request: MoveBackRequest,
        spec: EnvironmentSpec,
        to: bytes | None,
        gone: bytes,
        report: RollbackReport,
        health: Health,
    ) -> RollbackResult:
        """Report and trace first, then the pointer, and the lease last of all."""
        bench, run = self.bench, request.run
        body = report.to_bytes()
        record = iter_record(
            t=request.cursor.t,
            stage=f"{spec.name}/rollback",
            action="rollback",
            operator_id=operators.ROLLBACK,
            operator_seq=request.cursor.t,
            status="ok" if health.word != "unhealthy" else "failed",
            evidence={"rollback_report": report.digest()},
        )
        cursor = tracing.append(bench, run, request.cursor, [record], [body])
        good = health.word != "unhealthy"
        if good:
            bench.ledger.set_current(
                spec.name,
                run.service,
                request.epoch,
                lambda current: current if gone == to else rolled_back(current, to, gone),
            )
            bench.ledger.free(spec.name, run.service, run.run_id, request.epoch)
        return RollbackResult(
            status=health.word if good else "failed",
            code="" if good else "ROLLBACK_FAILED",
            detail=health.detail,
            report=to_text(report.digest()),
            cursor=cursor,
            to=request.to,
        )
