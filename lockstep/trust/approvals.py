"""Approvals: a second person's signature under exactly what will be promoted.

An approval names policy, manifest, trace, checkpoint and lineage, and is signed by a key of
purpose ``approval`` that is not the certificate's signer (docs/spec/trust.md). Approvals are
counted by distinct public keys.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from lockstep.errors import DataError, LockstepError, RefusedError
from lockstep.record import Digest32, Name, Record, Utc
from lockstep.trust.keys import KeyDescriptor, check_window
from lockstep.trust.root import RevocationBundle, TrustRoot
from lockstep.trust.signed import open_signed, read_signed, sign


class Approval(Record):
    """The signed payload. ``approver`` is the signing key's id."""

    type: Literal["approval"] = "approval"
    tenant_id: Name
    service: Name
    policy_bundle_hash: Digest32
    manifest_hash: Digest32
    trace_root_hash: Digest32
    checkpoint_hash: Digest32
    lineage_root_hash: Digest32
    approver: str
    time: Utc


APPROVED_HASHES = ("trace_root_hash", "checkpoint_hash", "lineage_root_hash")
"""The bound hashes that must also equal the approval's (spec rollout §6)."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What became of the approvals of one release."""

    valid: tuple[Approval, ...]
    """One a distinct public key, by approver."""
    refused: tuple[str, ...]
    """Why each of the others does not count, in the order in which they came."""


def approve(
    approval: Approval, descriptor: KeyDescriptor, private_key: bytes, *, signer_key_id: str
) -> bytes:
    """The stored bytes of an approval.

    Raises:
        RefusedError: NOT_AUTHORISED; the key signed the certificate itself.
        DataError: SIGNATURE_REFUSED; the key has another purpose or another name.
    """
    if descriptor.key_id == signer_key_id:
        raise RefusedError(
            "NOT_AUTHORISED",
            f"{signer_key_id} signed the certificate and may not approve it",
            hint="approve with another person's approval key",
        )
    if approval.approver != descriptor.key_id:
        raise DataError("SIGNATURE_REFUSED", "the approval names another approver than its key")
    return sign(approval, descriptor, private_key)


def open_approval(
    data: bytes,
    root: TrustRoot,
    revocations: Iterable[RevocationBundle],
    *,
    tenant_id: str,
    now: str,
    signer: KeyDescriptor | None,
) -> tuple[Approval, KeyDescriptor]:
    """Return an approval that holds at ``now``, with its key.

    Raises:
        DataError: SIGNATURE_REFUSED, KEY_REFUSED, RECORD_INVALID or CBOR_INVALID.
        RefusedError: NOT_AUTHORISED, CERTIFICATE_EXPIRED or KEY_REVOKED.
    """
    key = root.key(read_signed(data).key_id)
    approval = Approval.from_map(open_signed(data, key, "approval"))
    if approval.approver != key.key_id:
        raise DataError("SIGNATURE_REFUSED", "the approval names another approver than its key")
    if approval.tenant_id != tenant_id:
        raise DataError("SIGNATURE_REFUSED", f"the approval is tenant {approval.tenant_id}'s")
    if not root.has_role(key.key_id, "approver"):
        raise RefusedError("NOT_AUTHORISED", f"{key.key_id} does not hold the role approver")
    if signer is not None and key.public_key == signer.public_key:
        raise RefusedError("NOT_AUTHORISED", "the certificate's signer may not approve it")
    if approval.time > now:
        raise RefusedError("CERTIFICATE_EXPIRED", f"the approval is dated {approval.time}")
    check_window(key, now)
    for bundle in revocations:
        entry = bundle.revokes(key.key_id, approval.time)
        if entry:
            raise RefusedError("KEY_REVOKED", f"{key.key_id} is revoked: {entry.reason}")
    return approval, key


def count_approvals(
    approvals: Sequence[bytes],
    root: TrustRoot,
    revocations: Sequence[RevocationBundle],
    *,
    tenant_id: str,
    now: str,
    signer: KeyDescriptor | None,
    starter: str | None,
    separation_of_duty: bool,
) -> Counted:
    """Count approvals by distinct public keys; one that does not hold is named, never fatal.

    With ``separation_of_duty`` the starter's own approval does not count.
    """
    valid: dict[bytes, Approval] = {}
    refused: list[str] = []
    for data in approvals:
        try:
            approval, key = open_approval(
                data, root, revocations, tenant_id=tenant_id, now=now, signer=signer
            )
        except LockstepError as error:
            refused.append(str(error))
            continue
        if separation_of_duty and key.key_id == starter:
            refused.append(f"NOT_AUTHORISED: {key.key_id} started the rollout")
            continue
        valid.setdefault(key.public_key, approval)
    ordered = tuple(sorted(valid.values(), key=lambda approval: approval.approver))
    return Counted(valid=ordered, refused=tuple(refused))
