"""A release as stored bytes, and every hash that can be recomputed from them.

Evidence kinds have one canonical form each: the lock and the SBOM are kept as received; toolchain
and runtime environment are canonical CBOR of closed maps; policy, determinism profile and operator
registry are the canonical bytes whose digest the certificate names (docs/spec/bytes.md §4).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from lockstep import cbor, hashes, lineage, trace
from lockstep.digest import sha256
from lockstep.errors import DataError
from lockstep.record import Record
from lockstep.release.locks import lockfile_hash
from lockstep.release.manifest import Manifest

SBOM_MAX_BYTES = 16 * 1024 * 1024
Text = Annotated[str, Field(min_length=1, max_length=200)]


@dataclass(frozen=True, slots=True)
class ReleaseEvidence:
    """Every stored byte that a release's certificate rests on, as read back."""

    manifest: bytes
    certificate: bytes
    evidence: Mapping[str, bytes]
    """Evidence kind → bytes, exactly the seven of the manifest."""
    trace: bytes
    checkpoint: bytes
    lineage: bytes
    approvals: tuple[bytes, ...] = ()


class Toolchain(Record):
    """The tools of the *build*: Python's three, or (name, version) pairs of another ecosystem."""

    schema_version: Literal["lockstep.toolchain.v1"] = "lockstep.toolchain.v1"
    python_version: Text | None = None
    pip_version: Text | None = None
    installer_version: Text | None = None
    tools: Annotated[list[tuple[Text, Text]], Field(min_length=1, max_length=1000)] | None = None
    """Sorted by name."""

    @model_validator(mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        # A decoded pair is a list; strict mode takes tuples only.
        if isinstance(value, dict) and isinstance(value.get("tools"), list):
            pairs = [tuple(p) if isinstance(p, list) else p for p in value["tools"]]
            return {**value, "tools": pairs}
        return value

    @model_validator(mode="after")
    def _one_form(self) -> "Toolchain":
        three = (self.python_version, self.pip_version, self.installer_version)
        if self.tools is None:
            if None in three:
                raise ValueError("python_version, pip_version, installer_version; or tools")
        elif any(three):
            raise ValueError("either the three Python versions or tools, not both")
        elif [name for name, _ in self.tools] != sorted({name for name, _ in self.tools}):
            raise ValueError("tools are not sorted by name, or one stands twice")
        return self

    def hash(self) -> bytes:
        """``toolchain_hash``."""
        if self.tools is not None:
            return hashes.toolchain_pairs_hash(self.tools)
        return hashes.toolchain_hash(
            str(self.python_version), str(self.pip_version), str(self.installer_version)
        )


class RuntimeEnv(Record):
    """The runtime environment of the *build*. ``digest()`` is ``runtime_env_hash``."""

    schema_version: Literal["lockstep.runtime-env.v1"] = "lockstep.runtime-env.v1"
    variables: Annotated[dict[Text, str], Field(min_length=1, max_length=1000)]
    """Names and values that can change what a build gives; never a secret."""


def _evidence(release: ReleaseEvidence, kind: str) -> bytes:
    try:
        return release.evidence[kind]
    except KeyError:
        raise DataError("EVIDENCE_INVALID", f"evidence {kind} is absent") from None


def _invalid(kind: str, error: DataError) -> DataError:
    return DataError("EVIDENCE_INVALID", f"{kind}: {error.cause}", hint="pack the release again")


def read_toolchain(data: bytes) -> Toolchain:
    """Raises:
    DataError: EVIDENCE_INVALID.
    """
    try:
        return Toolchain.from_bytes(data)
    except DataError as error:
        raise _invalid("toolchain", error) from None


def read_runtime_env(data: bytes) -> RuntimeEnv:
    """Raises:
    DataError: EVIDENCE_INVALID.
    """
    try:
        return RuntimeEnv.from_bytes(data)
    except DataError as error:
        raise _invalid("runtime_env", error) from None


def read_trace(data: bytes) -> list[dict[str, Any]]:
    """The records of a release's qualification trace, its frame and sealed tail checked.

    Raises:
        DataError: TRACE_INVALID.
    """
    try:
        records = cbor.decode(data)
    except DataError as error:
        raise DataError("TRACE_INVALID", error.cause) from None
    trace.validate_trace(records, "qualification")
    if trace.TAIL_KEY not in records[-1]:
        raise DataError("TRACE_INVALID", "the qualification trace is not sealed")
    return records


def check_sbom(data: bytes) -> None:
    """Refuse bytes that are no CycloneDX or SPDX document in JSON.

    Raises:
        DataError: EVIDENCE_INVALID.
    """
    try:
        if len(data) > SBOM_MAX_BYTES:
            raise ValueError("too large")
        document = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise DataError("EVIDENCE_INVALID", "sbom: not a JSON document") from None
    if not isinstance(document, dict) or not (
        document.get("bomFormat") == "CycloneDX" or "spdxVersion" in document
    ):
        raise DataError("EVIDENCE_INVALID", "sbom: neither CycloneDX nor SPDX")


def _dependencies_lock_hash(release: ReleaseEvidence) -> bytes:
    return hashes.deps_lock_v1(
        lockfile_hash(_evidence(release, "lockfile")),
        read_toolchain(_evidence(release, "toolchain")).hash(),
        read_runtime_env(_evidence(release, "runtime_env")).digest(),
    )


RECOMPUTE: dict[str, Callable[[ReleaseEvidence], bytes]] = {
    "manifest_hash": lambda release: sha256(release.manifest),
    "trace_root_hash": lambda release: trace.tail(read_trace(release.trace)),
    "checkpoint_hash": lambda release: sha256(release.checkpoint),
    "policy_bundle_hash": lambda release: sha256(_evidence(release, "policy_bundle")),
    "lockfile_hash": lambda release: lockfile_hash(_evidence(release, "lockfile")),
    "dependencies_lock_hash": _dependencies_lock_hash,
    "determinism_profile_hash": lambda release: sha256(_evidence(release, "determinism_profile")),
    "operator_contracts_root_hash": lambda release: sha256(_evidence(release, "operator_registry")),
    "lineage_root_hash": lambda release: lineage.root(
        Manifest.from_bytes(release.manifest).lineage_rows()
    ),
    "toolchain_hash": lambda release: read_toolchain(_evidence(release, "toolchain")).hash(),
    "runtime_env_hash": lambda release: sha256(_evidence(release, "runtime_env")),
    "sbom_hash": lambda release: sha256(_evidence(release, "sbom")),
}
"""Bound hash → how it follows from stored bytes. Each may raise DataError."""


def lineage_bytes(manifest: Manifest) -> bytes:
    """The stored lineage of a release: canonical CBOR of its rows in tree order."""
    return cbor.encode(lineage.sorted_rows(manifest.lineage_rows()))
