"""The encoding: one byte string a value, and nothing else is read (docs/spec/bytes.md §1)."""

import math
import time

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep import cbor
from lockstep.errors import DataError

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(cbor.INT_MIN, cbor.INT_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.binary(max_size=40)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)
PROPERTY = settings(deadline=None, max_examples=200)


def nested(levels: int) -> list:
    value: list = []
    for _ in range(levels - 1):
        value = [value]
    return value


def exactly(value: object) -> str:
    """Tells 1, 1.0 and True apart, 0.0 and -0.0 too."""
    return repr(value)


@PROPERTY
@given(VALUES)
def test_what_is_written_is_read_back_exactly(value: object) -> None:
    data = cbor.encode(value)
    assert cbor.encode(cbor.decode(data)) == data
    assert cbor.decode(data) == value


@PROPERTY
@given(VALUES)
def test_scalars_keep_type_and_sign(value: object) -> None:
    assert exactly(cbor.decode(cbor.encode([value]))[0]) == exactly(_sorted(value))


def _sorted(value: object) -> object:
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        return {key: _sorted(value[key]) for key in keys}
    return value


@PROPERTY
@given(VALUES, st.data())
def test_a_mutated_encoding_is_refused_or_is_the_encoding_of_what_it_reads(
    value: object, data: st.DataObject
) -> None:
    raw = bytearray(cbor.encode(value))
    index = data.draw(st.integers(0, len(raw) - 1))
    raw[index] ^= data.draw(st.integers(1, 255))
    _refused_or_canonical(bytes(raw))


@settings(deadline=None, max_examples=500)
@given(st.binary(max_size=64))
def test_any_bytes_are_refused_or_are_canonical(raw: bytes) -> None:
    _refused_or_canonical(raw)


def _refused_or_canonical(raw: bytes) -> None:
    try:
        value = cbor.decode(raw)
    except DataError:
        return
    assert cbor.encode(value) == raw


@PROPERTY
@given(VALUES, st.binary(min_size=1, max_size=4))
def test_bytes_after_the_item_and_every_truncation_are_refused(value: object, more: bytes) -> None:
    data = cbor.encode(value)
    for bad in (data + more, *(data[:length] for length in range(min(len(data), 40)))):
        with pytest.raises(DataError):
            cbor.decode(bad)


@PROPERTY
@given(st.dictionaries(KEYS, st.integers(0, 9), min_size=2, max_size=6), st.randoms())
def test_the_order_in_which_a_map_was_built_leaves_no_trace(value: dict, random) -> None:
    keys = list(value)
    random.shuffle(keys)
    assert cbor.encode({key: value[key] for key in keys}) == cbor.encode(value)


def test_the_check_values_of_the_specification_hold() -> None:
    assert cbor.encode({"b": 1, "aa": 2, "a": 3}).hex() == "a361610361620162616102"
    assert cbor.encode(0.5).hex() == "fb3fe0000000000000"


@pytest.mark.parametrize(
    ("inside", "outside"), [(cbor.INT_MIN, cbor.INT_MIN - 1), (cbor.INT_MAX, cbor.INT_MAX + 1)]
)
def test_the_last_integer_is_written_and_the_next_refused(inside: int, outside: int) -> None:
    assert cbor.decode(cbor.encode([inside])) == [inside]
    for holder in (outside, [outside], [0, outside], {"a": outside}, [None, outside]):
        with pytest.raises(DataError):
            cbor.encode(holder)


def test_sixty_four_containers_are_deep_enough_and_sixty_five_too_deep() -> None:
    assert cbor.decode(cbor.encode(nested(64))) == nested(64)
    with pytest.raises(DataError):
        cbor.encode(nested(65))
    for opening, rest in ((b"\x81", b"\x80"), (b"\xa1\x61a", b"\xa0")):
        assert cbor.decode(opening * 63 + rest)
        with pytest.raises(DataError):
            cbor.decode(opening * 64 + rest)


def test_a_scalar_may_stand_inside_the_deepest_container() -> None:
    raw = b"\x81" * 64 + b"\x00"
    assert cbor.encode(cbor.decode(raw)) == raw


def test_a_list_that_holds_itself_is_refused() -> None:
    loop: list = []
    loop.append(loop)
    with pytest.raises(DataError):
        cbor.encode(loop)


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        {1, 2},
        bytearray(b"a"),
        memoryview(b"a"),
        1j,
        object(),
        cbor2.undefined,
        cbor2.CBORTag(0, "2026-01-01T00:00:00Z"),
        {1: 2},
        {b"a": 1},
        {None: 1},
        {True: 1},
        {("a",): 1},
        "\ud800",
        {"\ud800": 1},
        type("Text", (str,), {})("a"),
        type("Number", (int,), {})(1),
        type("Items", (list,), {})(),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_value_outside_the_profile_is_refused_wherever_it_stands(value: object) -> None:
    for holder in (value, [value], {"a": value}, [[{"b": [value]}]]):
        with pytest.raises(DataError) as caught:
            cbor.encode(holder)
        assert caught.value.code == "CBOR_INVALID"


def test_the_caller_s_value_is_left_as_it_was() -> None:
    value = {"b": [{"z": 1, "a": 2}], "a": ({"d": 1, "c": 2},)}
    before = repr(value)
    cbor.encode(value)
    assert repr(value) == before


def test_a_map_larger_than_the_cache_admits_is_sorted_too() -> None:
    value = {f"key-{number}": number for number in range(500)}
    assert list(cbor.decode(cbor.encode(value))) == sorted(value, key=lambda k: (len(k), k))


def test_only_bytes_up_to_the_limit_are_decoded() -> None:
    data = cbor.encode(b"a" * 98)
    assert cbor.decode(data, size_max_bytes=100) == b"a" * 98
    with pytest.raises(DataError):
        cbor.decode(data, size_max_bytes=99)
    for bad in (bytearray(data), data.hex(), None):
        with pytest.raises(DataError):
            cbor.decode(bad)


def test_bombs_are_refused_at_once() -> None:
    bombs = (
        bytes.fromhex("9bffffffffffffffff"),
        bytes.fromhex("bb7fffffffffffffff"),
        bytes.fromhex("5b0fffffffffffffff00"),
        b"\x9a\x00\x0f\xff\x00" * 60 + b"\x00" * 1000,
        b"\x81" * 1_000_000,
        b"\xd8\x1c" * 1_000_000 + b"\x00",
        # Colliding keys of any type but text would reach a dictionary only past the scan.
        b"\xba\x00\x0f\x42\x40" + b"\x82\x00\x00\x00" * 1_000_000,
    )
    started = time.perf_counter()
    for bomb in bombs:
        with pytest.raises(DataError):
            cbor.decode(bomb)
    assert time.perf_counter() - started < 5.0


@pytest.mark.parametrize(
    "raw",
    [
        *(cbor2.dumps(cbor2.CBORTag(n, [1, 2])) for n in (0, 2, 4, 5, 28, 29, 30, 37, 258, 55799)),
        *map(
            bytes.fromhex,
            (
                *("a2616101616102", "a2616201616102"),  # a key twice, keys out of order
                *("a10001", "a18001", "a1f601"),  # keys that are no text
                *("9b7fffffffffffffff00", "5b7fffffffffffffff00", "bb7fffffffffffffff616100"),
                *("0000", "a000"),  # bytes after the item
                *("c105", "f7", "e0", "f97e00", "9fff"),  # what only other profiles write
                "81" * 65 + "00",
            ),
        ),
    ],
    ids=lambda raw: raw.hex()[:24],
)
def test_what_the_scan_refuses_never_reaches_the_library(
    raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cbor2, "loads", lambda *_, **__: pytest.fail("the scan let it through"))
    with pytest.raises(DataError):
        cbor.decode(raw)


@pytest.mark.parametrize("raw", ["9b7fffffffffffffff00", "5b7fffffffffffffff00", "9a000000030000"])
def test_a_claimed_length_is_held_against_the_input_before_anything_is_read(raw: str) -> None:
    with pytest.raises(DataError, match="claimed length"):
        cbor.decode(bytes.fromhex(raw))
