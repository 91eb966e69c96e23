"""How an expected error is told: code, place, cause, next step, docs anchor; never a traceback.

For people it is four lines on stderr; with ``--output json`` one JSON object in one line, also on
stderr, so that stdout holds data or nothing. Exit codes come from ``lockstep.error_codes``.
"""

import json
from typing import Any

from lockstep.error_codes import ERROR_CODES, exit_of
from lockstep.errors import Exit, LockstepError

SCHEMA_VERSION = "lockstep.error.v1"

MACHINE_FORMS = ("json", "jsonl")


def as_map(error: LockstepError) -> dict[str, Any]:
    """The error object that programs read; ``next`` is the error's own hint or its code's."""
    row = ERROR_CODES.get(error.code)
    return {
        "schema_version": SCHEMA_VERSION,
        "code": error.code,
        "numeric_code": row.numeric_code if row else 0,
        "cause": error.cause,
        "place": error.place,
        "next": error.hint or (row.remediation if row else ""),
        "docs": row.docs_anchor if row else "errors.md",
        "retryable": row.retryable if row else False,
    }


def text_of(error: LockstepError, output: str = "table") -> str:
    """What goes to stderr, without the last line end."""
    value = as_map(error)
    if output in MACHINE_FORMS:
        return json.dumps(value, ensure_ascii=False)
    lines = [f"error {value['code']}: {value['cause']}"]
    lines += [f"{key}: {value[key]}" for key in ("place", "next", "docs") if value[key]]
    return "\n".join(lines)


def internal(error: BaseException) -> LockstepError:
    """A defect in one line: which class, and the first line of what it said."""
    said = (str(error).splitlines() or [""])[0][:300]
    return LockstepError("INTERNAL", f"{type(error).__name__}: {said}")


def exit_for(error: LockstepError) -> Exit:
    return exit_of(error.code)
