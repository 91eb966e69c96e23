"""The trace: chain, frame and seal (docs/spec/bytes.md §7)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep import trace
from lockstep.errors import DataError

D = bytes([7]) * 32
OPERATOR = "UML_OS.Deploy.ExecuteRollout_v1"


def full(steps: int = 2) -> list[dict]:
    header = trace.run_header(
        tenant_id="acme",
        run_id="0123456789abcdef",
        replay_token=D,
        release_hash=D,
        env=["dev", "staging", "prod"],
        policy_bundle_hash=D,
        operator_contracts_root_hash=D,
        determinism_profile_hash=D,
        env_manifest_hash=D,
    )
    middle = [
        trace.iter_record(t, "dev/1", "shift", OPERATOR, t, "ok", "PASS", {"snapshot": D})
        for t in range(steps)
    ]
    return [header, *middle, trace.run_end("success", D, D, [D])]


def qualification() -> list[dict]:
    header = trace.qualification_header(
        tenant_id="acme", run_id="0123456789abcdef", replay_token=D, code_commit="0123abcd"
    )
    step = trace.iter_record(0, "build", "test", "ci.pytest", 0, "ok")
    return [header, step, trace.qualification_end("success")]


def refused(records: list, kind: str = "rollout") -> DataError:
    with pytest.raises(DataError) as caught:
        trace.validate_trace(records, kind)
    assert caught.value.code == "TRACE_INVALID"
    return caught.value


def test_h0_is_the_check_value_of_the_specification() -> None:
    assert trace.H0.hex() == "3039776e0d7bf8f0171e79c98330bca0c41f0b87b463d9dc0c94348116741caf"
    assert trace.links([]) == [trace.H0]
    assert trace.tail([]) == trace.H0


def test_the_builders_write_what_the_validator_accepts() -> None:
    for steps in (0, 1, 5):
        trace.validate_trace(full(steps), "rollout")
        trace.validate_trace(trace.seal(full(steps)), "rollout")
    trace.validate_trace(qualification(), "qualification")
    trace.validate_trace(trace.seal(qualification()), "qualification")


def test_an_absent_optional_field_is_omitted() -> None:
    record = trace.iter_record(0, "dev/1", "shift", OPERATOR, 0, "ok")
    assert "gate_result" not in record
    assert "evidence" not in record
    assert "rollback_report_hash" not in trace.run_end("failed", D, D, [])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 8), st.data())
def test_a_chain_carried_on_in_segments_ends_in_the_same_tail(
    steps: int, data: st.DataObject
) -> None:
    records = full(steps)
    cut = data.draw(st.integers(0, len(records)))
    link = trace.extend(trace.H0, records[:cut])
    assert trace.extend(link, records[cut:]) == trace.tail(records)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 9))
def test_changing_any_record_changes_the_tail(index: int) -> None:
    records = full(8)
    changed = [dict(record) for record in records]
    changed[index]["run_id" if index == 0 else "final_status" if index == 9 else "status"] = "x"
    assert trace.tail(changed) != trace.tail(records)
    assert trace.links(changed)[: index + 1] == trace.links(records)[: index + 1]


def test_the_tail_is_left_out_of_the_last_record_only() -> None:
    records = full()
    sealed = trace.seal(records)
    assert sealed[-1]["trace_tail_hash"] == trace.tail(records)
    assert trace.tail(sealed) == trace.tail(records)
    inside = [{**records[0], "trace_tail_hash": D}, *records[1:]]
    assert trace.tail(inside) != trace.tail(records)


def test_a_sealed_trace_is_not_sealed_again_nor_carried_on() -> None:
    sealed = trace.seal(full())
    for call in (
        lambda: trace.seal(sealed),
        lambda: trace.seal([]),
        lambda: trace.extend(trace.H0, sealed),
    ):
        with pytest.raises(DataError) as caught:
            call()
        assert caught.value.code == "TRACE_INVALID"


def test_a_wrong_tail_is_refused_and_the_right_one_accepted() -> None:
    sealed = trace.seal(full())
    trace.validate_trace(sealed, "rollout")
    refused([*sealed[:-1], {**sealed[-1], "trace_tail_hash": bytes(32)}])


@pytest.mark.parametrize("gap", [{1: 1}, {2: 0}, {2: 2}, {1: True}])
def test_t_counts_from_zero_without_a_gap(gap: dict) -> None:
    records = full()
    for index, t in gap.items():
        records[index] = {**records[index], "t": t}
    assert "record" in refused(records).place


def test_every_field_is_required_and_no_other_is_known() -> None:
    records = full()
    optional = {"gate_result", "evidence"}
    for index, record in enumerate(records):
        refused([*records[:index], {**record, "time": 1}, *records[index + 1 :]])
        for name in set(record) - optional:
            short = {key: value for key, value in record.items() if key != name}
            refused([*records[:index], short, *records[index + 1 :]])


def test_frames_are_not_interchangeable() -> None:
    refused(full(), "qualification")
    refused(qualification(), "rollout")
    refused(full(), "other")
    refused(full()[1:])
    refused(full()[:-1])
    refused([])
    refused([*full(), full()[-1]])
    refused("trace")


def test_both_ends_name_one_release() -> None:
    records = full()
    refused([*records[:-1], {**records[-1], "release_hash": bytes(32)}])


def test_an_optional_field_given_as_null_is_refused() -> None:
    records = full()
    refused([records[0], {**records[1], "gate_result": None}, *records[2:]])


def test_a_builder_refuses_what_the_schema_does() -> None:
    for call in (
        lambda: trace.iter_record(-1, "dev/1", "shift", OPERATOR, 0, "ok"),
        lambda: trace.iter_record(0, "", "shift", OPERATOR, 0, "ok"),
        lambda: trace.iter_record(0, "dev/1", "shift", OPERATOR, 0, "ok", None, {"a": b""}),
        lambda: trace.run_end("committed", D, D, []),
        lambda: trace.run_end("success", D, D.hex(), []),
    ):
        with pytest.raises(DataError):
            call()


def test_a_segment_is_read_back_as_it_was_written() -> None:
    first = trace.Segment(records=full()[:2])
    second = trace.Segment(prev=first.digest(), records=full()[2:])
    assert trace.Segment.from_bytes(second.to_bytes()) == second
    assert "prev" not in first.to_map()
    with pytest.raises(DataError):
        trace.Segment.from_map({"schema_version": trace.SEGMENT_SCHEMA_VERSION, "records": []})
