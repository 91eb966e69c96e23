"""What ``UML_OS.Error.Emit_v1`` writes: exactly one record per failure (docs/spec/bytes.md §9)."""

from lockstep.error_codes import ERROR_CODES
from lockstep.record import Digest32, Record

GATE_FAILED = "GATE_FAILED"
PRIVACY_CLASS = "operational"  # no personal datum and no secret may enter an error record


class ErrorRecord(Record):
    """One failure: its registered code, where it happened, and the least that explains it."""

    code_id: str
    numeric_code: int
    severity: str
    subsystem: str
    t: int
    """Decision index of the trace record that names this one."""
    failure_operator: str
    replay_token: Digest32
    message: str
    retryable: bool
    privacy_class: str
    diagnostics: dict[str, str] | None = None


def error_record(
    code: str, message: str, *, t: int, failure_operator: str, subsystem: str, replay_token: bytes
) -> ErrorRecord:
    """The record of a failure by ``code``.

    A code that is not registered is a gate's reason; the failure is then GATE_FAILED and the
    reason stands in the diagnostics.
    """
    row = ERROR_CODES.get(code) or ERROR_CODES[GATE_FAILED]
    return ErrorRecord(
        code_id=row.code_id,
        numeric_code=row.numeric_code,
        severity=row.severity.value,
        subsystem=subsystem,
        t=t,
        failure_operator=failure_operator,
        replay_token=replay_token,
        message=message,
        retryable=row.retryable,
        privacy_class=PRIVACY_CLASS,
        diagnostics=None if row.code_id == code else {"reason": code},
    )
