"""The release manifest: what is delivered, closed (docs/spec/bytes.md §4).

The manifest names artefacts, configurations and evidence by digest; it never names the
certificate, the trace or itself.
"""

from typing import Annotated, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from lockstep.record import Digest32, Name, Record

SCHEMA: Final = "lockstep.release.v1"
ENTRIES_MAX = 1000

EvidenceKind = Literal[
    "determinism_profile",
    "lockfile",
    "operator_registry",
    "policy_bundle",
    "runtime_env",
    "sbom",
    "toolchain",
]
EVIDENCE_KINDS: tuple[EvidenceKind, ...] = get_args(EvidenceKind)
"""Exactly these seven, each once; sorted."""

SEMVER = (
    r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$"
)

SemVer = Annotated[str, Field(pattern=SEMVER, max_length=128)]
MediaType = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*$", max_length=128),
]
CodeCommit = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")]


class Entry(BaseModel):
    """One closed map inside the manifest; not stored alone, so it has no digest of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, serialize_by_alias=True)


class Artifact(Entry):
    name: Name
    media_type: MediaType
    digest: Digest32
    size: Annotated[int, Field(ge=0, le=2**63 - 1)]


class Config(Entry):
    """A configuration file that rolls back together with the code."""

    name: Name
    digest: Digest32


class CheckpointCompatibility(Entry):
    """Which versions of its state schema the release can start from."""

    schema_name: Annotated[str, Field(alias="schema", min_length=1, max_length=128)]
    min: Annotated[int, Field(ge=0, le=2**32)]
    max: Annotated[int, Field(ge=0, le=2**32)]

    @model_validator(mode="after")
    def _ordered(self) -> "CheckpointCompatibility":
        if self.min > self.max:
            raise ValueError("min is above max")
        return self


class Migration(Entry):
    id: Name
    kind: Literal["reversible", "forward_only"]
    rollback_point: Annotated[str, Field(min_length=1, max_length=200)]
    """The state, in words or as a name, to which the service can go back afterwards."""


STATELESS = "stateless"
"""``schema`` of a release that keeps no state; its checkpoint is the closed empty-state map."""


class Manifest(Record):
    """``digest()`` is ``manifest_hash``."""

    model_config = ConfigDict(serialize_by_alias=True)

    schema_version: Literal["lockstep.release.v1"]
    service: Name
    version: SemVer
    artifacts: Annotated[list[Artifact], Field(min_length=1, max_length=ENTRIES_MAX)]
    """Sorted by name."""
    configs: Annotated[list[Config], Field(max_length=ENTRIES_MAX)]
    """Sorted by name."""
    evidence: dict[EvidenceKind, Digest32]
    checkpoint_compatibility: CheckpointCompatibility
    migrations: Annotated[list[Migration], Field(max_length=ENTRIES_MAX)]
    """In the order in which they are applied."""
    code_commit: CodeCommit

    @field_validator("artifacts", "configs")
    @classmethod
    def _sorted_by_name(cls, entries: list) -> list:
        names = [entry.name for entry in entries]
        if names != sorted(set(names)):
            raise ValueError("names are not sorted, or one stands twice")
        return entries

    @field_validator("evidence")
    @classmethod
    def _all_seven(cls, evidence: dict) -> dict:
        missing = [kind for kind in EVIDENCE_KINDS if kind not in evidence]
        if missing:
            raise ValueError(f"evidence lacks {', '.join(missing)}")
        return evidence

    @field_validator("migrations")
    @classmethod
    def _each_once(cls, migrations: list[Migration]) -> list[Migration]:
        if len({migration.id for migration in migrations}) != len(migrations):
            raise ValueError("a migration id stands twice")
        return migrations

    def forward_only(self) -> list[str]:
        """Ids of the migrations that cannot be undone."""
        return [item.id for item in self.migrations if item.kind == "forward_only"]

    def lineage_rows(self) -> list[list]:
        """[type, id, digest] of everything the release consists of; never the manifest itself."""
        rows = [["artifact", item.name, item.digest] for item in self.artifacts]
        rows += [["config", item.name, item.digest] for item in self.configs]
        rows += [["evidence", kind, digest] for kind, digest in self.evidence.items()]
        return rows
