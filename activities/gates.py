"""evaluate: freeze one metrics snapshot, judge it, and write what was decided and why.

The snapshot of a look is frozen once under a deterministic key: a retry finds it and never asks
the source again. The verdict is the core's, from those bytes and the policy's alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from temporalio import activity

from activities import tracing
from activities.bench import Bench
from activities.calls import step
from activities.in_use import release_name
from activities.moving import open_window
from lockstep import determinism
from lockstep.checkpoint import Checkpoint, Cursor, GateState
from lockstep.digest import from_text, sha256, to_text
from lockstep.errors import DataError, LockstepError, UnavailableError
from lockstep.gates.evaluate import GateReport, evaluate
from lockstep.gates.explain import one_line
from lockstep.gates.opening import Opening
from lockstep.gates.replay import recheck
from lockstep.gates.snapshot import Snapshot, assemble
from lockstep.ledger import served
from lockstep.messages import EvaluateRequest, EvaluateResult, GateOutcome
from lockstep.operators import GATES, ROLLOUT
from lockstep.ports import Answer, Selection, Sides, Source
from lockstep.profile import EnvironmentSpec
from lockstep.trace import iter_record

# A scrape this close to the planned edge stands for it; a later one moves the window's end.
EDGE_SLACK_US = 1_000_000
OPENING_NUMBERS = 2 * 10**12

NO_EVIDENCE = ("SOURCE_UNREACHABLE", "SOURCE_INVALID", "SCRAPE_GAP", "CLOCK_SKEW")
"""Reasons to have no snapshot: progress stops, nothing rolls back (spec rollout, second law)."""


@dataclass(frozen=True)
class GateActivities:
    bench: Bench

    @activity.defn(name="gate.evaluate")
    @step
    def evaluate(self, request: EvaluateRequest) -> EvaluateResult:
        """Safe to retry: the look's snapshot is found again, and all else follows from it."""
        bench, run = self.bench, request.run
        bench.own(run, request.environment)
        spec = bench.environment(run, request.environment)
        bench.ledger.hold_or_given_back(
            spec.name, run.service, run.run_id, request.epoch, until_s=request.lease_for_s
        )
        try:
            records = tracing.load(bench, request.cursor)
        except DataError as error:
            return _no_trace(request, error)
        try:
            bench.check_clock(spec)
            snapshot = self._frozen(request, spec, records)
        except LockstepError as error:
            if error.code not in NO_EVIDENCE:
                raise
            return self._unreachable(request, spec, error)
        policy_hash = from_text(run.policy_bundle_hash)
        report = evaluate(snapshot, bench.policy(run), policy_hash)
        return self._record(request, spec, records, snapshot, report)

    # ---- the snapshot -----------------------------------------------------------------------

    def _frozen(
        self, request: EvaluateRequest, spec: EnvironmentSpec, records: Sequence[dict[str, Any]]
    ) -> Snapshot:
        """The snapshot of this look: the one frozen before, or a new one, frozen now."""
        bench, run = self.bench, request.run
        where = (run.run_id, spec.name, request.percent, request.look)
        known = bench.ledger.look(*where)
        if known is not None:
            return Snapshot.from_bytes(bench.cas.get(known))
        source = bench.source(spec)
        selection = self._selection(request)
        opened, reached = self._opened(request)
        if not reached:
            raise UnavailableError("SOURCE_UNREACHABLE", "the window's opening was not captured")
        closed = list(source.close(selection, request.start_us, request.end_us))
        sides = source.parse(selection, opened, closed)
        answers = [*opened, *closed]
        snapshot = self._assemble(request, source, records, sides, answers)
        data = snapshot.to_bytes()
        bench.cas.put_all(
            [*(answer.body for answer in answers), data],
            owner=run.run_id,
            seq=OPENING_NUMBERS + request.cursor.t * tracing.BATCHES_PER_STEP,
            now_us=bench.now_us(),
        )
        digest = bench.ledger.put_look(*where, sha256(data))
        # Another attempt may have frozen first: the existing one wins, whoever wrote it.
        return snapshot if digest == sha256(data) else Snapshot.from_bytes(bench.cas.get(digest))

    def _selection(self, request: EvaluateRequest) -> Selection:
        baseline = request.baseline_release
        return Selection(
            environment=request.environment,
            service=request.run.service,
            canary=release_name(request.run.release_hash),
            baseline=release_name(baseline) if baseline else None,
        )

    def _opened(self, request: EvaluateRequest) -> tuple[list[Answer], bool]:
        cas = self.bench.cas
        opening = Opening.from_bytes(cas.get(from_text(request.opened)))
        answers = [
            Answer(query=answer.query, body=cas.get(answer.raw), at_us=answer.at_us)
            for answer in opening.answers
        ]
        return answers, opening.reached

    def _assemble(
        self,
        request: EvaluateRequest,
        source: Source,
        records: Sequence[dict[str, Any]],
        sides: Sides,
        answers: Sequence[Answer],
    ) -> Snapshot:
        run, cas = request.run, self.bench.cas
        replay = recheck(
            tracing.looks_of(records),
            cas.get,
            self.bench.policy(run),
            from_text(run.policy_bundle_hash),
        )
        late_us = max((answer.at_us for answer in answers), default=0) - request.end_us
        baseline, copied = self._baseline(request)
        return assemble(
            tenant_id=run.tenant_id,
            run_id=run.run_id,
            environment=request.environment,
            cohort_percent=request.percent,
            release_hash=from_text(run.release_hash),
            baseline_release_hash=baseline,
            start_us=request.start_us,
            end_us=request.end_us + (late_us if late_us > EDGE_SLACK_US else 0),
            source_kind=source.kind,
            parser_version=source.parser_version,
            queries=[f"{answer.query} at_us={answer.at_us}" for answer in answers],
            raw=[sha256(answer.body) for answer in answers],
            sides=sides,
            replay_checked=replay.checked,
            replay_failures=replay.failures,
            copied_from=copied,
        )

    def _baseline(self, request: EvaluateRequest) -> tuple[bytes | None, Snapshot | None]:
        """(release to compare with, snapshot to copy its side from where it has no traffic)."""
        if request.baseline_release is None:
            return None, None
        if request.percent < 100:
            return from_text(request.baseline_release), None
        if request.concurrent_snapshot is None:
            return None, None  # judged like a first release, by the policy's absolute limits
        digest = from_text(request.concurrent_snapshot)
        return None, Snapshot.from_bytes(self.bench.cas.get(digest))

    # ---- what is written --------------------------------------------------------------------

    def _record(
        self,
        request: EvaluateRequest,
        spec: EnvironmentSpec,
        records: Sequence[dict[str, Any]],
        snapshot: Snapshot,
        report: GateReport,
    ) -> EvaluateResult:
        """Verdict, trace segment and checkpoint are stored before the next cohort may start."""
        bench, run = self.bench, request.run
        snapshot_hash, verdict_hash = snapshot.digest(), report.digest()
        stage = f"{spec.name}/{request.percent}"
        shifted = _steps(request, stage, snapshot_hash, verdict_hash, report.outcome)
        looks = [*tracing.looks_of(records), shifted[-1]]
        tail = tracing.tail_after(request.cursor, shifted)
        checkpoint = self._checkpoint(request, tail, looks)
        objects = [report.to_bytes(), checkpoint.to_bytes()]
        cursor = tracing.append(bench, run, request.cursor, shifted, objects)
        if report.outcome == "PASS" and request.completes and not spec.production:
            self._environment_passed(request, spec)
        return EvaluateResult(
            outcome=GateOutcome(report.outcome),
            code=next((m.reason for m in report.metrics if m.outcome != "PASS"), ""),
            summary=one_line(report.to_map()["metrics"]),
            snapshot=to_text(snapshot_hash),
            verdict=to_text(verdict_hash),
            concurrent=request.percent < 100 and snapshot.baseline is not None,
            cursor=cursor,
            checkpoint=to_text(checkpoint.digest()),
        )

    def _checkpoint(
        self, request: EvaluateRequest, tail: bytes, looks: Sequence[dict[str, Any]]
    ) -> Checkpoint:
        run = request.run
        index = self.bench.ledger.release_index(from_text(run.release_hash))
        if index is None:
            raise DataError("OBJECT_MISSING", f"no release {run.release_hash} in the store")
        return Checkpoint(
            tenant_id=run.tenant_id,
            run_id=run.run_id,
            replay_token=from_text(run.replay_token),
            cursor=Cursor(environment=request.environment, cohort_index=request.cohort_index),
            canary_set=[self.bench.environment(run, request.environment).targets[0].name],
            gate_states=[
                GateState(
                    stage=look["stage"],
                    outcome=look["gate_result"],
                    snapshot_hash=look["evidence"]["snapshot"],
                    gate_report_hash=look["evidence"]["gate_report"],
                )
                for look in looks
            ],
            trace_tail_hash_at_checkpoint=tail,
            manifest_hash=index.manifest_hash,
            policy_bundle_hash=from_text(run.policy_bundle_hash),
            determinism_profile_hash=determinism.profile_hash(),
            checkpoint_hash_prev=from_text(request.checkpoint) if request.checkpoint else None,
        )

    def _environment_passed(self, request: EvaluateRequest, spec: EnvironmentSpec) -> None:
        """``serving`` moves and the lease is given back; production waits for COMMITTED."""
        ledger, run = self.bench.ledger, request.run
        name = from_text(run.release_hash)
        ledger.set_current(
            spec.name, run.service, request.epoch, lambda current: served(current, name)
        )
        ledger.free(spec.name, run.service, run.run_id, request.epoch)

    def _unreachable(
        self, request: EvaluateRequest, spec: EnvironmentSpec, error: LockstepError
    ) -> EvaluateResult:
        """No snapshot, no verdict, weight unchanged.

        A window that was never opened is opened now, and so is one whose opening can never be
        set against its end because a counter started anew in between.
        """
        bench = self.bench
        opened, start_us = request.opened, None
        if error.code == "SCRAPE_GAP" or not self._opened(request)[1]:
            selection = self._selection(request)
            digest = open_window(
                bench,
                request.run,
                spec,
                selection.canary,
                selection.baseline,
                OPENING_NUMBERS + request.cursor.t * tracing.BATCHES_PER_STEP + 50,
            )
            opened, start_us = to_text(digest), bench.now_us()
        return EvaluateResult(
            outcome=GateOutcome.UNREACHABLE,
            code=error.code,
            summary=f"{error.place} {error.cause}".strip()[:600],
            cursor=request.cursor,
            opened=opened,
            start_us=start_us,
        )


def _no_trace(request: EvaluateRequest, error: DataError) -> EvaluateResult:
    """A segment that cannot be read back is a trigger of rollback (spec rollout §5)."""
    return EvaluateResult(
        outcome=GateOutcome.FAIL,
        code="TRACE_MISSING",
        summary=error.cause[:600],
        cursor=request.cursor,
    )


def _steps(
    request: EvaluateRequest, stage: str, snapshot: bytes, verdict: bytes, outcome: str
) -> list[dict[str, Any]]:
    """The cohort's records: its shift (with the first look) and this look's verdict."""
    t = request.cursor.t
    records = []
    if request.look == 0:
        records.append(
            iter_record(
                t=t,
                stage=stage,
                action="shift",
                operator_id=ROLLOUT,
                operator_seq=t,
                status="ok",
            )
        )
    records.append(
        iter_record(
            t=t + len(records),
            stage=stage,
            action="evaluate",
            operator_id=GATES,
            operator_seq=t + len(records),
            status="ok",
            gate_result=outcome,
            evidence={"snapshot": snapshot, "gate_report": verdict},
        )
    )
    return records
