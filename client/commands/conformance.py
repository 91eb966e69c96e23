"""``client conformance run FILE``: the product's own code against a file of vectors."""

from pathlib import Path

import click

from client.output import emit, output_option, say
from lockstep.errors import Exit

SCHEMA_VERSION = "lockstep.conformance.v1"
ROW_SCHEMA = "lockstep.conformance-row.v1"


@click.group()
def conformance() -> None:
    """Run conformance vectors."""


@conformance.command("run")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@output_option
def run_vectors(file: Path, output: str) -> int:
    """Run every vector of FILE: exit 0 when all agree, 1 when one does not, 2 unreadable."""
    from lockstep import conformance as vectors

    results = vectors.run(vectors.parse(file.read_bytes()))
    agree = vectors.all_agree(results)
    rows = [
        {
            "id": result.id,
            "fn": result.fn,
            "level": result.level,
            "agrees": result.agrees,
            "expected": result.expected,
            "got": result.got,
            "note": result.note,
        }
        for result in results
    ]
    if output == "jsonl":
        emit([{"schema_version": ROW_SCHEMA, **row} for row in rows], output)
    else:
        value = {"schema_version": SCHEMA_VERSION, "agree": agree, "results": rows}
        emit(value, output, "\n".join(_line(row) for row in rows))
    differing = sum(not row["agrees"] for row in rows)
    say(f"{len(rows)} vectors, {differing} differ")
    return Exit.DONE if agree else Exit.INTERNAL


def _line(row: dict) -> str:
    if row["agrees"]:
        return f"agrees   {row['id']}  {row['fn']}"
    level = "" if row["level"] == "must" else f" ({row['level']})"
    shown = f"expected {row['expected']}, got {row['got']}"
    return f"differs  {row['id']}  {row['fn']}{level}: {shown:.400}"
