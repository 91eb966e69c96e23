"""The ports: what Lockstep asks of a store, a target and a metrics source.

Adapters live in ``activities.adapters``; each port has one contract test suite that every adapter
passes. All calls are synchronous and raise only ``LockstepError``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class WriteOutcome(StrEnum):
    """The four answers of a conditional write. Nothing is ever cleaned up on UNKNOWN."""

    CREATED = "created"
    OURS = "ours"  # the very bytes are there already: an earlier attempt of this write landed
    LOST = "lost"  # other bytes are there
    UNKNOWN = "unknown"  # the store did not say, and reading back did not settle it


@dataclass(frozen=True, slots=True)
class Stored:
    body: bytes
    version: str
    """Opaque condition for ``swap`` (an ETag, a digest); never hashed into anything."""


@dataclass(frozen=True, slots=True)
class Written:
    outcome: WriteOutcome
    version: str | None = None

    @property
    def landed(self) -> bool:
        return self.outcome in (WriteOutcome.CREATED, WriteOutcome.OURS)


@dataclass(frozen=True, slots=True)
class Listed:
    key: str
    size: int
    modified: datetime


class Store(Protocol):
    """Keys to bytes with create-if-absent and compare-and-swap.

    Raises UnavailableError (STORE_UNREACHABLE) when the store cannot be reached.
    """

    url: str

    def read(self, key: str) -> Stored | None: ...

    def create(self, key: str, body: bytes) -> Written:
        """Create if absent. An existing object with equal bytes answers OURS, else LOST."""

    def swap(self, key: str, body: bytes, expected: str | None) -> Written:
        """Replace the version ``expected`` (None: create if absent). Bodies carry a write id."""

    def list(self, prefix: str, after: str = "") -> Iterator[Listed]:
        """Every object under ``prefix`` in key order, those after key ``after`` only."""

    def now(self) -> datetime:
        """The store's own time, UTC. Leases are judged by it, never by local time."""


# ---- targets -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Instance:
    """One running version behind a target."""

    release: str
    """64 hex digits of its release hash, or the target's own name for one not yet adopted."""
    weight: int
    """Percent of traffic now, 0..100, as read back."""
    healthy: bool
    artifacts: Mapping[str, str] = field(default_factory=dict)
    """Artifact name → ``sha256:…`` of what really runs, as observed."""
    configs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TargetState:
    instances: tuple[Instance, ...]  # sorted by release
    fence_epoch: int
    """The only epoch that the target accepts changes under; 0 before the first."""

    def of(self, release: str) -> Instance | None:
        return next((i for i in self.instances if i.release == release), None)


@dataclass(frozen=True, slots=True)
class BringUp:
    """What ``prepare`` starts: every file of the release that the target runs."""

    release: str
    artifacts: Mapping[str, bytes]
    configs: Mapping[str, bytes]


class Target(Protocol):
    """Moves traffic. Each change carries the epoch; another epoch than the fence is FENCED.

    Raises UnavailableError (TARGET_UNREACHABLE) when it cannot be reached.
    """

    kind: str
    cannot: tuple[str, ...]
    """What this target does not guarantee, in words, for the plan."""

    def state(self) -> TargetState: ...

    def fence(self, epoch: int) -> None:
        """Raise the fence to ``epoch``; lower is FENCED, equal is a no-op."""

    def capacity(self, release: str, percent: int) -> str | None:
        """None when ``release`` is ready for ``percent`` of traffic, else the reason."""

    def prepare(self, bring_up: BringUp, epoch: int) -> Instance:
        """Bring the release up at weight 0 (idempotent) and say what really runs."""

    def shift(self, weights: Mapping[str, int], epoch: int) -> None:
        """Set the percentages (sum 100) of the named releases, raising before lowering."""

    def retire(self, release: str, epoch: int) -> None:
        """Take down a release at weight 0; absent is a no-op."""

    def adopt(self, name: str, release: str, epoch: int) -> None:
        """Let the instance called ``name`` be known as ``release`` from now on."""


# ---- metrics sources -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Selection:
    """Whose series are wanted: 64-hex release names as the target knows them."""

    environment: str
    service: str
    canary: str
    baseline: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """One provider's answer exactly as received, with the question that was asked."""

    query: str
    body: bytes
    at_us: int
    """When it was received, UTC microseconds, by the worker's clock."""


class Source(Protocol):
    """Says how a release does. Raises UnavailableError (SOURCE_UNREACHABLE); never guesses."""

    kind: str
    parser_version: str
    cannot: tuple[str, ...]

    def open(self, selection: Selection) -> Sequence[Answer]:
        """What must be captured when the window opens; empty where the past can be asked."""

    def close(self, selection: Selection, start_us: int, end_us: int) -> Sequence[Answer]:
        """The answers for the window, asked at its end."""

    def parse(
        self, selection: Selection, opened: Sequence[Answer], closed: Sequence[Answer]
    ) -> "Sides":
        """Pure: two sides out of the answers.

        Raises:
            DataError: SOURCE_INVALID when an answer is not in the source's format.
        """


@dataclass(frozen=True, slots=True)
class Sides:
    """Maps in the shape of a snapshot's ``canary`` and ``baseline`` (docs/spec/gates.md §1)."""

    canary: dict
    baseline: dict | None
    custom: dict = field(default_factory=dict)


class NowUs(Protocol):
    """The clock port: UTC microseconds. Read once per decision and passed down."""

    def __call__(self) -> int: ...
