"""``client dev up | down | status``: the embedded stack on this machine."""

from pathlib import Path
from typing import Any

import click

from client.output import columns, emit, output_option, say
from lockstep.errors import Exit

_folder = click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".lockstep"),
    show_default=True,
    help="Where the stack keeps everything.",
)


@click.group()
def dev() -> None:
    """Run the embedded stack."""


@dev.command("up")
@_folder
@click.option("--port-base", type=click.IntRange(1024, 65_000), help="First port of a new stack.")
@click.option(
    "--role",
    "workers",
    type=click.Choice(["split", "all"]),
    help="A worker process per role, or one for all.  [new stack: split]",
)
@click.option("--load/--no-load", default=None, help="Steady users.  [new stack: load]")
@output_option
def up(
    folder: Path, port_base: int | None, workers: str | None, load: bool | None, output: str
) -> int:
    """Start the stack, or whatever of it does not run, and wait until all of it is ready."""
    from client.devstack import stack

    wanted = stack.Wanted(port_base=port_base, workers=workers, load=load)
    emit(stack.up(folder, wanted, say), output, _table)
    return Exit.DONE


@dev.command("down")
@_folder
@click.option("--purge", is_flag=True, help="Remove the folder too: store, keys and history.")
@output_option
def down(folder: Path, purge: bool, output: str) -> int:
    """End every process of the stack; nothing that is stored is lost without --purge."""
    from client.devstack import stack

    emit(stack.down(folder, purge=purge, say=say), output, _table)
    return Exit.DONE


@dev.command("status")
@_folder
@output_option
def status(folder: Path, output: str) -> int:
    """Say what of the stack runs, and where."""
    from client.devstack import stack

    emit(stack.status(folder), output, _table)
    return Exit.DONE


def _table(value: dict[str, Any]) -> str:
    lines = [f"{value['state']}  {value['folder']}"]
    if value["temporal_address"]:
        lines += [
            f"Temporal  {value['temporal_address']}  UI {value['ui_url']}",
            f"store     {value['store']}",
        ]
        lines += [f"{name:<9} {urls['proxy_url']}" for name, urls in value["environments"].items()]
    if value["processes"]:
        rows = [(one["role"], one["pid"], one["started"]) for one in value["processes"]]
        lines += ["", columns(rows, ("ROLE", "PID", "STARTED"))]
    if value["missing"]:
        lines.append(f"not running: {', '.join(value['missing'])} (client dev up starts them)")
    return "\n".join(lines)
