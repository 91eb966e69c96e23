"""Release bundles on disk: read closed and bounded, written whole and alike each time."""

import io
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from activities.adapters import bundle as bundles
from activities.adapters.bundle import Bundle, bundle_files, read_bundle, write_bundle
from lockstep.errors import DataError
from tests import release_world as world

PACKED = world.authoring.pack(world.document(), world.inputs(), world.TENANT)
BUNDLE = Bundle(
    manifest=PACKED.manifest.to_bytes(),
    trace=PACKED.trace,
    checkpoint=PACKED.checkpoint,
    lineage=PACKED.lineage,
    evidence=PACKED.evidence,
    artifacts=PACKED.artifacts,
    configs=PACKED.configs,
    step_evidence={"unit-tests": b"ok\n"},
)


def refused(path: Path) -> DataError:
    with pytest.raises(DataError) as error:
        read_bundle(path)
    assert error.value.code == "RELEASE_INVALID"
    return error.value


@pytest.fixture(params=["bundle", "bundle.tar"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / request.param


def test_what_was_written_is_read_back_and_certified_in_place(path: Path) -> None:
    write_bundle(path, BUNDLE)
    assert read_bundle(path) == BUNDLE
    certified = bundles.write_certificate(path, BUNDLE, b"certificate")
    assert read_bundle(path) == certified == replace(BUNDLE, certificate=b"certificate")


def test_nothing_is_ever_replaced(path: Path) -> None:
    write_bundle(path, BUNDLE)
    with pytest.raises(DataError, match="not replaced"):
        write_bundle(path, BUNDLE)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_tar_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("one.tar", "two.tar"):
        write_bundle(tmp_path / name, BUNDLE)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_a_tar_made_by_the_usual_tool_is_read(tmp_path: Path) -> None:
    write_bundle(tmp_path / "folder", BUNDLE)
    with tarfile.open(tmp_path / "made.tar", "w") as archive:
        archive.add(tmp_path / "folder", arcname=".")
    assert read_bundle(tmp_path / "made.tar") == BUNDLE


@pytest.mark.parametrize(
    "name",
    ["manifest.cbor", "trace.cbor", "checkpoint.cbor", "lineage.cbor", "evidence/lockfile"],
)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write_bundle(tmp_path / "b", BUNDLE)
    (tmp_path / "b" / name).unlink()
    assert refused(tmp_path / "b").place.endswith(name)


@pytest.mark.parametrize(
    "name",
    ["notes.txt", "evidence/provenance", "evidence/x/y", "artifacts/.hidden", "artifacts/a b"],
)
def test_a_file_that_has_no_place_is_named(tmp_path: Path, name: str) -> None:
    write_bundle(tmp_path / "b", BUNDLE)
    extra = tmp_path / "b" / name
    extra.parent.mkdir(exist_ok=True)
    extra.write_bytes(b"x")
    assert extra.parent.name in refused(tmp_path / "b").place


def test_links_and_devices_are_refused_never_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    for number, make in enumerate(
        (
            lambda at: at.symlink_to(tmp_path / "secret"),
            lambda at: at.symlink_to(tmp_path, target_is_directory=True),
            lambda at: os.mkfifo(at),
        )
    ):
        folder = tmp_path / f"b{number}"
        write_bundle(folder, BUNDLE)
        make(folder / "artifacts" / "trap")
        assert "trap" in refused(folder).place


def test_a_linked_folder_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", BUNDLE)
    (tmp_path / "b" / "configs").rename(tmp_path / "configs")
    (tmp_path / "b" / "configs").symlink_to(tmp_path / "configs")
    assert "is a link" in refused(tmp_path / "b").cause


def tar_with(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, body in bundle_files(BUNDLE).items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    "trap",
    [
        member("../outside"),
        member("/etc/outside"),
        member("artifacts/../../outside"),
        member("artifacts/link", tarfile.SYMTYPE, "/etc/passwd"),
        member("artifacts/hard", tarfile.LNKTYPE, "manifest.cbor"),
        member("artifacts/fifo", tarfile.FIFOTYPE),
        member("artifacts/device", tarfile.CHRTYPE),
        member("manifest.cbor"),
        member("elsewhere", tarfile.DIRTYPE),
    ],
)
def test_a_tar_with_a_trap_is_refused_and_nothing_is_extracted(
    tmp_path: Path, trap: tarfile.TarInfo
) -> None:
    refused(tar_with(tmp_path / "t.tar", trap))
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.tar"]


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(tmp_path / "b", BUNDLE)
    write_bundle(tmp_path / "b.tar", BUNDLE)
    for name, limit in (("FILE_MAX_BYTES", 10), ("BUNDLE_MAX_BYTES", 100), ("FILES_MAX", 3)):
        with monkeypatch.context() as patched:
            patched.setattr(bundles, name, limit)
            refused(tmp_path / "b")
            refused(tmp_path / "b.tar")


@pytest.mark.parametrize("body", [b"", b"not a tar", bytes(10_240), b"\x1f\x8b" + bytes(600)])
def test_bytes_that_are_no_bundle_are_refused(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(body)
    refused(tmp_path / "x.tar")


def test_a_truncated_tar_and_a_missing_path_are_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b.tar", BUNDLE)
    whole = (tmp_path / "b.tar").read_bytes()
    (tmp_path / "half.tar").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "half.tar")
    refused(tmp_path / "none")
