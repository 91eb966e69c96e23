"""What an environment's workflow shows: its stages, its status, what it waits for."""

from dataclasses import dataclass, field

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from lockstep import messages as m

from workflows.details import environment_details

# Summaries of older cohorts are left out of long lists, so that an answer stays under 8 KiB.
SUMMARIES_MAX = 8
SUMMARY_LENGTH_MAX = 200


@dataclass
class Board:
    """Changed only by the workflow that owns it; read by its queries."""

    environment: str
    status: str = "queued"
    stage: str = ""
    epoch: int = 0
    rollback_release: str | None = None
    waits_for: str = ""
    until: str = ""
    stages: dict[str, m.StageStatus] = field(default_factory=dict)

    def mark(self, name: str, **changes) -> None:
        """Change what is known of one stage."""
        known = self.stages.get(name) or m.StageStatus(stage=name, action="shift")
        if "summary" in changes:
            changes["summary"] = changes["summary"][:SUMMARY_LENGTH_MAX]
        self.stages[name] = known.model_copy(update=changes)

    def say(self, status: str, waits_for: str = "", until: str = "") -> None:
        """Set the status and what is waited for, and show both in the UI."""
        self.status, self.waits_for, self.until = status, waits_for[:600], until
        workflow.set_current_details(environment_details(self.show()))

    def show(self) -> m.EnvironmentStatus:
        return m.EnvironmentStatus(
            environment=self.environment,
            status=self.status,
            stage=self.stage or self.environment,
            epoch=self.epoch,
            waits_for=self.waits_for,
            until=self.until,
            rollback_release=self.rollback_release,
            stages=self.shown_stages(),
        )

    def shown_stages(self) -> tuple[m.StageStatus, ...]:
        """Every cohort, the newest ones with their values and limits."""
        stages = list(self.stages.values())
        brief = [stage.model_copy(update={"summary": ""}) for stage in stages[:-SUMMARIES_MAX]]
        return (*brief, *stages[-SUMMARIES_MAX:])
