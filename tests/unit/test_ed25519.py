"""Ed25519 with the checks that the library leaves out (docs/spec/trust.md)."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.errors import DataError
from lockstep.trust import ed25519

SEED = bytes(range(32))
KEY = ed25519.public_of(SEED)
MESSAGE = b"lockstep"
GOOD = ed25519.sign(SEED, MESSAGE)
IDENTITY = b"\x01" + bytes(31)

# The eight points of small order, in their canonical encodings.
SMALL_ORDER = [
    *(IDENTITY, b"\xec" + b"\xff" * 30 + b"\x7f", bytes(32), bytes(31) + b"\x80"),
    *(
        bytes.fromhex(text)
        for text in (
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        )
    ),
]
FIELD_PRIME = 2**255 - 19


def refused(code: str, *args: object) -> None:
    with pytest.raises(DataError) as caught:
        ed25519.verify(*args)
    assert caught.value.code == code


def small_order_r(r: bytes) -> bytes:
    """A signature whose equation holds with a small-order R; only the key's owner can make it."""
    scalar = bytearray(hashlib.sha512(SEED).digest()[:32])
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    challenge = hashlib.sha512(r + KEY + MESSAGE).digest()
    s = int.from_bytes(challenge, "little") * int.from_bytes(scalar, "little") % ed25519.L
    return r + s.to_bytes(32, "little")


def test_the_vectors_of_rfc_8032_hold() -> None:
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    signature = bytes.fromhex(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )
    assert ed25519.public_of(seed) == key
    assert ed25519.sign(seed, b"") == signature
    ed25519.verify(key, b"", signature)


@settings(deadline=None, max_examples=50)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100))
def test_every_generated_key_is_admitted_and_every_signature_verifies(
    seed: bytes, message: bytes
) -> None:
    key = ed25519.public_of(seed)
    assert ed25519.admit_key(key) == key
    ed25519.verify(key, message, ed25519.sign(seed, message))


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 511))
def test_every_flipped_bit_of_a_signature_is_refused(bit: int) -> None:
    bad = bytearray(GOOD)
    bad[bit // 8] ^= 1 << bit % 8
    refused("SIGNATURE_REFUSED", KEY, MESSAGE, bytes(bad))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 255))
def test_every_flipped_bit_of_a_key_is_refused(bit: int) -> None:
    bad = bytearray(KEY)
    bad[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DataError):
        ed25519.verify(bytes(bad), MESSAGE, GOOD)


def test_an_unreduced_s_is_refused_and_the_reduced_one_holds() -> None:
    ed25519.verify(KEY, MESSAGE, GOOD)
    s = int.from_bytes(GOOD[32:], "little")
    for other in (s + ed25519.L, ed25519.L, 2**256 - 1):
        unreduced = GOOD[:32] + other.to_bytes(32, "little")
        with pytest.raises(DataError, match="not reduced"):
            ed25519.verify(KEY, MESSAGE, unreduced)
    last = (ed25519.L - 1).to_bytes(32, "little")  # in range, so that only the equation refuses it
    refused("SIGNATURE_REFUSED", KEY, MESSAGE, GOOD[:32] + last)


@pytest.mark.parametrize("key", SMALL_ORDER, ids=lambda key: key.hex()[:8])
def test_keys_of_small_order_are_refused_although_the_library_loads_them(key: bytes) -> None:
    Ed25519PublicKey.from_public_bytes(key)
    with pytest.raises(DataError) as caught:
        ed25519.admit_key(key)
    assert caught.value.code == "KEY_REFUSED"
    assert "small order" in caught.value.cause


def test_the_universal_forgery_is_refused_although_the_library_takes_it() -> None:
    forgery = IDENTITY + bytes(32)
    Ed25519PublicKey.from_public_bytes(IDENTITY).verify(forgery, b"any message at all")
    refused("KEY_REFUSED", IDENTITY, b"any message at all", forgery)


def test_a_small_order_r_is_refused_although_the_library_takes_it() -> None:
    signature = small_order_r(IDENTITY)
    Ed25519PublicKey.from_public_bytes(KEY).verify(signature, MESSAGE)
    refused("SIGNATURE_REFUSED", KEY, MESSAGE, signature)


@pytest.mark.parametrize("excess", range(19))
def test_every_encoding_with_y_past_the_prime_is_refused(excess: int) -> None:
    for sign in (0, 1 << 255):
        with pytest.raises(DataError) as caught:
            ed25519.admit_key((FIELD_PRIME + excess | sign).to_bytes(32, "little"))
        assert "canonical" in caught.value.cause


def test_x_zero_with_a_sign_and_points_off_the_curve_are_refused() -> None:
    for key in (bytes([1]) + bytes(30) + b"\x80", bytes([2]) + bytes(31), b"\xff" * 32):
        with pytest.raises(DataError) as caught:
            ed25519.admit_key(key)
        assert "canonical" in caught.value.cause


@pytest.mark.parametrize("bad", [b"", KEY[:31], KEY + b"\x00", KEY.hex(), None, bytearray(KEY)])
def test_a_key_is_thirty_two_raw_bytes(bad: object) -> None:
    refused("KEY_REFUSED", bad, MESSAGE, GOOD)
    for call in (ed25519.admit_key, ed25519.public_of, lambda key: ed25519.sign(key, MESSAGE)):
        with pytest.raises(DataError) as caught:
            call(bad)
        assert caught.value.code == "KEY_REFUSED"


@pytest.mark.parametrize(
    "bad", [b"", GOOD[:32], GOOD[:63], GOOD + b"\x00", GOOD * 2, GOOD.hex(), None]
)
def test_a_signature_is_sixty_four_raw_bytes(bad: object) -> None:
    refused("SIGNATURE_REFUSED", KEY, MESSAGE, bad)


def test_only_the_very_bytes_verify() -> None:
    for message in (b"", MESSAGE + b"\x00", hashlib.sha256(MESSAGE).digest(), "lockstep", None):
        refused("SIGNATURE_REFUSED", KEY, message, GOOD)
    refused("SIGNATURE_REFUSED", ed25519.public_of(bytes(32)), MESSAGE, GOOD)
