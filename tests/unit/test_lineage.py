"""The lineage tree (docs/spec/bytes.md §2)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep import lineage
from lockstep.errors import DataError

DIGEST = st.binary(min_size=32, max_size=32)
ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "é"]), st.text("xyé0", max_size=4), DIGEST),
    min_size=1,
    max_size=12,
    unique_by=lambda row: row[:2],
)
PROPERTY = settings(deadline=None, max_examples=100)


def leaves(count: int) -> list[list]:
    return [["t", f"{number:02d}", bytes([number]) * 32] for number in range(count)]


def test_one_leaf_is_its_own_root_and_an_odd_last_node_pairs_with_itself() -> None:
    a, b, c = (lineage.leaf(*row) for row in leaves(3))
    assert lineage.root(leaves(1)) == a
    assert lineage.root(leaves(2)) == lineage.node(a, b)
    assert lineage.root(leaves(3)) == lineage.node(lineage.node(a, b), lineage.node(c, c))


@PROPERTY
@given(ROWS, st.randoms())
def test_the_order_of_the_rows_leaves_no_trace(rows: list, random) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert lineage.root(shuffled) == lineage.root(rows)
    assert lineage.sorted_rows(shuffled) == lineage.sorted_rows(rows)


@PROPERTY
@given(ROWS, st.data())
def test_every_changed_digest_changes_the_root(rows: list, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(rows) - 1))
    kind, name, digest = rows[index]
    changed = [*rows[:index], (kind, name, bytes([digest[0] ^ 1]) + digest[1:]), *rows[index + 1 :]]
    assert lineage.root(changed) != lineage.root(rows)


@PROPERTY
@given(ROWS)
def test_a_repeated_name_is_refused_whatever_its_digest(rows: list) -> None:
    kind, name, digest = rows[0]
    for again in (digest, bytes(32)):
        with pytest.raises(DataError) as caught:
            lineage.root([*rows, (kind, name, again)])
        assert caught.value.code == "LINEAGE_INVALID"


@pytest.mark.parametrize(
    "rows",
    [
        [],
        None,
        {"t": b""},
        "rows",
        [["t", "a"]],
        [["t", "a", bytes(31)]],
        [["t", "a", "00" * 32]],
        [[1, "a", bytes(32)]],
        [["t", "\ud800", bytes(32)]],
        [b"row"],
    ],
)
def test_rows_of_another_shape_are_refused(rows: object) -> None:
    with pytest.raises(DataError):
        lineage.root(rows)


def test_rows_sort_as_utf8_not_as_utf16() -> None:
    rows = [["t", "\U0001f512", bytes(32)], ["t", "\uffee", bytes(32)]]
    assert [row[1] for row in lineage.sorted_rows(rows)] == ["\uffee", "\U0001f512"]


def test_a_leaf_can_never_pass_for_a_node() -> None:
    a, b = bytes(32), bytes([1]) * 32
    assert lineage.node(a, b) != lineage.node(b, a)
    assert lineage.leaf("t", "a", a) != lineage.lineage_object("t", "a", a)
