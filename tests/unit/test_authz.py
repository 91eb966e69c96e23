"""Authorisation: what no role grants is denied, and the decision binds question and answer."""

import pytest

from lockstep.digest import h
from lockstep.errors import RefusedError
from lockstep.hashes import authz_decision_hash, authz_query_hash
from lockstep.trust.authz import CAPABILITIES_OF_ROLE, Decision, Verdict, authorize
from lockstep.trust.root import PURPOSE_OF_ROLE
from tests import release_world as world

POLICY = b"\x01" * 32


def decide(principal: str, *capabilities: str, tenant_id: str = world.TENANT) -> Decision:
    return authorize(
        world.root(),
        principal,
        "UML_OS.Deploy.ExecuteRollout_v1",
        capabilities,
        tenant_id=tenant_id,
        policy_bundle_hash=POLICY,
    )


@pytest.mark.parametrize(
    ("key", "capability"),
    [
        (world.OPERATOR, "rollout.start"),
        (world.OPERATOR, "rollout.operate"),
        (world.OPERATOR, "rollback.start"),
        (world.OPERATOR, "adopt"),
        (world.APPROVER, "release.approve"),
        (world.SIGNER, "release.certify"),
        (world.COMMITTER, "rollout.certify"),
        (world.GRANTER, "promotion.grant"),
    ],
)
def test_each_capability_belongs_to_one_purpose_of_key(key: world.Key, capability: str) -> None:
    assert decide(key.key_id, capability).verdict is Verdict.ALLOW
    for other in world.ALL_KEYS:
        if other.descriptor.purpose != key.descriptor.purpose:
            assert decide(other.key_id, capability).verdict is Verdict.DENY


def test_every_role_of_the_root_stands_in_the_table() -> None:
    assert set(CAPABILITIES_OF_ROLE) == set(PURPOSE_OF_ROLE)


@pytest.mark.parametrize("principal", ["", "nobody", "operator-" + "0" * 32])
def test_an_unknown_principal_is_denied(principal: str) -> None:
    assert decide(principal, "rollout.start").verdict is Verdict.DENY


def test_asking_for_nothing_or_for_one_too_many_is_denied() -> None:
    assert decide(world.OPERATOR.key_id).verdict is Verdict.DENY
    mixed = decide(world.OPERATOR.key_id, "rollout.start", "release.approve")
    assert mixed.verdict is Verdict.DENY
    assert mixed.granted_capabilities == ()
    assert "release.approve" in mixed.reason


def test_an_unknown_capability_is_denied_to_everybody() -> None:
    for key in world.ALL_KEYS:
        assert decide(key.key_id, "everything").verdict is Verdict.DENY


def test_another_tenant_is_denied() -> None:
    denied = decide(world.OPERATOR.key_id, "rollout.start", tenant_id="umbrella")
    assert denied.verdict is Verdict.DENY


def test_a_key_without_a_role_is_denied() -> None:
    second = world.key("operator", 1)
    payload = world.root_payload()
    payload = payload.model_copy(
        update={"keys": sorted([*payload.keys, second.descriptor], key=lambda k: k.key_id)}
    )
    root = world.sign_root(payload, [world.ROOT.pair])
    facts = {"tenant_id": world.TENANT, "policy_bundle_hash": POLICY}
    decision = authorize(root, second.key_id, "op", ["rollout.start"], **facts)
    assert decision.verdict is Verdict.DENY


def test_the_hashes_are_the_specifications() -> None:
    allowed = decide(world.OPERATOR.key_id, "rollout.start", "adopt", "adopt")
    query = authz_query_hash(
        world.TENANT,
        world.OPERATOR.key_id,
        "UML_OS.Deploy.ExecuteRollout_v1",
        ["adopt", "rollout.start"],
        POLICY,
    )
    assert allowed.query_hash == query
    granted = h(["adopt", "rollout.start"])
    assert allowed.decision_hash == authz_decision_hash(query, "ALLOW", granted, allowed.reason)
    denied = decide("nobody", "adopt")
    assert denied.decision_hash == authz_decision_hash(
        denied.query_hash, "DENY", h([]), denied.reason
    )


def test_require_passes_an_allowance_and_raises_a_denial() -> None:
    allowed = decide(world.OPERATOR.key_id, "adopt")
    assert allowed.require() is allowed
    with pytest.raises(RefusedError) as refused:
        decide("nobody", "adopt").require()
    assert refused.value.code == "NOT_AUTHORISED"
