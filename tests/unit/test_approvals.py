"""Approvals: signed by a second key, counted by distinct keys, judged at the time given."""

from dataclasses import replace
from typing import Any

import pytest

from lockstep.errors import DataError, RefusedError
from lockstep.trust.approvals import Approval, approve, count_approvals
from lockstep.trust.signed import sign
from tests import release_world as world

RELEASE = world.certified()


def count(*approvals: bytes, **changes: Any):
    facts: dict[str, Any] = {
        "tenant_id": world.TENANT,
        "now": world.NOW,
        "signer": world.SIGNER.descriptor,
        "starter": world.OPERATOR.key_id,
        "separation_of_duty": True,
    }
    root = changes.pop("root", world.root())
    bundles = changes.pop("bundles", [world.revocations()])
    return count_approvals(approvals, root, bundles, **{**facts, **changes})


def test_a_good_approval_counts() -> None:
    counted = count(world.approval(RELEASE))
    assert counted.valid == (world.approval_payload(RELEASE),)
    assert counted.refused == ()


def test_the_payload_is_exactly_the_specifications() -> None:
    assert set(world.approval_payload(RELEASE).to_map()) == {
        "type",
        "tenant_id",
        "service",
        "policy_bundle_hash",
        "manifest_hash",
        "trace_root_hash",
        "checkpoint_hash",
        "lineage_root_hash",
        "approver",
        "time",
    }


def test_one_key_counts_once_however_often_it_signs() -> None:
    again = world.approval(RELEASE, time="2026-11-20T11:00:01Z")
    counted = count(world.approval(RELEASE), again, world.approval(RELEASE))
    assert len(counted.valid) == 1
    two = count(world.approval(RELEASE), world.approval(RELEASE, world.SECOND_APPROVER))
    ids = sorted([world.APPROVER.key_id, world.SECOND_APPROVER.key_id])
    assert [approval.approver for approval in two.valid] == ids


def test_the_certificates_signer_may_not_approve() -> None:
    payload = world.approval_payload(RELEASE, world.SIGNER)
    with pytest.raises(RefusedError) as refused:
        approve(payload, *world.SIGNER.pair, signer_key_id=world.SIGNER.key_id)
    assert refused.value.code == "NOT_AUTHORISED"


def test_an_approval_by_the_signers_own_key_material_never_counts() -> None:
    same = world.key("approval", 7)
    signer = same.descriptor.model_copy(update={"purpose": "release-certificate"})
    keys = (*world.ALL_KEYS, same)
    data = world.approval(RELEASE, same)
    counted = count(data, root=world.root(keys), signer=signer)
    assert counted.valid == ()
    assert "signer may not approve" in counted.refused[0]


def test_a_key_of_another_purpose_cannot_sign_an_approval() -> None:
    payload = world.approval_payload(RELEASE, world.OPERATOR)
    with pytest.raises(DataError) as refused:
        approve(payload, *world.OPERATOR.pair, signer_key_id=world.SIGNER.key_id)
    assert refused.value.code == "SIGNATURE_REFUSED"


def test_an_approval_names_the_key_that_signed_it() -> None:
    borrowed = world.approval_payload(RELEASE, world.SECOND_APPROVER)
    with pytest.raises(DataError, match="another approver"):
        approve(borrowed, *world.APPROVER.pair, signer_key_id=world.SIGNER.key_id)
    counted = count(sign(borrowed, *world.APPROVER.pair))
    assert counted.valid == ()


def test_with_separation_of_duty_the_starter_does_not_count() -> None:
    data = world.approval(RELEASE)
    own = count(data, starter=world.APPROVER.key_id)
    assert own.valid == ()
    assert "started the rollout" in own.refused[0]
    assert len(count(data, starter=world.APPROVER.key_id, separation_of_duty=False).valid) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"tenant_id": "umbrella"}, "SIGNATURE_REFUSED"),
        ({"now": "2026-11-20T10:59:59Z"}, "CERTIFICATE_EXPIRED"),
        ({"now": world.KEYS_END}, "CERTIFICATE_EXPIRED"),
        ({"root": world.root(world.ALL_KEYS[:3])}, "KEY_REFUSED"),
        (
            {"bundles": [world.revocations((world.APPROVER.key_id, "compromised", world.NOW))]},
            "KEY_REVOKED",
        ),
    ],
)
def test_what_does_not_hold_is_named_and_not_counted(changes: dict, code: str) -> None:
    counted = count(world.approval(RELEASE), **changes)
    assert counted.valid == ()
    assert counted.refused[0].startswith(code)


def test_an_approver_that_lost_its_role_does_not_count() -> None:
    payload = world.root_payload()
    roles = {**payload.roles, "approver": [world.SECOND_APPROVER.key_id]}
    root = world.root(roles=roles)
    assert count(world.approval(RELEASE), root=root).valid == ()
    assert len(count(world.approval(RELEASE, world.SECOND_APPROVER), root=root).valid) == 1


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xa0", b"\xff" * 300_000])
def test_bytes_that_are_no_approval_are_named_and_no_crash(data: bytes) -> None:
    counted = count(data, world.approval(RELEASE))
    assert len(counted.valid) == len(counted.refused) == 1


@pytest.mark.parametrize("changes", [{"release_hash": bytes(32)}, {"time": "now"}, {"service": ""}])
def test_a_payload_with_other_fields_is_refused(changes: dict) -> None:
    payload = {**world.approval_payload(RELEASE).to_map(), **changes}
    with pytest.raises(DataError):
        Approval.from_map(payload)
    assert count(sign(payload, *world.APPROVER.pair)).valid == ()


def test_approvals_of_another_release_do_not_count_for_this_one() -> None:
    other = world.certified(
        world.evidence_of(
            world.authoring.pack(world.document(version="1.2.4"), world.inputs(), world.TENANT)
        )
    )
    report = world.judged(replace(RELEASE, approvals=(world.approval(other),)))
    assert world.failed(report)["approvals"] == "APPROVAL_MISSING"
    assert report.approvers == []
