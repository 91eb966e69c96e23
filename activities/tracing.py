"""The run's trace in the store: segments appended step by step, read back and re-hashed.

A segment is content-addressed and names the one before it, so a retried step writes the same
bytes or an orphan, never a fork that anyone points to.
"""

from collections.abc import Sequence
from typing import Any

from activities.bench import Bench
from lockstep import trace
from lockstep.digest import from_text, to_text
from lockstep.errors import DataError, LockstepError
from lockstep.messages import RunContext, TraceCursor

SEGMENTS_MAX = 10_000
# Each step has a hundred numbers of its own for its retention batches.
BATCHES_PER_STEP = 100


def empty_cursor() -> TraceCursor:
    return TraceCursor(t=0, tail=to_text(trace.H0))


def append(
    bench: Bench,
    run: RunContext,
    cursor: TraceCursor,
    records: Sequence[dict[str, Any]],
    objects: Sequence[bytes] = (),
) -> TraceCursor:
    """Store ``objects`` and one segment with ``records``; return the trace's new end.

    Safe to retry: the same cursor and records give the same segment.
    """
    segment = trace.Segment(
        prev=from_text(cursor.segment) if cursor.segment else None, records=list(records)
    )
    body = segment.to_bytes()
    digests = bench.cas.put_all(
        [*objects, body],
        owner=run.run_id,
        seq=cursor.t * BATCHES_PER_STEP,
        now_us=bench.now_us(),
    )
    steps = sum(1 for record in records if record["kind"] == "iter")
    return TraceCursor(
        t=cursor.t + steps,
        tail=to_text(tail_after(cursor, records)),
        segment=to_text(digests[-1]),
    )


def tail_after(cursor: TraceCursor, records: Sequence[dict[str, Any]]) -> bytes:
    """The trace's tail once ``records`` stand after ``cursor``."""
    return trace.extend(from_text(cursor.tail), list(records))


def load(bench: Bench, cursor: TraceCursor) -> list[dict[str, Any]]:
    """Every record so far, each segment read back, the chain recomputed from bytes.

    Raises:
        DataError: TRACE_MISSING; a segment is gone, altered, or not this chain.
    """
    segments: list[trace.Segment] = []
    digest = cursor.segment
    while digest is not None:
        if len(segments) >= SEGMENTS_MAX:
            raise DataError("TRACE_MISSING", f"more than {SEGMENTS_MAX} segments")
        try:
            body = bench.cas.get(from_text(digest))
            segments.append(trace.Segment.from_bytes(body, place=digest))
        except DataError as error:
            raise DataError(
                "TRACE_MISSING", f"segment {digest} cannot be read back: {error}", place=digest
            ) from None
        previous = segments[-1].prev
        digest = to_text(previous) if previous else None
    records = [record for segment in reversed(segments) for record in segment.records]
    if to_text(trace.extend(trace.H0, records)) != cursor.tail:
        raise DataError("TRACE_MISSING", "the segments do not give the run's tail")
    return records


def load_or_none(bench: Bench, cursor: TraceCursor) -> list[dict[str, Any]] | None:
    """The records, or None where the trace itself is what was lost."""
    try:
        return load(bench, cursor)
    except LockstepError as error:
        if error.code != "TRACE_MISSING":
            raise
        return None


def looks_of(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The evaluate records, in ``t`` order: every look of every cohort."""
    return [r for r in records if r["kind"] == "iter" and r["action"] == "evaluate"]


def gate_reports_of(records: Sequence[dict[str, Any]]) -> list[bytes]:
    return [look["evidence"]["gate_report"] for look in looks_of(records)]
