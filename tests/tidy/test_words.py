"""One word per idea: no identifier uses a word that the glossary replaces by another.

Rejected are the words that name nothing else here. The others of the glossary's last column
(build, version, stage, status, weight, window, check, token, hash, log, term, …) have a second,
legitimate meaning in the specification and stay to the reader.
"""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.tidy.sources import Function, Module, constant, module_of, modules

REJECTED = {
    "freight": "release",
    "dwell": "bake",
    "soak": "bake",
    "rerun": "replay, recover or re-evaluate",
    "checksum": "digest",
    "sha": "digest",
    "kid": "key id",
    "expiry": "validity window",
    "journal": "WAL record",
    "generation": "epoch",
    "purge": "mark and sweep",
    "latest": "snapshot, or the digest that is meant",
    "score": "verdict",
    "util": "the name of what it decides",
    "utils": "the name of what it decides",
    "helper": "the name of what it decides",
    "helpers": "the name of what it decides",
    "misc": "the name of what it decides",
}
"""Word → what to say instead."""

EVERYWHERE = ("lockstep", "workflows", "activities", "worker", "client", "infra", "bench")
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("client/commands/dev.py", "purge"): "`dev down --purge` is an option of spec interfaces §1",
    ("client/devstack/stack.py", "purge"): "carries that option out",
    ("infra/demo/journal.py", "journal"): "the demo agent's own file; no WAL of ours",
    ("infra/demo/fleet.py", "journal"): "keeps that file",
    ("activities/adapters/store/ledger.py", "latest"): "the newest version of a numbered list",
    ("activities/adapters/trust_setup.py", "latest"): "a version number read from that list",
    ("client/inputs.py", "latest"): "a version number read from that list",
    ("client/commands/keys.py", "latest"): "a version number read from that list",
}
"""(module, word) → why it may stand there. Nothing hashed is made in any of these places."""

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
OPTION = re.compile(r"--[a-z][a-z-]*")


def words_of(identifier: str) -> list[str]:
    """``SweepPlan.latest_kid`` → sweep, plan, latest, kid; a ``sha256`` is one word."""
    joined = identifier.replace("sha256", "")
    return [word.lower() for word in WORD.findall(joined)]


def identifiers(module: Module) -> Iterator[tuple[int, str]]:
    """Every name that the module gives to something, and every command-line option."""
    yield 1, module.path.rsplit("/", 1)[-1].removesuffix(".py")
    for node in ast.walk(module.tree):
        if isinstance(node, Function | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield 1, node.asname
        elif (text := constant(node)) and OPTION.fullmatch(text):
            yield node.lineno, text


def wrong_words(module: Module) -> list[tuple[int, str, str]]:
    """(line, identifier, word) of each that the glossary replaces."""
    return sorted(
        {
            (line, name, word)
            for line, name in identifiers(module)
            for word in words_of(name)
            if word in REJECTED
        }
    )


def test_no_identifier_uses_a_word_that_the_glossary_replaces() -> None:
    found = [
        f"{module.path}:{line} {name}: say {REJECTED[word]}"
        for module in modules(*EVERYWHERE)
        for line, name, word in wrong_words(module)
        if (module.path, word) not in EXCEPTIONS
    ]
    assert found == []


def test_every_exception_is_still_needed() -> None:
    used = {
        (module.path, word) for module in modules(*EVERYWHERE) for _, _, word in wrong_words(module)
    }
    assert set(EXCEPTIONS) - used == set()


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("sha = 1", "sha"),
        ("def read(kid): ...", "kid"),
        ("class SoakTime: ...", "soak"),
        ("self.dwell_s = 3", "dwell"),
        ("import hashlib as checksum", "checksum"),
        ("def purge_store(): ...", "purge"),
        ('option("--rerun")', "rerun"),
        ("for latestRelease in (): ...", "latest"),
    ],
)
def test_a_rejected_word_is_found_wherever_a_name_is_given(code: str, word: str) -> None:
    assert [found for _, _, found in wrong_words(module_of(code))] == [word]


def test_sha256_and_words_that_only_contain_a_rejected_one_are_let_through() -> None:
    code = "def sha256(data): ...\nshared = skid = 1\nshape, regenerations = 1, 2"
    assert wrong_words(module_of(code)) == []


def test_the_file_name_is_an_identifier_too() -> None:
    assert wrong_words(module_of("", "lockstep/utils.py")) == [(1, "utils", "utils")]
