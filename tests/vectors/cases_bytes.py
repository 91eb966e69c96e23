"""Vectors of docs/spec/bytes.md §1 (encoding) and §2 (derived hashes, lineage)."""

from typing import Any

from reference import U64_MAX, Vectors, fill, h, write

DEEP_64: Any = []
for _ in range(63):
    DEEP_64 = [DEEP_64]
DEEP_65 = [DEEP_64]

VALUES = [
    *(0, 1, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**53 + 1, U64_MAX),
    *(-1, -24, -25, -256, -257, -65536, -65537, -(2**32) - 1, -(2**63) - 1, -(2**64)),
    *(None, False, True),
    *(0.0, -0.0, 0.5, 1.0, -4.25, 1e300, 5e-324, 1.7976931348623157e308, 0.1),
    *(b"", b"\x00", b"\xff" * 23, b"\x01" * 24, b"\x02" * 256),
    *("", "a", "a" * 23, "b" * 24, "c" * 256, "\x00", "\ufeff", "\U0001f512"),
    *("\u00e9", "e\u0301"),
    *([], [1, [2, [3]]], [None, True, 0.5, b"", ""], list(range(24))),
    *({}, {"b": 1, "aa": 2, "a": 3}, {"z": 0, "aa": 1}, {"a" * 24: 1, "b" * 23: 2}),
    *({"\u00e9": 1, "zz": 2, "\U0001f512": 3, "": 4}, {"m": {"y": 1, "x": [{"d": 1, "c": 2}]}}),
    DEEP_64,
]

NOT_DECODED = {
    "a half float": "f93800 f90000 f98000",
    "a single float": "fa3f000000",
    "NaN or an infinity, in every width": "f97e00 fa7fc00000 fb7ff8000000000000 "
    "fb7ff0000000000000 fbfff0000000000000 fb7ff0000000000001",
    "a head longer than needed: integers": "1800 1817 190000 1900ff 1a00000000 1a0000ffff "
    "1b0000000000000000 1b00000000ffffffff 3800 3817 3900ff 3a0000ffff 3b00000000ffffffff",
    "a head longer than needed: lengths": "5800 580141 59000141 780161 7a0000000161 980100 "
    "9b000000000000000100 b801616100 b90001616100 a178016100",
    "map keys out of order": "a2616201616102 a262616101616202 a2617a01606101",
    "a map key twice": "a2616101616102 a3616101616102616203",
    "a map key that is not text": "a10001 a1416101 a1f601 a18001 a1a001 a1f501 "
    "a1fb000000000000000000",
    "an indefinite length": "5f4161ff 7f6161ff 9f00ff bf616100ff 5fff 9fff bfff",
    "a break outside": "ff 81ff",
    "a tag": "c000 c074323032362d30312d30315430303a30303a30305a d9d9f700 d8206161 c100 "
    "c249010000000000000000 c349010000000000000000 c4822000 d81e820102 d81c81d81d00 d82361612e "
    "d901028100 81c000 a16161c000 db000000000000000000",
    "undefined or a simple value": "f7 e0 f0 f3 f800 f820 f8ff f818",
    "a reserved head": "1c 1d 1e 1f 3f 5c 7d 9e bc dc fc fd fe",
    "truncated": "18 1900 1a000000 1b00000000000000 4200 58 582000 6261 81 8200 a1 a16161 "
    "a2616100 fb00000000000000 78 98 b8 fb",
    "a length larger than the input": "5bffffffffffffffff 7bffffffffffffffff 9bffffffffffffffff "
    "bbffffffffffffffff 5a7fffffff00 7a7fffffff00 9a7fffffff00 ba7fffffff00 9b7fffffffffffffff00",
    "bytes after the item": "0000 a000 616100 8000 f6f6 a36161036162016261610200",
    "invalid UTF-8": "61ff 6180 62c328 62c080 63eda080 63edbfbf 64f4908080 62e282 a161ff00",
}


def encoding() -> Vectors:
    out = Vectors()
    for value in VALUES:
        out.gives("encode", [value], write(value))
        out.gives("decode", [write(value)], value)
    out.gives("encode", [{"b": 1, "aa": 2, "a": 3}], bytes.fromhex("a361610361620162616102"))
    out.gives("encode", [0.5], bytes.fromhex("fb3fe0000000000000"), "always binary64")
    for value, note in (
        (2**64, "past the largest integer"),
        (-(2**64) - 1, "past the smallest integer"),
        ([2**64, 0], "inside a list"),
        ({"a": 2**64}, "inside a map"),
        (float("nan"), "NaN"),
        (float("inf"), "infinity"),
        ([float("-inf")], "infinity inside a list"),
        ({"a": float("nan")}, "NaN inside a map"),
        ("\ud800", "a lone surrogate"),
        ("a\udfffb", "a lone surrogate inside"),
        ({"\ud800": 1}, "a lone surrogate in a key"),
    ):
        out.refuses("encode", [value], note)
    out.refuses("encode", [DEEP_65], "65 containers deep; the cap is ours", level="choice")
    out.refuses("decode", [b""], "no bytes")
    for note, hexes in NOT_DECODED.items():
        for text in hexes.split():
            out.refuses("decode", [bytes.fromhex(text)], note)
    for opening, rest in (("81", "80"), ("a16161", "a0")):
        out.refuses("decode", [{"$nest": [opening, 64, rest]}], "65 deep", level="choice")
        out.refuses("decode", [{"$nest": [opening, 200_000, rest]}], "a depth bomb")
    out.refuses("decode", [{"$nest": ["d81c", 100_000, "00"]}], "a tag bomb")
    out.refuses("decode", [{"$nest": ["00", 17 * 1024 * 1024, ""]}], "over 16 MiB")
    out.refuses("decode", ["00"], "text is not bytes")
    out.gives("H", [{"b": 1, "aa": 2, "a": 3}], h({"b": 1, "aa": 2, "a": 3}))
    out.refuses("H", [float("nan")], "only the profile is hashed")
    return out


def _named(out: Vectors, fn: str, args: list, preimage: list, *, level: str = "choice") -> None:
    """One derived hash twice: by its name, and by the array that the specification writes down."""
    out.gives(fn, args, h(preimage), level=level)
    out.gives("H", [preimage], h(preimage), f"the same as {fn}", level=level)


def derived() -> Vectors:
    out, one, two, three = Vectors(), fill(1), fill(2), fill(3)
    out.gives(
        "deps_lock_v1",
        [one, two, three],
        bytes.fromhex("ad243d5394b7ba9cfaba7579b29fc6533d6e8d7030237ec75b3b544e6cab43ff"),
    )
    out.gives("deps_lock_v1", [three, two, one], h(["deps_lock_v1", three, two, one]))
    for bad in (one[:31], one + b"\x01", one.hex(), None, b""):
        out.refuses("deps_lock_v1", [bad, two, three], "not 32 raw bytes")
        out.refuses("deps_lock_v1", [one, two, bad], "not 32 raw bytes")
    out.gives(
        "replay_token_v1",
        ["spec-1", one, two, 0],
        bytes.fromhex("7013633768b5da6cfd0f78050465acb6ac3f8428ce71aa3e83e1dc626cb7d55d"),
    )
    top = ["replay_token_v1", "lockstep.spec.v1", one, two, U64_MAX]
    out.gives("replay_token_v1", top[1:], h(top))
    for seed in (-1, 2**64, "0", 0.0, True, None):
        out.refuses("replay_token_v1", ["spec-1", one, two, seed], "the seed is a uint64")
    out.refuses("replay_token_v1", [1, one, two, 0], "the spec version is text")
    out.refuses("replay_token_v1", ["\ud800", one, two, 0], "a lone surrogate")
    _named(
        out,
        "toolchain_hash",
        ["3.11.9", "24.0", "uv-0.4"],
        ["toolchain_v1", "3.11.9", "24.0", "uv-0.4"],
        level="must",
    )
    out.refuses("toolchain_hash", ["3.11.9", "24.0", 1], "a version is text")
    pairs = [["cargo", "1.80"], ["rustc", "1.80.1"]]
    _named(out, "toolchain_pairs_hash", [pairs[::-1]], ["toolchain_v1", pairs])
    out.refuses("toolchain_pairs_hash", [[]], "no tool")
    out.refuses("toolchain_pairs_hash", [[["go", "1.22"], ["go", "1.23"]]], "a name twice")
    _named(out, "release_hash", [one, two], ["release_v1", one, two])
    out.refuses("release_hash", [one, two.hex()], "not 32 raw bytes")
    _named(out, "adoption_release_hash", [one], ["adoption_v1", one])
    out.refuses("adoption_release_hash", [b""], "not 32 raw bytes")
    _runs(out)
    _decisions(out)
    for note in ("policy_bundle_hash", "env_manifest_hash", "certificate_hash"):
        value = {"schema_version": note + ".example", "limits": {"b": 2, "a": 1}}
        out.gives(
            "H", [value], h(value), f"{note}: object digest of the map as stored", level="choice"
        )
    return out


def _runs(out: Vectors) -> None:
    one, two = fill(1), fill(2)
    for operation in ("rollout", "rollback", "adopt"):
        args = ["acme", operation, "shop", one, two, 1]
        out.gives("run_id", args, h(["run_id_v1", *args]).hex()[:16], level="choice")
    last = ["acme", "rollout", "shop", one, two, U64_MAX]
    out.gives("run_id", last, h(["run_id_v1", *last]).hex()[:16], "16 hex digits", level="choice")
    for attempt in (0, -1, 2**64, True, "1", 1.0):
        out.refuses("run_id", [*last[:5], attempt], "attempt counts from 1")
    out.refuses("run_id", ["acme", "deploy", *last[2:]], "an unknown operation")
    qualification = ["acme", "0123abcd", fill(7)]
    expected = h(["qualification_run_v1", *qualification]).hex()[:16]
    out.gives("qualification_run_id", qualification, expected, level="choice")
    out.refuses("qualification_run_id", ["acme", b"0123", fill(7)], "code_commit is text")


def _decisions(out: Vectors) -> None:
    one, two = fill(1), fill(2)
    _named(out, "policy_gate_hash", [[]], ["policy_transcript_v1", []])
    _named(out, "policy_gate_hash", [[two, one]], ["policy_transcript_v1", [two, one]])
    out.refuses("policy_gate_hash", [[one.hex()]], "a digest is 32 raw bytes")
    out.refuses("policy_gate_hash", [one], "digests in a list")
    query = ["acme", "alice", "UML_OS.Deploy.ExecuteRollout_v1", ["a", "b"], one]
    _named(out, "authz_query_hash", [*query[:3], ["b", "a"], one], query)
    out.refuses("authz_query_hash", [*query[:3], "ab", one], "capabilities are a list")
    for verdict in ("ALLOW", "DENY"):
        answer = [h(query), verdict, two, "starter"]
        _named(out, "authz_decision_hash", answer, answer)
    for verdict in ("allow", "MAYBE", "", None, True):
        out.refuses("authz_decision_hash", [h(query), verdict, two, "starter"], "ALLOW or DENY")


# ---- lineage -------------------------------------------------------------------------------


def _leaf(row: list) -> bytes:
    return h(["lineage_leaf", row])


def _node(left: bytes, right: bytes) -> bytes:
    return h(["lineage_node", [left, right]])


def lineage() -> Vectors:
    out = Vectors()
    rows = [
        ["artifact", "a", fill(1)],
        ["artifact", "b", fill(2)],
        ["config", "a", fill(3)],
        ["evidence", "sbom", fill(4)],
        ["evidence", "\u00e9", fill(5)],
    ]
    a, b, c, d, e = map(_leaf, rows)
    roots = [
        a,
        _node(a, b),
        _node(_node(a, b), _node(c, c)),
        _node(_node(a, b), _node(c, d)),
        _node(_node(_node(a, b), _node(c, d)), _node(_node(e, e), _node(e, e))),
    ]
    for count, root in enumerate(roots, start=1):
        out.gives("lineage_root", [rows[:count]], root, f"{count} leaves", level="choice")
        out.gives("lineage_root", [rows[:count][::-1]], root, "in any order", level="choice")
    utf8 = [["t", "\U0001f512", fill(1)], ["t", "\uffee", fill(2)]]
    expected = _node(_leaf(utf8[1]), _leaf(utf8[0]))
    out.gives("lineage_root", [utf8], expected, "sorted as UTF-8, not as UTF-16", level="choice")
    out.refuses("lineage_root", [[]], "no leaf")
    out.refuses("lineage_root", [[rows[0], rows[0]]], "a repeated leaf")
    out.refuses("lineage_root", [[*rows[:3], rows[2]]], "repeating the last leaf (CVE-2012-2459)")
    out.refuses("lineage_root", [[rows[0], ["artifact", "a", fill(9)]]], "same name, other digest")
    out.refuses("lineage_root", [[["artifact", "a"]]], "a row of two")
    out.refuses("lineage_root", [[["artifact", 1, fill(1)]]], "an id that is not text")
    out.refuses("lineage_root", [[["artifact", "\ud800", fill(1)]]], "a lone surrogate")
    out.refuses("lineage_root", [{"artifact": fill(1)}], "not a list")
    out.gives("lineage_leaf", rows[0], a)
    out.refuses("lineage_leaf", ["artifact", "a", fill(1).hex()], "a digest is 32 raw bytes")
    out.gives("lineage_node", [a, b], _node(a, b))
    out.gives("lineage_node", [b, a], _node(b, a), "sides are not interchangeable")
    out.refuses("lineage_node", [a, b""], "a digest is 32 raw bytes")
    for payload in (b"\xa0", {"b": 1, "a": [2]}, None):
        expected = h(["lineage_object", ["provenance", "p-1", payload]])
        out.gives("lineage_object", ["provenance", "p-1", payload], expected, level="choice")
    out.refuses("lineage_object", ["provenance", "p-1", float("nan")], "NaN in the payload")
    return out
