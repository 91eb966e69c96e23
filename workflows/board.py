"""What an environment's workflow shows: its stages, its status, what it waits for."""

from dataclasses import dataclass, field

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from lockstep import messages as m

from workflows.details import environment_details


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
            stages=tuple(self.stages.values()),
        )
