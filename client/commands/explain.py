"""``client explain VERDICT``: a stored verdict in words."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from client.output import emit, output_option
from lockstep.errors import DataError

if TYPE_CHECKING:
    from lockstep.gates.evaluate import GateReport
    from lockstep.gates.snapshot import Snapshot

SCHEMA_VERSION = "lockstep.explanation.v1"


@click.command()
@click.argument("verdict", metavar="VERDICT")
@output_option
def explain(verdict: str, output: str) -> None:
    """Say in words why a verdict fell.

    VERDICT is a file holding a gate report (JSON or CBOR), or its digest in the context's store.
    """
    from client.files import path_of
    from lockstep.gates.explain import explain as sentences_of

    path = path_of(verdict)
    if path.is_file():
        report, snapshot = _read_report(path), None
    else:
        report, snapshot = _stored(_digest(verdict))
    sentences = sentences_of(report, snapshot)
    value = {
        "schema_version": SCHEMA_VERSION,
        "outcome": report.outcome,
        "sentences": sentences,
        "report": report.to_json(),
    }
    emit(value, output, "\n".join(sentences))


def _digest(text: str) -> bytes:
    from lockstep.digest import from_text

    try:
        return from_text(text if text.startswith("sha256:") else "sha256:" + text)
    except DataError:
        raise DataError(
            "DIGEST_INVALID",
            f"{text[:80]!r} is neither a file nor a digest",
            hint="client explain FILE, or client explain sha256:<64 hex>",
        ) from None


def _read_report(path: Path) -> "GateReport":
    from client.files import read_file
    from lockstep.documents import parse_json
    from lockstep.gates.evaluate import GateReport

    data = read_file(path)
    try:
        if data[:1] >= b"\x80":  # the head of a CBOR map; JSON is ASCII there
            return GateReport.from_bytes(data)
        return GateReport.from_json(parse_json(data))
    except DataError as error:
        error.place = error.place or str(path)
        raise


def _stored(digest: bytes) -> "tuple[GateReport, Snapshot | None]":
    from client import context
    from lockstep.digest import to_text
    from lockstep.gates.evaluate import GateReport
    from lockstep.gates.snapshot import Snapshot

    cas = context.Stored(context.load()).cas
    report = GateReport.from_bytes(cas.get(digest), place=to_text(digest))
    try:
        return report, Snapshot.from_bytes(cas.get(report.snapshot_hash))
    except DataError as error:
        if error.code != "OBJECT_MISSING":
            raise
        return report, None  # the report speaks for itself; `client verify` tells of the loss
