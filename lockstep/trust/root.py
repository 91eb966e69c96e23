"""The trust root and the revocation bundle: read, verify, ask (docs/spec/trust.md).

A root is believed because its digest is pinned and a threshold of its own root keys signed it;
a revocation bundle because a threshold of that root's root keys did. Thresholds count distinct
public keys, never signatures or key ids. Staleness is kept apart from badness: stale data stops
progress, bad data is a finding.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lockstep import cbor
from lockstep.digest import sha256, to_text
from lockstep.errors import DataError, UnavailableError
from lockstep.record import Digest32, Name, Record, Utc
from lockstep.trust import ed25519
from lockstep.trust.keys import KeyDescriptor, admit

ROOT_SCHEMA = "lockstep.trust-root.v1"
REVOCATIONS_SCHEMA = "lockstep.revocation-bundle.v1"
TRUST_MAX_BYTES = 1024 * 1024
KEYS_MAX = 1000
ENTRIES_MAX = 10_000

PURPOSE_OF_ROLE = {
    "root": "root",
    "signer": "release-certificate",
    "committer": "rollout-certificate",
    "approver": "approval",
    "granter": "step-grant",
    "starter": "operator",
    "operator": "operator",
}
"""Which keys a role may hold: a role never crosses a purpose."""

Role = Literal["root", "signer", "committer", "approver", "granter", "starter", "operator"]
KeyId = Annotated[str, Field(min_length=1, max_length=80)]


class RootSignature(Record):
    key_id: KeyId
    signature: Annotated[bytes, Field(min_length=64, max_length=64)]


class RootPayload(Record):
    type: Literal["trust-root"]
    schema_version: Literal["lockstep.trust-root.v1"]
    version: Annotated[int, Field(ge=1)]
    tenant_id: Name
    keys: Annotated[list[KeyDescriptor], Field(min_length=1, max_length=KEYS_MAX)]
    """Sorted by key id."""
    roles: dict[Role, list[KeyId]]
    thresholds: dict[Role, Annotated[int, Field(ge=1, le=KEYS_MAX)]]
    """Role → how many distinct keys must sign; a role that is not named needs one."""
    not_after: Utc

    @model_validator(mode="after")
    def _coherent(self) -> "RootPayload":
        by_id = {key.key_id: key for key in self.keys}
        if list(by_id) != sorted(by_id) or len(by_id) != len(self.keys):
            raise ValueError("keys are not sorted by key id, or one stands twice")
        if len({key.public_key for key in self.keys}) != len(self.keys):
            raise ValueError("one public key serves two purposes")
        for role, key_ids in self.roles.items():
            if key_ids != sorted(set(key_ids)):
                raise ValueError(f"role {role}: key ids are not sorted, or one stands twice")
            for key_id in key_ids:
                if key_id not in by_id:
                    raise ValueError(f"role {role}: {key_id} is no key of this root")
                if by_id[key_id].purpose != PURPOSE_OF_ROLE[role]:
                    raise ValueError(f"role {role}: {key_id} has another purpose")
        for role, threshold in self.thresholds.items():
            if threshold > len(self.roles.get(role, [])):
                raise ValueError(f"role {role}: fewer keys than its threshold of {threshold}")
        if not self.roles.get("root"):
            raise ValueError("role root: no key")
        return self


class TrustRoot(Record):
    """The stored trust root. ``digest()`` is ``trust_store_hash``."""

    signed_payload: RootPayload
    signatures: Annotated[list[RootSignature], Field(max_length=KEYS_MAX)]

    def key(self, key_id: str) -> KeyDescriptor:
        """The descriptor of a key of this root.

        Raises:
            DataError: KEY_REFUSED; the root does not know it.
        """
        for key in self.signed_payload.keys:
            if key.key_id == key_id:
                return key
        raise DataError(
            "KEY_REFUSED",
            f"{key_id:.80} is no key of the trust root",
            hint="client keys list shows the keys in force",
        )

    def has_role(self, key_id: str, role: str) -> bool:
        return any(key_id in ids for name, ids in self.signed_payload.roles.items() if name == role)


class RevocationEntry(Record):
    key_id: KeyId
    reason: Annotated[str, Field(max_length=100)]
    """``superseded`` voids later signatures only; anything else counts as ``compromised``."""
    revoked_at: Utc
    invalid_from: Utc


class RevocationPayload(Record):
    type: Literal["revocation-bundle"]
    schema_version: Literal["lockstep.revocation-bundle.v1"]
    version: Annotated[int, Field(ge=1)]
    tenant_id: Name
    issued_at: Utc
    next_update: Utc
    """From this second on the bundle is stale."""
    entries: Annotated[list[RevocationEntry], Field(max_length=ENTRIES_MAX)]


class RevocationBundle(Record):
    """The stored revocation bundle. ``digest()`` is ``revocation_bundle_hash``."""

    signed_payload: RevocationPayload
    signatures: Annotated[list[RootSignature], Field(max_length=KEYS_MAX)]

    def revokes(self, key_id: str, signed_at: str) -> RevocationEntry | None:
        """The entry that voids a signature made by ``key_id`` at ``signed_at``, if any.

        ``signed_at`` is the signer's own word, so only an honest reason may rest on it: a
        compromised key is void whatever time its holder wrote down.
        """
        for entry in self.signed_payload.entries:
            if entry.key_id == key_id and (
                entry.reason != "superseded" or signed_at >= entry.invalid_from
            ):
                return entry
        return None


# ---- signing -------------------------------------------------------------------------------


def _signatures(
    payload: Record, signers: Iterable[tuple[KeyDescriptor, bytes]]
) -> list[RootSignature]:
    message = payload.to_bytes()
    return [
        RootSignature(key_id=key.key_id, signature=ed25519.sign(private_key, message))
        for key, private_key in sorted(signers, key=lambda signer: signer[0].key_id)
    ]


def sign_root(payload: RootPayload, signers: Iterable[tuple[KeyDescriptor, bytes]]) -> TrustRoot:
    """The trust root over ``payload``, signed by each (descriptor, private key)."""
    return TrustRoot(signed_payload=payload, signatures=_signatures(payload, signers))


def sign_revocations(
    payload: RevocationPayload, signers: Iterable[tuple[KeyDescriptor, bytes]]
) -> RevocationBundle:
    """The revocation bundle over ``payload``, signed by each (descriptor, private key)."""
    return RevocationBundle(signed_payload=payload, signatures=_signatures(payload, signers))


# ---- verifying -----------------------------------------------------------------------------


def _invalid(cause: str) -> DataError:
    return DataError(
        "TRUST_ROOT_INVALID", cause, hint="pin the digest of the root that was published"
    )


def _check_threshold(
    root: TrustRoot, payload: Record, signatures: Sequence[RootSignature], at: str | None
) -> None:
    """Refuse unless enough distinct root keys signed ``payload``; ``at`` judges their windows."""
    message = cbor.encode(payload.to_map())
    counted: set[bytes] = set()
    for signature in signatures:
        if not root.has_role(signature.key_id, "root"):
            continue
        key = root.key(signature.key_id)
        if at is not None and not key.not_before <= at < key.not_after:
            continue
        try:
            ed25519.verify(key.public_key, message, signature.signature)
        except DataError:
            continue  # a signature that does not hold counts for nothing
        counted.add(key.public_key)
    needed = root.signed_payload.thresholds.get("root", 1)
    if len(counted) < needed:
        raise _invalid(f"{len(counted)} distinct root keys signed, {needed} are needed")


def read_root(data: bytes) -> TrustRoot:
    """Read a trust root and recompute its key ids; its signatures are not judged.

    Raises:
        DataError: TRUST_ROOT_INVALID.
    """
    try:
        if len(data) > TRUST_MAX_BYTES:
            raise _invalid(f"{len(data)} bytes are too many")
        root = TrustRoot.from_bytes(data)
        for key in root.signed_payload.keys:
            admit(key)
    except DataError as error:
        raise _invalid(f"trust root: {error.cause}") from None
    return root


def verify_root(data: bytes, *, tenant_id: str, pinned: Digest32 | None) -> TrustRoot:
    """Return the root if it is the tenant's, the pinned one (where pinned), and signed enough.

    Raises:
        DataError: TRUST_ROOT_INVALID.
    """
    if pinned is not None and sha256(data) != pinned:
        raise _invalid(f"the store's trust root is {to_text(sha256(data))}, not the pinned one")
    root = read_root(data)
    if root.signed_payload.tenant_id != tenant_id:
        raise _invalid(f"the trust root is tenant {root.signed_payload.tenant_id}'s")
    _check_threshold(root, root.signed_payload, root.signatures, at=None)
    return root


def verify_revocations(data: bytes, root: TrustRoot) -> RevocationBundle:
    """Return the bundle if root keys of ``root``, in force when it was issued, signed it.

    Raises:
        DataError: TRUST_ROOT_INVALID.
    """
    try:
        if len(data) > TRUST_MAX_BYTES:
            raise _invalid(f"{len(data)} bytes are too many")
        bundle = RevocationBundle.from_bytes(data)
    except DataError as error:
        raise _invalid(f"revocation bundle: {error.cause}") from None
    payload = bundle.signed_payload
    if payload.tenant_id != root.signed_payload.tenant_id:
        raise _invalid(f"the revocation bundle is tenant {payload.tenant_id}'s")
    _check_threshold(root, payload, bundle.signatures, at=payload.issued_at)
    return bundle


def check_root_fresh(root: TrustRoot, now: str) -> None:
    """Raises:
    UnavailableError: TRUST_STALE; the root has expired.
    """
    not_after = root.signed_payload.not_after
    if now >= not_after:
        raise UnavailableError(
            "TRUST_STALE",
            f"the trust root expired at {not_after}",
            hint="publish the next version of the trust root",
        )


def check_revocations_fresh(bundle: RevocationBundle, now: str) -> None:
    """Raises:
    UnavailableError: TRUST_STALE; ``now`` is outside [issued_at, next_update).
    """
    payload = bundle.signed_payload
    if not payload.issued_at <= now < payload.next_update:
        raise UnavailableError(
            "TRUST_STALE",
            f"revocation bundle {payload.version} holds from {payload.issued_at} until before "
            f"{payload.next_update}, not at {now}",
            hint="publish a fresh revocation bundle",
        )
