"""The program ``client`` (also ``lockstep``): global options, the table of commands, their ends.

A command is imported when it runs, never for the help: the table below holds each one's place and
its line in the help. What is not built is not in the table. Exit codes: ``lockstep.errors.Exit``.
"""

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click

import client.errors as told
from lockstep import __version__
from lockstep.errors import Exit, LockstepError

PROGRAMS = ("client", "lockstep")
HELP_OPTIONS = ("-h", "--help")

GLOBAL_FLAGS = ("--debug", "--quiet", "-q", "--no-input")
GLOBAL_VALUES = ("--config", "--context")
"""Options of the program itself; they may stand before the command or after it."""


@dataclass(frozen=True, slots=True)
class Row:
    place: str
    """``module:attribute`` of the click command."""
    line: str
    """Its line in the help; a test holds it equal to the command's own."""


SECTIONS: dict[str, dict[str, Row]] = {
    "Start": {
        "init": Row(
            "client.commands.init:init", "Write a commented policy and environment profile."
        ),
        "dev": Row("client.commands.dev:dev", "Run the embedded stack."),
        "demo": Row("client.commands.demo:demo", "Carry real releases over the embedded stack."),
    },
    "Roll out": {
        "start-rollout": Row(
            "client.commands.start_rollout:start_rollout",
            "Carry RELEASE through every environment.",
        ),
        "watch": Row("client.commands.watch:watch", "Show RUN's live tree until it ends."),
        "status": Row("client.commands.status:status", "Say where RUN stands."),
        "list": Row("client.commands.list_runs:list_runs", "List runs, newest first."),
        "report": Row("client.commands.report:report", "Print the reports of RUN."),
        "explain": Row("client.commands.explain:explain", "Say in words why a verdict fell."),
        "verify": Row("client.commands.verify:verify", "Recompute everything SUBJECT claims."),
    },
    "Act on a run": {
        "abort": Row("client.commands.actions:abort", "Stop RUN and go back."),
        "pause": Row("client.commands.actions:pause", "Keep RUN at its cohort."),
        "resume": Row("client.commands.actions:resume", "Let RUN go on after a pause or a hold."),
    },
    "Services and targets": {
        "adopt": Row("client.commands.adopt:adopt", "Record what runs now as a signed adoption."),
        "rollback": Row(
            "client.commands.rollback:rollback", "Send SERVICE back in one environment."
        ),
        "target": Row("client.commands.target:target", "What targets are asked to do, and do."),
    },
    "Trust and evidence": {
        "release": Row("client.commands.release:release", "Pack, certify and approve releases."),
        "keys": Row("client.commands.keys:keys", "Make and list keys."),
        "gate": Row("client.commands.gate:gate", "Judge frozen snapshots, offline."),
    },
    "For maintainers of Lockstep itself": {
        "conformance": Row("client.commands.conformance:conformance", "Run conformance vectors."),
    },
}

COMMANDS: dict[str, Row] = {
    name: row for section in SECTIONS.values() for name, row in section.items()
}


class Commands(click.Group):
    """A group whose commands are imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        row = COMMANDS.get(cmd_name)
        if row is None:
            return None
        module_name, attribute = row.place.split(":")
        from importlib import import_module

        command: click.Command = getattr(import_module(module_name), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, rows in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, row.line) for name, row in rows.items()], col_max=16)


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": list(HELP_OPTIONS), "max_content_width": 100},
)
@click.option("--config", metavar="PATH", type=click.Path(), help="The lockstep.toml to read.")
@click.option("--context", "context_name", metavar="NAME", help="Which of its contexts to use.")
@click.option("--debug", is_flag=True, help="Show a traceback when something breaks.")
@click.option("--quiet", "-q", is_flag=True, help="No progress, only results and errors.")
@click.option("--no-input", is_flag=True, help="Never ask anything.")
@click.version_option(__version__, prog_name="lockstep")
@click.pass_context
def cli(
    ctx: click.Context,
    config: str | None,
    context_name: str | None,
    debug: bool,
    quiet: bool,
    no_input: bool,
) -> None:
    """Carry releases from dev to a committed production, or back, with proof."""
    ctx.meta.update(
        {
            "client.config": config,
            "client.context": context_name,
            "client.debug": debug,
            "client.quiet": quiet,
            "client.no_input": no_input,
        }
    )
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def run(argv: Sequence[str], *, program: str = "client") -> int:
    """Run one command line and return its exit code; everything it says has been written.

    A command ends by returning an ``Exit`` (None is 0), by ``ctx.exit`` or by an error.
    """
    meta: dict = {}
    try:
        root = cli.make_context(program, _global_first(argv))
        meta = root.meta
        with root:
            return int(cli.invoke(root) or 0)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        return _tell(_usage(error, program), _form(meta, argv))
    except LockstepError as error:
        if meta.get("client.debug"):
            _traceback()
        return _tell(error, _form(meta, argv))
    except (KeyboardInterrupt, click.Abort, EOFError):
        return _interrupted(meta)
    except BrokenPipeError:
        # The reader of our output left. Nothing more can be said to it, and nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except Exception as error:
        if meta.get("client.debug") or "--debug" in argv:
            _traceback()
        return _tell(told.internal(error), _form(meta, argv))


def _global_first(argv: Sequence[str]) -> list[str]:
    """The words with the program's own options moved to the front, up to a ``--``."""
    front: list[str] = []
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word in GLOBAL_FLAGS or word.startswith(tuple(f"{name}=" for name in GLOBAL_VALUES)):
            front.append(word)
        elif word in GLOBAL_VALUES:
            front += [word, *([value] if (value := next(words, None)) is not None else [])]
        else:
            rest.append(word)
    return front + rest


def _form(meta: dict, argv: Sequence[str]) -> str:
    """The form asked for; before it was parsed, what the words themselves say."""
    known = meta.get("client.output")
    if known:
        return str(known)
    words = " ".join(argv)
    return "json" if "--json" in argv or "--output json" in words else "table"


def _usage(error: click.ClickException, program: str) -> LockstepError:
    ctx = getattr(error, "ctx", None)
    where = ctx.command_path if ctx else program
    return LockstepError("USAGE", error.format_message(), hint=f"{where} --help")


def _tell(error: LockstepError, form: str) -> int:
    click.echo(told.text_of(error, form), err=True)
    return int(told.exit_for(error))


def _interrupted(meta: dict) -> int:
    again = meta.get("client.reattach")
    said = f"the rollout goes on; re-attach with: {again}" if again else "interrupted"
    click.echo(said, err=True)
    return Exit.INTERRUPTED


def _traceback() -> None:
    import traceback

    traceback.print_exc()


def main() -> None:
    """Entry point of both installed programs."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that is no text must not break the tale
            stream.reconfigure(errors="backslashreplace")
    name = os.path.basename(sys.argv[0]).removesuffix(".exe").removesuffix(".py")
    _leave(run(sys.argv[1:], program=name if name in PROGRAMS else PROGRAMS[0]))


def _leave(code: int) -> None:
    """End the process.

    Threads of the Temporal library may still be handing over an answer that nobody waits for;
    taking the interpreter down under them aborts the process (temporalio 1.35, one `client list`
    in three). All is written and closed by now, so such a process ends without that step.
    """
    if "temporalio.bridge" in sys.modules:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # the reader may have left
                stream.flush()
        os._exit(code)
    sys.exit(code)
