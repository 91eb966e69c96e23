"""Dependency locks: every entry pinned and hashed, or the line that is not is named."""

from pathlib import Path

import pytest

from lockstep.digest import h
from lockstep.errors import DataError
from lockstep.release.locks import lockfile_hash, parse_requirements

A, B = "a" * 64, "b" * 64
REPOSITORY = Path(__file__).parents[2]


def test_rows_are_name_version_source_integrity_sorted() -> None:
    lock = f"""# made by a tool
Zope.Interface==7.0 --hash=sha256:{B}
click==8.5.1 \\
    --hash=sha256:{B} \\
    --hash=sha256:{A}
    # via something
"""
    rows = [
        ["click", "8.5.1", "index", f"sha256:{A} sha256:{B}"],
        ["zope-interface", "7.0", "index", f"sha256:{B}"],
    ]
    assert parse_requirements(lock.encode()) == rows
    assert lockfile_hash(lock.encode()) == h(rows)


def test_comments_order_and_hash_order_do_not_change_the_hash() -> None:
    one = f"a==1 --hash=sha256:{A} --hash=sha256:{B}\nb==2 --hash=sha256:{B}\n"
    two = f"# x\nb==2 --hash=sha256:{B} # y\n\na == 1 \\\n  --hash=sha256:{B} --hash=sha256:{A}\n"
    assert lockfile_hash(one.encode()) == lockfile_hash(two.encode())
    changed = one.replace(A, "c" * 64)
    assert lockfile_hash(one.encode()) != lockfile_hash(changed.encode())


def test_extras_markers_and_other_hash_kinds_are_read() -> None:
    lock = (
        f"uvicorn[standard, x]==0.30.0 ; python_version >= '3.11' --hash=sha256:{A}\n"
        f"colorama==0.4.6 ; sys_platform == 'win32' \\\n --hash=sha512:{'c' * 128}\n"
    )
    names = [row[0] for row in parse_requirements(lock.encode())]
    assert names == ["colorama", "uvicorn"]


def test_two_versions_under_different_markers_are_two_rows() -> None:
    lock = f"a==1 ; x --hash=sha256:{A}\na==2 ; y --hash=sha256:{B}\n"
    assert [row[1] for row in parse_requirements(lock.encode())] == ["1", "2"]


def test_an_empty_lock_is_a_release_without_dependencies() -> None:
    assert lockfile_hash(b"# nothing\n") == h([])


def test_our_own_locks_are_read() -> None:
    for name in ("runtime.lock", "dev.lock"):
        rows = parse_requirements((REPOSITORY / "requirements" / name).read_bytes())
        assert "pydantic" in [row[0] for row in rows]


GOOD = f"click==8.5.1 --hash=sha256:{A}\n"


@pytest.mark.parametrize(
    "line",
    [
        "requests>=2",
        "requests",
        f"requests==2.* --hash=sha256:{A}",
        f"requests=>2 --hash=sha256:{A}",
        "requests==2.0",
        f"requests==2.0 --hash=md5:{'a' * 32}",
        f"requests==2.0 --hash=sha256:{'A' * 64}",
        f"requests==2.0 --hash=sha256:{'a' * 63}",
        f"requests==2.0 --hash=sha256:{A} --no-deps",
        f"requests @ file:///tmp/requests.whl --hash=sha256:{A}",
        f"./requests.whl --hash=sha256:{A}",
        "-e .",
        "-r other.txt",
        "-c constraints.txt",
        "--index-url x",
        "--extra-index-url x",
        "--find-links x",
        "--trusted-host x",
        f"click==8.5.1 --hash=sha256:{B}",
    ],
)
def test_what_is_not_pinned_and_hashed_is_refused_at_its_line(line: str) -> None:
    with pytest.raises(DataError) as refused:
        parse_requirements((GOOD + "\n" + line + "\n").encode())
    assert refused.value.code == "LOCK_INVALID"
    assert refused.value.place == "line 3"


@pytest.mark.parametrize(
    "lock",
    [
        b'[[package]]\nname = "a"\n',
        b'lock-version = "1.0"\n[[packages]]\n',
        b'{"lockfileVersion": 3}',
        b"golang.org/x/net v0.1.0 h1:abc=\n",
    ],
)
def test_other_formats_are_named_as_not_built(lock: bytes) -> None:
    with pytest.raises(DataError, match="not built in this version"):
        parse_requirements(lock)


@pytest.mark.parametrize("lock", [b"\xff\xfe", b"a==1 \\", bytes(9 * 1024 * 1024)])
def test_broken_bytes_are_refused_with_the_one_code(lock: bytes) -> None:
    with pytest.raises(DataError) as refused:
        parse_requirements(lock)
    assert refused.value.code == "LOCK_INVALID"
