"""Vectors of docs/spec/bytes.md §5: Ed25519, certificates, promotion. Keys are fixed test keys."""

import hashlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from reference import U64_MAX, Vectors, fill, h, write

L = 2**252 + 27742317777372353535851937790883648493
SEED, OTHER_SEED = bytes(range(32)), bytes(range(32, 64))
IDENTITY = b"\x01" + bytes(31)

SMALL_ORDER_KEYS = (
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
)
NOT_CANONICAL_KEYS = (
    "0100000000000000000000000000000000000000000000000000000000000080",  # x = 0 with a sign
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # y = p
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # y = p + 1
    "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # y = p + 3
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0200000000000000000000000000000000000000000000000000000000000000",  # not on the curve
)
RFC_8032 = (
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
)


def _sign(seed: bytes, message: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def _public(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def _with_small_order_r(seed: bytes, message: bytes) -> bytes:
    """A signature that satisfies the equation with R = identity; only the key's owner can."""
    scalar = bytearray(hashlib.sha512(seed).digest()[:32])
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    challenge = hashlib.sha512(IDENTITY + _public(seed) + message).digest()
    s = int.from_bytes(challenge, "little") * int.from_bytes(scalar, "little") % L
    return IDENTITY + s.to_bytes(32, "little")


def _flipped(data: bytes, bit: int) -> bytes:
    out = bytearray(data)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


def ed25519() -> Vectors:
    out, key, message = Vectors(), _public(SEED), b"lockstep"
    good = _sign(SEED, message)
    r, s = good[:32], int.from_bytes(good[32:], "little")
    for public, text, signature in RFC_8032:
        out.gives("ed25519_verify", [*map(bytes.fromhex, (public, text, signature))], True)
    out.gives("ed25519_verify", [key, message, good], True)
    for note, args in {
        "another message": [key, message + b"!", good],
        "another key": [_public(OTHER_SEED), message, good],
        "S + L": [key, message, r + (s + L).to_bytes(32, "little")],
        "S = L": [key, message, r + L.to_bytes(32, "little")],
        "S all ones": [key, message, r + b"\xff" * 32],
        "S = 0": [key, message, r + bytes(32)],
        "R of small order, though the equation holds": [
            *(key, message, _with_small_order_r(SEED, message))
        ],
        "R not canonical": [key, message, b"\xff" * 32 + good[32:]],
        "halves swapped": [key, message, good[32:] + r],
        "the universal forgery": [IDENTITY, message, IDENTITY + bytes(32)],
        "no signature": [key, message, b""],
        "63 bytes": [key, message, good[:63]],
        "65 bytes": [key, message, good + b"\x00"],
        "hex": [key, message, good.hex()],
        "a key of 31 bytes": [key[:31], message, good],
        "a key as hex": [key.hex().encode(), message, good],
        "a message as text": [key, "lockstep", good],
        "a digest signed instead": [key, message, _sign(SEED, hashlib.sha256(message).digest())],
    }.items():
        out.refuses("ed25519_verify", args, note)
    for bit in (0, 7, 100, 255, 256, 300, 500, 511):
        out.refuses("ed25519_verify", [key, message, _flipped(good, bit)], f"bit {bit} flipped")
        if bit < 256:
            out.refuses("ed25519_verify", [_flipped(key, bit), message, good], f"key bit {bit}")
    for public in (key, _public(OTHER_SEED), bytes.fromhex(RFC_8032[0][0])):
        out.gives("ed25519_key", [public], public)
    for text in SMALL_ORDER_KEYS:
        out.refuses("ed25519_key", [bytes.fromhex(text)], "of small order")
    for text in NOT_CANONICAL_KEYS:
        out.refuses("ed25519_key", [bytes.fromhex(text)], "not a canonical point")
    for bad in (b"", key[:31], key + b"\x00", key.hex(), None):
        out.refuses("ed25519_key", [bad], "32 raw bytes")
    return out


# ---- certificates --------------------------------------------------------------------------

NINE = (
    "manifest_hash",
    "trace_root_hash",
    "checkpoint_hash",
    "policy_bundle_hash",
    "lockfile_hash",
    "dependencies_lock_hash",
    "determinism_profile_hash",
    "operator_contracts_root_hash",
    "lineage_root_hash",
)
COMMON: dict[str, Any] = {
    "tenant_id": "acme",
    "run_id": "0123456789abcdef",
    "key_id": "signer-1",
    "replay_token": fill(40),
    **{name: fill(number) for number, name in enumerate(NINE, start=1)},
    "policy_gate_hash": fill(41),
    "authz_decision_hash": fill(42),
    "toolchain_hash": fill(43),
    "trust_store_hash": fill(44),
    "revocation_bundle_hash": fill(45),
    "step_start": 0,
    "step_end": 3,
}
MODEL = {
    "backend_binary_hash": fill(50),
    "ir_hash": fill(51),
    "sampler_config_hash": fill(52),
    "data_access_plan_hash": fill(53),
    "tmmu_plan_hash": fill(54),
    "dataset_snapshot_id": "dataset-7",
}
TIMED = {
    "verification_time_utc": "2026-01-02T03:04:05Z",
    "valid_until_utc": "2026-02-02T03:04:05Z",
    "signature_algorithm": "ed25519",
}
BUILT = {"runtime_env_hash": fill(60), "sbom_hash": fill(61)}
RARE = {
    "security_policy_hash": fill(70),
    "authz_policy_hash": fill(71),
    "monitor_policy_hash": fill(72),
    "dp_policy_hash": fill(73),
    "redaction_policy_hash": fill(74),
    "redaction_key_id": "redactor-1",
    "dp_epsilon": 1.5,
    "dp_delta": 0.0,
    "dp_accountant_state_hash": fill(75),
    "attestation_quote_hash": fill(76),
    "attestation_bundle_hash": fill(77),
    "determinism_conformance_suite_id": fill(78),
}
ONE = {"certificate_version": "1", **COMMON, **MODEL}
TWO = {"certificate_version": "2", **COMMON, **TIMED, **BUILT}


def _map(payload: dict, seed: bytes = SEED, **other: Any) -> dict:
    return {"signed_payload": payload, "signature": _sign(seed, write(payload)), **other}


def certificate() -> Vectors:
    out, key = Vectors(), _public(SEED)

    def holds(value: dict, note: str) -> None:
        out.gives("cert_from_cbor", [write(value), key], h(value), note, level="choice")

    def breaks(value: Any, note: str, public: bytes = key) -> None:
        raw = value if isinstance(value, bytes) else write(value)
        out.refuses("cert_from_cbor", [raw, public], note)

    holds(_map(ONE), "version 1")
    holds(_map({**ONE, **TIMED, **RARE}), "version 1 with every optional field")
    holds(_map(TWO), "version 2")
    holds(_map({**TWO, **MODEL, **RARE}), "version 2 with every optional field")
    holds(_map(TWO, unsigned_metadata={"note": "kept"}), "the hash covers unsigned_metadata")
    holds(_map({**TWO, "step_start": 3}), "one step")
    holds(_map({**TWO, "step_end": U64_MAX}), "the largest step")
    for base in (ONE, TWO):
        version = base["certificate_version"]
        for name in base:
            short = {field: value for field, value in base.items() if field != name}
            breaks(_map(short), f"version {version} without {name}")
    for payload, note in _broken_payloads():
        breaks(_map(payload), note)
    good = _map(TWO)
    changed = {**good, "signed_payload": {**TWO, "manifest_hash": fill(99)}}
    breaks(changed, "changed after signing")
    breaks(_map(TWO, OTHER_SEED), "signed by another key")
    breaks(good, "a key of small order", IDENTITY)
    breaks({**good, "signature": good["signature"][:63]}, "63 bytes of signature")
    breaks({**good, "signature": good["signature"].hex()}, "a signature in hex")
    breaks({"signed_payload": TWO}, "no signature")
    breaks({"signature": good["signature"]}, "no payload")
    breaks({**good, "certificate_hash": fill(1)}, "a third field")
    breaks({**good, "unsigned_metadata": "note"}, "unsigned_metadata is a map")
    breaks({**good, "signed_payload": write(TWO)}, "a payload that is no map")
    breaks([good], "not a map")
    breaks(write(good) + b"\x00", "a byte after the map")
    breaks(write(good)[:-1], "truncated")
    breaks(b"", "no bytes")
    signed_hash = {**good, "signature": _sign(SEED, h(TWO))}
    breaks(signed_hash, "the hash signed, not the bytes")
    return out


def _broken_payloads() -> list[tuple[dict, str]]:
    changes: list[tuple[dict, str, Any, str]] = [
        (TWO, "certificate_version", "3", "an unknown version"),
        (TWO, "certificate_version", 2, "a version that is no text"),
        (TWO, "certificate_version", "1", "version 2 fields under version 1"),
        (ONE, "certificate_version", "2", "version 1 fields under version 2"),
        (ONE, "sbom_hash", fill(1), "a version 2 field in version 1"),
        (ONE, "runtime_env_hash", fill(1), "a version 2 field in version 1"),
        (TWO, "manifest_hash", fill(1).hex(), "a digest in hex"),
        (TWO, "manifest_hash", fill(1)[:31], "a digest of 31 bytes"),
        (TWO, "manifest_hash", None, "null is not absent"),
        (TWO, "tenant_id", b"acme", "text as bytes"),
        (TWO, "run_id", 1, "text as a number"),
        (TWO, "key_id", None, "null is not absent"),
        (TWO, "step_start", 4, "start after end"),
        (TWO, "step_end", -1, "a negative step"),
        (TWO, "step_end", 3.0, "a step as a float"),
        (TWO, "step_start", False, "a step as a boolean"),
        (TWO, "signature_algorithm", "ed448", "another algorithm"),
        (TWO, "verification_time_utc", "2026-01-02 03:04:05", "another form of time"),
        (TWO, "verification_time_utc", "2026-02-30T00:00:00Z", "no such day"),
        (TWO, "valid_until_utc", 1767323045, "a time as a number"),
        (TWO, "valid_until_utc", "2026-01-02T03:04:05+00:00", "another form of time"),
        (TWO, "dp_epsilon", 1, "binary64 as an integer"),
        (TWO, "redaction_key_id", b"k", "text as bytes"),
        (TWO, "ir_hash", "none", "an optional field of the wrong type"),
        (TWO, "dataset_snapshot_id", fill(1), "text as bytes"),
        (TWO, "determinism_conformance_suite_id", "suite-1", "a digest as text"),
        (TWO, "release_hash", fill(1), "an extra field"),
        (ONE, "note", "", "an extra field"),
        (ONE, "", "", "an extra field without a name"),
    ]
    return [({**base, name: value}, note) for base, name, value, note in changes]


def promotion() -> Vectors:
    out = Vectors()
    expected = {name: COMMON[name] for name in NINE}
    expected |= {"toolchain_hash": COMMON["toolchain_hash"], "runtime_env_hash": fill(60)}
    lock = [expected[name] for name in ("lockfile_hash", "toolchain_hash", "runtime_env_hash")]
    expected["dependencies_lock_hash"] = h(["deps_lock_v1", *lock])
    payload = {**TWO, "dependencies_lock_hash": expected["dependencies_lock_hash"]}
    out.gives("promotion_mismatches", [payload, expected], [])
    for name in NINE:
        out.gives("promotion_mismatches", [{**payload, name: fill(99)}, expected], [name])
    without = {name: value for name, value in payload.items() if name != "manifest_hash"}
    out.gives("promotion_mismatches", [without, expected], ["manifest_hash"], "absent differs")
    out.gives("promotion_mismatches", [{}, expected], list(NINE), "in their order")
    taken = {**expected, "dependencies_lock_hash": fill(99)}
    out.gives("promotion_mismatches", [payload, taken], [], "recomputed, never taken")
    both = {**payload, "dependencies_lock_hash": fill(99)}
    agreed = ["dependencies_lock_hash"]
    out.gives("promotion_mismatches", [both, taken], agreed, "two equal claims prove nothing")
    tools = {**expected, "toolchain_hash": fill(99)}
    out.gives("promotion_mismatches", [payload, tools], agreed, "other tools, other lock")
    lockfile = {**expected, "lockfile_hash": fill(99)}
    out.gives("promotion_mismatches", [payload, lockfile], ["lockfile_hash", *agreed])
    for name in ("manifest_hash", "lockfile_hash", "toolchain_hash", "runtime_env_hash"):
        short = {field: value for field, value in expected.items() if field != name}
        out.refuses("promotion_mismatches", [payload, short], f"nothing known for {name}")
    hexed = {**expected, "runtime_env_hash": fill(60).hex()}
    out.refuses("promotion_mismatches", [payload, hexed], "a digest in hex")
    return out
