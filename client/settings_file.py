"""Where the settings lie; apart from ``client.files``: every command needs this, few need that."""

from collections.abc import Mapping
from pathlib import Path

from lockstep.errors import DataError

SETTINGS_PLACES = (Path("lockstep.toml"), Path(".lockstep") / "lockstep.toml")


def find_settings(explicit: Path | None, environ: Mapping[str, str]) -> Path:
    """The settings file: ``--config``, ``LOCKSTEP_CONFIG``, ./lockstep.toml, ./.lockstep/.

    Raises:
        DataError: CONTEXT_INVALID; none there, or the one that was named is not.
    """
    named = explicit or (Path(text) if (text := environ.get("LOCKSTEP_CONFIG")) else None)
    for path in (named,) if named else SETTINGS_PLACES:
        if path.is_file():
            return path
    tried = str(named) if named else ", ".join(f"./{path}" for path in SETTINGS_PLACES)
    raise DataError("CONTEXT_INVALID", f"no settings file at {tried}", hint="client dev up")
