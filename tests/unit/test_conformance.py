"""The conformance runner, and the project's own vectors run through it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lockstep import conformance
from lockstep.errors import DataError

VECTORS = Path(__file__).parents[1] / "vectors"
FILES = sorted(VECTORS.glob("*.json"))
SPECIFIED = [
    "encode",
    "decode",
    "H",
    "deps_lock_v1",
    "replay_token_v1",
    "trace_chain_v1",
    "trace_links",
    "wal_record_v1",
    "wal_verify",
    "wal_from_cbor",
    "lineage_object",
    "lineage_leaf",
    "lineage_node",
    "lineage_root",
    "ed25519_key",
    "ed25519_verify",
    "cert_from_cbor",
    "promotion_mismatches",
    "error_rate",
    "error_rate_value",
    "p95",
    "p95_delta",
    "replay_failures",
    "dsse_pae",
]
ALWAYS_ANSWERS = {"error_rate", "error_rate_value", "p95_delta", "replay_failures"}
"""Functions that call bad input "invalid" instead of refusing it."""


def document(*vectors: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"schema_version": "lockstep.vectors.v1", "vectors": list(vectors), **changes}


def vector(fn: str, args: list, expect: dict, **other: Any) -> dict[str, Any]:
    return {"id": "v-1", "fn": fn, "args": args, "expect": expect, **other}


def one(fn: str, args: list, expect: dict, **other: Any) -> conformance.Result:
    (result,) = conformance.run(document(vector(fn, args, expect, **other)))
    return result


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_project_s_own_vectors_agree(path: Path) -> None:
    results = conformance.run(conformance.parse(path.read_bytes()))
    differing = [f"{r.id} {r.fn}: {r.expected} / {r.got} {r.note}" for r in results if not r.agrees]
    assert differing == []


def test_the_vector_files_are_what_their_script_writes() -> None:
    script = VECTORS / "regenerate.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr  # the message names the command


def test_every_specified_function_has_a_positive_and_a_negative_vector() -> None:
    assert set(SPECIFIED) <= set(conformance.FUNCTIONS)
    rows = [row for path in FILES for row in json.loads(path.read_bytes())["vectors"]]
    positive = {row["fn"] for row in rows if "reject" not in row["expect"]}
    negative = {row["fn"] for row in rows if "reject" in row["expect"]}
    assert positive == set(conformance.FUNCTIONS)
    assert set(conformance.FUNCTIONS) - negative <= ALWAYS_ANSWERS
    ids = [row["id"] for row in rows]
    assert len(set(ids)) == len(ids)


def _spoiled(expect: dict[str, Any]) -> dict[str, Any]:
    """The expectation with one thing wrong in it."""
    if "reject" in expect:
        return {"value": None}
    if "hex" in expect:
        text = expect["hex"]
        return {"hex": f"{int(text[:2], 16) ^ 1:02x}{text[2:]}" if text else "00"}
    return {"value": [expect["value"], 0]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_vector_can_fail(path: Path) -> None:
    parsed = conformance.parse(path.read_bytes())
    for row in parsed["vectors"]:
        row["expect"] = _spoiled(row["expect"])
    assert [r.id for r in conformance.run(parsed) if r.agrees] == []


def test_one_flipped_byte_of_an_argument_turns_a_vector_red() -> None:
    ones, flipped = {"$bytes": "01" * 32}, {"$bytes": "00" + "01" * 31}
    twos, threes = {"$bytes": "02" * 32}, {"$bytes": "03" * 32}
    expect = {"hex": "ad243d5394b7ba9cfaba7579b29fc6533d6e8d7030237ec75b3b544e6cab43ff"}
    assert one("deps_lock_v1", [ones, twos, threes], expect).agrees
    assert not one("deps_lock_v1", [flipped, twos, threes], expect).agrees


def test_a_must_and_a_choice_decide_and_an_advisory_does_not() -> None:
    for level, decides in (("must", True), ("choice", True), ("advisory", False)):
        result = one("encode", [0], {"hex": "01"}, level=level)
        assert (result.agrees, result.decides) == (False, decides)
        assert conformance.all_agree([result]) is not decides
    assert conformance.all_agree([one("encode", [0], {"hex": "00"})])
    assert one("encode", [0], {"hex": "00"}).level == "must"


def test_the_notation_stands_for_bytes_floats_and_repetition() -> None:
    assert one("encode", [{"$bytes": "ff"}], {"hex": "41ff"}).agrees
    assert one("encode", [{"$f64": "8000000000000000"}], {"hex": "fb8000000000000000"}).agrees
    assert one("encode", [2**64 - 1], {"hex": "1bffffffffffffffff"}).agrees
    assert one("encode", [2**64], {"reject": True}).agrees
    assert one("decode", [{"$nest": ["81", 3, "80"]}], {"value": [[[[]]]]}).agrees
    assert one("decode", [{"$bytes": "41ff"}], {"value": {"$bytes": "ff"}}).agrees
    assert one("decode", [{"$bytes": "41ff"}], {"hex": "ff"}).agrees


def test_values_are_compared_with_their_types() -> None:
    for raw, right in (("01", 1), ("f5", True), ("fb3ff0000000000000", 1.0)):
        for expected in (1, True, 1.0, "1"):
            same = type(expected) is type(right)
            assert one("decode", [{"$bytes": raw}], {"value": expected}).agrees is same
    zero, negative = {"$f64": "0000000000000000"}, {"$f64": "8000000000000000"}
    assert one("decode", [{"$bytes": "fb8000000000000000"}], {"value": negative}).agrees
    assert not one("decode", [{"$bytes": "fb8000000000000000"}], {"value": zero}).agrees


def test_a_wrong_number_of_arguments_is_a_refusal() -> None:
    assert one("encode", [], {"reject": True}).agrees
    assert one("encode", [1, 2], {"reject": True}).agrees


def test_an_invalid_answer_is_no_refusal() -> None:
    assert one("error_rate", [0, 0], {"value": "invalid"}).agrees
    assert not one("error_rate", [0, 0], {"reject": True}).agrees
    assert not one("error_rate", [0, 0], {"value": "fail"}).agrees


@pytest.mark.parametrize("fn", list(conformance.FUNCTIONS))
def test_no_function_crashes_on_arguments_of_any_type(fn: str) -> None:
    arity = conformance.FUNCTIONS[fn][1]
    samples = [None, True, -1, 10**400, 0.5, "a", "\ud800", [], [[]], {}, {"a": 1}, [None], [{}]]
    samples += [{"$bytes": ""}, {"$bytes": "00" * 32}, {"$f64": "7ff8000000000000"}, [["a", "b"]]]
    for sample in samples:
        (result,) = conformance.run(document(vector(fn, [sample] * arity, {"reject": True})))
        assert "crash" not in result.got, (sample, result)


def test_our_own_defect_shows_as_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(conformance.FUNCTIONS, "encode", (lambda value: value.missing, 1))
    result = one("encode", [0], {"reject": True})
    assert not result.agrees
    assert result.got == {"crash": "AttributeError"}


def test_text_with_a_lone_surrogate_is_refused_and_can_be_printed() -> None:
    parsed = conformance.parse(
        json.dumps(document(vector("encode", ["\ud800"], {"reject": True}, id="\ud800"))).encode()
    )
    (result,) = conformance.run(parsed)
    assert result.agrees
    result.id.encode()
    result.note.encode()


def test_a_value_nested_beyond_all_bounds_is_refused() -> None:
    deep: Any = 0
    for _ in range(700):
        deep = [deep]
    assert one("encode", [deep], {"reject": True}).agrees
    assert not one("encode", [0], {"value": deep}).agrees


@pytest.mark.parametrize(
    "broken",
    [
        [],
        {},
        {"vectors": []},
        document(schema_version="lockstep.vectors.v2"),
        document(vectors={}),
        document("vector"),
        document(vector("no_such_function", [], {"reject": True})),
        document(vector(["encode"], [], {"reject": True})),
        document(vector("encode", {}, {"reject": True})),
        document(vector("encode", [0], {})),
        document(vector("encode", [0], {"hex": "00", "value": 0})),
        document(vector("encode", [0], {"hex": "0g"})),
        document(vector("encode", [0], {"hex": 0})),
        document(vector("encode", [0], {"reject": False})),
        document(vector("encode", [0], {"raises": True})),
        document(vector("encode", [0], {"hex": "00"}, level="maybe")),
        document(vector("encode", [0], {"hex": "00"}, id="")),
        document(vector("encode", [0], {"hex": "00"}, id=1)),
        document(vector("encode", [0], {"hex": "00"}, note=1)),
        document(vector("encode", [{"$bytes": "0"}], {"hex": "00"})),
        document(vector("encode", [{"$bytes": 0}], {"hex": "00"})),
        document(vector("encode", [{"$f64": "00"}], {"hex": "00"})),
        document(vector("encode", [{"$nest": ["00", -1, ""]}], {"hex": "00"})),
        document(vector("encode", [{"$nest": ["00", 2**40, ""]}], {"hex": "00"})),
        document(vector("encode", [{"$nest": ["00", 1]}], {"hex": "00"})),
        document(vector("encode", [0], {"value": {"$bytes": "zz"}})),
    ],
)
def test_a_document_of_another_form_is_unreadable(broken: object) -> None:
    with pytest.raises(DataError) as caught:
        conformance.run(broken)
    assert caught.value.code == "DOCUMENT_INVALID"


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", b'{"a": 1, "a": 2}', b"[" * 100_000, b"1" * 5000, b"\xef\xbb\xbf{}"],
    ids=["empty", "torn", "not UTF-8", "a key twice", "deep", "a number too long", "a mark"],
)
def test_bytes_that_are_no_json_are_unreadable(data: bytes) -> None:
    with pytest.raises(DataError) as caught:
        conformance.parse(data)
    assert caught.value.code == "DOCUMENT_INVALID"
