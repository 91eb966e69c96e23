"""Verification of a release: every check passes for a good one and names what is wrong."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep import cbor, trace
from lockstep.digest import sha256
from lockstep.release.evidence import ReleaseEvidence
from lockstep.release.manifest import Manifest
from lockstep.trust.certificate import NINE, read_certificate
from lockstep.trust.report import TrustReport
from lockstep.trust.verify import TrustData
from tests import release_world as world


def test_a_good_release_passes_every_check_and_every_equality() -> None:
    report = world.judged(world.approved())
    assert report.outcome == "pass", world.failed(report)
    assert {check.outcome for check in report.checks} == {"pass"}
    assert [row.name for row in report.equalities] == list(NINE)
    assert all(row.equal for row in report.equalities)
    assert report.first_problem() is None
    assert report.approvers == [world.APPROVER.key_id]


def test_the_report_is_a_record_and_says_what_it_used() -> None:
    report = world.judged(world.approved())
    assert TrustReport.from_bytes(report.to_bytes()) == report
    assert report.trust_store_hash == world.root().digest()
    assert report.revocation_bundle_hash == world.revocations().digest()
    assert report.verification_time_utc == world.NOW
    assert report.key_id == world.SIGNER.key_id
    assert report.key_window is not None
    assert report.key_window.not_after == world.KEYS_END


def test_the_same_bytes_at_the_same_time_give_the_same_report() -> None:
    assert world.judged(world.approved()).to_bytes() == world.judged(world.approved()).to_bytes()


# ---- the trust data ------------------------------------------------------------------------


def test_another_root_than_the_pinned_one_is_refused() -> None:
    data = replace(world.trust(), pinned_root=sha256(b"another"))
    report = world.judged(world.approved(), data)
    assert report.outcome == "fail"
    assert world.failed(report)["trust_pin"] == "TRUST_ROOT_INVALID"
    # Nothing is judged by a root that is not the pinned one.
    assert "certificate_signature" in world.failed(report)


def test_without_a_pin_the_report_says_so_and_nothing_fails() -> None:
    report = world.judged(world.approved(), replace(world.trust(), pinned_root=None))
    assert report.outcome == "pass"
    pins = {check.name: check.outcome for check in report.checks}
    assert pins["trust_pin"] == "not_configured"


@pytest.mark.parametrize(
    ("now", "outcome"),
    [
        ("2026-11-30T23:59:59Z", "pass"),
        (world.NEXT_UPDATE, "stale"),
    ],
)
def test_the_revocation_bundle_is_stale_from_its_next_update_on(now: str, outcome: str) -> None:
    report = world.judged(world.approved(), now=now)
    assert report.outcome == outcome
    assert world.failed(report) == (
        {} if outcome == "pass" else {"revocations_fresh": "TRUST_STALE"}
    )


def test_an_expired_root_is_stale_and_a_finding_beside_it_still_fails() -> None:
    short = world.root(not_after="2026-11-21T00:00:00Z")
    release = world.resigned(world.certified(), trust_store_hash=short.digest())
    report = world.judged(world.approved(release), world.trust(short))
    assert report.outcome == "stale"
    assert world.failed(report) == {"trust_root_fresh": "TRUST_STALE"}
    worse = world.judged(release, world.trust(short))
    assert worse.outcome == "fail"


def test_an_absent_pinned_bundle_is_stale_and_another_one_fails() -> None:
    data = replace(world.trust(), pinned_revocations=None)
    assert world.judged(world.approved(), data).outcome == "stale"
    other = world.revocations(issued_at="2026-11-02T00:00:00Z")
    report = world.judged(world.approved(), world.trust(pinned=other))
    assert report.outcome == "fail"
    assert world.failed(report)["revocations_pinned"] == "TRUST_ROOT_INVALID"


def test_a_current_bundle_older_than_the_pinned_one_is_a_rollback() -> None:
    newer = world.revocations(version=2)
    release = world.resigned(world.certified(), revocation_bundle_hash=newer.digest())
    report = world.judged(world.approved(release), world.trust(pinned=newer))
    assert world.failed(report) == {"revocation": "TRUST_ROOT_INVALID"}


def test_a_bundle_that_no_root_key_signed_is_refused() -> None:
    forged = world.revocations(signer=world.APPROVER)
    report = world.judged(world.approved(), world.trust(current=forged))
    assert world.failed(report)["revocations_current"] == "TRUST_ROOT_INVALID"
    assert report.outcome == "fail"


# ---- the certificate -----------------------------------------------------------------------


def test_a_revoked_signer_is_refused_by_either_bundle() -> None:
    entry = (world.SIGNER.key_id, "compromised", world.NOW)
    later = world.revocations(entry, version=2)
    report = world.judged(world.approved(), world.trust(current=later))
    assert report.outcome == "fail"
    assert world.failed(report) == {"revocation": "KEY_REVOKED"}
    pinned = world.revocations(entry)
    release = world.resigned(world.certified(), revocation_bundle_hash=pinned.digest())
    in_both = world.judged(world.approved(release), world.trust(current=later, pinned=pinned))
    assert world.failed(in_both) == {"revocation": "KEY_REVOKED"}


def test_a_superseded_signer_keeps_its_earlier_signatures_only() -> None:
    after = ("2026-11-20T10:00:01Z", "2026-11-20T10:00:00Z")
    for since, outcome in zip(after, ("pass", "fail"), strict=True):
        current = world.revocations((world.SIGNER.key_id, "superseded", since), version=2)
        assert world.judged(world.approved(), world.trust(current=current)).outcome == outcome


def expired_signer() -> tuple[ReleaseEvidence, TrustData]:
    short = world.key("release-certificate", not_after="2026-11-21T00:00:00Z")
    keys = tuple(short if key is world.SIGNER else key for key in world.ALL_KEYS)
    short_root = world.root(keys)
    release = world.resigned(world.certified(), trust_store_hash=short_root.digest())
    return world.approved(release), world.trust(short_root)


def test_a_key_outside_its_window_is_refused_at_the_first_second_outside() -> None:
    release, data = expired_signer()
    assert world.judged(release, data, now="2026-11-20T23:59:59Z").outcome == "pass"
    report = world.judged(release, data, now="2026-11-21T00:00:00Z")
    assert world.failed(report) == {"key_window": "CERTIFICATE_EXPIRED"}


def test_a_key_past_its_rotation_is_refused_inside_its_window() -> None:
    old = world.key("release-certificate", rotation_max_age_days=20)
    keys = tuple(old if key is world.SIGNER else key for key in world.ALL_KEYS)
    old_root = world.root(keys)
    release = world.approved(world.resigned(world.certified(), trust_store_hash=old_root.digest()))
    data = world.trust(old_root)
    assert world.judged(release, data, now="2026-11-20T23:59:59Z").outcome == "pass"
    report = world.judged(release, data, now="2026-11-21T00:00:00Z")
    assert world.failed(report) == {"key_window": "CERTIFICATE_EXPIRED"}


@pytest.mark.parametrize(
    ("now", "good"),
    [
        ("2026-11-20T09:59:59Z", False),
        ("2026-11-20T11:00:00Z", True),
        ("2026-11-30T00:00:00Z", True),
    ],
)
def test_a_certificate_holds_from_its_verification_time(now: str, good: bool) -> None:
    report = world.judged(world.approved(), now=now)
    assert ("certificate_window" in world.failed(report)) is not good


def test_a_certificate_ends_with_its_window_and_with_the_policys_age() -> None:
    release = world.approved(
        world.resigned(world.certified(), valid_until_utc="2026-11-21T12:00:00Z")
    )
    assert world.judged(release, now="2026-11-21T11:59:59Z").outcome == "pass"
    report = world.judged(release, now="2026-11-21T12:00:00Z")
    assert world.failed(report) == {"certificate_window": "CERTIFICATE_EXPIRED"}
    longer = world.approved(
        world.resigned(
            world.certified(),
            verification_time_utc="2026-08-01T00:00:00Z",
            valid_until_utc="2027-08-01T00:00:00Z",
        )
    )
    assert "certificate_window" in world.failed(world.judged(longer))


def test_a_signature_by_another_key_is_refused() -> None:
    release = world.approved(world.resigned(world.certified(), world.OPERATOR))
    assert world.failed(world.judged(release))["certificate_signature"] == "SIGNATURE_REFUSED"


@pytest.mark.parametrize("wrong", [world.COMMITTER, world.APPROVER, world.OPERATOR])
def test_a_key_of_another_purpose_may_not_certify(wrong: world.Key) -> None:
    release = world.resigned(world.certified(), wrong, key_id=wrong.key_id)
    report = world.judged(world.approved(release, world.SECOND_APPROVER))
    assert world.failed(report)["certificate_signature"] == "NOT_AUTHORISED"


def test_a_certificate_of_another_tenant_is_refused() -> None:
    release = world.resigned(world.certified(), tenant_id="umbrella")
    assert "certificate_fields" in world.failed(world.judged(world.approved(release)))


def test_bytes_that_are_no_certificate_are_a_finding_and_no_crash() -> None:
    for data in (b"", b"\x00" * 9, cbor.encode({"signed_payload": {}, "signature": b""})):
        report = world.judged(replace(world.approved(), certificate=data))
        assert world.failed(report)["certificate_fields"] == "CERTIFICATE_INVALID"
        assert report.key_id is None


@pytest.mark.parametrize("name", ["toolchain_hash", "runtime_env_hash", "sbom_hash"])
def test_the_hashes_beside_the_nine_are_recomputed_too(name: str) -> None:
    release = world.resigned(world.certified(), **{name: b"\x07" * 32})
    report = world.judged(world.approved(release))
    assert world.failed(report) == {"bound_hashes": "EQUALITY_FAILED"}


@pytest.mark.parametrize("name", ["policy_gate_hash", "authz_decision_hash"])
def test_transcript_and_decision_are_taken_again(name: str) -> None:
    release = world.resigned(world.certified(), **{name: b"\x07" * 32})
    assert list(world.failed(world.judged(world.approved(release))).values()) == ["EQUALITY_FAILED"]


# ---- the evidence --------------------------------------------------------------------------


def test_a_tampered_manifest_is_named() -> None:
    release = world.approved()
    manifest = Manifest.from_bytes(release.manifest)
    changed = manifest.model_copy(update={"version": "6.6.6"}).to_bytes()
    report = world.judged(replace(release, manifest=changed))
    unequal = [row.name for row in report.equalities if not row.equal]
    assert "manifest_hash" in unequal
    # An approval names the manifest, so it is not one of the tampered release.
    assert world.failed(report)["approvals"] == "APPROVAL_MISSING"


def test_a_manifest_that_does_not_parse_fails_without_a_crash() -> None:
    report = world.judged(replace(world.approved(), manifest=b"\xff"))
    assert report.outcome == "fail"
    assert "manifest" in world.failed(report)


@pytest.mark.parametrize("kind", sorted(world.packed().evidence))
def test_evidence_that_was_changed_or_lost_is_named(kind: str) -> None:
    release = world.approved()
    changed = {**release.evidence, kind: release.evidence[kind] + b" "}
    report = world.judged(replace(release, evidence=changed), want=world.expected(release))
    assert world.failed(report)["evidence"] == "EVIDENCE_INVALID"
    lost = {name: body for name, body in release.evidence.items() if name != kind}
    report = world.judged(replace(release, evidence=lost), want=world.expected(release))
    assert report.outcome == "fail"


def test_another_service_is_refused() -> None:
    assert world.judged(world.approved(), service="shop").outcome == "pass"
    report = world.judged(world.approved(), service="till")
    assert world.failed(report)["manifest"] == "EVIDENCE_INVALID"


def test_a_qualification_of_another_commit_is_refused() -> None:
    other = world.evidence_of(
        world.authoring.pack(world.document(code_commit="f" * 40), world.inputs(), world.TENANT)
    )
    report = world.judged(replace(world.approved(), trace=other.trace))
    assert world.failed(report)["qualification"] == "EVIDENCE_INVALID"


def test_an_unsealed_or_broken_trace_is_refused() -> None:
    release = world.approved()
    records = cbor.decode(release.trace)
    unsealed = [*records[:-1], {k: v for k, v in records[-1].items() if k != trace.TAIL_KEY}]
    for changed in (unsealed, records[1:], [*records, records[-1]]):
        report = world.judged(replace(release, trace=cbor.encode(changed)))
        assert world.failed(report)["qualification"] == "TRACE_INVALID"


def test_a_stored_lineage_other_than_the_manifests_is_refused() -> None:
    release = world.approved()
    rows = cbor.decode(release.lineage)[1:]
    report = world.judged(replace(release, lineage=cbor.encode(rows)))
    assert world.failed(report) == {"lineage": "LINEAGE_INVALID"}


# ---- approvals -----------------------------------------------------------------------------


def test_without_an_approval_the_three_approved_hashes_do_not_hold() -> None:
    report = world.judged(world.certified())
    assert world.failed(report) == {
        "approvals": "APPROVAL_MISSING",
        "equalities": "EQUALITY_FAILED",
    }
    unequal = [row.name for row in report.equalities if not row.equal]
    assert unequal == ["trace_root_hash", "checkpoint_hash", "lineage_root_hash"]


def test_two_of_two_approvals_need_two_keys() -> None:
    release = world.certified()
    one = world.approval(release)
    again = world.approval(release, time="2026-11-20T11:00:01Z")
    two = world.approval(release, world.SECOND_APPROVER)
    same = world.judged(replace(release, approvals=(one, again)), approvals_required=2)
    assert world.failed(same) == {"approvals": "APPROVAL_MISSING"}
    both = world.judged(replace(release, approvals=(one, two)), approvals_required=2)
    assert both.outcome == "pass"
    assert both.approvers == sorted([world.APPROVER.key_id, world.SECOND_APPROVER.key_id])


def test_payload_claims_survive_the_round_trip() -> None:
    payload, _ = read_certificate(world.certified().certificate)
    assert payload["certificate_version"] == "2"
    assert payload["step_start"] == payload["step_end"] == 0
    assert payload["valid_until_utc"] == "2027-02-18T10:00:00Z"


# ---- hostile bytes -------------------------------------------------------------------------

GOOD = world.approved()
PARTS = ("manifest", "certificate", "trace", "checkpoint", "lineage", *sorted(GOOD.evidence))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.binary(max_size=33)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=8,
)


def with_part(part: str, data: bytes) -> ReleaseEvidence:
    if part in GOOD.evidence:
        return replace(GOOD, evidence={**GOOD.evidence, part: data})
    return replace(GOOD, **{part: data})


@settings(max_examples=150, deadline=None)
@given(
    part=st.sampled_from(PARTS),
    data=st.binary(max_size=80) | VALUES.map(cbor.encode),
)
def test_foreign_bytes_in_any_part_are_a_finding_and_never_a_crash(part: str, data: bytes) -> None:
    report = world.judged(with_part(part, data), want=world.expected(GOOD))
    assert report.outcome == "fail"
    assert TrustReport.from_bytes(report.to_bytes()) == report


@settings(max_examples=150, deadline=None)
@given(part=st.sampled_from(PARTS), at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_one_flipped_bit_in_any_part_is_a_finding(part: str, at: int, bit: int) -> None:
    data = bytearray(GOOD.evidence[part] if part in GOOD.evidence else getattr(GOOD, part))
    data[at % len(data)] ^= 1 << bit
    assert world.judged(with_part(part, bytes(data)), want=world.expected(GOOD)).outcome == "fail"


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=80) | VALUES.map(cbor.encode))
def test_foreign_bytes_as_trust_data_are_a_finding_and_never_a_crash(data: bytes) -> None:
    for field in ("root", "revocations", "pinned_revocations"):
        trust = replace(world.trust(), pinned_root=None, **{field: data})
        assert world.judged(GOOD, trust).outcome == "fail"
    assert world.judged(replace(GOOD, approvals=(data,))).outcome == "fail"
