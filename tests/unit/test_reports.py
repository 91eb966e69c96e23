"""Reports: what is written is read back equal, and nothing else is taken for one."""

import json
import types
import typing
from typing import Any

import pytest

from lockstep import cbor, reports
from lockstep.errors import DataError
from lockstep.record import Record, Utc, to_json_value

DIGEST = bytes(range(32))
REPORTS = sorted(
    (
        kind
        for kind in vars(reports).values()
        if isinstance(kind, type) and issubclass(kind, Record) and kind is not Record
    ),
    key=lambda kind: kind.__name__,
)
each_report = pytest.mark.parametrize("kind", REPORTS, ids=lambda kind: kind.__name__)


def value_of(annotation: Any) -> Any:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation == Utc:
        return "2026-01-01T00:00:00Z"
    if origin is typing.Annotated or origin in (typing.Union, types.UnionType):
        return value_of(parts[0])
    if origin is list:
        return [value_of(parts[0])]
    if origin is dict:
        return {"prod": value_of(parts[1])}
    return {str: "text", int: 7, bool: True, bytes: DIGEST, Any: "anything"}[annotation]


def sample(kind: type[Record]) -> Record:
    """A report with every field set but its version, which is the class's own."""
    hints = typing.get_type_hints(kind, include_extras=True)
    names = [name for name in kind.model_fields if name != "schema_version"]
    return kind(**{name: value_of(hints[name]) for name in names})


def test_there_are_five_reports_and_each_has_its_own_version() -> None:
    versions = [kind.model_fields["schema_version"].default for kind in REPORTS]
    assert versions == [
        "lockstep.deployment-report.v1",
        "lockstep.preflight-report.v1",
        "lockstep.recovery-report.v1",
        "lockstep.rollback-report.v1",
        "lockstep.rollout-manifest.v1",
    ]


@each_report
def test_a_report_is_read_back_as_it_was_written(kind: type[Record]) -> None:
    written = sample(kind)
    assert kind.from_bytes(written.to_bytes()) == written
    assert kind.from_bytes(written.to_bytes()).digest() == written.digest()


@each_report
def test_an_absent_optional_field_is_left_out_of_the_bytes(kind: type[Record]) -> None:
    full = sample(kind)
    optional = [name for name, field in kind.model_fields.items() if field.default is None]
    bare = full.model_copy(update=dict.fromkeys(optional))
    stored = cbor.decode(bare.to_bytes())
    assert set(stored) == set(kind.model_fields) - set(optional)
    assert kind.from_bytes(bare.to_bytes()) == bare


@each_report
def test_an_unknown_or_missing_field_is_refused_and_named(kind: type[Record]) -> None:
    stored = sample(kind).to_map()
    with pytest.raises(DataError, match=f"RECORD_INVALID.*{kind.__name__}.added_later"):
        kind.from_bytes(cbor.encode({**stored, "added_later": 1}))
    name = next(name for name, field in kind.model_fields.items() if field.is_required())
    with pytest.raises(DataError, match=f"RECORD_INVALID.*{kind.__name__}.{name}"):
        kind.from_bytes(cbor.encode({key: stored[key] for key in stored if key != name}))


@each_report
def test_its_json_twin_shows_digests_as_text(kind: type[Record]) -> None:
    twin = to_json_value(sample(kind).to_map())
    assert json.loads(json.dumps(twin)) == twin
    shown = f"sha256:{DIGEST.hex()}" in json.dumps(twin)
    assert shown is (kind is not reports.RecoveryReport)  # it names no object
    assert twin["schema_version"].startswith("lockstep.")


def test_a_digest_of_31_bytes_is_refused() -> None:
    stored = sample(reports.DeploymentReport).to_map() | {"release_hash": DIGEST[:31]}
    with pytest.raises(DataError, match=r"DeploymentReport\.release_hash"):
        reports.DeploymentReport.from_map(stored)
