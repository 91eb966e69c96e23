"""How a command's result leaves it: data on stdout in one of four forms, talk on stderr.

``emit`` takes JSON values (bytes are written as their JSON twin); every mapping that a command
prints carries its own ``schema_version``. Nothing here imports a library that is not needed for
the form asked for. Forms and habits: docs/reference/cli.md.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import click

FORMS = ("table", "json", "jsonl", "yaml")

Command = TypeVar("Command", bound=Callable[..., Any])


class OutputForm(click.ParamType):
    """One of ``FORMS``; the first one named on the command line is also how errors are told."""

    name = "form"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "table|json|jsonl|yaml"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in FORMS:
            self.fail(f"{value!r} is not one of {', '.join(FORMS)}.", param, ctx)
        if ctx is not None:
            ctx.find_root().meta["client.output"] = value
        return str(value)


def output_option(command: Command) -> Command:
    """Add ``--output table|json|jsonl|yaml`` and ``--json``; the parameter is ``output``."""
    json_flag = click.option(
        "--json", "output", flag_value="json", type=OutputForm(), help="The same as --output json."
    )
    form = click.option(
        "--output",
        "output",
        type=OutputForm(),
        default="table",
        show_default=True,
        help="How the result is printed.",
    )
    return form(json_flag(command))


def emit(value: Any, output: str, table: Callable[[Any], str | None] | str | None = None) -> None:
    """Print ``value`` on stdout.

    ``table`` is the text for people, or a function of ``value`` that gives it (None: it prints
    nothing); without one a mapping is shown as ``key: value`` lines. With ``jsonl`` a list is one
    line an item and anything else one line.
    """
    write = sys.stdout.write
    if output == "json":
        write(dumps(value, indent=2) + "\n")
    elif output == "jsonl":
        for item in value if _is_list(value) else [value]:
            write(dumps(item) + "\n")
    elif output == "yaml":
        write(_yaml(value))
    else:
        text = table(value) if callable(table) else table
        if table is None:
            text = _plain(value)
        if text:
            write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def dumps(value: Any, *, indent: int | None = None) -> str:
    """JSON text: keys in the order they were put, UTF-8, never NaN (ValueError)."""
    return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False, default=_twin)


def say(*lines: str) -> None:
    """Talk and progress: stderr, unless ``--quiet`` was given."""
    if not is_quiet():
        for line in lines:
            click.echo(line, err=True)


def is_quiet() -> bool:
    context = click.get_current_context(silent=True)
    return bool(context and context.find_root().meta.get("client.quiet"))


def columns(rows: Iterable[Iterable[Any]], head: Iterable[str]) -> str:
    """Rows under a head, padded to the widest cell; the last column is never padded."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, Mapping | str | bytes)


def _twin(value: Any) -> Any:
    """JSON twin of what ``json`` does not know: digests, models, tuples in disguise."""
    if isinstance(value, bytes):
        return "sha256:" + value.hex() if len(value) == 32 else value.hex()
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="python", exclude_none=True)
    if _is_list(value):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _yaml(value: Any) -> str:
    from io import StringIO

    from ruamel.yaml import YAML

    writer = YAML()
    writer.default_flow_style = False
    writer.width = 10**6  # a folded value is one that no grep finds
    text = StringIO()
    writer.dump(json.loads(dumps(value)), text)
    return text.getvalue()


def _plain(value: Any) -> str:
    twin = json.loads(dumps(value))
    if not isinstance(twin, dict):
        return "\n".join(_cell(item) for item in twin) if isinstance(twin, list) else str(twin)
    shown = {key: item for key, item in twin.items() if key != "schema_version"}
    width = max((len(key) for key in shown), default=0)
    return "\n".join(f"{key:<{width}}  {_cell(item)}" for key, item in shown.items())


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value)
