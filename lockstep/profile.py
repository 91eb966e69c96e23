"""The environment profile: where and how a release is carried (docs/reference/policy.md).

Ordered environments, each with its target, its metrics source and its bake; the last one is
production. The digest of the resolved profile's canonical bytes is ``env_manifest_hash``.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from lockstep.documents import DocumentError, FieldPath, Problem, check
from lockstep.policy import Policy, Seconds, SecondsFrom1
from lockstep.record import Name, Record

SCHEMA = "lockstep.environment-profile.v1"
ENVIRONMENTS_MAX = 10
SETTINGS_DEPTH_MAX = 8

Kind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]


class TargetSpec(Record):
    """One thing whose traffic is moved; ``settings`` belong to the adapter of its kind."""

    name: Name
    kind: Kind
    wave: Annotated[int, Field(ge=1, le=100)] = 1
    settings: dict[str, Any] = Field(default_factory=dict)


class SourceSpec(Record):
    """One place metrics come from. A window opens ``settle_s`` after a shift is confirmed and is
    read ``ingest_delay_s`` after its end."""

    name: Name
    kind: Kind
    settings: dict[str, Any] = Field(default_factory=dict)
    settle_s: Seconds = 0
    ingest_delay_s: Seconds = 0


class EnvironmentSpec(Record):
    name: Name
    production: bool
    bake_s: Seconds = 600
    targets: list[TargetSpec]
    sources: list[SourceSpec]
    task_queue: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
    windows: list[Any] = Field(default_factory=list)
    max_parallel: Annotated[int, Field(ge=1, le=100)] = 1
    lease_s: SecondsFrom1 = 120
    dead_man_s: SecondsFrom1 | None = None
    progress_deadline_s: SecondsFrom1 = 600
    source_max_s: SecondsFrom1 = 300
    max_skew_s: SecondsFrom1 = 5


class EnvironmentProfile(Record):
    """The resolved profile. ``digest()`` is ``env_manifest_hash``."""

    schema_version: Literal["lockstep.environment-profile.v1"]
    environments: Annotated[list[EnvironmentSpec], Field(min_length=1, max_length=ENVIRONMENTS_MAX)]

    def names(self) -> list[str]:
        """Environment names in the order a release passes them."""
        return [environment.name for environment in self.environments]

    def environment(self, name: str) -> EnvironmentSpec | None:
        return next((e for e in self.environments if e.name == name), None)


def resolve_profile(data: Any) -> EnvironmentProfile:
    """Resolve an authored (or already resolved) profile.

    Raises:
        DocumentError: DOCUMENT_INVALID, every problem with its field.
    """
    return check(EnvironmentProfile, _normalised(data), _problems)


def check_bakes(policy: Policy, profile: EnvironmentProfile) -> None:
    """The profile may lengthen a bake of the policy, never shorten it; both name the same places.

    Raises:
        DocumentError: DOCUMENT_INVALID, naming the field of the policy and of the profile.
    """
    found = []
    for index, environment in enumerate(profile.environments):
        least = policy.bake_min_for(environment.name)
        if environment.bake_s < least:
            why = (
                f"{environment.bake_s} s is below the policy's "
                f"bake_min_s.{environment.name} of {least} s"
            )
            found.append(Problem(("environments", index, "bake_s"), why))
    known = {"default", *profile.names()}
    for field, names in (("cohorts", policy.cohorts), ("bake_min_s", policy.bake_min_s)):
        for name in names:
            if name not in known or (field == "bake_min_s" and name == "default"):
                why = f"no such environment in the profile, which has {', '.join(profile.names())}"
                found.append(Problem((f"policy {field}", name), why))
    if found:
        raise DocumentError(found, hint="bring policy and profile into agreement")


def _normalised(data: Any) -> Any:
    """Defaults that depend on the place of an environment: production and task_queue."""
    if not isinstance(data, Mapping) or not isinstance(data.get("environments"), list):
        return data
    environments = []
    for index, item in enumerate(data["environments"]):
        if isinstance(item, Mapping):
            last = index == len(data["environments"]) - 1
            item = {"production": last, "task_queue": f"lockstep-{item.get('name')}", **item}
        environments.append(item)
    return {**data, "environments": environments}


def _problems(profile: EnvironmentProfile) -> list[Problem]:
    found = []
    names = profile.names()
    for index, environment in enumerate(profile.environments):
        at: FieldPath = ("environments", index)
        if environment.name == "default":
            found.append(Problem((*at, "name"), "'default' means every environment in a policy"))
        if environment.name in names[:index]:
            found.append(Problem((*at, "name"), f"{environment.name!r} stands twice"))
        if environment.production != (index == len(names) - 1):
            found.append(Problem((*at, "production"), "exactly the last environment is production"))
        for field in ("targets", "sources"):
            found += _one(environment, at, field)
        if environment.dead_man_s is not None:
            why = "the dead man's switch is not built in this version; leave it out"
            found.append(Problem((*at, "dead_man_s"), why))
        if environment.windows:
            why = "windows are not built in this version; leave it empty"
            found.append(Problem((*at, "windows"), why))
    return found


def _one(environment: EnvironmentSpec, at: FieldPath, field: str) -> list[Problem]:
    items = getattr(environment, field)
    if len(items) != 1:
        why = f"exactly one entry; several are not built in this version (found {len(items)})"
        return [Problem((*at, field), why)]
    return _settings_problems(items[0].settings, (*at, field, 0, "settings"), 0)


def _settings_problems(value: Any, at: FieldPath, depth: int) -> list[Problem]:
    """Settings hold text, integers, booleans, and lists and maps of these."""
    if depth > SETTINGS_DEPTH_MAX:
        return [Problem(at, f"nested deeper than {SETTINGS_DEPTH_MAX} levels")]
    if isinstance(value, dict):
        return [
            problem
            for key, item in value.items()
            for problem in (
                _settings_problems(item, (*at, key), depth + 1)
                if isinstance(key, str)
                else [Problem(at, f"the key {key!r} is not text")]
            )
        ]
    if isinstance(value, list):
        return [
            problem
            for index, item in enumerate(value)
            for problem in _settings_problems(item, (*at, index), depth + 1)
        ]
    if isinstance(value, str | int):
        return []
    return [Problem(at, f"a {type(value).__name__} cannot stand here; text, integer or boolean")]
