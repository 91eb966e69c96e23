"""What a target is meant to carry, and how it differs from what it carries."""

import pytest

from lockstep.drift import actual_weights, desired_weights, drift_of
from lockstep.ledger import Current, SafeState, TargetRecord
from lockstep.ports import Instance, TargetState

OLD, NEW = b"\x01" * 32, b"\x02" * 32


def record(weight: int, stable: bytes | None = OLD, canary: bytes | None = NEW) -> TargetRecord:
    return TargetRecord(
        desired_weight=weight,
        owner_run="run",
        epoch=3,
        stable_release=stable,
        canary_release=canary,
        safe_state=SafeState(release=stable, weight=100 if stable else 0),
        phase="done",
        write_id="w",
    )


def current(serving: bytes | None) -> Current:
    return Current(serving=serving, last_good=serving, withdrawn=[], epoch=1, write_id="w")


def state(*instances: tuple[bytes, int, bool]) -> TargetState:
    found = [Instance(release.hex(), weight, healthy) for release, weight, healthy in instances]
    return TargetState(tuple(found), 3)


@pytest.mark.parametrize(
    ("known", "serving", "expected"),
    [
        (None, None, {}),
        (None, OLD, {OLD: 100}),
        (record(25), OLD, {OLD: 75, NEW: 25}),
        (record(100), OLD, {NEW: 100}),
        (record(0), OLD, {OLD: 100}),
        (record(0, canary=None), OLD, {OLD: 100}),
        (record(100, stable=None), None, {NEW: 100}),
        (record(100, stable=NEW), OLD, {NEW: 100}),
        (record(0, stable=None), None, {}),
    ],
)
def test_the_record_says_what_is_meant_and_current_where_there_is_none(
    known: TargetRecord | None, serving: bytes | None, expected: dict[bytes, int]
) -> None:
    wanted = {release.hex(): weight for release, weight in expected.items()}
    assert desired_weights(known, current(serving) if serving else None) == wanted


def test_what_carries_nothing_is_not_part_of_the_weights() -> None:
    assert actual_weights(state((OLD, 100, True), (NEW, 0, True))) == {OLD.hex(): 100}


@pytest.mark.parametrize(
    ("found", "meant", "said"),
    [
        (state((OLD, 100, True)), {OLD.hex(): 100}, None),
        (state(), {}, None),
        (state((OLD, 75, True), (NEW, 25, True)), {OLD.hex(): 75, NEW.hex(): 25}, None),
        (state((OLD, 100, True)), {}, "never adopted"),
        (state((OLD, 74, True), (NEW, 26, True)), {OLD.hex(): 75, NEW.hex(): 25}, "meant"),
        (state(), {OLD.hex(): 100}, "found nothing"),
        (state((OLD, 100, False)), {OLD.hex(): 100}, "not healthy"),
    ],
)
def test_every_difference_is_said(
    found: TargetState, meant: dict[str, int], said: str | None
) -> None:
    drift = drift_of(found, meant)
    assert drift is None if said is None else said in str(drift)
