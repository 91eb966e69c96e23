"""Ed25519, stricter than the library (docs/spec/trust.md).

The library checks the equation and nothing about the points: it loads small-order and
non-canonical keys, under some of which one fixed signature verifies every message. So here a
public key and a signature's R must be canonical points of order > 8, and S < L; then the library
decides.
"""

from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from lockstep.errors import DataError

KEY_BYTES = 32
SIGNATURE_BYTES = 64

# The curve of RFC 8032 §5.1: field prime, group order, d, and a square root of -1.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)


def _decompress(raw: bytes) -> tuple[int, int] | None:
    """The affine point of a canonical encoding, or None (RFC 8032 §5.1.3)."""
    number = int.from_bytes(raw, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    if y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if (v * x * x - u) % P:
        x = x * SQRT_M1 % P
        if (v * x * x - u) % P:
            return None
    if x == 0 and sign:
        return None
    return (P - x if x & 1 != sign else x), y


def _has_small_order(x: int, y: int) -> bool:
    """Whether eight times the point is the identity; doubling of RFC 8032 §5.1.4, no inversions."""
    px, py, pz = x, y, 1
    for _ in range(3):
        a, b, c = px * px % P, py * py % P, 2 * pz * pz % P
        h = a + b
        e = h - (px + py) * (px + py)
        g = a - b
        f = c + g
        px, py, pz = e * f % P, g * h % P, f * g % P
    return px == 0 and (py - pz) % P == 0


def _point_problem(raw: bytes) -> str:
    point = _decompress(raw)
    if point is None:
        return "not a canonical point of the curve"
    return "of small order" if _has_small_order(*point) else ""


@lru_cache(maxsize=1024)
def _key_problem(public_key: bytes) -> str:
    return _point_problem(public_key)


def admit_key(public_key: Any) -> bytes:
    """Return the key if it may be used at all: 32 bytes, canonical, of order > 8.

    Raises:
        DataError: KEY_REFUSED.
    """
    if type(public_key) is not bytes or len(public_key) != KEY_BYTES:
        raise DataError("KEY_REFUSED", f"a public key is {KEY_BYTES} raw bytes")
    problem = _key_problem(public_key)
    if problem:
        raise DataError("KEY_REFUSED", f"the public key is {problem}")
    return public_key


def _refused(cause: str) -> DataError:
    return DataError("SIGNATURE_REFUSED", cause, hint="sign the very bytes with the right key")


def verify(public_key: Any, message: Any, signature: Any) -> None:
    """Return if ``signature`` over exactly ``message`` holds under ``public_key``.

    Raises:
        DataError: KEY_REFUSED or SIGNATURE_REFUSED.
    """
    admit_key(public_key)
    if type(message) is not bytes:
        raise _refused("only bytes are signed")
    if type(signature) is not bytes or len(signature) != SIGNATURE_BYTES:
        raise _refused(f"a signature is {SIGNATURE_BYTES} raw bytes")
    if int.from_bytes(signature[KEY_BYTES:], "little") >= L:
        raise _refused("the signature's S is not reduced")
    # NOTE: an honest R has small order with probability 2^-249; a forged one on purpose.
    problem = _point_problem(signature[:KEY_BYTES])
    if problem:
        raise _refused(f"the signature's R is {problem}")
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        raise _refused("the signature does not belong to these bytes and this key") from None


def _private(private_key: Any) -> Ed25519PrivateKey:
    if type(private_key) is not bytes or len(private_key) != KEY_BYTES:
        raise DataError("KEY_REFUSED", f"a private key is {KEY_BYTES} raw bytes")
    return Ed25519PrivateKey.from_private_bytes(private_key)


def public_of(private_key: Any) -> bytes:
    """The public key of a 32-byte private seed.

    Raises:
        DataError: KEY_REFUSED.
    """
    return _private(private_key).public_key().public_bytes_raw()


def sign(private_key: Any, message: bytes) -> bytes:
    """The 64-byte signature over exactly ``message``; deterministic.

    Raises:
        DataError: KEY_REFUSED.
    """
    return _private(private_key).sign(message)
