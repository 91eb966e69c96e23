"""The frame of ``client``: its table of commands, how it ends, and what it leaves unimported."""

import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import click
import pytest

from client import main
from lockstep.errors import Exit, RefusedError
from tests.processes import script

HELP_MAX_S = 0.150
TRIES = 12
"""Of several starts the quickest counts: the others measure this machine's other work."""


@click.command()
@click.option("--raise", "how", default="")
def probe(how: str) -> int:
    """Ends as it is told."""
    if how == "refused":
        raise RefusedError("LEASE_BUSY", "somebody holds it", place="leases/a", hint="wait")
    if how == "interrupt":
        from client.context import reattach_with

        reattach_with("client watch 0123456789abcdef")
        raise KeyboardInterrupt
    if how == "defect":
        raise KeyError("a secret detail\nof two lines")
    if how == "pipe":
        raise BrokenPipeError
    click.echo("probed")
    return Exit.HELD


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(main.COMMANDS, "probe", main.Row(f"{__name__}:probe", "Ends as told."))


@pytest.mark.parametrize("name", main.COMMANDS)
def test_each_row_of_the_table_names_a_command_and_its_own_help_line(name: str) -> None:
    row = main.COMMANDS[name]
    module, attribute = row.place.split(":")
    command = getattr(import_module(module), attribute)
    assert isinstance(command, click.Command)
    assert command.get_short_help_str(limit=200) == row.line
    assert command.name == name


def test_a_bare_call_prints_the_help_and_every_command_stands_in_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.run([]) == Exit.DONE
    shown = capsys.readouterr().out
    for name, row in main.COMMANDS.items():
        assert f"  {name} " in shown
        assert row.line in shown
    assert main.run(["--help"]) == Exit.DONE
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["--nonsense"], "No such option '--nonsense'"),
        (["status"], "Missing argument 'RUN'"),
        (["abort", "0123456789abcdef"], "Missing option '--reason'"),
        (["target", "nonsense"], "No such command 'nonsense'"),
        (["list", "--output", "xml"], "'xml' is not one of"),
        (["list", "--limit", "0"], "0 is not in the range"),
    ],
)
def test_words_that_do_not_fit_exit_2_and_say_where_help_is(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(words) == Exit.USAGE
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error USAGE: ")
    assert said in told.err
    assert "--help" in told.err
    assert "docs: errors.md#usage" in told.err


@pytest.mark.usefixtures("probed")
def test_a_command_ends_by_what_it_returns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["probe"]) == Exit.HELD
    assert capsys.readouterr().out == "probed\n"


@pytest.mark.usefixtures("probed")
def test_an_expected_error_has_code_cause_place_next_and_docs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.run(["probe", "--raise", "refused"]) == Exit.IN_THE_WAY
    assert capsys.readouterr().err.splitlines() == [
        "error LEASE_BUSY: somebody holds it",
        "place: leases/a",
        "next: wait",
        "docs: errors.md#lease-busy",
    ]


@pytest.mark.usefixtures("probed")
def test_a_defect_is_one_line_and_a_traceback_only_with_debug(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.run(["probe", "--raise", "defect"]) == Exit.INTERNAL
    told = capsys.readouterr().err
    assert told.startswith("error INTERNAL: KeyError: ")
    assert "Traceback" not in told
    assert main.run(["--debug", "probe", "--raise", "defect"]) == Exit.INTERNAL
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.usefixtures("probed")
def test_an_interrupt_exits_130_and_says_how_to_come_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.run(["probe", "--raise", "interrupt"]) == Exit.INTERRUPTED
    assert "re-attach with: client watch 0123456789abcdef" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["-q", "--config", "a.toml", "probe", "x"],
        ["probe", "-q", "x", "--config", "a.toml"],
        ["probe", "x", "--config", "a.toml", "-q"],
    ],
)
def test_global_options_stand_before_the_command_or_after_it(words: list[str]) -> None:
    moved = main._global_first(words)
    assert sorted(moved[:3]) == ["--config", "-q", "a.toml"]
    assert moved[3:] == ["probe", "x"]


def test_nothing_behind_a_double_dash_is_moved() -> None:
    assert main._global_first(["verify", "--", "-q"]) == ["verify", "--", "-q"]
    assert main._global_first(["list", "--config"]) == ["--config", "list"]
    assert main._global_first(["list", "--context=x"]) == ["--context=x", "list"]


# ---- as a program --------------------------------------------------------------------------


def test_a_reader_that_leaves_early_is_no_error() -> None:
    done = subprocess.run(
        f"{script('client')} --help | head -1; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
    )
    assert done.returncode == Exit.DONE
    assert done.stderr == ""


def test_a_name_that_is_no_text_is_escaped_and_still_json(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("schema_version: lockstep.policy.v1\nservice: web\n")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / os.fsdecode(b"\xff")).write_text("nonsense")
    words = [script("client"), "gate", "evaluate", "--snapshots", "in", "--policy", "policy.yaml"]
    done = subprocess.run([*words, "--output", "jsonl"], capture_output=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (Exit.DONE, b"")
    assert json.loads(done.stdout)["file"] == "\udcff"


def test_both_names_are_installed_and_know_their_version() -> None:
    for name in main.PROGRAMS:
        done = subprocess.run([script(name), "--version"], capture_output=True, text=True)
        assert done.stdout == "lockstep, version 0.1.0\n"


def test_the_help_comes_at_once() -> None:
    quickest = min(_seconds([script("client"), "--help"]) for _ in range(TRIES))
    assert quickest <= HELP_MAX_S


def _seconds(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


IMPORTED = """
import sys
from client.main import run
code = run({words!r})
print(code, *sorted(name for name in sys.modules if name in {heavy!r}))
"""
HEAVY = ("temporalio", "boto3", "aiohttp", "rich", "ruamel.yaml", "pydantic")
LIGHT = ("pydantic", "ruamel.yaml")


def _imported(words: list[str], folder: Path) -> tuple[int, set[str]]:
    """(exit code, which of the heavy libraries it took) of one command line."""
    program = IMPORTED.format(words=words, heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=folder, check=True
    )
    code, *names = done.stdout.splitlines()[-1].split()
    return int(code), set(names)


@pytest.fixture
def settled(tmp_path: Path) -> Path:
    """A folder with a context, a store, a policy and a profile whose target is not there."""
    (tmp_path / "store").mkdir()
    (tmp_path / "lockstep.toml").write_text(
        'current = "t"\n[contexts.t]\ntenant_id = "demo"\nstore = "store"\n'
        'policy = "policy.yaml"\nprofile = "profile.yaml"\n'
    )
    (tmp_path / "policy.yaml").write_text("schema_version: lockstep.policy.v1\nservice: checkout\n")
    (tmp_path / "profile.yaml").write_text(
        "schema_version: lockstep.environment-profile.v1\n"
        "environments:\n"
        "  - name: dev\n"
        "    targets: [{name: main, kind: demo, settings: {admin_url: 'http://127.0.0.1:1'}}]\n"
        "    sources: [{name: main, kind: file, settings: {path: m.json}}]\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code", "allowed"),
    [
        (["--help"], 0, ()),
        (["release", "--help"], 0, ()),
        (["verify", "0123456789abcdef"], Exit.USAGE, LIGHT),
        (["target", "status", "checkout"], Exit.UNREACHABLE, LIGHT),
        (["gate", "evaluate", "--policy", "policy.yaml"], Exit.USAGE, LIGHT),
        (["conformance", "run", "lockstep.toml"], Exit.USAGE, LIGHT),
    ],
)
def test_what_needs_no_server_never_imports_the_temporal_library(
    words: list[str], code: int, allowed: tuple[str, ...], settled: Path
) -> None:
    ended, names = _imported(words, settled)
    assert ended == code
    assert names <= set(allowed)
