"""The derived hashes against arrays written out from docs/spec/bytes.md §2."""

import hashlib

import pytest

from lockstep import hashes
from lockstep.errors import DataError

ONE, TWO, THREE = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32


def raw(*parts: bytes) -> bytes:
    """SHA-256 of an array of at most 23 parts that are encoded already."""
    return hashlib.sha256(bytes([0x80 | len(parts)]) + b"".join(parts)).digest()


def txt(value: str) -> bytes:
    assert len(value) < 24
    return bytes([0x60 | len(value)]) + value.encode()


def dig(value: bytes) -> bytes:
    return b"\x58\x20" + value


def test_the_check_values_of_the_specification_hold() -> None:
    assert (
        hashes.deps_lock_v1(ONE, TWO, THREE).hex()
        == "ad243d5394b7ba9cfaba7579b29fc6533d6e8d7030237ec75b3b544e6cab43ff"
    )
    assert (
        hashes.replay_token_v1("spec-1", ONE, TWO, 0).hex()
        == "7013633768b5da6cfd0f78050465acb6ac3f8428ce71aa3e83e1dc626cb7d55d"
    )


def test_each_named_hash_is_the_array_that_the_specification_writes_down() -> None:
    assert hashes.release_hash(ONE, TWO) == raw(txt("release_v1"), dig(ONE), dig(TWO))
    assert hashes.adoption_release_hash(ONE) == raw(txt("adoption_v1"), dig(ONE))
    assert hashes.policy_gate_hash([TWO, ONE]) == raw(
        txt("policy_transcript_v1"), b"\x82" + dig(TWO) + dig(ONE)
    )
    assert hashes.toolchain_hash("3.11", "24", "uv") == raw(
        txt("toolchain_v1"), txt("3.11"), txt("24"), txt("uv")
    )
    assert hashes.toolchain_pairs_hash([("rustc", "1"), ("cargo", "2")]) == raw(
        txt("toolchain_v1"),
        b"\x82\x82" + txt("cargo") + txt("2") + b"\x82" + txt("rustc") + txt("1"),
    )
    assert hashes.authz_query_hash("t", "p", "o", ["b", "a"], ONE) == raw(
        txt("t"), txt("p"), txt("o"), b"\x82" + txt("a") + txt("b"), dig(ONE)
    )
    assert hashes.authz_decision_hash(ONE, "DENY", TWO, "why") == raw(
        dig(ONE), txt("DENY"), dig(TWO), txt("why")
    )


def test_a_run_id_is_the_first_sixteen_hex_digits_of_its_array() -> None:
    full = raw(txt("run_id_v1"), *map(txt, ("t", "rollout", "s")), dig(ONE), dig(TWO), b"\x01")
    assert hashes.run_id("t", "rollout", "s", ONE, TWO, 1) == full.hex()[:16]
    full = raw(txt("qualification_run_v1"), txt("t"), txt("c"), dig(ONE))
    assert hashes.qualification_run_id("t", "c", ONE) == full.hex()[:16]


def test_every_part_of_a_request_changes_its_run_id() -> None:
    base = ("t", "rollout", "s", ONE, TWO, 1)
    others = [
        ("u", *base[1:]),
        ("t", "adopt", *base[2:]),
        ("t", "rollout", "r", *base[3:]),
        (*base[:3], TWO, TWO, 1),
        (*base[:4], ONE, 1),
        (*base[:5], 2),
    ]
    assert len({hashes.run_id(*request) for request in [base, *others]}) == 7


def test_our_replay_token_names_our_specification_and_seed_zero() -> None:
    assert hashes.replay_token(ONE, TWO) == hashes.replay_token_v1("lockstep.spec.v1", ONE, TWO, 0)
    assert hashes.replay_token(ONE, TWO, seed=1) != hashes.replay_token(ONE, TWO)


def test_attempts_count_from_one() -> None:
    assert hashes.run_id("t", "rollout", "s", ONE, TWO, 1)
    for attempt in (0, -1, True, 1.0, "1", 2**64):
        with pytest.raises(DataError):
            hashes.run_id("t", "rollout", "s", ONE, TWO, attempt)


@pytest.mark.parametrize("bad", [ONE[:31], ONE + b"\x00", ONE.hex(), None, bytearray(ONE)])
def test_nothing_but_thirty_two_raw_bytes_is_a_digest(bad: object) -> None:
    for call in (
        lambda: hashes.deps_lock_v1(ONE, bad, THREE),
        lambda: hashes.release_hash(ONE, bad),
        lambda: hashes.adoption_release_hash(bad),
        lambda: hashes.policy_gate_hash([ONE, bad]),
        lambda: hashes.replay_token(ONE, bad),
        lambda: hashes.qualification_run_id("t", "c", bad),
    ):
        with pytest.raises(DataError) as caught:
            call()
        assert caught.value.code == "DIGEST_INVALID"


def test_a_verdict_is_allow_or_deny_and_a_tool_has_one_version() -> None:
    for verdict in ("allow", "", None, True):
        with pytest.raises(DataError):
            hashes.authz_decision_hash(ONE, verdict, TWO, "")
    for pairs in ([], [("go", "1"), ("go", "2")], [("go",)], "go"):
        with pytest.raises(DataError):
            hashes.toolchain_pairs_hash(pairs)
