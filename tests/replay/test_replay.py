"""Recorded histories give the same commands, to the last argument; and this test can fail."""

import dataclasses
import os
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.worker import UnsandboxedWorkflowRunner
from temporalio.workflow import NondeterminismError

from lockstep import messages as m
from tests.replay.strict import HISTORIES, Difference, load_history, replay_strictly
from workflows import environment, rollout, steps

FILES = sorted(HISTORIES.glob("*.json"))
COHORTS = HISTORIES / "success-environment-prod.0.1.0.json"
ROLLOUT = HISTORIES / "success-rollout.0.1.0.json"


def test_a_success_a_gate_failure_and_an_abort_are_recorded() -> None:
    cases = Counter(path.name.split("-environment")[0].split("-rol")[0] for path in FILES)
    assert set(cases) == {"success", "gate-failure", "abort"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_the_history_replays_strictly(path: Path) -> None:
    await replay_strictly(load_history(path))


@pytest.mark.parametrize("seed", ["0", "4711"])
def test_the_order_of_sets_does_not_matter(seed: str) -> None:
    """The same replays in a process of its own under another hash seed."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            f"{__file__}::test_the_history_replays_strictly",
        ],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout[-2000:]


# ---- the mutation self-test: each of these must be noticed ------------------------------------


async def replay_mutated(path: Path) -> None:
    """Outside the sandbox, which would load the unmutated modules again."""
    await replay_strictly(load_history(path), UnsandboxedWorkflowRunner())


async def test_the_unmutated_code_passes_outside_the_sandbox_too() -> None:
    await replay_mutated(COHORTS)
    await replay_mutated(ROLLOUT)


async def test_another_share_of_traffic_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = environment.start_move

    def more(stub, request, *rest):
        if hasattr(request, "percent"):
            request = request.model_copy(update={"percent": 100})
        return real(stub, request, *rest)

    monkeypatch.setattr(environment, "start_move", more)
    with pytest.raises(Difference, match="prod/25/shift: input"):
        await replay_mutated(COHORTS)


async def test_another_queue_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = environment.start_evaluate

    def elsewhere(request, plan, *rest):
        return real(request, plan.model_copy(update={"task_queue": "lockstep-dev"}), *rest)

    monkeypatch.setattr(environment, "start_evaluate", elsewhere)
    with pytest.raises(Difference, match="queue is 'lockstep-dev'"):
        await replay_mutated(COHORTS)


@pytest.mark.parametrize(
    ("name", "value", "fact"),
    [
        ("HEARTBEAT", timedelta(minutes=5), "heartbeat_s"),
        ("STEP_TIMEOUT", timedelta(hours=1), "start_to_close_s"),
    ],
)
async def test_another_time_out_is_noticed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: timedelta, fact: str
) -> None:
    monkeypatch.setattr(steps, name, value)
    with pytest.raises(Difference, match=fact):
        await replay_mutated(COHORTS)


async def test_another_retry_policy_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    once = dataclasses.replace(steps.STEP_RETRIES, maximum_attempts=1)
    monkeypatch.setattr(steps, "STEP_RETRIES", once)
    with pytest.raises(Difference, match="retry"):
        await replay_mutated(COHORTS)


async def test_another_result_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = environment.EnvironmentRollout.result

    def relabelled(self, status, *rest):
        return real(self, "rolled_back" if status == "passed" else status, *rest)

    monkeypatch.setattr(environment.EnvironmentRollout, "result", relabelled)
    with pytest.raises(Difference, match="result is"):
        await replay_mutated(COHORTS)


async def test_a_skipped_environment_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def skip(self, plan):
        self.passed_names.append(plan.name)
        self.passed.append(m.EnvironmentResult(status="passed", cursor=self.cursor))
        self.checkpoint = self.cursor.tail

    monkeypatch.setattr(rollout.Rollout, "carry_environment", skip)
    with pytest.raises(NondeterminismError):
        await replay_mutated(ROLLOUT)
