"""Signed records other than certificates: {signed_payload {type, …}, key_id, signature}.

The signature is Ed25519 over the canonical CBOR of ``signed_payload``. ``type`` is the domain
separator: it fixes the only purpose whose keys may sign it (docs/spec/bytes.md §5).
"""

from typing import Annotated, Any

from pydantic import Field

from lockstep import cbor
from lockstep.errors import DataError
from lockstep.record import Record
from lockstep.trust import ed25519
from lockstep.trust.keys import KeyDescriptor

PURPOSE_OF_TYPE = {
    "approval": "approval",
    "adoption": "operator",
    "rollout-request": "operator",
    "operator-action": "operator",
    "emergency-rollback": "operator",
    "step-grant": "step-grant",
}
SIGNED_MAX_BYTES = 256 * 1024


class SignedRecord(Record):
    """The stored form of every signed record but the certificate and the trust root."""

    signed_payload: dict[str, Any]
    key_id: Annotated[str, Field(min_length=1, max_length=80)]
    signature: Annotated[bytes, Field(min_length=64, max_length=64)]


def _type_of(payload: dict[str, Any]) -> str:
    kind = payload.get("type")
    if type(kind) is not str or kind not in PURPOSE_OF_TYPE:
        raise DataError("SIGNATURE_REFUSED", f"no signed record has the type {kind!r:.60}")
    return kind


def sign(payload: Record | dict[str, Any], descriptor: KeyDescriptor, private_key: bytes) -> bytes:
    """Return the stored bytes of a signed record.

    Raises:
        DataError: SIGNATURE_REFUSED; the type is unknown, the key has another purpose, or the
            private half does not belong to the descriptor.
    """
    body = payload.to_map() if isinstance(payload, Record) else payload
    kind = _type_of(body)
    if descriptor.purpose != PURPOSE_OF_TYPE[kind]:
        raise DataError(
            "SIGNATURE_REFUSED",
            f"a {descriptor.purpose} key may not sign a record of type {kind}",
            hint=f"use a key of purpose {PURPOSE_OF_TYPE[kind]}",
        )
    if ed25519.public_of(private_key) != descriptor.public_key:
        raise DataError("KEY_REFUSED", f"{descriptor.key_id}: the private half is another key's")
    signature = ed25519.sign(private_key, cbor.encode(body))
    return SignedRecord(
        signed_payload=body, key_id=descriptor.key_id, signature=signature
    ).to_bytes()


def read_signed(data: bytes) -> SignedRecord:
    """Read the closed outer form; proves nothing about the signature.

    Raises:
        DataError: CBOR_INVALID or RECORD_INVALID.
    """
    if len(data) > SIGNED_MAX_BYTES:
        raise DataError("RECORD_INVALID", f"a signed record of {len(data)} bytes is too large")
    return SignedRecord.from_bytes(data)


def open_signed(data: bytes, key: KeyDescriptor, expected_type: str) -> dict[str, Any]:
    """Return the payload once type, key id, purpose and signature all hold.

    The key's window and revocation are judged by the caller, who knows the time.

    Raises:
        DataError: SIGNATURE_REFUSED, KEY_REFUSED, CBOR_INVALID or RECORD_INVALID.
    """
    record = read_signed(data)
    kind = _type_of(record.signed_payload)
    if kind != expected_type:
        raise DataError("SIGNATURE_REFUSED", f"a record of type {kind}, not {expected_type}")
    if key.purpose != PURPOSE_OF_TYPE[kind]:
        raise DataError(
            "SIGNATURE_REFUSED", f"a {key.purpose} key may not sign a record of type {kind}"
        )
    if record.key_id != key.key_id:
        raise DataError("SIGNATURE_REFUSED", f"signed by {record.key_id}, not by {key.key_id}")
    ed25519.verify(key.public_key, cbor.encode(record.signed_payload), record.signature)
    return record.signed_payload
