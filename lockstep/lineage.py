"""The lineage tree: one root over every object that a release or a rollout rests on.

A Merkle tree over (type, id, digest) rows sorted by (type, id) as UTF-8; leaves and nodes carry
different tags, so that neither can pass for the other (docs/spec/bytes.md §2).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from lockstep.digest import h
from lockstep.errors import DataError
from lockstep.exact import digest32, text

ROWS_MAX = 100_000
"""Far above any real rollout (a full 3 × 5 has some fifty rows); bounds a hostile list."""


def _invalid(cause: str) -> DataError:
    return DataError("LINEAGE_INVALID", cause, hint="name every object exactly once")


def lineage_object(object_type: str, object_id: str, payload: Any) -> bytes:
    """The digest of imported evidence that has no stored bytes of its own."""
    return h(["lineage_object", [text(object_type, "type"), text(object_id, "id"), payload]])


def leaf(object_type: str, object_id: str, digest: bytes) -> bytes:
    row = [text(object_type, "type"), text(object_id, "id"), digest32(digest, "digest")]
    return h(["lineage_leaf", row])


def node(left: bytes, right: bytes) -> bytes:
    return h(["lineage_node", [digest32(left, "left"), digest32(right, "right")]])


def sorted_rows(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """The rows in tree order, which is also the order in which they are stored.

    Raises:
        DataError: LINEAGE_INVALID; no rows, too many, a misshapen row or a repeated (type, id).
    """
    if type(rows) not in (list, tuple) or not 0 < len(rows) <= ROWS_MAX:
        raise _invalid("no objects, or more than can be meant")
    checked: list[list[Any]] = []
    for row in rows:
        if type(row) not in (list, tuple) or len(row) != 3:
            raise _invalid("a row is not [type, id, digest]")
        checked.append([text(row[0], "type"), text(row[1], "id"), digest32(row[2], "digest")])
    checked.sort(key=lambda row: (row[0].encode(), row[1].encode()))
    for before, after in pairwise(checked):
        if before[:2] == after[:2]:
            # A repeated leaf would give the root of the shorter list (CVE-2012-2459).
            raise _invalid(f"{after[0]}/{after[1]} is named twice")
    return checked


def root(rows: Sequence[Sequence[Any]]) -> bytes:
    """``lineage_root_hash`` of [type, id, digest] rows in any order.

    Raises:
        DataError: LINEAGE_INVALID, DIGEST_INVALID or RECORD_INVALID.
    """
    level = [leaf(*row) for row in sorted_rows(rows)]
    while len(level) > 1:
        if len(level) % 2:
            level.append(level[-1])
        level = [node(level[i], level[i + 1]) for i in range(0, len(level), 2)]
    return level[0]
