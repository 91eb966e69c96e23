"""Key descriptors: one key, one purpose, a half-open window (docs/spec/bytes.md §5).

The key id is derived from purpose, algorithm and public key and recomputed whenever a descriptor
is read, so that an id can never be moved to another key.
"""

from typing import Annotated, Literal, get_args

from pydantic import Field

from lockstep import utc
from lockstep.digest import h
from lockstep.errors import DataError, RefusedError
from lockstep.record import Record, Utc
from lockstep.trust.ed25519 import admit_key

Purpose = Literal[
    "root",
    "release-certificate",
    "rollout-certificate",
    "approval",
    "step-grant",
    "redaction",
    "operator",  # starters and operators: they start, pause, abort, roll back, adopt
]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
ALGORITHM = "ed25519"
KEY_ID_HEX_DIGITS = 32  # 128 bits of the digest: no second key of the same purpose shares them


class KeyDescriptor(Record):
    """Everything that is public about a key."""

    key_id: Annotated[str, Field(min_length=1, max_length=80)]
    purpose: Purpose
    algorithm: Literal["ed25519"]
    public_key: Annotated[bytes, Field(min_length=32, max_length=32)]
    not_before: Utc
    not_after: Utc
    """The first second at which the key no longer serves."""
    rotation_max_age_days: Annotated[int, Field(ge=1, le=3650)]
    origin: Annotated[str, Field(min_length=1, max_length=200)]
    """Where the private half was made and is kept, in words; never a secret."""


def derive_key_id(purpose: str, public_key: bytes) -> str:
    """``<purpose>-<32 hex>``: safe as one component of a store key."""
    digest = h(["key_id_v1", purpose, ALGORITHM, public_key])
    return f"{purpose}-{digest.hex()[:KEY_ID_HEX_DIGITS]}"


def describe(
    purpose: str,
    public_key: bytes,
    *,
    not_before: str,
    not_after: str,
    rotation_max_age_days: int,
    origin: str,
) -> KeyDescriptor:
    """Build the descriptor of a public key.

    Raises:
        DataError: KEY_REFUSED or RECORD_INVALID.
    """
    return admit(
        KeyDescriptor.from_map(
            {
                "key_id": derive_key_id(purpose, public_key),
                "purpose": purpose,
                "algorithm": ALGORITHM,
                "public_key": public_key,
                "not_before": not_before,
                "not_after": not_after,
                "rotation_max_age_days": rotation_max_age_days,
                "origin": origin,
            }
        )
    )


def admit(descriptor: KeyDescriptor) -> KeyDescriptor:
    """Return the descriptor if its key may be used at all; its window is not judged here.

    Raises:
        DataError: KEY_REFUSED; the id is not the derived one, the point is not canonical or of
            small order, or the window is empty.
    """
    if descriptor.key_id != derive_key_id(descriptor.purpose, descriptor.public_key):
        raise DataError(
            "KEY_REFUSED", f"{descriptor.key_id}: the key id does not belong to this public key"
        )
    admit_key(descriptor.public_key)
    if utc.to_seconds(descriptor.not_before) >= utc.to_seconds(descriptor.not_after):
        raise DataError("KEY_REFUSED", f"{descriptor.key_id}: not_before is not before not_after")
    return descriptor


def check_window(descriptor: KeyDescriptor, now: str) -> None:
    """Refuse a key outside ``[not_before, not_after)`` or older than its rotation cadence.

    Raises:
        RefusedError: CERTIFICATE_EXPIRED.
    """
    if not descriptor.not_before <= now < descriptor.not_after:
        raise RefusedError(
            "CERTIFICATE_EXPIRED",
            f"key {descriptor.key_id} serves from {descriptor.not_before} until before "
            f"{descriptor.not_after}, not at {now}",
            hint="sign with a key in force",
        )
    oldest = utc.plus_days(descriptor.not_before, descriptor.rotation_max_age_days)
    if now >= oldest:
        raise RefusedError(
            "CERTIFICATE_EXPIRED",
            f"key {descriptor.key_id} should have been rotated by {oldest}",
            hint="client keys generate, and publish it in the trust root",
        )
