"""prepare and shift: bring a release up at weight 0, then move a share of traffic to it.

Every change carries the lease's epoch, is announced in the target record before it is made, and is
read back before it counts (spec rollout §3). Both are safe to retry: the target is asked for a
state, not for a step.
"""

import time
from contextlib import nullcontext
from dataclasses import dataclass

from temporalio import activity

from activities import tracing
from activities.bench import Bench
from activities.calls import step
from activities.in_use import bring_up, digests_of, release_name
from lockstep.digest import from_text, sha256, to_text
from lockstep.errors import DataError, RefusedError, UnavailableError
from lockstep.gates.opening import OpenedAnswer, Opening
from lockstep.ledger import SafeState, TargetRecord
from lockstep.messages import PrepareRequest, PrepareResult, RunContext, ShiftRequest, ShiftResult
from lockstep.operators import ROLLOUT
from lockstep.ports import Instance, Selection, Source, Target, TargetState
from lockstep.profile import EnvironmentSpec
from lockstep.trace import iter_record

CONFIRM_TRIES = 20
CONFIRM_PAUSE_S = 0.1
PAUSE_SLICE_S = 0.2


@dataclass(frozen=True)
class MovingActivities:
    bench: Bench

    @activity.defn(name="target.prepare")
    @step
    def prepare(self, request: PrepareRequest) -> PrepareResult:
        """Safe to retry: starting what runs already is a no-op of the target."""
        bench, run = self.bench, request.run
        bench.own(run, request.environment)
        spec = bench.environment(run, request.environment)
        bench.ledger.hold(
            spec.name, run.service, run.run_id, request.epoch, until_s=spec.progress_deadline_s
        )
        target = bench.target(spec)
        target.fence(request.epoch)
        self._check_drift(run, spec, target.state())
        self._retire_superseded(run, spec, target, request.epoch)
        wanted = bring_up(bench, from_text(run.release_hash))
        instance = target.prepare(wanted, request.epoch)
        check_runs_exactly(instance, *digests_of(wanted))
        record = iter_record(
            t=request.cursor.t,
            stage=f"{spec.name}/prepare",
            action="prepare",
            operator_id=ROLLOUT,
            operator_seq=request.cursor.t,
            status="ok",
            evidence={
                **{f"artifact {name}": digest for name, digest in digests_of(wanted)[0].items()},
                **{f"config {name}": digest for name, digest in digests_of(wanted)[1].items()},
            },
        )
        return PrepareResult(cursor=tracing.append(bench, run, request.cursor, [record]))

    @activity.defn(name="target.shift")
    @step
    def shift(self, request: ShiftRequest) -> ShiftResult:
        """Safe to retry: weights are absolute, and a repeat under one epoch changes nothing."""
        bench, run = self.bench, request.run
        bench.own(run, request.environment)
        spec = bench.environment(run, request.environment)
        bench.check_clock(spec)
        bench.ledger.hold(
            spec.name, run.service, run.run_id, request.epoch, until_s=request.lease_for_s
        )
        target = bench.target(spec)  # prepare raised its fence to this epoch
        canary = release_name(run.release_hash)
        stable = release_name(request.baseline_release) if request.baseline_release else None
        check_capacity(target, canary, stable, request.percent)
        weights = weights_for(canary, stable, request.percent)
        self._announce(request, spec, "intent")
        with shielded():
            target.shift(weights, request.epoch)
            confirm(target, weights)
        self._announce(request, spec, "done")
        confirmed_us = bench.now_us()
        pause(spec.sources[0].settle_s)
        opened = open_window(bench, run, spec, canary, stable, self._seq(request))
        return ShiftResult(confirmed_us=confirmed_us, opened=to_text(opened))

    @staticmethod
    def _seq(request: ShiftRequest) -> int:
        """Retention numbers of shifts lie beside those of the trace's steps, never among them."""
        return 10**12 + request.epoch * 1_000 + request.percent

    def _announce(self, request: ShiftRequest, spec: EnvironmentSpec, phase: str) -> None:
        """The record says what is exposed *before* it is exposed; safety never needs cleanup."""
        baseline = from_text(request.baseline_release) if request.baseline_release else None

        def change(_: TargetRecord | None) -> TargetRecord:
            return TargetRecord(
                desired_weight=request.percent,
                owner_run=request.run.run_id,
                epoch=request.epoch,
                stable_release=baseline,
                canary_release=from_text(request.run.release_hash),
                safe_state=SafeState(release=baseline, weight=100 if baseline else 0),
                phase=phase,
                write_id="-",
            )

        self.bench.ledger.set_target(
            spec.name, request.run.service, spec.targets[0].name, request.epoch, change
        )

    def _check_drift(self, run: RunContext, spec: EnvironmentSpec, state: TargetState) -> None:
        """Before anything is touched: what carries traffic is what CURRENT names."""
        current = self.bench.ledger.current(spec.name, run.service)
        serving = current.serving if current else None
        problem = drift(state, serving.hex() if serving else None)
        exposed = {i.release for i in state.instances if i.weight > 0}
        if problem and not exposed <= {run_name(run), serving.hex() if serving else ""}:
            raise RefusedError("TARGET_DRIFT", f"{spec.name}: {problem}")

    def _retire_superseded(
        self, run: RunContext, spec: EnvironmentSpec, target: Target, epoch: int
    ) -> None:
        """Take down what is neither served, gone back to, nor the release served just before.

        The one before stays warm through the next rollout, so that going back after a commit is
        one shift; at weight 0 nobody misses the others.
        """
        ledger = self.bench.ledger
        current = ledger.current(spec.name, run.service)
        record = ledger.target(spec.name, run.service, spec.targets[0].name)
        named = [current.serving, current.last_good] if current else []
        named += [record.stable_release] if record else []
        kept = {run_name(run), *(digest.hex() for digest in named if digest is not None)}
        for instance in target.state().instances:
            if instance.weight == 0 and instance.release not in kept:
                target.retire(instance.release, epoch)


def run_name(run: RunContext) -> str:
    return release_name(run.release_hash)


def drift(state: TargetState, serving: str | None) -> str | None:
    """What carries traffic, against what should: None, or the difference in words."""
    exposed = [i for i in state.instances if i.weight > 0]
    if serving is None:
        return f"{exposed[0].release} serves and was never adopted" if exposed else None
    if [(i.release, i.weight) for i in exposed] != [(serving, 100)]:
        found = ", ".join(f"{i.release[:12]} {i.weight} %" for i in exposed) or "nothing"
        return f"{serving[:12]} should carry 100 %, found {found}"
    if not exposed[0].healthy:
        return f"{serving[:12]} carries the traffic but is not healthy"
    return None


def check_runs_exactly(
    instance: Instance, artifacts: dict[str, bytes], configs: dict[str, bytes]
) -> None:
    """What runs must report exactly the release's digests (spec rollout §3).

    Raises:
        DataError: NOT_DEPLOYED, naming the first difference.
    """
    for kind, wanted, found in (
        ("artifact", artifacts, instance.artifacts),
        ("config", configs, instance.configs),
    ):
        want = {name: to_text(digest) for name, digest in wanted.items()}
        if dict(found) != want:
            names = sorted(set(want) ^ set(found)) or sorted(
                name for name in want if want[name] != found[name]
            )
            raise DataError(
                "NOT_DEPLOYED",
                f"{kind} {names[0]}: expected {want.get(names[0])}, runs {found.get(names[0])}",
            )


def check_capacity(target: Target, canary: str, stable: str | None, percent: int) -> None:
    """The new side is ready for its share and the old side still for all of it.

    Raises:
        UnavailableError: CAPACITY; the rollout waits.
    """
    reason = target.capacity(canary, percent)
    if reason is None and stable is not None:
        reason = target.capacity(stable, 100)
    if reason is not None:
        raise UnavailableError("CAPACITY", reason)


def weights_for(canary: str, stable: str | None, percent: int) -> dict[str, int]:
    """Absolute percentages; a first release has nobody to share with."""
    if stable is None or stable == canary:
        return {canary: 100}
    return {canary: percent, stable: 100 - percent}


def confirm(target: Target, weights: dict[str, int]) -> TargetState:
    """Read back until every weight is as asked and everything exposed is healthy.

    Raises:
        UnavailableError: SHIFT_UNCONFIRMED, with what was read.
    """
    for attempt in range(CONFIRM_TRIES):
        state = target.state()
        found = {i.release: i.weight for i in state.instances if i.weight > 0}
        wanted = {release: weight for release, weight in weights.items() if weight > 0}
        healthy = all(i.healthy for i in state.instances if i.weight > 0)
        if found == wanted and healthy:
            return state
        if attempt < CONFIRM_TRIES - 1:
            time.sleep(CONFIRM_PAUSE_S)
    raise UnavailableError(
        "SHIFT_UNCONFIRMED",
        f"asked for {_short(wanted)}, read {_short(found)}" + ("" if healthy else ", unhealthy"),
    )


def _short(weights: dict[str, int]) -> str:
    return ", ".join(f"{name[:12]} {weight} %" for name, weight in sorted(weights.items()))


def open_window(
    bench: Bench,
    run: RunContext,
    spec: EnvironmentSpec,
    canary: str,
    stable: str | None,
    seq: int,
) -> bytes:
    """Capture what the source needs at the window's start; an unreachable one is said so.

    A source out of reach must not undo a shift: absence of evidence only stops progress.
    """
    source: Source = bench.source(spec)
    selection = Selection(spec.name, run.service, canary, stable)
    try:
        answers = list(source.open(selection))
        reached = True
    except UnavailableError:
        answers, reached = [], False
    opening = Opening(
        reached=reached,
        answers=[
            OpenedAnswer(query=answer.query, at_us=answer.at_us, raw=sha256(answer.body))
            for answer in answers
        ],
    )
    objects = [*(answer.body for answer in answers), opening.to_bytes()]
    return bench.cas.put_all(objects, owner=run.run_id, seq=seq, now_us=bench.now_us())[-1]


def shielded():
    """A cancellation never interrupts a move between its two halves."""
    if activity.in_activity():
        return activity.shield_thread_cancel_exception()
    return nullcontext()


def pause(seconds: float) -> None:
    """Let a shift settle; the step's heartbeat goes on meanwhile."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, PAUSE_SLICE_S))  # a cancellation is seen between two slices
