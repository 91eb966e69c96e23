"""The settings of one invocation, and the store they name: loaded when a command asks for them.

``--config`` and ``--context`` come from the program's global options; the rules are in
``lockstep.settings``, the search for the file in ``client.settings_file``.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from client.settings_file import find_settings
from lockstep.errors import LockstepError
from lockstep.settings import Context, load_context

if TYPE_CHECKING:
    from activities.adapters.store import Cas, Ledger, WalStore
    from lockstep.ports import Store


def option(name: str) -> Any:
    """A global option of the running program: config, context, debug, quiet or no_input."""
    context = click.get_current_context(silent=True)
    return context.find_root().meta.get(f"client.{name}") if context else None


def load() -> Context:
    """The context that this invocation works in.

    Raises:
        DataError: CONTEXT_INVALID; no settings file, no such context, a broken field.
    """
    explicit = option("config")
    path = find_settings(Path(explicit) if explicit else None, os.environ)
    return load_context(
        path.read_bytes(),
        option("context"),
        os.environ,
        folder=str(path.resolve().parent),
        place=str(path),
    )


def load_or_none() -> Context | None:
    """As ``load``, or None where nothing names settings and none are found."""
    try:
        return load()
    except LockstepError:
        named = option("config") or option("context") or os.environ.get("LOCKSTEP_CONFIG")
        if named:
            raise
        return None


class Stored:
    """The store of a context and what lies over it, opened on use."""

    def __init__(self, context: Context) -> None:
        from activities.adapters.store import open_store

        self.tenant = context.tenant_id
        self.store: Store = open_store(context.store, endpoint=context.store_endpoint)

    @property
    def cas(self) -> "Cas":
        from activities.adapters.store.cas import Cas

        return Cas(self.store, self.tenant)

    @property
    def ledger(self) -> "Ledger":
        from activities.adapters.store.ledger import Ledger

        return Ledger(self.store, self.tenant)

    def wal(self, run_id: str) -> "WalStore":
        from activities.adapters.store.wal_store import WalStore

        return WalStore(self.store, self.tenant, run_id)


def reattach_with(command: str) -> None:
    """What an interrupted command tells its user to run."""
    context = click.get_current_context(silent=True)
    if context:
        context.find_root().meta["client.reattach"] = command
