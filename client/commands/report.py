"""``client report RUN``: every report of a run, with the digest that proves it."""

from typing import TYPE_CHECKING, Any

import click

from client.output import columns, emit, output_option
from lockstep.errors import DataError, Exit

if TYPE_CHECKING:
    from client.context import Stored
    from lockstep.settings import Context

SCHEMA_VERSION = "lockstep.run-reports.v1"

_DIGESTS_SHOWN = ("certificate_hash", "trace_tail_hash", "trace_final_hash")


@click.command()
@click.argument("run")
@output_option
def report(run: str, output: str) -> int:
    """Print the reports of RUN.

    From the store; the server is asked only for a run that has not ended, or that preflight
    refused, since such a run leaves no index of reports.
    """
    from client.context import Stored, load
    from client.run_status import run_id_of

    context, run_id = load(), run_id_of(run)
    value = reports_of(context, Stored(context), run_id)
    emit(value, output, report_text)
    return Exit.DONE


def reports_of(context: "Context", stored: "Stored", run_id: str) -> dict[str, Any]:
    """{kind → {digest, report}} of a run, each read by its digest.

    Raises:
        DataError: RUN_UNKNOWN, OBJECT_MISSING or OBJECT_CORRUPT.
        UnavailableError: the store, or the server where it had to be asked, is out of reach.
    """
    from client.commands.status import status_of
    from client.ended import ended_run
    from lockstep import cbor
    from lockstep.digest import from_text
    from lockstep.record import to_json_value

    document = ended_run(stored, run_id) or status_of(context, run_id)
    if not document["reports"]:
        raise DataError(
            "RUN_UNKNOWN", f"run {run_id} has no report yet", hint=f"client watch {run_id}"
        )

    def read(digest: str) -> dict[str, Any]:
        body = stored.cas.get(from_text(digest))
        return {"digest": digest, "report": to_json_value(cbor.decode(body))}

    reports = {kind: read(digest) for kind, digest in sorted(document["reports"].items())}
    ended = reports.get("deployment_report", {"report": {}})["report"]
    for environment, digest in sorted(ended.get("rollback_report_hashes", {}).items()):
        if all(one["digest"] != digest for one in reports.values()):
            reports[f"rollback_report {environment}"] = read(digest)
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "status": document["status"],
        "run": document,
        "reports": reports,
    }


def report_text(value: dict[str, Any]) -> str:
    """The run's tree, how it ended, what was rolled back, and every digest."""
    from client.render.tree import tree

    parts = ["\n".join(line.text for line in tree(value["run"]))]
    reports = {kind: one["report"] for kind, one in value["reports"].items()}
    ended = reports.get("deployment_report", {})
    if ended:
        rows = [("finished", ended["finished_at"]), ("committed", ended["committed"])]
        rows += [(name, ended[name]) for name in _DIGESTS_SHOWN if ended.get(name)]
        parts.append("\n".join(f"{name:<17} {shown}" for name, shown in rows))
    for kind, back in reports.items():
        if not kind.startswith("rollback_report"):
            continue
        weights = ", ".join(f"{name[:12]} {share} %" for name, share in back["weights"].items())
        parts.append(
            f"{back['environment']} went back: {back['reason_code']}: {back['reason']}\n"
            f"traffic {weights}; health {back['health']}: {back['health_detail']}"
        )
    checked = reports.get("preflight_report")
    refused = [one for one in checked["checks"] if one["outcome"] == "fail"] if checked else []
    if refused:
        parts.append("\n".join(f"{one['name']}: {one['code']}: {one['detail']}" for one in refused))
    digests = [(kind, one["digest"]) for kind, one in value["reports"].items()]
    parts.append(columns(digests, ("REPORT", "DIGEST")))
    return "\n\n".join(parts)
