"""Every message between client, workflows and activities: closed, strict, small.

Digests travel as text; nothing here may exceed ``PAYLOAD_MAX_BYTES`` in a history, so bulk goes to
the content-addressed store and its digest travels instead (spec rollout §1). Workflow code must
not hash these: stored records are canonical CBOR (``lockstep.record``).
"""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from lockstep.record import DigestText, Name

PAYLOAD_MAX_BYTES = 8 * 1024

RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Percent = Annotated[int, Field(ge=0, le=100)]
Text = Annotated[str, Field(max_length=600)]


class Message(BaseModel):
    """Base of all messages: an unknown field is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class RunContext(Message):
    """Who a step acts for. The same in every request of a run."""

    tenant_id: Name
    run_id: RunId
    service: Name
    release_hash: DigestText
    policy_bundle_hash: DigestText
    env_manifest_hash: DigestText
    replay_token: DigestText
    attempt: int = Field(ge=1)
    starter: str
    """Key id of the principal who started the run."""


class TraceCursor(Message):
    """The end of the run's trace so far; segments are a linked list in the store."""

    t: int = Field(ge=0)
    """Next decision index."""
    tail: DigestText
    segment: DigestText | None = None
    """Digest of the newest segment."""


class EnvironmentPlan(Message):
    """One environment as resolved from policy and profile (``lockstep.plan``)."""

    name: Name
    production: bool
    task_queue: str
    cohorts: tuple[Percent, ...]
    bake_s: int
    settle_s: int
    ingest_delay_s: int
    extend_s: int
    inconclusive_max_s: int
    on_inconclusive: str
    on_failure: str
    lease_s: int
    progress_deadline_s: int
    rollback_max_s: int
    source_max_s: int
    max_skew_s: int
    concurrency: str
    lower_environments: str = "restore"


class EnvironmentQueue(Message):
    name: Name
    task_queue: str


class CheckOutcome(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    DEFERRED = "deferred"  # the environment is busy: checked when the lease is taken
    NOT_CONFIGURED = "not_configured"  # nothing to check it with; never counts as a pass


class CheckResult(Message):
    name: str
    outcome: CheckOutcome
    code: str = ""
    detail: Text = ""
    environment: str = ""


# ---- Rollout ------------------------------------------------------------------------------


class RolloutRequest(Message):
    tenant_id: Name
    service: Name
    release_hash: DigestText
    policy_bundle_hash: DigestText
    env_manifest_hash: DigestText
    attempt: int = Field(default=1, ge=1)
    run_id: RunId
    starter: str
    replay_token: DigestText
    environments: tuple[EnvironmentQueue, ...] = Field(min_length=1, max_length=10)
    """In order; preflight refuses them unless the profile says the same."""
    dry_run: bool = False


class RunStatusName(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    HELD = "held"
    SUCCESS = "success"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    SUPERSEDED = "superseded"


class RolloutResult(Message):
    status: RunStatusName
    exit_code: int
    code: str = ""
    cause: Text = ""
    reports: dict[str, DigestText] = Field(default_factory=dict)
    committed: bool = False
    trace_tail_hash: DigestText | None = None
    failures: tuple[CheckResult, ...] = ()


class ActionRequest(Message):
    """An operator's action: abort, pause or resume. A repeat of ``action_id`` is harmless."""

    action_id: str = Field(min_length=1, max_length=100)
    reason: str = Field(min_length=1, max_length=400)
    principal: str = Field(min_length=1, max_length=100)


class ActionResult(Message):
    accepted: bool
    status: str
    detail: Text = ""


class OperatorSignal(Message):
    """What Rollout tells its child about an accepted action."""

    action: str
    reason: str
    principal: str


class StageStatus(Message):
    """The newest state of one cohort, as people see it."""

    stage: str
    action: str
    outcome: str = ""
    looks: int = 0
    snapshot_hash: DigestText | None = None
    verdict_hash: DigestText | None = None
    started: str = ""
    ended: str = ""
    summary: Text = ""


class EnvironmentStatus(Message):
    environment: Name
    status: str
    stage: str = ""
    epoch: int = 0
    waits_for: Text = ""
    until: str = ""
    rollback_release: DigestText | None = None
    stages: tuple[StageStatus, ...] = ()


class RunStatus(Message):
    """Answer of the query ``status`` of Rollout; stages of an environment: query ``stages``."""

    run: RunContext
    status: RunStatusName
    stage: str = ""
    environment: str = ""
    """The environment under way, whose workflow knows its own stages."""
    epoch: int = 0
    passed: tuple[str, ...] = ()
    waits_for: Text = ""
    rollback_releases: dict[str, DigestText] = Field(default_factory=dict)
    reports: dict[str, DigestText] = Field(default_factory=dict)
    committed: bool = False
    trace_tail_hash: DigestText | None = None
    code: str = ""
    cause: Text = ""
    started: str = ""


# ---- preflight ----------------------------------------------------------------------------


class PreflightEnvironmentRequest(Message):
    run: RunContext
    environment: Name


class PreflightEnvironmentResult(Message):
    checks: DigestText
    """Digest of the stored checks (``EnvironmentChecks``): with details they would be too large."""


class EnvironmentChecks(Message):
    """Stored, never sent: the checks of one environment."""

    checks: tuple[CheckResult, ...]


class PreflightRequest(Message):
    run: RunContext
    environments: tuple[EnvironmentQueue, ...]
    checked: tuple[DigestText, ...]
    """One for each environment whose worker answered."""
    unanswered: tuple[CheckResult, ...] = ()
    """A failed check for each environment whose worker did not."""
    dry_run: bool = False


class PreflightResult(Message):
    passed: bool
    exit_code: int = 0
    report: DigestText
    failures: tuple[CheckResult, ...] = ()
    cursor: TraceCursor | None = None
    plan: tuple[EnvironmentPlan, ...] = ()
    rollback_releases: dict[str, DigestText] = Field(default_factory=dict)


# ---- an environment -----------------------------------------------------------------------


class EnvironmentRequest(Message):
    run: RunContext
    plan: EnvironmentPlan
    cursor: TraceCursor
    checkpoint: DigestText | None = None
    passed: tuple[str, ...] = ()
    paused: bool = False


class EnvironmentResult(Message):
    status: str
    """passed, rolled_back, failed, fenced, refused or busy."""
    code: str = ""
    cause: Text = ""
    epoch: int = 0
    cursor: TraceCursor
    checkpoint: DigestText | None = None
    rollback_report: DigestText | None = None
    rollback_release: DigestText | None = None
    stages: tuple[StageStatus, ...] = ()


class AcquireRequest(Message):
    run: RunContext
    environment: Name
    cursor: TraceCursor
    passed: tuple[str, ...]


class AcquireResult(Message):
    outcome: str
    """acquired, busy, refused (a finding of harm) or stale (evidence missing: stop, retry)."""
    code: str = ""
    detail: Text = ""
    epoch: int = 0
    rollback_release: DigestText | None = None
    baseline_release: DigestText | None = None
    trust_report: DigestText | None = None
    cursor: TraceCursor | None = None


class WaitForLeaseRequest(Message):
    run: RunContext
    environment: Name


class HoldRequest(Message):
    """Keep the lease while the rollout waits for a person at a confirmed weight."""

    run: RunContext
    environment: Name
    epoch: int
    waiting: bool
    free: bool = False
    """Give the lease back instead: nothing was touched under it."""


class Done(Message):
    """Nothing to say but that it is done."""


class PrepareRequest(Message):
    run: RunContext
    environment: Name
    epoch: int
    cursor: TraceCursor


class PrepareResult(Message):
    cursor: TraceCursor


class ShiftRequest(Message):
    run: RunContext
    environment: Name
    epoch: int
    percent: Percent
    baseline_release: DigestText | None
    lease_for_s: int


class ShiftResult(Message):
    confirmed_us: int
    """When the read-back confirmed the weights, UTC microseconds."""
    opened: DigestText
    """What the source captured as the window opened (record ``gates.opening``)."""


class EvaluateRequest(Message):
    run: RunContext
    environment: Name
    epoch: int
    percent: Percent
    cohort_index: int
    look: int
    start_us: int
    end_us: int
    opened: DigestText
    baseline_release: DigestText | None
    concurrent_snapshot: DigestText | None
    """This run's last snapshot here that had a concurrent baseline."""
    cursor: TraceCursor
    checkpoint: DigestText | None
    lease_for_s: int
    completes: bool
    """The environment's last cohort: a PASS moves ``serving`` (not in production)."""


class GateOutcome(StrEnum):
    PASS = "PASS"
    INCONCLUSIVE = "INCONCLUSIVE"
    FAIL = "FAIL"
    UNREACHABLE = "UNREACHABLE"  # no snapshot, no verdict: progress stops, nothing rolls back


class EvaluateResult(Message):
    outcome: GateOutcome
    code: str = ""
    summary: Text = ""
    snapshot: DigestText | None = None
    verdict: DigestText | None = None
    concurrent: bool = False
    cursor: TraceCursor
    checkpoint: DigestText | None = None
    opened: DigestText | None = None
    start_us: int | None = None
    """Set where the window could not be opened before and was opened now."""


# ---- the way back -------------------------------------------------------------------------


class RollbackRequest(Message):
    """Input of the Rollback workflow. ``epoch`` 0: take a fresh lease first."""

    run: RunContext
    environment: Name
    task_queue: str
    epoch: int = 0
    expected_epoch: int
    """The epoch the way back will run under, as far as its starter knows: part of its id."""
    reason_code: str
    reason: Text
    to: DigestText | None = None
    """The release to go back to; None: what ``last_good`` names (a first release: weight 0)."""
    only_if_serving: DigestText | None = None
    """Restore only where this release is still served, else ``superseded``."""
    rollback_max_s: int = 600
    cursor: TraceCursor
    own_run: bool = False
    """An operator's rollback: a run of its own with its own log."""


class BeginRollbackRequest(Message):
    run: RunContext
    environment: Name
    to: DigestText | None
    only_if_serving: DigestText | None
    own_run: bool
    reason: Text
    cursor: TraceCursor


class BeginRollbackResult(Message):
    outcome: str
    """begin, superseded or refused."""
    code: str = ""
    detail: Text = ""
    epoch: int = 0
    to: DigestText | None = None
    withdraw: DigestText | None = None
    rollback_max_s: int = 600
    cursor: TraceCursor


class MoveBackRequest(Message):
    run: RunContext
    environment: Name
    epoch: int
    to: DigestText | None
    withdraw: DigestText
    """The release that traffic leaves; it joins ``withdrawn``."""
    reason_code: str
    reason: Text
    rollback_max_s: int
    cursor: TraceCursor


class RollbackResult(Message):
    status: str
    """verified, unverified (no metrics), failed, fenced or superseded."""
    code: str = ""
    detail: Text = ""
    report: DigestText | None = None
    cursor: TraceCursor
    to: DigestText | None = None


# ---- the end ------------------------------------------------------------------------------


class CommitRequest(Message):
    run: RunContext
    cursor: TraceCursor
    checkpoint: DigestText
    epochs: dict[str, int]
    rollback_releases: dict[str, DigestText] = Field(default_factory=dict)


class CloseRequest(Message):
    """End a run that was not committed."""

    run: RunContext
    cursor: TraceCursor
    status: RunStatusName
    code: str
    cause: Text
    rollback_reports: dict[str, DigestText]
    epochs: dict[str, int] = Field(default_factory=dict)
    rollback_releases: dict[str, DigestText] = Field(default_factory=dict)


class EndResult(Message):
    committed: bool
    reports: dict[str, DigestText]
    trace_tail_hash: DigestText
