"""The trace in the store: grown step by step, read back whole or not at all."""

from pathlib import Path

import pytest

from activities import tracing
from lockstep import layout, operators, trace
from lockstep.digest import from_text, sha256, to_text
from lockstep.errors import DataError
from lockstep.messages import TraceCursor
from tests.stores import behind
from tests.workflow.place import TENANT, Place

DIGEST = bytes(range(32))


def record(t: int, stage: str = "dev/5", action: str = "evaluate") -> dict:
    evidence = {"snapshot": DIGEST, "gate_report": bytes([t]) * 32}
    return trace.iter_record(
        t=t,
        stage=stage,
        action=action,
        operator_id=operators.GATES,
        operator_seq=t,
        status="ok",
        gate_result="PASS" if action == "evaluate" else None,
        evidence=evidence,
    )


def grown(place: Place, *steps: list[dict]) -> list[TraceCursor]:
    """The cursor before the first step and after each."""
    cursors = [tracing.empty_cursor()]
    for records in steps:
        cursors.append(tracing.append(place.bench, place.run, cursors[-1], records))
    return cursors


def folder_of(place: Place) -> Path:
    return Path(place.bench.store.url.removeprefix("file://"))


def segment_key(cursor: TraceCursor) -> str:
    return layout.cas(TENANT, from_text(cursor.segment))


def test_an_empty_trace_has_no_records(place: Place) -> None:
    assert tracing.load(place.bench, tracing.empty_cursor()) == []


def test_what_was_appended_is_read_back_in_order(place: Place) -> None:
    first, second = [record(0), record(1)], [record(2)]
    *_, end = grown(place, first, second)
    assert tracing.load(place.bench, end) == first + second
    assert end.t == 3
    assert end.tail == to_text(trace.tail([*first, *second]))


def test_only_decisions_are_counted_as_steps(place: Place) -> None:
    header = trace.qualification_header(
        tenant_id=TENANT, run_id="0" * 16, replay_token=DIGEST, code_commit="0" * 40
    )
    *_, end = grown(place, [header, record(0)])
    assert end.t == 1


def test_a_step_that_is_retried_gives_the_same_end_and_no_fork(place: Place) -> None:
    before, after = grown(place, [record(0)])
    again = tracing.append(place.bench, place.run, before, [record(0)])
    assert again == after
    assert len(tracing.load(place.bench, again)) == 1


def test_objects_are_stored_with_the_segment_that_names_them(place: Place) -> None:
    body = b"a raw answer"
    cursor = tracing.append(
        place.bench, place.run, tracing.empty_cursor(), [record(0)], objects=[body]
    )
    assert place.bench.cas.has(sha256(body))
    assert tracing.load(place.bench, cursor) == [record(0)]


def test_a_segment_that_is_gone_is_said_so_wherever_it_stood(place: Place) -> None:
    _, first, second = grown(place, [record(0)], [record(1)])
    for lost in (first, second):
        file = folder_of(place) / segment_key(lost)
        whole = file.read_bytes()
        file.unlink()
        with pytest.raises(DataError, match=f"TRACE_MISSING.*{lost.segment}"):
            tracing.load(place.bench, second)
        place.bench.cas.put(whole)
        assert len(tracing.load(place.bench, second)) == 2


def test_an_altered_segment_is_missing_not_believed(place: Place) -> None:
    _, first, second = grown(place, [record(0)], [record(1)])
    other = trace.Segment(records=[record(0, stage="dev/25")])
    behind(place.bench.store, segment_key(first), other.to_bytes())
    with pytest.raises(DataError, match="TRACE_MISSING") as caught:
        tracing.load(place.bench, second)
    assert caught.value.place == first.segment
    assert "OBJECT_CORRUPT" in caught.value.cause


def test_a_segment_that_is_no_segment_is_missing(place: Place) -> None:
    digest = place.bench.cas.put(b"\xa0")
    cursor = TraceCursor(t=1, tail=tracing.empty_cursor().tail, segment=to_text(digest))
    with pytest.raises(DataError, match="TRACE_MISSING"):
        tracing.load(place.bench, cursor)


def test_whole_segments_of_another_chain_are_refused(place: Place) -> None:
    *_, one = grown(place, [record(0)])
    *_, two = grown(place, [record(0, stage="dev/25")])
    mixed = one.model_copy(update={"segment": two.segment})
    with pytest.raises(DataError, match="TRACE_MISSING: the segments do not give the run's tail"):
        tracing.load(place.bench, mixed)


def test_a_chain_without_end_is_not_followed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, end = grown(place, [record(0)], [record(1)], [record(2)])
    monkeypatch.setattr(tracing, "SEGMENTS_MAX", 3)
    assert len(tracing.load(place.bench, end)) == 3
    monkeypatch.setattr(tracing, "SEGMENTS_MAX", 2)
    with pytest.raises(DataError, match="TRACE_MISSING: more than 2 segments"):
        tracing.load(place.bench, end)


def test_a_lost_trace_is_none_where_the_run_must_end_without_it(place: Place) -> None:
    *_, end = grown(place, [record(0)])
    assert tracing.load_or_none(place.bench, end) == [record(0)]
    lost = end.model_copy(update={"segment": "sha256:" + "0" * 64})
    assert tracing.load_or_none(place.bench, lost) is None


def test_looks_are_the_evaluations_in_order(place: Place) -> None:
    records = [record(0, action="promote"), record(1), record(2, stage="dev/25")]
    assert tracing.looks_of(records) == records[1:]
    assert tracing.gate_reports_of(records) == [bytes([1]) * 32, bytes([2]) * 32]
