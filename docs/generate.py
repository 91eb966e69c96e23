"""Write the generated reference pages: ``python -m docs.generate [PAGE …] [--check]``.

Pages: errors, exit-codes, cli, licences; all when none is named. Each is made from what the
programs themselves read (the error registry, the exit codes, click's tree, the lock file and the
installed metadata). ``--check`` writes nothing and exits 1 when a page is stale.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import click

from client import main as program
from infra.dev.parts import PARTS
from lockstep.error_codes import ERROR_CODES, ErrorCode
from lockstep.errors import Exit
from lockstep.settings import ENVIRONMENT
from worker.main import main as worker_program

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
LOCK = ROOT / "requirements" / "runtime.lock"

NOTE = "<!-- Made by `python -m docs.generate {page}`. Edit the source, not this page. -->\n"

Rows = list[tuple[str, ...]]


def table(head: tuple[str, ...], rows: Rows) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell(text) for text in line) + " |" for line in lines)


def cell(text: str) -> str:
    """Text inside a table: no bar, and nothing that would be taken for a tag but our anchors."""
    return re.sub(r"<(?=[A-Za-z/])(?!/?a\b)", "&lt;", text).replace("|", "\\|")


# ---- errors ---------------------------------------------------------------------------------

ERROR_GROUPS = (
    (2000, "Input that a person or a program gave"),
    (2020, "Evidence and trust"),
    (2040, "Preflight"),
    (2060, "Running"),
    (2080, "Control plane and store"),
)
"""First number of each group, and its heading; the registry is numbered by them."""

ERRORS_HEAD = """\
# Errors

Every expected error has a code. A code is never reused for another meaning.

On a terminal an error is up to four lines on stderr: code and cause, place, next step, the place
in this page. With `--output json` or `jsonl` it is one JSON object in one line, also on stderr:
`{schema_version "lockstep.error.v1", code, numeric_code, cause, place, next, docs, retryable}`.
A traceback is shown only with `--debug`.

*Retry* says whether the same call may work later without a change. *Critical* codes mean that
stored data is wrong or that a way back is missing: a person has to look now.
[Exit codes](exit-codes.md) has the same table the other way round.
"""


def errors_page() -> str:
    parts = [NOTE.format(page="errors"), ERRORS_HEAD]
    codes = sorted(ERROR_CODES.values(), key=lambda row: row.numeric_code)
    for (first, title), last in zip(
        ERROR_GROUPS, [start for start, _ in ERROR_GROUPS[1:]] + [2100], strict=True
    ):
        rows = [_error_row(row) for row in codes if first <= row.numeric_code < last]
        head = ("code", "number", "exit", "retry", "what it means", "what to do")
        parts.append(f"## {title}\n\n{table(head, rows)}\n")
    return "\n".join(parts)


def _error_row(row: ErrorCode) -> tuple[str, ...]:
    anchor = row.docs_anchor.partition("#")[2]
    severity = " Critical." if row.severity == "critical" else ""
    return (
        f'<a id="{anchor}"></a>`{row.code_id}`',
        str(row.numeric_code),
        str(int(row.exit)),
        "yes" if row.retryable else "no",
        row.message + severity,
        row.remediation,
    )


# ---- exit codes -----------------------------------------------------------------------------

EXIT_MEANS = {
    Exit.DONE: "committed, or done",
    Exit.INTERNAL: "a defect in Lockstep; of `conformance run`: a vector differs; of `demo`: "
    "it did not end as it should",
    Exit.USAGE: "wrong usage, or input that cannot be read",
    Exit.PREFLIGHT_REFUSED: "preflight refused; no target was touched",
    Exit.ROLLED_BACK: "a gate failed and traffic went back; aborted, superseded or fenced",
    Exit.ROLLBACK_FAILED: "the way back failed, or there is no safe release to go back to",
    Exit.HELD: "paused or held: a person is needed; of `gate evaluate`: INCONCLUSIVE",
    Exit.WAIT_TIMED_OUT: "the wait is over, the rollout goes on",
    Exit.EVIDENCE_REFUSED: "certificate, signature or evidence refused, or a finding of `verify`",
    Exit.IN_THE_WAY: "another rollout holds the environment",
    Exit.UNREACHABLE: "control plane, store, target or source out of reach",
    Exit.INTERRUPTED: "Ctrl-C; a rollout that was started goes on",
}

EXIT_TAIL = """\
Where several apply to a run that was not committed, the highest of 10, 9, 8, 5, 4 and 3 wins.

Three cases to know in scripts:

- `start-rollout --until STAGE` ends with 0 once that stage has passed; the rollout goes on.
- `start-rollout --timeout S` and `watch --timeout S` end with 7, and with 6 when the run waits
  for a person.
- `gate evaluate --snapshots DIR` ends with 0 whatever the verdicts are; each is in its own line.
"""


def exit_codes_page() -> str:
    by_exit: dict[Exit, list[str]] = {code: [] for code in Exit}
    for row in sorted(ERROR_CODES.values(), key=lambda row: row.numeric_code):
        anchor = row.docs_anchor.partition("#")[2]
        by_exit[row.exit].append(f"[{row.code_id}](errors.md#{anchor})")
    rows = [(str(int(code)), EXIT_MEANS[code], ", ".join(by_exit[code]) or "–") for code in Exit]
    head = ("exit", "means", "error codes that end with it")
    text = "# Exit codes\n\nThe same for every command.\n"
    return "\n".join([NOTE.format(page="exit-codes"), text, table(head, rows), "", EXIT_TAIL])


# ---- the command line -----------------------------------------------------------------------

CLI_HEAD = """\
# Command line

`client` and `lockstep` are the same program. A bare call prints the help.

## Habits

- The result goes to stdout, talk and progress to stderr.
- `--output table|json|jsonl|yaml` stands on every command, and `--json`, which is `--output
  json`; they are left out of the tables below. Every JSON object carries its own
  `schema_version`. In JSON a digest is `sha256:<64 hex>`.
- With `jsonl` a list is one line an item; anything else is one line.
- The program's own options may stand before the command or after it.
- Ctrl-C ends the wait, never the rollout; it says how to re-attach and exits with 130.
- No colour and no live drawing off a terminal or with `NO_COLOR`.
- RUN is a run id of 16 hex digits; a workflow id or a link into the Temporal UI is taken too.
  RELEASE is a bundle (a folder or a `.tar`) or a release_hash, `sha256:<64 hex>`.
  STAGE is `prod/25`, `prod` or `done`.

Exit codes are in [exit-codes.md](exit-codes.md), errors in [errors.md](errors.md), the settings
file in [config.md](config.md).
"""

DEV_STATUS = """\
`--output json` always has these fields, whatever the state: `schema_version`
(`lockstep.dev-status.v1`), `state` (`up`, `partial`, `down`), `temporal_address`, `namespace`,
`ui_url`, `store`, `proxy_url` and `metrics_url` (of production), `folder`, `processes`
`[{role, pid, started, log}]`, `missing` (roles that should run and do not) and `environments`
`{name → {proxy_url, metrics_url, admin_url}}`.
"""

AFTER_COMMAND = {"dev status": DEV_STATUS}


def cli_page() -> str:
    parts = [NOTE.format(page="cli"), CLI_HEAD, "## Options of the program\n"]
    parts.append(_options(program.cli) + "\n")
    variables = ", ".join(f"`{name}` ({field})" for name, field in sorted(ENVIRONMENT.items()))
    parts.append(
        f"Variables: `LOCKSTEP_CONFIG` names the settings file; one field of the context each is "
        f"overridden by {variables}.\n"
    )
    root = click.Context(program.cli, info_name="client")
    for section, names in program.SECTIONS.items():
        parts.append(f"## {section}\n")
        for name in names:
            command = program.cli.get_command(root, name)
            if command is None:  # the table and the tree are one; this says so to a type checker
                raise LookupError(name)
            parts += [_command(words, found) for words, found in leaves(name, command)]
    parts.append("## The worker\n")
    parts.append(_command("lockstep-worker", worker_program, prefix=""))
    return "\n".join(parts)


def leaves(words: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """(words, command) of a command that can be run, or of each under a group."""
    if isinstance(command, click.Group):
        for name, found in command.commands.items():
            yield from leaves(f"{words} {name}", found)
    else:
        yield words, command


def _command(words: str, command: click.Command, *, prefix: str = "client ") -> str:
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    context = click.Context(command, info_name=words)
    usage = " ".join([prefix + words, *(_metavar(one, context) for one in arguments)])
    lines = [f"### {prefix}{words}\n", f"`{usage} [options]`\n"]
    lines += [_paragraphs(command.help or "") + "\n", _options(command) + "\n"]
    if words in AFTER_COMMAND:
        lines.append(AFTER_COMMAND[words])
    return "\n".join(lines)


def _metavar(argument: click.Argument, context: click.Context) -> str:
    return argument.make_metavar(context)


def _paragraphs(text: str) -> str:
    """Help text with its own line breaks taken out, paragraph by paragraph."""
    text = text.partition("\f")[0]
    found = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text.strip())]
    return "\n\n".join(found).replace("``", "`")


EVERYWHERE = {"--output", "--json"}
"""Options of every command of the client, told of once under Habits."""


def _options(command: click.Command) -> str:
    """Each option with its value, range and default, as click itself words them."""
    context = click.Context(command)
    records = [
        param.get_help_record(context)
        for param in command.params
        if isinstance(param, click.Option) and not EVERYWHERE & set(param.opts)
    ]
    rows = [(f"`{names}`", " ".join(text.split())) for names, text in filter(None, records)]
    return table(("option", "what it does"), rows) if rows else "No options of its own."


# ---- licences -------------------------------------------------------------------------------

_PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)", re.MULTILINE)

LICENCES_HEAD = """\
# Licences

Lockstep itself is under the Apache License 2.0 (`LICENSE`).

## Python packages it runs with

From `requirements/runtime.lock`; the licence is what the installed package says of itself.
"""

PARTS_HEAD = """\
## External programs

None is shipped. They are found, downloaded or built by `infra/dev/parts.py`, at these versions.
"""

PART_LICENCES = {"temporal": "MIT", "versitygw": "Apache-2.0"}
"""From the LICENSE file of each pinned module."""

PART_USES = {"temporal": "embedded stack and tests", "versitygw": "tests only"}


def licences_page() -> str:
    pinned = _PINNED.findall(LOCK.read_text(encoding="utf-8"))
    rows = [(name, version, licence_of(name)) for name, version in pinned]
    parts = [
        (part.name, part.version, PART_LICENCES[part.name], PART_USES[part.name])
        for part in PARTS.values()
    ]
    return "\n".join(
        [
            NOTE.format(page="licences"),
            LICENCES_HEAD,
            table(("package", "version", "licence"), rows),
            "",
            PARTS_HEAD,
            table(("program", "version", "licence", "used by"), parts),
            "",
        ]
    )


def licence_of(package: str) -> str:
    """The expression of the metadata, else its classifiers where they say more, else its field."""
    facts = metadata.metadata(package)
    expression = facts.get("License-Expression")
    if expression:
        return str(expression)
    classifiers = [
        line.rpartition("::")[2].strip()
        for line in facts.get_all("Classifier", [])
        if line.startswith("License ::")
    ]
    field = str(facts.get("License") or "").strip()
    if field and "\n" not in field and len(classifiers) < 2:
        return field
    return " / ".join(classifiers) or "not stated"


# ---- all pages ------------------------------------------------------------------------------

PAGES: dict[str, Callable[[], str]] = {
    "cli": cli_page,
    "errors": errors_page,
    "exit-codes": exit_codes_page,
    "licences": licences_page,
}


def path_of(page: str) -> Path:
    return REFERENCE / f"{page}.md"


def stale(pages: list[str]) -> list[str]:
    """Those of ``pages`` whose file is not what would be written now."""
    return [
        page
        for page in pages
        if not path_of(page).is_file() or path_of(page).read_text(encoding="utf-8") != PAGES[page]()
    ]


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description=__doc__)
    parser.add_argument("pages", nargs="*", metavar="PAGE", help=", ".join(PAGES))
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    given = parser.parse_args(words)
    pages = given.pages or list(PAGES)
    if not set(pages) <= set(PAGES):
        parser.error(f"a page is one of {', '.join(PAGES)}")
    if given.check:
        old = stale(pages)
        for page in old:
            print(f"{page}.md is stale: python -m docs.generate {page}", file=sys.stderr)
        return Exit.INTERNAL if old else Exit.DONE
    for page in pages:
        path_of(page).write_text(PAGES[page](), encoding="utf-8")
        print(path_of(page).relative_to(ROOT))
    return Exit.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
