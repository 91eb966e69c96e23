"""No unfinished part, no test that is not run, nothing of one machine in the repository's files.

The words looked for are put together here from halves, so that this file need not be left out.
"""

import re

import pytest

from tests.tidy.sources import ROOT, repository_files

LOOKED_FOR = {
    "an unfinished part": re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b"),
    "a test that is not run": re.compile(
        r"pytest\.(sk" r"ip|importorsk" r"ip|xf" r"ail)"
        r"|mark\.(sk" r"ip|xf" r"ail)|unittest\.sk" r"ip"
    ),
    "a check that is silenced": re.compile(r"#\s*type:\s*ig" r"nore|pragma:\s*no\s*co" r"ver"),
    "a double of our own code": re.compile(r"unittest\.mo" r"ck|Magic" r"Mock|mocker\."),
    "a path of one machine": re.compile(
        r"(?<![\w.~}$-])/(ho" r"me|Us" r"ers|ro" r"ot|wo" r"rk)/[\w.]"
    ),
    "the host of a package registry": re.compile(
        r"py" r"pi\.org|python" r"hosted\.org|(proxy|sum)\.go" r"lang\.org|npm" r"js\.(org|com)"
        r"|crates\.io"
    ),
    "a conflict of a merge": re.compile(r"^(<{7} |>{7} )", re.MULTILINE),
}  # fmt: skip
"""What must not be in any file of the repository."""

MAY_HOLD = {("tests/unit/test_docs.py", "an unfinished part"): "looks for it in the documents"}

UNBUILT = re.compile(r"raise NotImplemented" r"Error")
STUBS = "workflows/stubs.py"
FILE_MAX_BYTES = 1_000_000


def text_of(name: str) -> str:
    return (ROOT / name).read_bytes().decode("utf-8", errors="replace")


def found_in(text: str, pattern: re.Pattern[str]) -> list[int]:
    """Lines on which the pattern stands."""
    return [text.count("\n", 0, match.start()) + 1 for match in pattern.finditer(text)]


@pytest.mark.parametrize("what", LOOKED_FOR)
def test_no_file_holds(what: str) -> None:
    found = [
        f"{name}:{line}"
        for name in repository_files()
        if (name, what) not in MAY_HOLD
        for line in found_in(text_of(name), LOOKED_FOR[what])
    ]
    assert found == []


def test_only_stubs_have_no_body() -> None:
    assert [name for name in repository_files() if found_in(text_of(name), UNBUILT)] == [STUBS]


def test_no_file_is_larger_than_a_megabyte() -> None:
    sizes = {name: (ROOT / name).stat().st_size for name in repository_files()}
    assert [name for name, size in sizes.items() if size > FILE_MAX_BYTES] == []


def test_the_whole_repository_is_looked_at() -> None:
    names = repository_files()
    assert len(names) > 150
    assert {"Makefile", "pyproject.toml", ".ci/run", "tests/tidy/test_repository.py"} <= set(names)
    assert not any(name.startswith((".venv/", ".lockstep/")) for name in names)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("an unfinished part", "# TO" "DO: later"),
        ("an unfinished part", "# FIX" "ME"),
        ("a test that is not run", "@pytest.mark.sk" "ipif(True)"),
        ("a test that is not run", 'pytest.sk' 'ip("no S3 here")'),
        ("a test that is not run", "pytest.mark.xf" "ail"),
        ("a check that is silenced", "x = 1  # type: ig" "nore[misc]"),
        ("a double of our own code", "from unittest.mo" "ck import patch"),
        ("a path of one machine", 'CACHE = "/ho' 'me/someone/.cache"'),
        ("a path of one machine", "see /ro" "ot/.bashrc"),
        ("the host of a package registry", "https://py" "pi.org/simple"),
        ("the host of a package registry", "GOPROXY=https://proxy.go" "lang.org"),
        ("a conflict of a merge", "x = 1\n<<<<<<" "< ours\n"),
    ],
)  # fmt: skip
def test_each_is_found_where_it_is(what: str, text: str) -> None:
    assert found_in(text, LOOKED_FOR[what])


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("an unfinished part", "todos = XXXIX"),
        ("a test that is not run", "for line in skip(lines): ..."),
        ("a path of one machine", "https://example.org/home/page"),
        ("a path of one machine", '"${HOME}/root/x"'),
        ("the host of a package registry", "pkg:pypi/aiohttp@3.14.5"),
    ],
)
def test_what_only_looks_alike_is_let_through(what: str, text: str) -> None:
    assert found_in(text, LOOKED_FOR[what]) == []
