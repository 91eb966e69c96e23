"""The dependency lock, parsed from its own bytes to what is hashed (docs/spec/bytes.md §2).

One format in this version: requirements with hashes. Strict on purpose: every line must pin one
version with at least one hash, and whatever could change where a package comes from (an index,
another file, an editable path) is refused, naming its line.
"""

import re

from lockstep.digest import h
from lockstep.errors import DataError

LOCK_MAX_BYTES = 8 * 1024 * 1024
ROWS_MAX = 20_000
SOURCE_INDEX = "index"
"""The source of a package that the lock names by version alone."""

# Options that cannot change which bytes are installed for a pinned, hashed requirement.
_HARMLESS_OPTIONS = ("--require-hashes",)
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})")
_PINNED = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
    r"(?:\[[A-Za-z0-9._,\s-]+\])?"
    r"\s*==\s*(?P<version>[A-Za-z0-9][A-Za-z0-9._+!-]*)"
    r"\s*(?:;(?P<marker>[^\n]*))?"
)
_OTHER_FORMATS = (
    (re.compile(r"^\s*\{"), "a JSON lock (package-lock.json or an SBOM)"),
    (
        re.compile(r"^\[\[(package|packages)\]\]", re.MULTILINE),
        "poetry.lock, uv.lock or Cargo.lock",
    ),
    (re.compile(r"^lock-version\s*=", re.MULTILINE), "pylock.toml"),
    (re.compile(r"^\S+ v\S+ h1:", re.MULTILINE), "go.sum"),
)


def _invalid(cause: str, line: int = 0) -> DataError:
    return DataError(
        "LOCK_INVALID",
        cause,
        place=f"line {line}" if line else "",
        hint="pin every dependency as name==version with --hash=sha256:…",
    )


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """(number of its first line, text) with continuations joined and comments dropped."""
    found: list[tuple[int, str]] = []
    parts: list[str] = []
    start = 0
    for number, raw in enumerate(text.splitlines(), start=1):
        line = re.sub(r"(^|\s)#.*$", "", raw).rstrip()
        start = start or number
        is_continued = line.endswith("\\")
        parts.append(line[:-1] if is_continued else line)
        if not is_continued:
            joined = " ".join(part.strip() for part in parts).strip()
            if joined:
                found.append((start, joined))
            parts, start = [], 0
    if parts:
        raise _invalid("the last line ends in a continuation", start)
    return found


def _row(line: int, text: str) -> list[str]:
    """[name, version, source, integrity] of one requirement."""
    requirement, *rest = re.split(r"\s+(?=--)", text)
    integrity = []
    for option in rest:
        match = _HASH.fullmatch(option)
        if not match:
            raise _invalid(f"{option[:80]!r} is no hash of a known kind", line)
        integrity.append(match[1])
    pinned = _PINNED.fullmatch(requirement)
    if not pinned:
        raise _invalid(f"{requirement[:80]!r} does not pin one version", line)
    if not integrity:
        raise _invalid(f"{pinned['name']} {pinned['version']} carries no hash", line)
    name = re.sub(r"[-_.]+", "-", pinned["name"]).lower()  # PEP 503: one spelling a project
    return [name, pinned["version"], SOURCE_INDEX, " ".join(sorted(set(integrity)))]


def parse_requirements(data: bytes) -> list[list[str]]:
    """Rows [name, version, source, integrity] of a requirements lock, sorted by the first three.

    ``integrity`` is every hash of the entry, sorted and joined by a space.

    Raises:
        DataError: LOCK_INVALID, naming the line.
    """
    if len(data) > LOCK_MAX_BYTES:
        raise _invalid(f"{len(data)} bytes are too many")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise _invalid("not UTF-8 text") from None
    for pattern, name in _OTHER_FORMATS:
        if pattern.search(text):
            raise _invalid(f"{name} is not built in this version; export requirements with hashes")
    rows: list[list[str]] = []
    seen: dict[tuple[str, ...], int] = {}
    for line, content in _logical_lines(text):
        if content.startswith("-"):
            if content not in _HARMLESS_OPTIONS:
                raise _invalid(f"{content.split()[0][:60]} may change what is installed", line)
            continue
        row = _row(line, content)
        key = tuple(row[:3])
        if key in seen:
            raise _invalid(f"{row[0]} {row[1]} stands in line {seen[key]} too", line)
        seen[key] = line
        rows.append(row)
        if len(rows) > ROWS_MAX:
            raise _invalid(f"more than {ROWS_MAX} packages", line)
    return sorted(rows, key=lambda row: row[:3])


def lockfile_hash(data: bytes) -> bytes:
    """``lockfile_hash`` of a lock's own bytes; an empty lock is a release without dependencies.

    Raises:
        DataError: LOCK_INVALID.
    """
    return h(parse_requirements(data))
