"""What one worker process is told: its context, its role, where it may be watched."""

import os
from dataclasses import dataclass
from pathlib import Path

from lockstep import cbor
from lockstep.errors import DataError
from lockstep.profile import EnvironmentProfile, resolve_profile
from lockstep.settings import Context, load_context

CONTROL = "control"
ALL = "all"


@dataclass(frozen=True)
class WorkerSettings:
    context: Context
    role: str
    profile: EnvironmentProfile
    ready_file: Path | None
    metrics_address: str | None

    @property
    def runs_control(self) -> bool:
        return self.role in (CONTROL, ALL)

    @property
    def environments(self) -> tuple[str, ...]:
        """Environments whose queues this process polls, in the profile's order."""
        if self.role == ALL:
            return tuple(self.profile.names())
        return () if self.role == CONTROL else (self.role,)


def load_settings(
    config: Path,
    context_name: str | None,
    role: str,
    ready_file: Path | None,
    metrics_address: str | None,
) -> WorkerSettings:
    """Read the context and its profile once; nothing is read again later.

    Raises:
        DataError: CONTEXT_INVALID or DOCUMENT_INVALID, naming file and field.
    """
    try:
        data = config.read_bytes()
    except OSError as error:
        raise DataError(
            "CONTEXT_INVALID", f"cannot read: {error.strerror}", place=str(config)
        ) from None
    context = load_context(
        data, context_name, os.environ, folder=str(config.parent), place=str(config)
    )
    if context.profile is None:
        raise DataError("CONTEXT_INVALID", "the context names no profile", place=str(config))
    profile = _read_profile(Path(context.profile))
    if role not in (CONTROL, ALL, *profile.names()):
        known = ", ".join([CONTROL, *profile.names(), ALL])
        raise DataError("USAGE", f"no role {role!r}", hint=f"one of {known}")
    return WorkerSettings(context, role, profile, ready_file, metrics_address)


def _read_profile(path: Path) -> EnvironmentProfile:
    """A profile in YAML, or in the canonical CBOR of its resolved form (``*.cbor``)."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            "DOCUMENT_INVALID", f"cannot read: {error.strerror}", place=str(path)
        ) from None
    if path.suffix == ".cbor":
        return resolve_profile(cbor.decode(data))
    from ruamel.yaml import YAML, YAMLError

    try:
        return resolve_profile(YAML(typ="safe", pure=True).load(data))
    except YAMLError as error:
        raise DataError("DOCUMENT_INVALID", f"not YAML: {error}", place=str(path)) from None
