"""What operators ordered, and how waiting and working bow to it.

A stop wins over everything at the next step boundary; a pause only keeps exposure from growing.
"""

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from lockstep import messages as m

from workflows.steps import Stopped, failure_of, settle


class Orders:
    """The orders of one environment's workflow, told by Rollout through a signal."""

    def __init__(self, *, paused: bool) -> None:
        self.paused = paused
        self.resumes = 0
        self.stop: Stopped | None = None

    def receive(self, signal: m.OperatorSignal) -> None:
        """Take an accepted action; the first abort stands."""
        if signal.action == "abort" and self.stop is None:
            self.stop = Stopped("ABORTED", f"{signal.principal}: {signal.reason}")
        elif signal.action == "pause":
            self.paused = True
        elif signal.action == "resume":
            self.paused = False
            self.resumes += 1

    def check(self) -> None:
        """Raise a stop. A cancellation may be swallowed by a step that completed: look here too.

        Raises:
            Stopped: an abort or a cancellation was seen.
        """
        if self.stop is not None:
            raise self.stop
        reason = workflow.cancellation_reason()
        if reason is not None:
            raise Stopped("ABORTED", reason or "the rollout was cancelled")

    async def rest(
        self, duration: timedelta, summary: str, *, resumes_seen: int | None = None
    ) -> bool:
        """One durable timer, cut short by a stop and by a resume beyond ``resumes_seen``.

        Returns whether a resume cut it short.
        """
        try:
            await workflow.wait_condition(
                lambda: (
                    self.stop is not None
                    or (resumes_seen is not None and self.resumes > resumes_seen)
                ),
                timeout=duration,
                timeout_summary=summary,
            )
        except TimeoutError:
            return False
        self.check()
        return True

    async def step(self, handle: asyncio.Task) -> Any:
        """Await one activity; a stop asks it to end, waits until it has, and then wins.

        Raises:
            Stopped: see ``check``.
            StepFailed: the activity was refused or given up, with its registered code.
        """
        try:
            await workflow.wait_condition(lambda: handle.done() or self.stop is not None)
        except asyncio.CancelledError:
            handle.cancel()
            await settle(handle)
            raise
        if not handle.done():
            handle.cancel()
            await settle(handle)
        self.check()
        try:
            return await handle
        except ActivityError as error:
            self.check()
            raise failure_of(error, "SHIFT_UNCONFIRMED") from error
