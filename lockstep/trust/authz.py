"""May this principal do this? A pure, default-deny decision out of the trust root.

Roles are bound to keys in the root and capabilities to roles in one table; whatever the two do
not grant is denied, with a reason. The decision is hashed into certificates and audit entries.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from lockstep.digest import h
from lockstep.errors import RefusedError
from lockstep.hashes import authz_decision_hash, authz_query_hash
from lockstep.trust.root import TrustRoot

CAPABILITIES_OF_ROLE: dict[str, tuple[str, ...]] = {
    "root": (),  # root keys sign roots and revocations, nothing else
    "signer": ("release.certify",),
    "committer": ("rollout.certify",),
    "approver": ("release.approve",),
    "granter": ("promotion.grant",),
    "starter": ("rollout.start",),
    "operator": ("adopt", "rollback.start", "rollout.operate"),
}
"""The published matrix (docs/spec/trust.md): role → what it may do."""


class Verdict(StrEnum):
    ALLOW = "ALLOW"
    DENY = "DENY"


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one question, and the hashes that bind question and answer."""

    verdict: Verdict
    reason: str
    granted_capabilities: tuple[str, ...]
    """Sorted; empty on DENY."""
    query_hash: bytes
    decision_hash: bytes

    def require(self) -> "Decision":
        """Return the decision if it allows.

        Raises:
            RefusedError: NOT_AUTHORISED.
        """
        if self.verdict is not Verdict.ALLOW:
            raise RefusedError(
                "NOT_AUTHORISED", self.reason, hint="ask somebody whose key holds the role"
            )
        return self


def capabilities_of(root: TrustRoot, key_id: str) -> frozenset[str]:
    """Everything that the roles of ``key_id`` grant."""
    return frozenset(
        capability
        for role, capabilities in CAPABILITIES_OF_ROLE.items()
        if root.has_role(key_id, role)
        for capability in capabilities
    )


def authorize(
    root: TrustRoot,
    principal: str,
    operator_id: str,
    capabilities: Iterable[str],
    *,
    tenant_id: str,
    policy_bundle_hash: bytes,
) -> Decision:
    """Decide whether the key ``principal`` may use every one of ``capabilities``.

    All or nothing: one capability too many denies the whole query. The key's window and
    revocation are judged where its signature is, with the time at hand.
    """
    wanted = tuple(sorted(set(capabilities)))
    query_hash = authz_query_hash(tenant_id, principal, operator_id, wanted, policy_bundle_hash)
    reason = _why_not(root, principal, wanted, tenant_id)
    verdict = Verdict.DENY if reason else Verdict.ALLOW
    granted = () if reason else wanted
    reason = reason or "granted by role"
    return Decision(
        verdict=verdict,
        reason=reason,
        granted_capabilities=granted,
        query_hash=query_hash,
        decision_hash=authz_decision_hash(query_hash, verdict.value, h(list(granted)), reason),
    )


def _why_not(root: TrustRoot, principal: str, wanted: tuple[str, ...], tenant_id: str) -> str:
    """Why the query is denied; empty when every capability is granted."""
    payload = root.signed_payload
    if payload.tenant_id != tenant_id:
        return "the trust root is another tenant's"
    if not wanted:
        return "no capability was asked for"
    if all(key.key_id != principal for key in payload.keys):
        return "the principal is no key of the trust root"
    missing = sorted(set(wanted) - capabilities_of(root, principal))
    if missing:
        return f"no role of the principal grants {', '.join(missing)}"
    return ""
