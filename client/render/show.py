"""Show a run while it goes on: a live tree on a terminal, one line a change elsewhere; on stderr.

Colour and movement only where stderr is a terminal and ``NO_COLOR`` is not set; ``--quiet`` shows
nothing. Whatever is shown is never data.
"""

import os
import sys
from datetime import UTC, datetime
from typing import Any, Protocol

import click

from client.output import is_quiet
from client.render.tree import changes, facts_of, tree

STYLES = {"good": "green", "bad": "red", "wait": "yellow", "plain": "", "faint": "dim"}


class Show(Protocol):
    def update(self, document: dict[str, Any]) -> None:
        """The run's newest status document."""

    def note(self, text: str) -> None:
        """Something that is not the run's: the server is out of reach."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def open_show() -> Show:
    """What fits this terminal."""
    if is_quiet():
        return Silent()
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return Live(coloured="NO_COLOR" not in os.environ)
    return Plain()


class Silent:
    def update(self, document: dict[str, Any]) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


class Plain:
    """One line for each thing that changed, so that a log reads as the story of the run."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.noted = ""

    def update(self, document: dict[str, Any]) -> None:
        self.noted = ""
        now = facts_of(document)
        for text in changes(self.known, now):
            click.echo(text, err=True)
        self.known = now

    def note(self, text: str) -> None:
        if text != self.noted:
            click.echo(text, err=True)
        self.noted = text

    def close(self) -> None:
        pass


class Live:
    """The tree, redrawn in place."""

    def __init__(self, *, coloured: bool) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        self.console = Console(stderr=True, no_color=not coloured, highlight=False)
        self.live = RichLive(console=self.console, auto_refresh=False, transient=True)
        self.live.start()
        self.document: dict[str, Any] | None = None

    def update(self, document: dict[str, Any]) -> None:
        self.document = document
        self._draw("")

    def note(self, text: str) -> None:
        self._draw(text)

    def _draw(self, note: str) -> None:
        from rich.text import Text

        text = Text(no_wrap=True, overflow="ellipsis")
        for line in tree(self.document) if self.document else []:
            text.append(line.text + "\n", style=STYLES[line.style])
        note = note or _time_left((self.document or {}).get("until", ""))
        if note:
            text.append(note, style=STYLES["faint"])
        self.live.update(text, refresh=True)

    def close(self) -> None:
        self.live.stop()


def _time_left(until: str) -> str:
    """``until`` as seconds from now, by this terminal's clock; empty where nothing is awaited."""
    if not until:
        return ""
    then = datetime.strptime(until, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    left_s = (then - datetime.now(UTC)).total_seconds()
    return f"{left_s:.0f} s left" if left_s > 0 else ""
