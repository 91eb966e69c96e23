"""Keeps an agent's state on disk: ``agent.json`` says what is, ``effects.jsonl`` what was done.

The state is replaced whole and fsynced before it takes effect, and carries its own last effect, so
that a crash between the two files is mended at the next start: each effect stands in the list
exactly once.
"""

import json
import os
from pathlib import Path

from infra.demo.agent_state import AgentState, from_document, to_document

STATE_MAX_BYTES = 1024 * 1024
_TAIL_BYTES = 64 * 1024


class Journal:
    """The two files in ``folder``; one writer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state_file = folder / "agent.json"
        self._effects_file = folder / "effects.jsonl"

    def load(self) -> AgentState | None:
        """The state as last written, None before the first; mends the list of effects.

        Raises:
            ValueError: the file is not what this program writes.
        """
        if not self._state_file.exists():
            return None
        raw = self._state_file.read_bytes()
        if len(raw) > STATE_MAX_BYTES:
            raise ValueError(f"agent state: more than {STATE_MAX_BYTES} bytes")
        state = from_document(json.loads(raw))
        if state.last_effect is not None and self._last_number() < state.effects:
            self._append(state)
        return state

    def write(self, state: AgentState) -> None:
        """1. replace the state · 2. list its effect. Returns when both are on the disk."""
        fresh = self._state_file.with_suffix(".new")
        with fresh.open("w") as stream:
            json.dump(to_document(state), stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(self._state_file)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._append(state)

    def _append(self, state: AgentState) -> None:
        with self._effects_file.open("ab") as stream:
            if stream.tell() and not self._ends_a_line():
                stream.write(b"\n")  # a crash tore the last line
            stream.write(json.dumps(state.last_effect).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _tail(self) -> bytes:
        if not self._effects_file.exists():
            return b""
        with self._effects_file.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL_BYTES))
            return stream.read()

    def _ends_a_line(self) -> bool:
        return self._tail().endswith(b"\n")

    def _last_number(self) -> int:
        """Number of the last whole line; a torn one does not count."""
        for line in reversed(self._tail().split(b"\n")[:-1]):
            try:
                return json.loads(line)["number"]
            except (ValueError, KeyError, TypeError):
                continue
        return 0
