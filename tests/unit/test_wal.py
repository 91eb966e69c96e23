"""The write-ahead log: each rule broken once, and what a sound log says (docs/spec/bytes.md §6)."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep import cbor, wal
from lockstep.errors import DataError, RefusedError

TENANT, RUN = "acme", "0123456789abcdef"
EIGHT = {name: bytes([number]) * 32 for number, name in enumerate(wal.FINALIZE_FIELDS, 1)}
PREPARE, SIGNED = ("PREPARE", {}), ("CERT_SIGNED", {"certificate_hash": bytes(32)})
FINALIZE, ROLLBACK = ("FINALIZE", EIGHT), ("ROLLBACK", {"trace_tail_hash": bytes(32)})


def log(*steps: tuple[str, dict]) -> list[wal.WalRecord]:
    state = wal.WalState()
    for kind, payload in steps:
        record = wal.next_record(state, TENANT, RUN, kind, payload)
        state = wal.WalState((*state.records, record))
    return list(state.records)


def raws(records: list[wal.WalRecord]) -> list[bytes]:
    return [record.to_bytes() for record in records]


def rehashed(record: wal.WalRecord, **changes: Any) -> dict:
    """The record changed and hashed again, so that only the rule in question is broken."""
    value = {**record.to_map(), **changes}
    names = ("tenant_id", "run_id", "wal_seq", "record_type", "prev_record_hash", "payload")
    return {**value, "record_hash": wal.record_hash_v1(*(value[name] for name in names))}


def corrupt(records: list[Any]) -> DataError:
    """Both readers must refuse."""
    with pytest.raises(DataError) as caught:
        wal.fold([cbor.encode(record) for record in records])
    assert caught.value.code == "WAL_CORRUPTION"
    with pytest.raises(DataError) as caught:
        wal.verify(records)
    assert caught.value.code == "WAL_CORRUPTION"
    return caught.value


@pytest.mark.parametrize(
    ("steps", "last_type", "terminal"),
    [
        ((), None, False),
        ((PREPARE,), "PREPARE", False),
        ((PREPARE, SIGNED), "CERT_SIGNED", False),
        ((PREPARE, SIGNED, FINALIZE), "FINALIZE", True),
        ((PREPARE, ROLLBACK), "ROLLBACK", True),
    ],
)
def test_a_sound_log_says_where_the_run_stands(
    steps: tuple, last_type: str | None, terminal: bool
) -> None:
    records = log(*steps)
    state = wal.fold(raws(records))
    assert state.records == tuple(records)
    assert (state.last_type, state.terminal) == (last_type, terminal)
    assert state.terminal_hash == (records[-1].record_hash if terminal else None)
    if records:
        assert wal.verify([record.to_map() for record in records]) == records[-1].record_hash


def test_the_first_record_follows_thirty_two_zero_bytes() -> None:
    (first,) = log(PREPARE)
    assert (first.wal_seq, first.prev_record_hash) == (0, bytes(32))
    corrupt([rehashed(first, prev_record_hash=bytes([1]) * 32)])


def test_a_gap_a_repeat_and_another_order_are_corruption() -> None:
    first, second, third = (record.to_map() for record in log(PREPARE, SIGNED, FINALIZE))
    assert corrupt([first, third]).place == "record 1"
    corrupt([second, third])
    corrupt([first, first])
    corrupt([second, first, third])
    corrupt([rehashed(log(PREPARE)[0], wal_seq=1)])


def test_a_broken_link_is_corruption() -> None:
    first, second = log(PREPARE, SIGNED)
    corrupt([first.to_map(), rehashed(second, prev_record_hash=bytes(32))])


def test_a_hash_that_does_not_match_is_corruption() -> None:
    (first,) = log(PREPARE)
    corrupt([{**first.to_map(), "record_hash": bytes(32)}])
    corrupt([{**first.to_map(), "payload": {"changed": 1}}])


def test_an_unknown_type_is_corruption() -> None:
    (first,) = log(PREPARE)
    corrupt([{**first.to_map(), "record_type": "NOTE"}])


def test_a_record_of_another_run_or_tenant_is_corruption() -> None:
    first, second = log(PREPARE, SIGNED)
    corrupt([first.to_map(), rehashed(second, run_id="ffff")])
    corrupt([first.to_map(), rehashed(second, tenant_id="evil")])


@pytest.mark.parametrize("last", [FINALIZE, ROLLBACK], ids=["FINALIZE", "ROLLBACK"])
def test_nothing_may_follow_a_terminal_record(last: tuple[str, dict]) -> None:
    records = log(PREPARE, last)
    forged = rehashed(
        records[0], wal_seq=2, record_type="CERT_SIGNED", prev_record_hash=records[1].record_hash
    )
    corrupt([*(record.to_map() for record in records), forged])
    with pytest.raises(RefusedError) as caught:
        wal.next_record(wal.fold(raws(records)), TENANT, RUN, "ROLLBACK", {})
    assert caught.value.code == "RUN_ENDED"


@pytest.mark.parametrize("name", wal.FINALIZE_FIELDS)
def test_finalize_without_one_of_the_eight_is_corruption(name: str) -> None:
    finalize = log(PREPARE, FINALIZE)[1]
    first = log(PREPARE)[0].to_map()
    short = {key: value for key, value in EIGHT.items() if key != name}
    for payload in (short, {**short, name: bytes(31)}, {**short, name: "0" * 32}):
        assert name in corrupt([first, rehashed(finalize, payload=payload)]).cause
        with pytest.raises(DataError):
            wal.next_record(wal.fold(raws(log(PREPARE))), TENANT, RUN, "FINALIZE", payload)


def test_finalize_may_name_more_than_the_eight() -> None:
    records = log(PREPARE, ("FINALIZE", {**EIGHT, "trace_final_hash": bytes(32), "note": None}))
    assert wal.fold(raws(records)).last.payload["note"] is None


def test_the_record_s_own_fields_are_closed() -> None:
    (first,) = (record.to_map() for record in log(PREPARE))
    corrupt([{**first, "time": 1}])
    for name in first:
        corrupt([{key: value for key, value in first.items() if key != name}])
    for bad in ({**first, "wal_seq": False}, {**first, "payload": []}, {**first, "tenant_id": 1}):
        corrupt([bad])


def test_an_empty_log_is_a_run_not_prepared_but_verifies_nothing() -> None:
    assert wal.fold([]) == wal.WalState()
    for bad in ([], None, {}, [None], [[]]):
        with pytest.raises(DataError):
            wal.verify(bad)


def test_a_log_copied_under_another_run_s_keys_is_corruption() -> None:
    stored = raws(log(PREPARE))
    assert wal.fold(stored, tenant_id=TENANT, run_id=RUN).last_type == "PREPARE"
    for other in ({"run_id": "ffff"}, {"tenant_id": "evil"}):
        with pytest.raises(DataError) as caught:
            wal.fold(stored, **other)
        assert caught.value.code == "WAL_CORRUPTION"


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_flipped_bit_of_a_stored_log_is_corruption(data: st.DataObject) -> None:
    stored = raws(log(PREPARE, SIGNED, FINALIZE))
    index = data.draw(st.integers(0, 2))
    bit = data.draw(st.integers(0, len(stored[index]) * 8 - 1))
    torn = bytearray(stored[index])
    torn[bit // 8] ^= 1 << bit % 8
    stored[index] = bytes(torn)
    with pytest.raises(DataError) as caught:
        wal.fold(stored)
    assert caught.value.code == "WAL_CORRUPTION"
    assert caught.value.place.startswith("record")


def test_every_torn_record_is_corruption() -> None:
    (stored,) = raws(log(PREPARE))
    for length in range(len(stored)):
        with pytest.raises(DataError) as caught:
            wal.fold([stored[:length]])
        assert caught.value.code == "WAL_CORRUPTION"
