"""SHA-256 digests: 32 raw bytes in CBOR, ``sha256:<64 hex>`` wherever a person reads."""

import hashlib
import re
from typing import Any

from lockstep.cbor import encode
from lockstep.errors import DataError

_TEXT = re.compile(r"sha256:[0-9a-f]{64}")


def sha256(data: bytes) -> bytes:
    """Object digest: SHA-256 of stored bytes."""
    return hashlib.sha256(data).digest()


def h(value: Any) -> bytes:
    """``H(x)`` of the specification: SHA-256 of the canonical CBOR of ``value``."""
    return hashlib.sha256(encode(value)).digest()


def to_text(digest: bytes) -> str:
    """``sha256:<64 hex>`` of 32 raw bytes."""
    if len(digest) != 32:
        raise DataError("DIGEST_INVALID", f"a digest has 32 bytes, not {len(digest)}")
    return "sha256:" + digest.hex()


def from_text(text: str) -> bytes:
    """32 raw bytes of ``sha256:<64 hex>``.

    Raises:
        DataError: DIGEST_INVALID; ``text`` has another form.
    """
    if not _TEXT.fullmatch(text):
        raise DataError("DIGEST_INVALID", f"not a digest: {text[:80]!r}", hint="sha256:<64 hex>")
    return bytes.fromhex(text[7:])
