"""COMMITTED and the recovery table (docs/spec/bytes.md §6)."""

import pytest

from lockstep import commit, wal
from lockstep.commit import Committed, RecoveryAction
from lockstep.errors import DataError

EIGHT = {name: bytes([number]) * 32 for number, name in enumerate(wal.FINALIZE_FIELDS, 1)}


def state(*steps: str) -> wal.WalState:
    found = wal.WalState()
    for kind in steps:
        payload = EIGHT if kind == "FINALIZE" else {}
        found = wal.WalState((*found.records, wal.next_record(found, "t", "r", kind, payload)))
    return found


DONE = state("PREPARE", "CERT_SIGNED", "FINALIZE")
POINTER = commit.committed_from(DONE.last)


def test_committed_has_exactly_five_fields_taken_from_finalize() -> None:
    assert POINTER.to_map() == {
        "trace_tail_hash": EIGHT["trace_tail_hash"],
        "checkpoint_hash": EIGHT["checkpoint_hash"],
        "lineage_root_hash": EIGHT["lineage_root_hash"],
        "execution_certificate_hash": EIGHT["certificate_hash"],
        "wal_terminal_hash": DONE.terminal_hash,
    }
    assert Committed.from_bytes(POINTER.to_bytes()) == POINTER


def test_no_other_record_commits_a_run() -> None:
    for steps in (("PREPARE",), ("PREPARE", "CERT_SIGNED"), ("PREPARE", "ROLLBACK")):
        with pytest.raises(DataError) as caught:
            commit.committed_from(state(*steps).last)
        assert caught.value.code == "WAL_CORRUPTION"


@pytest.mark.parametrize(
    ("steps", "without", "with_pointer"),
    [
        ((), RecoveryAction.NOTHING, RecoveryAction.CONFLICT),
        (("PREPARE",), RecoveryAction.OWNER_DECIDES, RecoveryAction.CONFLICT),
        (("PREPARE", "CERT_SIGNED"), RecoveryAction.OWNER_DECIDES, RecoveryAction.CONFLICT),
        (("PREPARE", "ROLLBACK"), RecoveryAction.TERMINAL_ROLLBACK, RecoveryAction.CONFLICT),
        (
            ("PREPARE", "CERT_SIGNED", "FINALIZE"),
            RecoveryAction.ROLL_FORWARD,
            RecoveryAction.COMMITTED,
        ),
    ],
)
def test_recovery_follows_its_table(
    steps: tuple[str, ...], without: RecoveryAction, with_pointer: RecoveryAction
) -> None:
    assert commit.recovery_action(state(*steps), None) is without
    assert commit.recovery_action(state(*steps), POINTER) is with_pointer


@pytest.mark.parametrize("name", list(POINTER.to_map()))
def test_a_pointer_that_differs_in_any_field_is_a_conflict(name: str) -> None:
    other = Committed.from_map({**POINTER.to_map(), name: bytes(32)})
    assert commit.recovery_action(DONE, other) is RecoveryAction.CONFLICT


def test_a_pointer_with_another_field_set_is_refused() -> None:
    value = POINTER.to_map()
    for bad in (
        {**value, "time": 1},
        {**value, "checkpoint_hash": "00" * 32},
        {key: item for key, item in value.items() if key != "wal_terminal_hash"},
    ):
        with pytest.raises(DataError):
            Committed.from_map(bad)
