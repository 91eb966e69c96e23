"""What the end of a run is made of, out of its trace: reports named, the failure, the way back."""

from collections.abc import Mapping, Sequence
from typing import Any

from lockstep import operators, trace
from lockstep.digest import from_text, to_text
from lockstep.error_record import ErrorRecord, error_record
from lockstep.messages import CloseRequest

Records = Sequence[dict[str, Any]]


def reports_in(records: Records) -> dict[str, bytes]:
    """Newest digest of each report kind that the trace names."""
    found: dict[str, bytes] = {}
    for record in records:
        for name in ("preflight_report", "trust_report"):
            if name in (record.get("evidence") or {}):
                found[name] = record["evidence"][name]
    return found


def failure_record(request: CloseRequest, records: Records) -> ErrorRecord:
    """The one error record of this failure; the step that failed is the last but the way back."""
    steps = [r for r in records if r["kind"] == "iter" and r["action"] != "rollback"]
    return error_record(
        request.code,
        request.cause,
        t=next_t(records),
        failure_operator=steps[-1]["operator_id"] if steps else operators.ROLLBACK,
        subsystem=steps[-1]["stage"] if steps else "rollback",
        replay_token=from_text(request.run.replay_token),
    )


def failure_step(records: Records, failure: ErrorRecord) -> dict[str, Any]:
    t = next_t(records)
    return trace.iter_record(
        t=t,
        stage=failure.subsystem,
        action="error",
        operator_id=operators.ERROR_EMIT,
        operator_seq=t,
        status=failure.code_id,
        evidence={"error_record": failure.digest()},
    )


def next_t(records: Records) -> int:
    return sum(1 for record in records if record["kind"] == "iter")


def first_rollback(records: Records, reports: Mapping[str, bytes]) -> bytes | None:
    """The rollback report of the environment that failed: the first written of this run."""
    in_trace = [
        record["evidence"]["rollback_report"]
        for record in records
        if record["kind"] == "iter" and record["action"] == "rollback"
    ]
    if in_trace:
        return in_trace[0]
    return next(iter(reports.values()), None)


def as_texts(digests: Mapping[str, bytes]) -> dict[str, str]:
    return {name: to_text(digest) for name, digest in digests.items()}


def from_texts(texts: Mapping[str, str]) -> dict[str, bytes]:
    return {name: from_text(text) for name, text in texts.items()}
