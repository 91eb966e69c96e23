"""The snapshot's schema: what is refused, what is left for the gate to judge, and its twin."""

import json
from typing import Any

import pytest
from gate_samples import BASELINE, EARLIER, RELEASE, p95, side, snapshot_map, without
from hypothesis import given
from hypothesis import strategies as st

from lockstep import cbor
from lockstep.digest import sha256
from lockstep.errors import DataError
from lockstep.gates.snapshot import Snapshot, assemble, read_snapshot_bytes
from lockstep.ports import Sides

HISTOGRAM = {"kind": "histogram", "bounds_us": [1, 4, 16], "counts": [1, 2, 3, 4]}


def refused(value: Any) -> str:
    with pytest.raises(DataError) as raised:
        Snapshot.from_map(value)
    assert raised.value.code == "SNAPSHOT_INVALID"
    return raised.value.cause


def test_stored_form_and_twin_read_back_as_the_same_snapshot() -> None:
    series = [{"start_us": 1, "requests": 1, "errors": 0}, {"start_us": 2, "requests": 1,
              "errors": 0, "latency_p95_us": 7}]  # fmt: skip
    instances = [
        {"name": "a", "requests": 1, "errors": 0},
        {"name": "b", "requests": 1, "errors": 0, "latency": HISTOGRAM, "series": series},
    ]
    value = snapshot_map(
        canary=side(latency=HISTOGRAM, series=series, instances=instances),
        baseline=side(latency={"kind": "samples", "values_us": [3, 1, 2]}),
        baseline_snapshot_hash=EARLIER,
        custom={"queue": {"canary": 1.0, "baseline": 0.5, "unit": "items"}},
    )
    data = cbor.encode(value)
    snapshot = Snapshot.from_bytes(data)
    assert snapshot.to_bytes() == data
    assert snapshot.digest() == sha256(data)
    twin = json.loads(json.dumps(snapshot.to_json()))
    assert twin["release_hash"] == "sha256:" + "01" * 32
    assert Snapshot.from_json(twin) == snapshot


def test_a_twin_may_write_a_custom_value_as_an_integer() -> None:
    twin = Snapshot.from_map(snapshot_map()).to_json()
    twin["custom"] = {"queue": {"canary": 3, "unit": "items"}}
    assert Snapshot.from_json(twin).to_map()["custom"]["queue"]["canary"] == 3.0


def test_the_stored_form_of_a_custom_value_is_binary64_only() -> None:
    """3 and 3.0 are equal in Python and two snapshots in CBOR: one of them must not exist."""
    data = cbor.encode(snapshot_map(custom={"queue": {"canary": 3, "unit": "items"}}))
    with pytest.raises(DataError, match=r"custom\.queue\.canary"):
        Snapshot.from_bytes(data)


@pytest.mark.parametrize("absent", ["custom", "baseline_snapshot_hash"])
def test_an_explicit_null_is_refused_in_both_forms(absent: str) -> None:
    value = {**snapshot_map(), absent: None}
    with pytest.raises(DataError, match="never null"):
        Snapshot.from_bytes(cbor.encode(value))
    twin = {**Snapshot.from_map(snapshot_map()).to_json(), absent: None}
    with pytest.raises(DataError):
        Snapshot.from_json(twin)


def test_a_digest_that_holds_the_byte_of_null_is_no_null() -> None:
    data = cbor.encode(snapshot_map(release_hash=b"\xf6" * 32))
    assert Snapshot.from_bytes(data).to_bytes() == data


REQUIRED = sorted(without(snapshot_map(), "baseline_release_hash", "baseline"))


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_field_is_named(name: str) -> None:
    assert refused(without(snapshot_map(), name)) == f"{name}: is required"


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("extra", {"extra": 1}),
        ("schema_version", {"schema_version": "lockstep.metrics-snapshot.v2"}),
        ("cohort_percent", {"cohort_percent": 101}),
        ("cohort_percent", {"cohort_percent": True}),
        ("release_hash", {"release_hash": b"short"}),
        ("release_hash", {"release_hash": "01" * 32}),
        ("raw[0]", {"raw": [b""]}),
        ("window", {"window": {"start_us": 2, "end_us": 1}}),
        ("window.start_us", {"window": {"start_us": 1.0, "end_us": 1}}),
        ("canary.requests", {"canary": {**side(), "requests": 1.0}}),
        ("canary.requests", {"canary": without(side(), "requests")}),
        ("canary.latency", {"canary": side(latency={"kind": "mean", "mean_us": 1})}),
        ("canary.latency", {"canary": side(latency={**HISTOGRAM, "counts": [1]})}),
        ("canary.latency", {"canary": side(latency={**HISTOGRAM, "bounds_us": [1, 1, 2]})}),
        ("canary.latency", {"canary": side(latency={**p95(1), "bounds_us": [1]})}),
        ("canary", {"canary": side(series=[
            {"start_us": 2, "requests": 1, "errors": 0},
            {"start_us": 1, "requests": 1, "errors": 0}])}),
        ("canary", {"canary": side(instances=[
            {"name": "b", "requests": 1, "errors": 0},
            {"name": "a", "requests": 1, "errors": 0}])}),
        ("replay.checked", {"replay": {"failures": 0}}),
        ("(document)", {"baseline_release_hash": None}),
        ("(document)", {"baseline_release_hash": None, "baseline": None,
                        "baseline_snapshot_hash": EARLIER}),
    ],
)  # fmt: skip
def test_what_breaks_the_schema_is_refused_by_field(field: str, changed: dict) -> None:
    assert refused(snapshot_map(**changed)).startswith(field)


@pytest.mark.parametrize(
    "changed",
    [
        {"canary": side(0, 0)},
        {"canary": side(-1, 0)},
        {"canary": side(1, 2)},
        {"canary": without(side(), "latency")},
        {"canary": side(latency={**HISTOGRAM, "counts": [-1, 0, 0, 0]})},
        {"canary": side(latency={"kind": "samples", "values_us": []})},
        {"baseline": None},
        {"baseline": side(0, 0)},
        {"replay": {"checked": 0, "failures": 7}},
        {"window": {"start_us": 1, "end_us": 1}},
    ],
)
def test_judgeable_nonsense_is_accepted(changed: dict) -> None:
    Snapshot.from_bytes(cbor.encode(snapshot_map(**changed)))


def twin_text(snapshot: dict, path: tuple, literal: str) -> bytes:
    """The JSON twin with the number at ``path`` replaced by ``literal``."""
    twin = Snapshot.from_map(snapshot).to_json()
    at = twin
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = "HERE"
    return json.dumps(twin).replace('"HERE"', literal).encode()


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_measurement_that_is_no_number_is_read_and_named(literal: str) -> None:
    data = twin_text(snapshot_map(), ("canary", "errors"), literal)
    reading = read_snapshot_bytes(data)
    assert reading.not_numbers == (("canary", "errors"),)
    assert reading.snapshot_hash == sha256(data), "it has no canonical form to take a digest of"


def test_a_latency_that_is_no_number_is_left_out() -> None:
    data = twin_text(snapshot_map(), ("canary", "latency", "p95_us"), "NaN")
    assert read_snapshot_bytes(data).snapshot.canary.latency is None


@pytest.mark.parametrize("path", [("cohort_percent",), ("window", "end_us")])
def test_a_frame_that_is_no_number_is_refused(path: tuple) -> None:
    with pytest.raises(DataError, match="not a finite number"):
        read_snapshot_bytes(twin_text(snapshot_map(), path, "NaN"))


def test_both_forms_of_one_snapshot_have_one_digest() -> None:
    snapshot = Snapshot.from_map(snapshot_map())
    stored = read_snapshot_bytes(snapshot.to_bytes())
    twin = read_snapshot_bytes(json.dumps(snapshot.to_json()).encode())
    assert stored == twin


def test_an_integer_that_no_snapshot_can_hold_is_refused() -> None:
    with pytest.raises(DataError) as raised:
        read_snapshot_bytes(twin_text(snapshot_map(), ("canary", "requests"), "1" + "0" * 30))
    assert raised.value.code == "SNAPSHOT_INVALID"


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused_and_nothing_worse(data: bytes) -> None:
    with pytest.raises(DataError):
        read_snapshot_bytes(data)


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from([*snapshot_map(), "kind", "custom", "requests"]), inner, max_size=4),
    max_leaves=20,
))  # fmt: skip
def test_foreign_json_is_refused_and_nothing_worse(value: Any) -> None:
    with pytest.raises(DataError):
        read_snapshot_bytes(json.dumps(value).encode())


# ---- assemble ------------------------------------------------------------------------------


def assembled(sides: Sides, **changed: Any) -> Snapshot:
    return assemble(
        **{
            "tenant_id": "demo",
            "run_id": "0123456789abcdef",
            "environment": "prod",
            "cohort_percent": 25,
            "release_hash": RELEASE,
            "baseline_release_hash": BASELINE,
            "start_us": 1,
            "end_us": 2,
            "source_kind": "file",
            "parser_version": "v1",
            "queries": ["q"],
            "raw": [EARLIER],
            "sides": sides,
            "replay_checked": 0,
            "replay_failures": 0,
            **changed,
        }
    )


def test_instances_are_sorted_by_name_whatever_the_source_gave() -> None:
    names = ["b", "a", "Z"]
    instances = [{"name": name, "requests": 1, "errors": 0} for name in names]
    snapshot = assembled(Sides(canary=side(instances=instances), baseline=side()))
    assert [i.name for i in snapshot.canary.instances or ()] == ["Z", "a", "b"]


def test_a_first_release_has_no_baseline_even_where_the_source_saw_one() -> None:
    snapshot = assembled(Sides(canary=side(), baseline=side()), baseline_release_hash=None)
    assert snapshot.baseline is None
    assert snapshot.baseline_release_hash is None


def test_a_copied_baseline_is_named_by_the_snapshot_it_came_from() -> None:
    earlier = assembled(Sides(canary=side(), baseline=side(3000, 1)))
    later = assembled(
        Sides(canary=side(), baseline=side(0, 0)), cohort_percent=100, copied_from=earlier
    )
    assert later.baseline == earlier.baseline
    assert later.baseline_release_hash == BASELINE
    assert later.baseline_snapshot_hash == earlier.digest()


def test_a_baseline_cannot_be_copied_from_a_snapshot_without_one() -> None:
    first = assembled(Sides(canary=side(), baseline=None), baseline_release_hash=None)
    with pytest.raises(DataError, match="no baseline"):
        assembled(Sides(canary=side(), baseline=None), copied_from=first)


def test_a_side_that_no_snapshot_can_hold_is_refused() -> None:
    with pytest.raises(DataError, match=r"canary\.requests"):
        assembled(Sides(canary={"requests": float("nan"), "errors": 0}, baseline=None))
