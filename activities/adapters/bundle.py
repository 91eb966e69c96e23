"""Release bundles on disk: a folder, or a ``.tar`` of it, read and written whole.

A bundle comes from elsewhere, so reading is closed and bounded: only the names of
docs/spec/bytes.md §4, only plain files, no link followed, nothing outside the bundle. Writing is
all or nothing and gives the same bytes for the same content.
"""

import io
import os
import re
import stat
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lockstep.errors import DataError
from lockstep.release.evidence import ReleaseEvidence
from lockstep.release.manifest import EVIDENCE_KINDS

FILE_MAX_BYTES = 256 * 1024 * 1024
"""One object of a store is held in memory whole; larger artefacts are kept elsewhere."""
BUNDLE_MAX_BYTES = 1024 * 1024 * 1024
FILES_MAX = 5000

SINGLE = ("manifest.cbor", "certificate.cbor", "trace.cbor", "checkpoint.cbor", "lineage.cbor")
NEEDED = ("manifest.cbor", "trace.cbor", "checkpoint.cbor", "lineage.cbor")
STEP_FOLDER = "evidence/qualification"
FOLDERS = ("evidence", "artifacts", "configs", STEP_FOLDER)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A release bundle in memory. ``certificate`` is None before it was certified."""

    manifest: bytes
    trace: bytes
    checkpoint: bytes
    lineage: bytes
    evidence: Mapping[str, bytes]
    artifacts: Mapping[str, bytes]
    configs: Mapping[str, bytes]
    certificate: bytes | None = None
    step_evidence: Mapping[str, bytes] = field(default_factory=dict)
    """Qualification step → the record it left; its digest stands in the trace."""

    def as_evidence(self, approvals: Sequence[bytes] = ()) -> ReleaseEvidence:
        """The bundle as verification reads it; an absent certificate is empty bytes.

        Approvals never lie in a bundle: they are given to the store, after it was certified.
        """
        return ReleaseEvidence(
            manifest=self.manifest,
            certificate=self.certificate or b"",
            evidence=self.evidence,
            trace=self.trace,
            checkpoint=self.checkpoint,
            lineage=self.lineage,
            approvals=tuple(approvals),
        )


def _invalid(place: str, cause: str) -> DataError:
    return DataError("RELEASE_INVALID", cause, place=place, hint="pack the release again")


# ---- reading -------------------------------------------------------------------------------


def read_bundle(path: Path) -> Bundle:
    """Read a bundle folder or ``.tar``.

    Raises:
        DataError: RELEASE_INVALID, naming the file that is missing, unknown, no plain file, too
            large or outside the bundle.
    """
    place = str(path)
    try:
        members = _folder_members(path) if path.is_dir() else _tar_members(path)
        files: dict[str, bytes] = {}
        total = 0
        for name, body in members:
            _check_name(place, name)
            if name in files:
                raise _invalid(f"{place}/{name}", "stands in the bundle twice")
            total += len(body)
            if len(files) >= FILES_MAX or total > BUNDLE_MAX_BYTES:
                raise _invalid(place, "too many files, or too large for a bundle")
            files[name] = body
    except OSError as error:
        raise _invalid(place, f"cannot be read: {error.strerror or 'no bundle'}") from None
    return _assemble(place, files)


def _assemble(place: str, files: Mapping[str, bytes]) -> Bundle:
    for name in NEEDED:
        if name not in files:
            raise _invalid(f"{place}/{name}", "is missing")
    evidence = _under(files, "evidence")
    for kind in EVIDENCE_KINDS:
        if kind not in evidence:
            raise _invalid(f"{place}/evidence/{kind}", "is missing")
    for name in evidence:
        if name not in EVIDENCE_KINDS:
            raise _invalid(f"{place}/evidence/{name}", "is no kind of evidence")
    return Bundle(
        manifest=files["manifest.cbor"],
        trace=files["trace.cbor"],
        checkpoint=files["checkpoint.cbor"],
        lineage=files["lineage.cbor"],
        certificate=files.get("certificate.cbor"),
        evidence=evidence,
        artifacts=_under(files, "artifacts"),
        configs=_under(files, "configs"),
        step_evidence=_under(files, STEP_FOLDER),
    )


def _under(files: Mapping[str, bytes], folder: str) -> dict[str, bytes]:
    return {
        name.rpartition("/")[2]: body
        for name, body in files.items()
        if name.rpartition("/")[0] == folder
    }


def _check_name(place: str, name: str) -> None:
    folder, _, last = name.rpartition("/")
    if name in SINGLE or (folder in FOLDERS and _NAME.fullmatch(last)):
        return
    raise _invalid(f"{place}/{name[:200]}", "has no place in a release bundle")


def _folder_members(root: Path) -> Iterator[tuple[str, bytes]]:
    """(relative name, bytes) of every file; a link, a device or an unreadable folder is refused."""
    pending = [""]
    seen = 0
    while pending:
        folder = pending.pop()
        for entry in sorted(os.scandir(root / folder), key=lambda item: item.name):
            seen += 1
            if seen > FILES_MAX:
                raise _invalid(str(root), f"more than {FILES_MAX} entries")
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_symlink():
                raise _invalid(f"{root}/{name}", "is a link")
            if entry.is_dir(follow_symlinks=False):
                if name not in FOLDERS:
                    raise _invalid(f"{root}/{name}", "has no place in a release bundle")
                pending.append(name)
            else:
                yield name, _read_plain(root / name)


def _read_plain(path: Path) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise _invalid(str(path), "is no plain file")
        if facts.st_size > FILE_MAX_BYTES:
            raise _invalid(str(path), f"larger than {FILE_MAX_BYTES} bytes")
        return file.read(FILE_MAX_BYTES)


def _tar_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of every file of an uncompressed tar; nothing is ever extracted to disk."""
    try:
        with tarfile.open(path, mode="r:") as archive:
            for count, member in enumerate(archive):
                name = member.name.removeprefix("./").rstrip("/")
                if count >= FILES_MAX:
                    raise _invalid(str(path), f"more than {FILES_MAX} entries")
                if member.isdir() and name in ("", ".", *FOLDERS):
                    continue
                if not member.isreg():
                    raise _invalid(f"{path}/{name[:200]}", "is no plain file")
                if member.size > FILE_MAX_BYTES:
                    raise _invalid(f"{path}/{name[:200]}", f"larger than {FILE_MAX_BYTES} bytes")
                body = archive.extractfile(member)
                yield name, body.read() if body else b""
    except (tarfile.TarError, EOFError, ValueError):
        raise _invalid(str(path), "neither a folder nor a whole .tar") from None


# ---- writing -------------------------------------------------------------------------------


def bundle_files(bundle: Bundle) -> dict[str, bytes]:
    """Relative name → bytes, sorted by name."""
    files = {
        "manifest.cbor": bundle.manifest,
        "trace.cbor": bundle.trace,
        "checkpoint.cbor": bundle.checkpoint,
        "lineage.cbor": bundle.lineage,
    }
    if bundle.certificate is not None:
        files["certificate.cbor"] = bundle.certificate
    for folder, bodies in (
        ("evidence", bundle.evidence),
        (STEP_FOLDER, bundle.step_evidence),
        ("artifacts", bundle.artifacts),
        ("configs", bundle.configs),
    ):
        files.update({f"{folder}/{name}": body for name, body in bodies.items()})
    return {name: files[name] for name in sorted(files)}


def write_bundle(path: Path, bundle: Bundle) -> None:
    """Write a new bundle: a ``.tar`` when ``path`` ends so, else a folder. All or nothing.

    Raises:
        DataError: RELEASE_INVALID; something stands at ``path``, or it cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise DataError(
            "RELEASE_INVALID", "exists and is not replaced", place=str(path), hint="choose another"
        )
    files = bundle_files(bundle)
    for name in files:
        _check_name(str(path), name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".tar":
            _replace_file(path, _tar_bytes(files))
            return
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as temporary:
            whole = Path(temporary) / "bundle"
            for name, body in files.items():
                (whole / name).parent.mkdir(parents=True, exist_ok=True)
                (whole / name).write_bytes(body)
            whole.rename(path)
    except OSError as error:
        raise _invalid(str(path), f"cannot be written: {error.strerror}") from None


def write_certificate(path: Path, bundle: Bundle, certificate: bytes) -> Bundle:
    """Put a certificate into the bundle that was read from ``path``, and return that bundle.

    Raises:
        DataError: RELEASE_INVALID; it cannot be written.
    """
    certified = replace(bundle, certificate=certificate)
    try:
        if path.is_dir():
            _replace_file(path / "certificate.cbor", certificate)
        else:
            _replace_file(path, _tar_bytes(bundle_files(certified)))
    except OSError as error:
        raise _invalid(str(path), f"cannot be written: {error.strerror}") from None
    return certified


def _replace_file(path: Path, body: bytes) -> None:
    """Put ``body`` at ``path`` whole or not at all."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _tar_bytes(files: Mapping[str, bytes]) -> bytes:
    """The one tar of these files: sorted, no times, no owners."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, body in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(body), 0o644, 0
            archive.addfile(member, io.BytesIO(body))
    return buffer.getvalue()
