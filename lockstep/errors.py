"""The error tree, split by what the reader must do.

    LockstepError
    ├── DataError         bytes or a document lie or are broken: stop and mend the input
    ├── RefusedError      policy, trust or state says no: change the request or the state
    │   └── FencedError   a newer epoch owns the target: only stop
    └── UnavailableError  a part cannot be reached: retry later

Each error carries a registered ``code`` (``lockstep.error_codes``), one sentence of cause, the
place (file, line, field) where known, and a hint: the next thing to do. Expected answers such as
FAIL or INCONCLUSIVE are values, never exceptions.
"""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command (docs/reference/exit-codes.md; spec interfaces §1)."""

    DONE = 0
    INTERNAL = 1
    USAGE = 2
    PREFLIGHT_REFUSED = 3
    ROLLED_BACK = 4
    ROLLBACK_FAILED = 5
    HELD = 6
    WAIT_TIMED_OUT = 7
    EVIDENCE_REFUSED = 8
    IN_THE_WAY = 9
    UNREACHABLE = 10
    INTERRUPTED = 130


class LockstepError(Exception):
    """Base of every expected error: code, cause, place, hint."""

    def __init__(self, code: str, cause: str, *, place: str = "", hint: str = "") -> None:
        super().__init__(cause)
        self.code = code
        self.cause = cause
        self.place = place
        self.hint = hint

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        return f"{self.code}: {where}{self.cause}"


class DataError(LockstepError):
    """Bytes or a document are broken or contradict their digest."""


class RefusedError(LockstepError):
    """A rule says no; nothing was touched."""


class FencedError(RefusedError):
    """The epoch presented is not the one in force."""

    def __init__(self, cause: str, *, place: str = "", hint: str = "") -> None:
        super().__init__(
            "FENCED", cause, place=place, hint=hint or "a newer owner acts here: only stop"
        )


class UnavailableError(LockstepError):
    """A store, target, source or server cannot be reached; the same call may work later."""
