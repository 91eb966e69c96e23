"""The policy bundle: what must be true before a release may grow (docs/reference/policy.md).

``resolve_policy`` turns what a person wrote into the *resolved* policy, every default written
out; the digest of its canonical bytes is ``policy_bundle_hash``. What this version cannot do yet
is refused by name, never ignored.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field

from lockstep.documents import DocumentError, Problem, check
from lockstep.gates.numbers import ERROR_RATE_MAX, P95_DELTA_MAX_PERCENT
from lockstep.record import Name, Record

SCHEMA = "lockstep.policy.v1"
COHORTS_DEFAULT = (1, 5, 25, 50, 100)
COHORTS_MAX = 20
"""Keeps every message about an environment's cohorts under 8 KiB."""
SECONDS_MAX = 30 * 24 * 3600
"""No wait that a document asks for is longer than thirty days."""

REPLAY_FAILURES_MAX = 0

Seconds = Annotated[int, Field(ge=0, le=SECONDS_MAX)]
SecondsFrom1 = Annotated[int, Field(ge=1, le=SECONDS_MAX)]
Percent = Annotated[int, Field(ge=0, le=100)]
ProfileName = Literal["strict-v1", "interval-v1"]

_NOT_BUILT = "is not built in this version"


class Gate(Record):
    """Which profile rules and by which limits."""

    profile: ProfileName = "strict-v1"
    shadow: ProfileName | None = None
    error_rate_max: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = ERROR_RATE_MAX
    p95_latency_delta_max_percent: Annotated[float, Field(ge=0, allow_inf_nan=False)] = (
        P95_DELTA_MAX_PERCENT
    )
    replay_failures_max: Annotated[int, Field(ge=0)] = REPLAY_FAILURES_MAX
    level: Annotated[float, Field(gt=0.5, lt=1, allow_inf_nan=False)] = 0.95
    min_requests: Annotated[int, Field(ge=1)] = 100
    absolute_p95_max_us: Annotated[int, Field(ge=1, le=2**53)] | None = None
    custom: list[Any] = Field(default_factory=list)


class ProductionApprovals(Record):
    required: Annotated[int, Field(ge=1, le=16)] = 1
    separation_of_duty: bool = True


class Approvals(Record):
    production: ProductionApprovals = Field(default_factory=ProductionApprovals)


class Evidence(Record):
    certificate_max_age_d: Annotated[int, Field(ge=1, le=3650)] = 90
    allow: list[Any] = Field(default_factory=list)


class Policy(Record):
    """The resolved policy. ``digest()`` is ``policy_bundle_hash``."""

    schema_version: Literal["lockstep.policy.v1"]
    service: Name
    cohorts: dict[str, list[Percent]] = Field(
        default_factory=lambda: {"default": list(COHORTS_DEFAULT)}
    )
    bake_min_s: dict[str, Seconds] = Field(default_factory=dict)
    gate: Gate = Field(default_factory=Gate)
    guards: list[Any] = Field(default_factory=list)
    checks: list[Any] = Field(default_factory=list)
    on_failure: Literal["rollback", "hold", "roll_forward"] = "rollback"
    on_inconclusive: Literal["ask", "rollback"] = "ask"
    inconclusive_max_s: Seconds = 3600
    extend_s: SecondsFrom1 | None = None
    rollback_max_s: SecondsFrom1 = 600
    keep_warm_s: Seconds = 1800
    lower_environments: Literal["restore", "keep"] = "restore"
    first_release: Literal["refuse", "allow"] = "refuse"
    concurrency: Literal["queue", "refuse", "supersede"] = "queue"
    approvals: Approvals = Field(default_factory=Approvals)
    evidence: Evidence = Field(default_factory=Evidence)
    retention: dict[str, Any] = Field(default_factory=dict)
    plans: dict[str, Any] = Field(default_factory=dict)

    def cohorts_for(self, environment: str) -> tuple[int, ...]:
        """Percentages in order, the last 100; a leading 0 means deployed without traffic."""
        return tuple(self.cohorts.get(environment, self.cohorts["default"]))

    def bake_min_for(self, environment: str) -> int:
        """Least bake in seconds that a profile may give ``environment``."""
        return self.bake_min_s.get(environment, 0)

    def extend_s_for(self, environment: str, bake_s: int) -> int:
        """Seconds between two looks: ``extend_s``, else the bake; at least 1, or looks would spin.

        ``environment`` is named for plans that will set it per environment.
        """
        return self.extend_s if self.extend_s is not None else max(bake_s, 1)


def resolve_policy(data: Any) -> Policy:
    """Resolve an authored (or already resolved) policy.

    Raises:
        DocumentError: DOCUMENT_INVALID, every problem with its field.
    """
    return check(Policy, _normalised(data), _problems)


def _normalised(data: Any) -> Any:
    """Authoring short forms written out: ``cohorts`` as a list, or a map without ``default``."""
    if not isinstance(data, Mapping):
        return data
    value = dict(data)
    if value.get("concurrency") in ({"queue": "latest"}, "queue: latest"):
        raise DocumentError([Problem(("concurrency",), f"queue: latest {_NOT_BUILT}; use queue")])
    cohorts = value.get("cohorts")
    if isinstance(cohorts, list):
        value["cohorts"] = {"default": cohorts}
    elif isinstance(cohorts, Mapping):
        value["cohorts"] = {"default": list(COHORTS_DEFAULT), **cohorts}
    return value


def _problems(policy: Policy) -> list[Problem]:
    found = []
    for environment, cohorts in policy.cohorts.items():
        why = _cohorts_problem(cohorts)
        if why:
            found.append(Problem(("cohorts", environment), why))
    found += _gate_problems(policy.gate)
    for name in ("guards", "checks", "retention", "plans"):
        if getattr(policy, name):
            found.append(Problem((name,), f"{_NOT_BUILT}; leave it empty"))
    if policy.evidence.allow:
        found.append(Problem(("evidence", "allow"), f"{_NOT_BUILT}; leave it empty"))
    if policy.on_failure == "roll_forward":
        found.append(Problem(("on_failure",), f"roll_forward {_NOT_BUILT}; use rollback or hold"))
    if policy.concurrency == "supersede":
        found.append(Problem(("concurrency",), f"supersede {_NOT_BUILT}; use queue or refuse"))
    return found


def _cohorts_problem(cohorts: list[int]) -> str | None:
    if not cohorts or cohorts[-1] != 100:
        return "the last cohort is 100"
    if len(cohorts) > COHORTS_MAX:
        return f"at most {COHORTS_MAX} cohorts, not {len(cohorts)}"
    if any(left >= right for left, right in pairwise(cohorts)):
        return f"cohorts grow strictly, not {cohorts}"
    return None


def _gate_problems(gate: Gate) -> list[Problem]:
    found = []
    for name in ("profile", "shadow"):
        if getattr(gate, name) == "interval-v1":
            found.append(Problem(("gate", name), f"interval-v1 {_NOT_BUILT}; use strict-v1"))
    if gate.shadow == "strict-v1":
        found.append(Problem(("gate", "shadow"), "strict-v1 already rules; leave shadow out"))
    if gate.custom:
        found.append(Problem(("gate", "custom"), f"{_NOT_BUILT}; leave it empty"))
    fixed = {
        "error_rate_max": ERROR_RATE_MAX,
        "p95_latency_delta_max_percent": P95_DELTA_MAX_PERCENT,
        "replay_failures_max": REPLAY_FAILURES_MAX,
    }
    for name, limit in fixed.items():
        if gate.profile == "strict-v1" and getattr(gate, name) != limit:
            found.append(Problem(("gate", name), f"strict-v1 fixes this at {limit}; leave it out"))
    return found
