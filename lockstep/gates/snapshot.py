"""A metrics snapshot: the frozen evidence of one look (docs/spec/gates.md §1).

A closed CBOR map of integers (``custom`` alone holds binary64), named by its digest, with a JSON
twin. A snapshot that breaks the schema is refused; one that is well-formed nonsense (negative
counts, more errors than requests, no traffic) is accepted here and *judged* by the gate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import ge
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from lockstep import cbor
from lockstep.digest import from_text, sha256
from lockstep.documents import FieldPath, field_text, parse_json, problems_of
from lockstep.errors import DataError
from lockstep.ports import Sides
from lockstep.record import Digest32, Record, to_json_value

SCHEMA = "lockstep.metrics-snapshot.v1"
BUCKETS_MAX = 1_000
SAMPLES_MAX = 1_000_000
SERIES_MAX = 10_000
INSTANCES_MAX = 1_000
ANSWERS_MAX = 10_000
CUSTOM_MAX = 1_000

_NULL = b"\xf6"

Text = Annotated[str, Field(min_length=1, max_length=200)]


def _binary64(value: Any) -> Any:
    if type(value) is not float:
        raise ValueError("a binary64 number is needed")
    return value


Binary64 = Annotated[float, BeforeValidator(_binary64), Field(allow_inf_nan=False)]


class Window(Record):
    """UTC microseconds; from the shift's confirmation to the end of the bake."""

    start_us: int
    end_us: int

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end_us < self.start_us:
            raise ValueError("end_us is before start_us")
        return self


class SourceInfo(Record):
    kind: Text
    parser_version: Text
    queries: Annotated[list[str], Field(max_length=ANSWERS_MAX)]


class Histogram(Record):
    """``counts`` are per bucket, not cumulative; the last one is the bucket above all bounds."""

    kind: Literal["histogram"]
    bounds_us: Annotated[list[int], Field(max_length=BUCKETS_MAX)]
    counts: Annotated[list[int], Field(max_length=BUCKETS_MAX + 1)]

    @model_validator(mode="after")
    def _shaped(self) -> Self:
        if len(self.counts) != len(self.bounds_us) + 1:
            raise ValueError("counts has one entry more than bounds_us")
        _increasing(self.bounds_us, "bounds_us")
        return self


class Samples(Record):
    kind: Literal["samples"]
    values_us: Annotated[list[int], Field(max_length=SAMPLES_MAX)]


class P95(Record):
    kind: Literal["p95"]
    p95_us: int


Latency = Annotated[Histogram | Samples | P95, Field(discriminator="kind")]


class SubWindow(Record):
    start_us: int
    requests: int
    errors: int
    latency_p95_us: int | None = None


Series = Annotated[list[SubWindow], Field(max_length=SERIES_MAX)]


def _increasing(values: Sequence[Any], name: str) -> None:
    if any(map(ge, values, values[1:])):  # in C: this runs for every histogram of every look
        raise ValueError(f"{name} is not strictly increasing")


class InstanceCounts(Record):
    """One serving instance, so that its variation can be told from the release's."""

    name: Text
    requests: int
    errors: int
    latency: Latency | None = None
    series: Series | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _increasing([item.start_us for item in self.series or ()], "series by start_us")
        return self


class Side(Record):
    """The counts of the canary or of the baseline over the window."""

    requests: int
    errors: int
    latency: Latency | None = None
    series: Series | None = None
    instances: Annotated[list[InstanceCounts], Field(max_length=INSTANCES_MAX)] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _increasing([item.start_us for item in self.series or ()], "series by start_us")
        _increasing([item.name.encode() for item in self.instances or ()], "instances by name")
        return self


class Replay(Record):
    """The built-in replay check: earlier verdicts recomputed, and how many differed."""

    checked: int
    failures: int


class Custom(Record):
    canary: Binary64
    baseline: Binary64 | None = None
    unit: str


class Snapshot(Record):
    """All that a gate judges, frozen: what was measured, when, of whom, by which answers."""

    schema_version: Literal["lockstep.metrics-snapshot.v1"]
    tenant_id: Text
    run_id: Text
    environment: Text
    cohort_percent: Annotated[int, Field(ge=0, le=100)]
    release_hash: Digest32
    baseline_release_hash: Digest32 | None = None
    """Explicit, never inferred; absent only where no release can serve as baseline."""
    window: Window
    source: SourceInfo
    raw: Annotated[list[Digest32], Field(max_length=ANSWERS_MAX)]
    canary: Side
    baseline: Side | None = None
    baseline_snapshot_hash: Digest32 | None = None
    """The snapshot of this run that the baseline was copied from."""
    replay: Replay
    custom: Annotated[dict[str, Custom], Field(max_length=CUSTOM_MAX)] | None = None

    @model_validator(mode="after")
    def _bound(self) -> Self:
        if self.baseline_release_hash is None and (
            self.baseline is not None or self.baseline_snapshot_hash is not None
        ):
            raise ValueError("a baseline is named by baseline_release_hash, never inferred")
        return self

    @classmethod
    def from_map(cls, value: Any, *, place: str = "") -> Self:
        """Validate a decoded map.

        Raises:
            DataError: SNAPSHOT_INVALID, naming the field.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise _invalid(str(problems_of(cls, error)[0]), place) from None

    @classmethod
    def from_bytes(cls, data: bytes, *, place: str = "") -> Self:
        """Read the stored form.

        Raises:
            DataError: CBOR_INVALID or SNAPSHOT_INVALID.
        """
        value = cbor.decode(data)
        snapshot = cls.from_map(value, place=place)
        # Strict types make equal maps equal bytes; the one thing left is an explicit null, whose
        # byte can also stand inside a digest.
        if _NULL in data and snapshot.to_map() != value:
            raise _invalid("an absent field is left out, never null", place)
        return snapshot

    @classmethod
    def from_json(cls, value: Any, *, place: str = "") -> Self:
        """Read the JSON twin, already parsed: digests are ``sha256:…``.

        Raises:
            DataError: SNAPSHOT_INVALID, naming the field.
        """
        snapshot = cls.from_map(_from_twin(value, place), place=place)
        try:
            snapshot.to_bytes()
        except DataError as error:  # an integer that CBOR cannot hold, a lone surrogate
            raise _invalid(error.cause, place) from None
        return snapshot

    def to_json(self) -> dict[str, Any]:
        """The JSON twin."""
        return to_json_value(self.to_map())


def _invalid(cause: str, place: str) -> DataError:
    return DataError("SNAPSHOT_INVALID", cause, place=place, hint="docs/spec/gates.md §1")


@dataclass(frozen=True, slots=True)
class SnapshotReading:
    """A snapshot as read for judging.

    ``not_numbers`` names the fields that held NaN or ±Infinity. Such a document has no canonical
    form: in ``snapshot`` those fields stand as 0 (a latency is left out), and ``snapshot_hash`` is
    the digest of the document's own bytes instead of the canonical ones.
    """

    snapshot: Snapshot
    snapshot_hash: bytes
    not_numbers: tuple[FieldPath, ...] = ()


def read_snapshot_bytes(data: bytes, *, place: str = "") -> SnapshotReading:
    """Read a snapshot in CBOR or in its JSON twin, told apart by the first byte.

    Raises:
        DataError: CBOR_INVALID, DOCUMENT_INVALID or SNAPSHOT_INVALID.
    """
    if data[:1] >= b"\x80":  # every CBOR map begins above ASCII, no JSON text does
        return SnapshotReading(Snapshot.from_bytes(data, place=place), sha256(data))
    value = parse_json(data, size_max_bytes=cbor.SIZE_MAX_BYTES)
    found: list[FieldPath] = []
    clean = _without_non_numbers(value, (), found)
    for field in found:
        if field[0] not in ("canary", "baseline", "replay", "custom"):
            raise _invalid(f"{field_text(field)}: not a finite number", place)
        if field[1:2] == ("latency",):
            clean[field[0]].pop("latency", None)
    snapshot = Snapshot.from_json(clean, place=place)
    digest = sha256(data) if found else snapshot.digest()
    return SnapshotReading(snapshot, digest, tuple(found))


def _without_non_numbers(value: Any, at: FieldPath, found: list[FieldPath]) -> Any:
    if type(value) is float and not math.isfinite(value):
        found.append(at)
        return 0.0 if at[:1] == ("custom",) else 0
    if type(value) is dict:
        return {k: _without_non_numbers(v, (*at, k), found) for k, v in value.items()}
    if type(value) is list:
        return [_without_non_numbers(v, (*at, i), found) for i, v in enumerate(value)]
    return value


_DIGEST_FIELDS = ("release_hash", "baseline_release_hash", "baseline_snapshot_hash")


def _from_twin(value: Any, place: str) -> Any:
    """Digests of the twin as raw bytes, integers of ``custom`` as binary64."""
    if type(value) is not dict:
        return value
    twin = dict(value)
    for field in _DIGEST_FIELDS:
        if field in twin:
            twin[field] = _digest(twin[field], field, place)
    if type(twin.get("raw")) is list:
        twin["raw"] = [_digest(v, f"raw[{i}]", place) for i, v in enumerate(twin["raw"])]
    if type(twin.get("custom")) is dict:
        twin["custom"] = {
            name: {
                k: float(v) if type(v) is int and abs(v) < 2**1023 else v for k, v in item.items()
            }
            if type(item) is dict
            else item
            for name, item in twin["custom"].items()
        }
    _no_null(twin, (), place)
    return twin


def _digest(value: Any, field: str, place: str) -> bytes:
    if type(value) is not str:
        raise _invalid(f"{field}: a digest is text, sha256:<64 hex>", place)
    try:
        return from_text(value)
    except DataError as error:
        raise _invalid(f"{field}: {error.cause}", place) from None


def _no_null(value: Any, at: FieldPath, place: str) -> None:
    if value is None:
        raise _invalid(f"{field_text(at)}: an absent field is left out, never null", place)
    items = (
        value.items() if type(value) is dict else enumerate(value) if type(value) is list else ()
    )
    for key, item in items:
        _no_null(item, (*at, key), place)


def assemble(
    *,
    tenant_id: str,
    run_id: str,
    environment: str,
    cohort_percent: int,
    release_hash: bytes,
    baseline_release_hash: bytes | None,
    start_us: int,
    end_us: int,
    source_kind: str,
    parser_version: str,
    queries: Sequence[str],
    raw: Sequence[bytes],
    sides: Sides,
    replay_checked: int,
    replay_failures: int,
    copied_from: Snapshot | None = None,
) -> Snapshot:
    """Build the snapshot of one look from what the source's parser gave.

    ``baseline_release_hash`` None is a first release: a baseline side is then dropped.
    ``copied_from`` is this run's last snapshot of the environment with a concurrent baseline,
    given where the plan leaves the baseline no traffic; its baseline and name are taken over.

    Raises:
        DataError: SNAPSHOT_INVALID; the source gave what no snapshot can hold.
    """
    value: dict[str, Any] = {
        "schema_version": SCHEMA,
        "tenant_id": tenant_id,
        "run_id": run_id,
        "environment": environment,
        "cohort_percent": cohort_percent,
        "release_hash": release_hash,
        "window": {"start_us": start_us, "end_us": end_us},
        "source": {
            "kind": source_kind,
            "parser_version": parser_version,
            "queries": list(queries),
        },
        "raw": list(raw),
        "canary": _sorted_side(sides.canary),
        "replay": {"checked": replay_checked, "failures": replay_failures},
    }
    if copied_from is not None:
        if copied_from.baseline is None or copied_from.baseline_release_hash is None:
            raise _invalid("the snapshot to copy from has no baseline", "")
        value["baseline"] = copied_from.baseline.to_map()
        value["baseline_release_hash"] = copied_from.baseline_release_hash
        value["baseline_snapshot_hash"] = copied_from.digest()
    elif baseline_release_hash is not None:
        value["baseline_release_hash"] = baseline_release_hash
        if sides.baseline is not None:
            value["baseline"] = _sorted_side(sides.baseline)
    if sides.custom:
        value["custom"] = sides.custom
    snapshot = Snapshot.from_map(value)
    snapshot.to_bytes()  # what cannot be stored is refused here, not at the store
    return snapshot


def _sorted_side(side: Any) -> Any:
    if type(side) is dict and type(side.get("instances")) is list:
        return {
            **side,
            "instances": sorted(side["instances"], key=lambda item: item["name"].encode()),
        }
    return side
