"""The documents: generated pages are fresh, links lead somewhere, quoted commands exist."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import pytest

from client.main import GLOBAL_FLAGS, GLOBAL_VALUES, PROGRAMS, cli
from docs import generate
from lockstep.error_codes import ERROR_CODES
from worker.main import main as worker_program

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "tests" / "vectors"
DOCUMENTS = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))

FENCE = re.compile(r"^```(?P<kind>\S*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\[[^\]]*\]\((?P<to>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
ANCHOR = re.compile(r'<a id="([^"]+)">')
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|TBD)\b")
MACHINE_PATH = re.compile(r"(?<![\w.>])/(root|home|tmp|work|usr|opt)/")


@dataclass(frozen=True)
class Quoted:
    """A command line as a document shows it; ``whole`` where a reader would run it as it is."""

    place: str
    text: str
    whole: bool


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def without_fences(text: str) -> str:
    return FENCE.sub("", text)


# ---- generated pages ------------------------------------------------------------------------


@pytest.mark.parametrize("page", generate.PAGES)
def test_a_generated_page_is_what_would_be_written_now(page: str) -> None:
    assert generate.stale([page]) == [], f"run python -m docs.generate {page}"


def test_the_check_sees_a_changed_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(generate.PAGES, "errors", lambda: "something else\n")
    assert generate.main(["--check", "errors", "cli"]) == 1
    assert "errors.md is stale" in capsys.readouterr().err


def test_every_error_has_its_anchor() -> None:
    text = (ROOT / "docs" / "reference" / "errors.md").read_text()
    anchors = {f"errors.md#{anchor}" for anchor in ANCHOR.findall(text)}
    assert anchors == {row.docs_anchor for row in ERROR_CODES.values()}


# ---- links ----------------------------------------------------------------------------------


@cache
def anchors_of(path: Path) -> frozenset[str]:
    """Every fragment that leads somewhere in a document: headings and anchors of its own."""
    text = path.read_text()
    slugs = {slug(title) for title in HEADING.findall(without_fences(text))}
    return frozenset(slugs | set(ANCHOR.findall(text)))


def slug(title: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", title.lower())
    return kept.strip().replace(" ", "-")


def broken_links(path: Path, text: str) -> list[str]:
    found = []
    for match in LINK.finditer(without_fences(text)):
        to = match["to"]
        if "://" in to:
            continue
        name, _, fragment = to.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.is_file() or (fragment and fragment not in anchors_of(target)):
            found.append(f"{named(path)}: {to}")
    return found


def test_every_relative_link_leads_somewhere() -> None:
    assert [link for path in DOCUMENTS for link in broken_links(path, path.read_text())] == []


def test_a_broken_link_is_found() -> None:
    path = ROOT / "README.md"
    text = "[a](docs/none.md) [b](docs/reference/errors.md#none) [c](LICENSE)"
    assert broken_links(path, text) == [
        "README.md: docs/none.md",
        "README.md: docs/reference/errors.md#none",
    ]


# ---- commands -------------------------------------------------------------------------------

OURS = (*PROGRAMS, "lockstep-worker")


def quoted_in(path: Path, text: str) -> Iterator[Quoted]:
    """Command lines of ours: whole ones in blocks of shell, and those named in a sentence."""
    for block in FENCE.finditer(text):
        if block["kind"] not in ("sh", "console"):
            continue
        body = block["body"].replace("\\\n", " ")
        for line in body.splitlines():
            line = line.removeprefix("$ ").strip()
            if line.split(" ")[0] in OURS:
                yield Quoted(named(path), line, whole=True)
    for paragraph in without_fences(text).split("\n\n"):
        for span in SPAN.findall(" ".join(paragraph.split())):
            if span.split(" ")[0] in OURS and " " in span:
                yield Quoted(named(path), span, whole=False)


def problem_of(quoted: Quoted) -> str:
    """Why a command line could not be run: no such command or option, or something is missing."""
    words = shlex.split(quoted.text, comments=True)
    program, words = words[0], [word for word in words[1:] if word not in GLOBAL_FLAGS]
    for name in GLOBAL_VALUES:
        if name in words and program in PROGRAMS:
            at = words.index(name)
            del words[at : at + 2]
    command: click.Command = worker_program if program == "lockstep-worker" else cli
    context = click.Context(command, info_name=program)
    while isinstance(command, click.Group):
        if not words:
            return "" if not quoted.whole else "no command is named"
        found = command.get_command(context, words[0])
        if found is None:
            return f"no command {words[0]!r}"
        command, words = found, words[1:]
        context = click.Context(command, info_name=command.name, parent=context)
    return _options_problem(command, context, words, whole=quoted.whole)


def _options_problem(
    command: click.Command, context: click.Context, words: list[str], *, whole: bool
) -> str:
    try:
        if whole:
            values, _, _ = command.make_parser(context).parse_args(list(words))
        else:  # a sentence may name an option without its value
            known = {name for one in command.params for name in [*one.opts, *one.secondary_opts]}
            unknown = [w for w in words if w.startswith("-") and w.split("=")[0] not in known]
            return f"no option {unknown[0]}" if unknown else ""
    except click.UsageError as error:
        return error.format_message()
    missing = [
        one.name
        for one in command.params
        if one.required and (one.name not in values or not isinstance(values[one.name], str))
    ]
    return f"lacks {missing[0]}" if missing else ""


def test_every_quoted_command_exists_with_its_options() -> None:
    found = [
        f"{quoted.place}: {quoted.text}: {problem}"
        for path in DOCUMENTS
        for quoted in quoted_in(path, path.read_text())
        if (problem := problem_of(quoted))
    ]
    assert found == []


def test_the_documents_quote_commands_at_all() -> None:
    """A pattern that found nothing would pass everything."""
    found = [quoted for path in DOCUMENTS for quoted in quoted_in(path, path.read_text())]
    assert len([quoted for quoted in found if quoted.whole]) > 50


@pytest.mark.parametrize(
    ("text", "whole", "problem"),
    [
        ("client verify RUN", True, ""),
        ("client -q start-rollout R --until prod/25 --json", True, ""),
        ("client --config F dev up --no-load  # a comment", True, ""),
        ("client verify", True, "lacks subject"),
        ("client retry RUN", True, "no command 'retry'"),
        ("client dev", True, "no command is named"),
        ("client start-rollout R --canary", True, "No such option '--canary'."),
        ("client adopt shop --env", True, "Option '--env' requires an argument."),
        ("client adopt shop", True, "lacks environment"),
        ("client adopt", False, ""),
        ("client adopt --where", False, "no option --where"),
        ("lockstep-worker --config F --role all", True, ""),
        ("lockstep-worker --role all", True, "lacks config"),
    ],
)
def test_what_counts_as_a_problem(text: str, whole: bool, problem: str) -> None:
    assert problem_of(Quoted("sample", text, whole)).startswith(problem)
    assert bool(problem_of(Quoted("sample", text, whole))) == bool(problem)


# ---- what must and must not stand in them ---------------------------------------------------


def test_no_document_is_unfinished_or_names_a_path_of_some_machine() -> None:
    found = [
        f"{named(path)}: {match[0]}"
        for path in DOCUMENTS
        for pattern in (UNFINISHED, MACHINE_PATH)
        for match in pattern.finditer(path.read_text())
    ]
    assert found == []


def test_every_vector_file_is_named_by_a_rule() -> None:
    rules = "".join(path.read_text() for path in (ROOT / "docs" / "spec").glob("*.md"))
    assert [path.name for path in sorted(VECTORS.glob("*.json")) if path.name not in rules] == []


def test_every_vector_file_that_a_rule_names_is_there() -> None:
    there = {path.name for path in VECTORS.glob("*.json")}
    named_files = {
        name
        for path in (ROOT / "docs" / "spec").glob("*.md")
        for name in re.findall(r"`([a-z0-9-]+\.json)`", path.read_text())
    }
    assert named_files - there == set()
