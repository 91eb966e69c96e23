"""The nine equalities: each, broken alone, is named; none is judged by the claim alone."""

from dataclasses import replace
from typing import Any

import pytest

from lockstep import cbor
from lockstep.digest import sha256
from lockstep.release.evidence import RECOMPUTE, ReleaseEvidence
from lockstep.trust.approvals import APPROVED_HASHES
from lockstep.trust.certificate import NINE, promotion_mismatches, read_certificate
from lockstep.trust.equalities import Equality, nine_equalities, unequal
from tests import release_world as world

RELEASE = world.certified()
OTHER = b"\x07" * 32


def judge(release: ReleaseEvidence = RELEASE, **changes: Any) -> list[Equality]:
    payload = changes.pop("payload", read_certificate(release.certificate)[0])
    approvals = changes.pop("approvals", [world.approval_payload(RELEASE)])
    return nine_equalities(payload, release, world.expected(RELEASE, **changes), approvals)


def broken(rows: list[Equality]) -> list[str]:
    return unequal(rows)


def test_all_nine_hold_for_a_good_release_in_the_specifications_order() -> None:
    rows = judge()
    assert [row.name for row in rows] == list(NINE)
    assert broken(rows) == []
    assert all(row.claimed == row.recomputed for row in rows)
    with_approval = [row.name for row in rows if row.approved is not None]
    assert with_approval == list(APPROVED_HASHES)


@pytest.mark.parametrize("name", NINE)
def test_a_false_claim_is_named_alone(name: str) -> None:
    payload = {**read_certificate(RELEASE.certificate)[0], name: OTHER}
    rows = judge(payload=payload)
    assert broken(rows) == [name]
    row = rows[NINE.index(name)]
    assert row.claimed == OTHER
    assert row.recomputed == RECOMPUTE[name](RELEASE)
    assert row.problem


@pytest.mark.parametrize("name", APPROVED_HASHES)
def test_an_approval_of_something_else_is_named_alone(name: str) -> None:
    rows = judge(approvals=[world.approval_payload(RELEASE, **{name: OTHER})])
    assert broken(rows) == [name]
    assert rows[NINE.index(name)].approved == OTHER


def test_one_stray_approval_among_good_ones_shows() -> None:
    stray = world.approval_payload(RELEASE, world.SECOND_APPROVER, checkpoint_hash=OTHER)
    rows = judge(approvals=[world.approval_payload(RELEASE), stray])
    assert broken(rows) == ["checkpoint_hash"]


def test_without_an_approval_record_the_three_do_not_hold() -> None:
    assert broken(judge(approvals=[])) == [name for name in NINE if name in APPROVED_HASHES]


def test_another_policy_than_the_environment_pins_is_named() -> None:
    assert broken(judge(policy_bundle_hash=OTHER)) == ["policy_bundle_hash"]


def test_a_profile_or_registry_that_this_worker_does_not_ship_is_named() -> None:
    assert broken(judge(profiles=frozenset())) == ["determinism_profile_hash"]
    assert broken(judge(operator_roots=frozenset({OTHER}))) == ["operator_contracts_root_hash"]


def test_an_earlier_shipped_root_satisfies_the_equality() -> None:
    claimed = read_certificate(RELEASE.certificate)[0]["operator_contracts_root_hash"]
    assert broken(judge(operator_roots=frozenset({OTHER, claimed}))) == []


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"manifest": b"\xa0"}, ["manifest_hash", "lineage_root_hash"]),
        ({"trace": b"\x80"}, ["trace_root_hash"]),
        ({"checkpoint": b"\x00"}, ["checkpoint_hash"]),
    ],
)
def test_changed_bytes_are_found_whatever_the_certificate_says(
    changes: dict, names: list[str]
) -> None:
    assert broken(judge(replace(RELEASE, **changes))) == names


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("policy_bundle", ["policy_bundle_hash"]),
        ("lockfile", ["lockfile_hash", "dependencies_lock_hash"]),
        ("toolchain", ["dependencies_lock_hash"]),
        ("runtime_env", ["dependencies_lock_hash"]),
        ("determinism_profile", ["determinism_profile_hash"]),
        ("operator_registry", ["operator_contracts_root_hash"]),
    ],
)
def test_changed_evidence_is_found_whatever_the_certificate_says(
    kind: str, names: list[str]
) -> None:
    value = b"two==2 --hash=sha256:" + b"b" * 64 if kind == "lockfile" else cbor.encode({"x": 1})
    evidence = {**RELEASE.evidence, kind: value}
    assert broken(judge(replace(RELEASE, evidence=evidence))) == names


def test_lost_evidence_is_unequal_and_no_crash() -> None:
    rows = judge(replace(RELEASE, evidence={}))
    assert {"lockfile_hash", "policy_bundle_hash"} <= set(broken(rows))
    assert rows[NINE.index("lockfile_hash")].recomputed is None


def test_an_unreadable_certificate_makes_all_nine_unequal() -> None:
    assert broken(judge(payload=None)) == list(NINE)


def test_the_nine_agree_with_the_conformance_function() -> None:
    payload, _ = read_certificate(RELEASE.certificate)
    expected = {name: recompute(RELEASE) for name, recompute in RECOMPUTE.items()}
    assert promotion_mismatches(payload, expected) == []
    for name in NINE:
        wrong = {**payload, name: sha256(name.encode())}
        assert promotion_mismatches(wrong, expected) == broken(judge(payload=wrong)) == [name]
