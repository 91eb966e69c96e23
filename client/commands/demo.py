"""``client demo``: real releases over the embedded stack, from nothing."""

from pathlib import Path
from typing import Any

import click

from client.output import columns, emit, output_option, say
from lockstep.errors import Exit


@click.command()
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".lockstep"),
    show_default=True,
    help="Where the stack keeps everything.",
)
@click.option("--down", is_flag=True, help="End the stack and remove what it left, nothing else.")
@click.option("--keep", is_flag=True, help="With --down: keep the folder, store and history.")
@output_option
def demo(folder: Path, down: bool, keep: bool, output: str) -> int:
    """Carry real releases over the embedded stack.

    Brings the stack up, adopts the service that runs there, then carries a good release to
    production and two bad ones until their gates stop them; every run is verified offline. The
    stack is left running. Exit 0 only when all of it ended as it should.
    """
    if keep and not down:
        raise click.UsageError("--keep goes with --down")
    if down:
        from client.devstack import stack

        stack.down(folder, purge=not keep, say=say)
        return Exit.DONE
    value = run_demo(folder, output)
    emit(value, output, _summary)
    return Exit.DONE if value["as_expected"] else Exit.INTERNAL


def run_demo(folder: Path, output: str) -> dict[str, Any]:
    """Every case in turn; for people each report is printed as it comes."""
    from client import demo as parts

    stage = parts.begin(folder, say)
    cases = []
    for number, case in enumerate(parts.CASES):
        done = parts.carry_case(stage, case, number, say)
        cases.append(done)
        if output == "table":
            emit(done, output, _case_text)
        if number == 0 and not done["as_expected"]:
            break  # the bad ones are compared with what the good one left
    traffic = parts.traffic(stage, cases[0]["release_hash"])
    complete = len(cases) == len(parts.CASES)
    return {
        "schema_version": parts.SCHEMA_VERSION,
        "as_expected": complete and all(one["as_expected"] for one in [*cases, *traffic]),
        "cases": cases,
        "traffic": traffic,
        "ui_url": stage.ui_url,
        "settings": str(folder.resolve() / "lockstep.toml"),
    }


def _case_text(done: dict[str, Any]) -> str:
    rule = "─" * 72
    verified = f"client verify {done['run_id']}: {done['verified']}, with no server"
    return f"{rule}\n{done['name']}: {done['story']}\n\n{done['report']}\n\n{verified}\n"


def _summary(value: dict[str, Any]) -> str:
    rows = [
        (
            one["name"],
            one["run_id"],
            one["status"],
            f"{one['exit_code']} (expected {one['expected_exit_code']})",
            one["verified"],
        )
        for one in value["cases"]
    ]
    places = [
        (
            one["environment"],
            ", ".join(f"{name[:12]} {share} %" for name, share in (one["actual"] or {}).items()),
            one["drift"] or "none",
            "yes" if one["healthy"] else "NO",
        )
        for one in value["traffic"]
    ]
    said = "as it should be" if value["as_expected"] else "NOT as it should be"
    return "\n".join(
        [
            "─" * 72,
            columns(rows, ("RELEASE", "RUN", "ENDED", "EXIT", "VERIFY")),
            "",
            columns(places, ("ENVIRONMENT", "TRAFFIC", "DRIFT", "HEALTHY")),
            "",
            f"all {said}",
            f"Temporal UI: {value['ui_url']}",
            f"the stack goes on: client --config {value['settings']} list",
            f"client demo --down --dir {Path(value['settings']).parent} ends it",
        ]
    )
