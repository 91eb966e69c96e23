"""The pure core of Lockstep: every decision, from bytes and an explicit ``now``.

No clock, no I/O, no randomness: the same inputs give the same bytes on any machine.
The import table is in ``pyproject.toml`` (import-linter) and in docs/architecture.md.
"""

__version__ = "0.1.0"

SPEC_VERSION = "lockstep.spec.v1"
"""Named in every replay token (docs/spec/bytes.md §2)."""
