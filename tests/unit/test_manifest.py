"""The release manifest: closed, sorted, exactly seven kinds of evidence."""

from typing import Any

import pytest

from lockstep import cbor
from lockstep.digest import sha256
from lockstep.errors import DataError
from lockstep.release.manifest import EVIDENCE_KINDS, Manifest
from tests import release_world as world

GOOD = cbor.decode(world.packed().manifest)


def read(**changes: Any) -> Manifest:
    return Manifest.from_bytes(cbor.encode({**GOOD, **changes}))


def test_a_manifest_is_exactly_the_specifications_map() -> None:
    assert set(GOOD) == {
        "schema_version",
        "service",
        "version",
        "artifacts",
        "configs",
        "evidence",
        "checkpoint_compatibility",
        "migrations",
        "code_commit",
    }
    assert set(GOOD["artifacts"][0]) == {"name", "media_type", "digest", "size"}
    assert set(GOOD["evidence"]) == set(EVIDENCE_KINDS)
    assert set(GOOD["checkpoint_compatibility"]) == {"schema", "min", "max"}


def test_what_the_writer_emits_the_reader_accepts() -> None:
    manifest = read()
    assert manifest.to_bytes() == cbor.encode(GOOD)
    assert manifest.digest() == sha256(world.packed().manifest)


@pytest.mark.parametrize(
    "version", ["0.0.0", "1.2.3", "1.0.0-alpha.1", "1.0.0+build.5", "10.20.30-rc-1.x+sha.0a"]
)
def test_semver_is_taken(version: str) -> None:
    assert read(version=version).version == version


@pytest.mark.parametrize(
    "version", ["", "1", "1.2", "v1.2.3", "01.2.3", "1.2.3-01", "1.2.3-", "1.2.3\n"]
)
def test_what_is_no_semver_is_refused(version: str) -> None:
    with pytest.raises(DataError, match="version"):
        read(version=version)


@pytest.mark.parametrize("field", sorted(GOOD))
def test_a_missing_field_is_named(field: str) -> None:
    data = cbor.encode({key: value for key, value in GOOD.items() if key != field})
    with pytest.raises(DataError, match=field):
        Manifest.from_bytes(data)


ARTIFACT = GOOD["artifacts"][0]
EVIDENCE = GOOD["evidence"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"extra": 1}, "extra"),
        ({"schema_version": "lockstep.release.v2"}, "schema_version"),
        ({"service": "../shop"}, "service"),
        ({"artifacts": []}, "artifacts"),
        ({"artifacts": [ARTIFACT, ARTIFACT]}, "stands twice"),
        ({"artifacts": [{**ARTIFACT, "name": "b"}, {**ARTIFACT, "name": "a"}]}, "not sorted"),
        ({"artifacts": [{**ARTIFACT, "digest": "sha256:" + "0" * 64}]}, "digest"),
        ({"artifacts": [{**ARTIFACT, "digest": bytes(31)}]}, "digest"),
        ({"artifacts": [{**ARTIFACT, "size": -1}]}, "size"),
        ({"artifacts": [{**ARTIFACT, "size": True}]}, "size"),
        ({"artifacts": [{**ARTIFACT, "media_type": "python"}]}, "media_type"),
        ({"artifacts": [{**ARTIFACT, "url": "x"}]}, "url"),
        ({"configs": [{"name": "c"}]}, "digest"),
        ({"evidence": {k: v for k, v in EVIDENCE.items() if k != "sbom"}}, "sbom"),
        ({"evidence": {**EVIDENCE, "provenance": bytes(32)}}, "provenance"),
        ({"checkpoint_compatibility": {"schema": "s", "min": 2, "max": 1}}, "min is above max"),
        ({"checkpoint_compatibility": {"schema_name": "s", "min": 0, "max": 1}}, "schema"),
        ({"migrations": [{"id": "m", "kind": "maybe", "rollback_point": "p"}]}, "kind"),
        ({"code_commit": ""}, "code_commit"),
    ],
)
def test_a_broken_manifest_names_its_field(changes: dict, why: str) -> None:
    with pytest.raises(DataError, match=why) as refused:
        read(**changes)
    assert refused.value.code == "RECORD_INVALID"


def test_forward_only_migrations_are_told_from_reversible_ones() -> None:
    migrations = [
        {"id": "add-column", "kind": "reversible", "rollback_point": "schema 7"},
        {"id": "drop-table", "kind": "forward_only", "rollback_point": "schema 8"},
    ]
    assert read(migrations=migrations).forward_only() == ["drop-table"]
    with pytest.raises(DataError, match="stands twice"):
        read(migrations=[migrations[0], migrations[0]])


def test_the_lineage_covers_artefacts_configurations_and_evidence_only() -> None:
    rows = read().lineage_rows()
    assert sorted((row[0], row[1]) for row in rows) == [
        ("artifact", "service.py"),
        ("config", "config.json"),
        *(("evidence", kind) for kind in EVIDENCE_KINDS),
    ]
    assert all(row[2] != read().digest() for row in rows)
