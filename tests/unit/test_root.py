"""The trust root and the revocation bundle: closed, pinned, signed by enough distinct keys."""

import pytest

from lockstep import cbor
from lockstep.digest import sha256
from lockstep.errors import DataError, UnavailableError
from lockstep.trust import ed25519
from lockstep.trust.root import (
    TrustRoot,
    check_revocations_fresh,
    check_root_fresh,
    read_root,
    sign_revocations,
    sign_root,
    verify_revocations,
    verify_root,
)
from tests import release_world as world

SECOND_ROOT = world.key("root", 1)
TWO_ROOTS = (*world.ALL_KEYS, SECOND_ROOT)


def refused(call) -> DataError:
    with pytest.raises(DataError) as error:
        call()
    assert error.value.code == "TRUST_ROOT_INVALID"
    return error.value


def test_a_root_verifies_under_its_own_keys_and_its_pin() -> None:
    root = world.root()
    data = root.to_bytes()
    assert verify_root(data, tenant_id=world.TENANT, pinned=sha256(data)) == root
    assert verify_root(data, tenant_id=world.TENANT, pinned=None) == root
    assert root.digest() == sha256(data)


def test_another_pin_or_another_tenant_is_refused() -> None:
    data = world.root().to_bytes()
    refused(lambda: verify_root(data, tenant_id=world.TENANT, pinned=bytes(32)))
    refused(lambda: verify_root(data, tenant_id="umbrella", pinned=sha256(data)))


def test_a_root_signed_by_nobody_or_by_the_wrong_key_is_refused() -> None:
    payload = world.root_payload()
    for signers in ([], [world.APPROVER.pair], [(world.ROOT.descriptor, SECOND_ROOT.private_key)]):
        data = sign_root(payload, signers).to_bytes()
        refused(lambda data=data: verify_root(data, tenant_id=world.TENANT, pinned=None))


def test_a_threshold_counts_distinct_keys_never_signatures() -> None:
    payload = world.root_payload(TWO_ROOTS, thresholds={"root": 2})
    twice = sign_root(payload, [world.ROOT.pair, world.ROOT.pair]).to_bytes()
    why = refused(lambda: verify_root(twice, tenant_id=world.TENANT, pinned=None))
    assert "1 distinct root keys signed, 2 are needed" in str(why)
    both = sign_root(payload, [world.ROOT.pair, SECOND_ROOT.pair]).to_bytes()
    assert verify_root(both, tenant_id=world.TENANT, pinned=None).signed_payload.version == 1


def test_a_changed_root_is_refused() -> None:
    root = cbor.decode(world.root().to_bytes())
    root["signed_payload"]["version"] = 2
    refused(lambda: verify_root(cbor.encode(root), tenant_id=world.TENANT, pinned=None))


def test_a_key_under_another_keys_id_is_refused_on_load() -> None:
    root = cbor.decode(world.root().to_bytes())
    keys = root["signed_payload"]["keys"]
    keys[0]["public_key"], keys[1]["public_key"] = keys[1]["public_key"], keys[0]["public_key"]
    message = cbor.encode(root["signed_payload"])
    root["signatures"][0]["signature"] = ed25519.sign(world.ROOT.private_key, message)
    assert "key id does not belong" in str(refused(lambda: read_root(cbor.encode(root))))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"roles": {}}, "role root"),
        ({"roles": {"root": [world.SIGNER.key_id]}}, "another purpose"),
        ({"roles": {"root": ["root-unknown"]}}, "no key of this root"),
        ({"roles": {"root": [world.ROOT.key_id] * 2}}, "stands twice"),
        ({"roles": {"king": [world.ROOT.key_id]}}, "king"),
        ({"thresholds": {"root": 2}}, "fewer keys"),
        ({"thresholds": {"root": 0}}, "greater than or equal to 1"),
        ({"version": 0}, "version"),
        ({"type": "revocation-bundle"}, "type"),
        ({"schema_version": "lockstep.trust-root.v2"}, "schema_version"),
        ({"keys": []}, "keys"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_root_that_contradicts_itself_is_refused(changes: dict, why: str) -> None:
    with pytest.raises(DataError, match=why):
        world.root_payload(**changes)


def test_one_public_key_never_serves_two_purposes() -> None:
    same = world.Key(
        world.describe(
            "approval",
            world.SIGNER.descriptor.public_key,
            not_before=world.BORN,
            not_after=world.KEYS_END,
            rotation_max_age_days=365,
            origin="the signer's own key again",
        ),
        world.SIGNER.private_key,
    )
    with pytest.raises(DataError, match="two purposes"):
        world.root_payload((*world.ALL_KEYS, same))


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xa0", b"\xff" * 40, bytes(2_000_000)])
def test_bytes_that_are_no_root_are_refused_with_one_code(data: bytes) -> None:
    refused(lambda: read_root(data))
    refused(lambda: verify_revocations(data, world.root()))


def test_a_root_is_stale_from_its_end_on() -> None:
    root: TrustRoot = world.root()
    check_root_fresh(root, "2027-10-31T23:59:59Z")
    with pytest.raises(UnavailableError) as stale:
        check_root_fresh(root, world.KEYS_END)
    assert stale.value.code == "TRUST_STALE"


# ---- revocations ---------------------------------------------------------------------------


def test_a_bundle_verifies_under_the_roots_root_key() -> None:
    bundle = world.revocations()
    assert verify_revocations(bundle.to_bytes(), world.root()) == bundle


def test_a_bundle_of_another_tenant_or_key_is_refused() -> None:
    root = world.root()
    for bundle in (
        world.revocations(tenant_id="umbrella"),
        world.revocations(signer=world.OPERATOR),
        sign_revocations(world.revocation_payload(), []),
    ):
        refused(lambda bundle=bundle: verify_revocations(bundle.to_bytes(), root))


def test_a_bundle_issued_outside_the_root_keys_window_is_refused() -> None:
    root = world.root()
    early = world.revocations(issued_at="2026-10-31T23:59:59Z")
    refused(lambda: verify_revocations(early.to_bytes(), root))


@pytest.mark.parametrize(
    ("now", "fresh"),
    [
        ("2026-10-31T23:59:59Z", False),
        (world.BORN, True),
        ("2026-11-30T23:59:59Z", True),
        (world.NEXT_UPDATE, False),
    ],
)
def test_a_bundle_is_fresh_in_its_half_open_window(now: str, fresh: bool) -> None:
    bundle = world.revocations()
    if fresh:
        check_revocations_fresh(bundle, now)
        return
    with pytest.raises(UnavailableError) as stale:
        check_revocations_fresh(bundle, now)
    assert stale.value.code == "TRUST_STALE"


@pytest.mark.parametrize("reason", ["compromised", "unknown reason", ""])
def test_any_reason_but_superseded_voids_every_signature(reason: str) -> None:
    bundle = world.revocations((world.SIGNER.key_id, reason, world.NOW))
    assert bundle.revokes(world.SIGNER.key_id, world.BORN) is not None
    assert bundle.revokes(world.APPROVER.key_id, world.NOW) is None


def test_superseded_voids_from_its_time_on() -> None:
    bundle = world.revocations((world.SIGNER.key_id, "superseded", world.NOW))
    assert bundle.revokes(world.SIGNER.key_id, "2026-11-21T11:59:59Z") is None
    assert bundle.revokes(world.SIGNER.key_id, world.NOW) is not None
