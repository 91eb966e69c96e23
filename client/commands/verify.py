"""``client verify RUN | BUNDLE | FILE``: recompute everything, with no server."""

import re
from typing import TYPE_CHECKING, Any

import click

from client.output import columns, emit, output_option, say
from lockstep.errors import DataError, Exit

if TYPE_CHECKING:
    from client.context import Stored
    from lockstep.run_book import Check
    from lockstep.settings import Context

SCHEMA_VERSION = "lockstep.verification.v1"
FILE_MAX_BYTES = 16 * 1024 * 1024

_RUN_ID = re.compile(r"[0-9a-f]{16}")


@click.command()
@click.argument("subject")
@output_option
def verify(subject: str, output: str) -> int:
    """Recompute everything SUBJECT claims.

    SUBJECT is a run, a release bundle (a folder or .tar), a release_hash, or one stored record
    in a file. Reads the store and asks no server. Exit 0 when all holds, 8 on a finding.
    """
    from client.context import Stored, load

    context = load()
    value = verification(context, Stored(context), subject)
    emit(value, output, _table)
    say(f"{subject}: {value['outcome']}")
    return Exit.DONE if value["outcome"] == "pass" else Exit.EVIDENCE_REFUSED


def verification(context: "Context", stored: "Stored", subject: str) -> dict[str, Any]:
    """The verification document of a subject.

    Raises:
        DataError: USAGE, RUN_UNKNOWN or RELEASE_INVALID; there is nothing to verify.
        UnavailableError: STORE_UNREACHABLE.
    """
    from lockstep.run_book import has_finding

    kind, checks = _checks(context, stored, subject)
    return {
        "schema_version": SCHEMA_VERSION,
        "subject": subject,
        "kind": kind,
        "outcome": "finding" if has_finding(checks) else "pass",
        "checks": [
            {
                "name": check.name,
                "outcome": check.outcome.value,
                "code": check.code,
                "detail": check.detail,
            }
            for check in checks
        ],
    }


def _checks(context: "Context", stored: "Stored", subject: str) -> "tuple[str, list[Check]]":
    from client.files import path_of
    from client.releasing import release_name, store_time
    from client.verifying import check_bundle, check_run

    path, now = path_of(subject), store_time(stored)
    if path.is_dir() or (path.is_file() and path.suffix == ".tar"):
        from activities.adapters.bundle import read_bundle

        return "release", check_bundle(context, stored, read_bundle(path).as_evidence(), now)
    if path.is_file():
        from client.files import read_file
        from client.verify_file import check_file

        data = read_file(path, size_max_bytes=FILE_MAX_BYTES)
        return "record", check_file(context, stored, data)
    if _RUN_ID.fullmatch(subject.rsplit("/", 1)[-1]):
        return "run", check_run(context, stored, subject.rsplit("/", 1)[-1])
    digest = release_name(subject)
    if digest is None:
        raise DataError(
            "USAGE",
            f"{subject[:80]!r} is no run, bundle, release_hash or file",
            hint="client list shows runs",
        )
    from activities.adapters.releases import load_release

    release = load_release(stored.cas, stored.ledger, digest)
    return "release", check_bundle(context, stored, release, now)


def _table(value: dict[str, Any]) -> str:
    marks = {"pass": "ok", "finding": "FINDING", "not_run": "not run", "not_applicable": "–"}
    rows = [
        (one["name"], marks[one["outcome"]], f"{one['code']} {one['detail']}".strip())
        for one in value["checks"]
    ]
    return columns(rows, ("CHECK", "OUTCOME", "DETAIL"))
