"""Metrics sources: what says how a release does. ``open_source`` is the one table of kinds."""

from collections.abc import Mapping
from typing import Any

from activities.adapters.sources.file import open_file
from activities.adapters.sources.openmetrics import open_openmetrics
from lockstep.documents import DocumentError, Problem
from lockstep.ports import Source

_KINDS = {"file": open_file, "openmetrics": open_openmetrics}


def open_source(kind: str, settings: Mapping[str, Any]) -> Source:
    """The source of ``kind`` with its ``settings``; nothing is contacted yet.

    Raises:
        DocumentError: DOCUMENT_INVALID; an unknown kind, or settings that are not its own.
    """
    if kind not in _KINDS:
        why = f"no source is called {kind!r}; there are {', '.join(sorted(_KINDS))}"
        raise DocumentError([Problem(("kind",), why)], hint="mend sources[].kind in the profile")
    return _KINDS[kind](settings)
