"""Targets: what moves traffic. ``open_target`` is the one table of kinds."""

from collections.abc import Mapping
from typing import Any

from activities.adapters.targets.demo import open_demo
from lockstep.documents import DocumentError, Problem
from lockstep.ports import Target

_KINDS = {"demo": open_demo}


def open_target(kind: str, settings: Mapping[str, Any]) -> Target:
    """The target of ``kind`` with its ``settings``; nothing is contacted yet.

    Raises:
        DocumentError: DOCUMENT_INVALID; an unknown kind, or settings that are not its own.
    """
    if kind not in _KINDS:
        why = f"no target is called {kind!r}; there are {', '.join(sorted(_KINDS))}"
        raise DocumentError([Problem(("kind",), why)], hint="mend targets[].kind in the profile")
    return _KINDS[kind](settings)
