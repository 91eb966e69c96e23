"""``release.yaml``: what a person or a pipeline writes, and the release that follows from it.

The document names files; the caller reads them. What comes out is canonical and depends on their
bytes alone: no path, no time, no order of writing (docs/reference/release.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lockstep import cbor
from lockstep.digest import sha256
from lockstep.documents import DocumentError, Problem, check
from lockstep.policy import Policy
from lockstep.record import Name
from lockstep.release.evidence import RuntimeEnv, Toolchain, check_sbom, lineage_bytes
from lockstep.release.locks import lockfile_hash
from lockstep.release.manifest import (
    SCHEMA,
    STATELESS,
    CheckpointCompatibility,
    CodeCommit,
    Manifest,
    MediaType,
    Migration,
    SemVer,
)
from lockstep.release.qualification import (
    STEPS_MAX,
    Step,
    build_trace,
    check_checkpoint,
    identity,
    stateless_checkpoint,
)

PathText = Annotated[str, Field(min_length=1, max_length=1000)]
"""Relative to the document's folder."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ConfigSource(_Section):
    name: Name
    path: PathText


class ArtifactSource(ConfigSource):
    media_type: MediaType = "application/octet-stream"


class EvidenceSources(_Section):
    lockfile: PathText
    toolchain: PathText
    runtime_env: PathText
    sbom: PathText
    policy: PathText


class StepSource(_Section):
    name: Name
    status: Literal["success", "failed"]
    evidence: PathText | None = None


class Qualification(_Section):
    steps: Annotated[list[StepSource], Field(min_length=1, max_length=STEPS_MAX)]


class ReleaseDocument(_Section):
    """The closed authoring form."""

    schema_version: Literal["lockstep.release.v1"] = SCHEMA
    service: Name
    version: SemVer
    code_commit: CodeCommit
    artifacts: Annotated[list[ArtifactSource], Field(min_length=1, max_length=1000)]
    configs: Annotated[list[ConfigSource], Field(max_length=1000)] = Field(default_factory=list)
    evidence: EvidenceSources
    checkpoint_compatibility: CheckpointCompatibility = Field(
        default_factory=lambda: CheckpointCompatibility.model_validate(
            {"schema": STATELESS, "min": 0, "max": 0}
        )
    )
    checkpoint: PathText | None = None
    """Opaque state of a release that keeps some; absent for a stateless one."""
    migrations: Annotated[list[Migration], Field(max_length=1000)] = Field(default_factory=list)
    qualification: Qualification


FieldPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the files of a document hold; ``files`` maps the naming field to the bytes."""

    files: Mapping[FieldPath, bytes]
    policy: Policy
    toolchain: Toolchain
    runtime_env: RuntimeEnv
    determinism_profile: bytes
    operator_registry: bytes


@dataclass(frozen=True, slots=True)
class Packed:
    """A release ready to be written as a bundle."""

    manifest: Manifest
    evidence: dict[str, bytes]
    trace: bytes
    checkpoint: bytes
    lineage: bytes
    artifacts: dict[str, bytes]
    configs: dict[str, bytes]
    step_evidence: dict[str, bytes]


def read_document(data: Any) -> ReleaseDocument:
    """Raises:
    DocumentError: DOCUMENT_INVALID, every problem with its field.
    """
    return check(ReleaseDocument, data, _problems)


def _problems(document: ReleaseDocument) -> list[Problem]:
    found = []
    for field, names in (
        ("artifacts", [item.name for item in document.artifacts]),
        ("configs", [item.name for item in document.configs]),
        ("migrations", [item.id for item in document.migrations]),
        ("qualification", [item.name for item in document.qualification.steps]),
    ):
        inner: FieldPath = (field, "steps") if field == "qualification" else (field,)
        found += [
            Problem((*inner, index), f"{name!r} stands there twice")
            for index, name in enumerate(names)
            if name in names[:index]
        ]
    is_stateless = document.checkpoint_compatibility.schema_name == STATELESS
    if is_stateless != (document.checkpoint is None):
        why = "is for a release that keeps state" if is_stateless else "is required: it keeps state"
        found.append(Problem(("checkpoint",), why))
    return found


def file_fields(document: ReleaseDocument) -> dict[FieldPath, str]:
    """Field → path of every file whose bytes go into the release as they are."""
    paths: dict[FieldPath, str] = {
        ("evidence", "lockfile"): document.evidence.lockfile,
        ("evidence", "sbom"): document.evidence.sbom,
    }
    for index, artifact in enumerate(document.artifacts):
        paths["artifacts", index, "path"] = artifact.path
    for index, config in enumerate(document.configs):
        paths["configs", index, "path"] = config.path
    for index, step in enumerate(document.qualification.steps):
        if step.evidence is not None:
            paths["qualification", "steps", index, "evidence"] = step.evidence
    if document.checkpoint is not None:
        paths["checkpoint",] = document.checkpoint
    return paths


def pack(document: ReleaseDocument, inputs: Inputs, tenant_id: str) -> Packed:
    """Build manifest, evidence, qualification trace, checkpoint and lineage.

    Raises:
        DataError: LOCK_INVALID, EVIDENCE_INVALID or DOCUMENT_INVALID.
    """
    if inputs.policy.service != document.service:
        why = f"the policy is for service {inputs.policy.service}, not {document.service}"
        raise DocumentError([Problem(("evidence", "policy"), why)])
    evidence = _evidence(inputs)
    artifacts, configs = (
        _named(document.artifacts, "artifacts", inputs),
        _named(document.configs, "configs", inputs),
    )
    manifest = _manifest(document, evidence, artifacts, configs)
    steps, step_evidence = _steps(document, inputs)
    who = identity(
        tenant_id,
        document.code_commit,
        sha256(evidence["policy_bundle"]),
        sha256(evidence["runtime_env"]),
    )
    checkpoint = inputs.files.get(("checkpoint",), stateless_checkpoint())
    check_checkpoint(checkpoint, document.checkpoint_compatibility.schema_name, STATELESS)
    return Packed(
        manifest=manifest,
        evidence=evidence,
        trace=cbor.encode(build_trace(tenant_id, document.code_commit, who, steps)),
        checkpoint=checkpoint,
        lineage=lineage_bytes(manifest),
        artifacts=artifacts,
        configs=configs,
        step_evidence=step_evidence,
    )


def _evidence(inputs: Inputs) -> dict[str, bytes]:
    """The seven kinds; what would not verify later is refused now."""
    lockfile = inputs.files["evidence", "lockfile"]
    sbom = inputs.files["evidence", "sbom"]
    lockfile_hash(lockfile)
    check_sbom(sbom)
    return {
        "determinism_profile": inputs.determinism_profile,
        "lockfile": lockfile,
        "operator_registry": inputs.operator_registry,
        "policy_bundle": inputs.policy.to_bytes(),
        "runtime_env": inputs.runtime_env.to_bytes(),
        "sbom": sbom,
        "toolchain": inputs.toolchain.to_bytes(),
    }


def _named(sources: Sequence[ConfigSource], field: str, inputs: Inputs) -> dict[str, bytes]:
    return {source.name: inputs.files[field, index, "path"] for index, source in enumerate(sources)}


def _steps(document: ReleaseDocument, inputs: Inputs) -> tuple[list[Step], dict[str, bytes]]:
    steps, kept = [], {}
    for index, source in enumerate(document.qualification.steps):
        body = inputs.files.get(("qualification", "steps", index, "evidence"))
        if body is not None:
            kept[source.name] = body
        digest = sha256(body) if body is not None else None
        steps.append(Step(name=source.name, status=source.status, evidence=digest))
    return steps, kept


def _manifest(
    document: ReleaseDocument,
    evidence: dict[str, bytes],
    artifacts: dict[str, bytes],
    configs: dict[str, bytes],
) -> Manifest:
    media_types = {item.name: item.media_type for item in document.artifacts}
    return Manifest.from_map(
        {
            "schema_version": SCHEMA,
            "service": document.service,
            "version": document.version,
            "artifacts": [
                {
                    "name": name,
                    "media_type": media_types[name],
                    "digest": sha256(artifacts[name]),
                    "size": len(artifacts[name]),
                }
                for name in sorted(artifacts)
            ],
            "configs": [
                {"name": name, "digest": sha256(configs[name])} for name in sorted(configs)
            ],
            "evidence": {kind: sha256(body) for kind, body in evidence.items()},
            "checkpoint_compatibility": document.checkpoint_compatibility.model_dump(),
            "migrations": [item.model_dump() for item in document.migrations],
            "code_commit": document.code_commit,
        }
    )
