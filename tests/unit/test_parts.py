"""Where external programs come from (docs/architecture.md): order, cache, one build for many."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.dev.parts import PARTS, resolve
from lockstep.errors import UnavailableError

TEMPORAL = "temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)"

FAKE_GO = """#!/bin/sh
PATH=/bin:/usr/bin
echo "$@" >> {log}
sleep 0.2
{body}
"""


def program(path: Path, says: str, exit_code: int = 0) -> Path:
    """A small real program that answers ``--version``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {exit_code}\n")
    path.chmod(0o755)
    return path


def go(folder: Path, body: str) -> Path:
    """A stand-in for the Go tool that notes its arguments, then runs ``body``; returns the note."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "go.log"
    (folder / "go").write_text(FAKE_GO.format(log=log, body=body))
    (folder / "go").chmod(0o755)
    return log


def builds(name: str, says: str) -> str:
    return f"printf '#!/bin/sh\\necho \"{says}\"\\n' > $GOBIN/{name}; chmod 755 $GOBIN/{name}"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment with an empty PATH and an empty cache."""
    (tmp_path / "bin").mkdir()
    return {"PATH": str(tmp_path / "bin"), "LOCKSTEP_CACHE": str(tmp_path / "cache")}


def refused(environ: dict[str, str], name: str = "temporal") -> UnavailableError:
    with pytest.raises(UnavailableError) as caught:
        resolve(name, environ=environ, say=lambda line: None)
    assert caught.value.code == "SERVER_BINARY_MISSING"
    return caught.value


def test_the_variable_wins_over_path_and_path_over_the_cache(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    cached = program(tmp_path / "cache" / "temporal-v1.5.1" / "temporal", TEMPORAL)
    assert resolve("temporal", environ=environ) == cached
    on_path = program(tmp_path / "bin" / "temporal", TEMPORAL)
    assert resolve("temporal", environ=environ) == on_path
    chosen = program(tmp_path / "elsewhere", TEMPORAL)
    environ["LOCKSTEP_TEMPORAL_BIN"] = str(chosen)
    assert resolve("temporal", environ=environ) == chosen


@pytest.mark.parametrize("says", ["something else", ""])
def test_a_variable_that_names_no_such_program_is_an_error_and_not_passed_over(
    tmp_path: Path, environ: dict[str, str], says: str
) -> None:
    program(tmp_path / "bin" / "temporal", TEMPORAL)
    if says:
        program(tmp_path / "chosen", says)
    environ["LOCKSTEP_TEMPORAL_BIN"] = str(tmp_path / "chosen")
    assert "LOCKSTEP_TEMPORAL_BIN" in refused(environ).cause


def test_a_program_that_does_not_run_is_passed_over(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    cached = program(tmp_path / "cache" / "temporal-v1.5.1" / "temporal", TEMPORAL)
    program(tmp_path / "bin" / "temporal", TEMPORAL, exit_code=1)
    assert resolve("temporal", environ=environ) == cached


@pytest.mark.parametrize(
    ("says", "used"),
    [("Version  : v1.8.0", True), ("Version  : git", False), ("Version  : v1.7.0", False)],
)
def test_on_path_only_the_pinned_s3_server_counts_since_older_ones_race(
    tmp_path: Path, environ: dict[str, str], says: str, used: bool
) -> None:
    cached = program(tmp_path / "cache" / "versitygw-v1.8.0" / "versitygw", "Version  : git")
    on_path = program(tmp_path / "bin" / "versitygw", says)
    assert resolve("versitygw", environ=environ) == (on_path if used else cached)


@pytest.mark.parametrize("name", sorted(PARTS))
def test_without_program_and_without_go_the_way_out_is_named(
    environ: dict[str, str], name: str
) -> None:
    error = refused(environ, name)
    assert PARTS[name].version in error.cause
    assert "install Go" in error.hint
    assert PARTS[name].variable in error.hint


def test_many_callers_build_once_and_only_the_pinned_version(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    log = go(tmp_path / "bin", builds("temporal", TEMPORAL))
    told: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(lambda _: resolve("temporal", environ=environ, say=told.append), range(4))
        )
    assert set(found) == {tmp_path / "cache" / "temporal-v1.5.1" / "temporal"}
    assert log.read_text().splitlines() == [
        "install -ldflags -s -w github.com/temporalio/cli/cmd/temporal@v1.5.1"
    ]
    assert any("building temporal v1.5.1" in line for line in told)
    assert sorted(path.name for path in found[0].parent.iterdir()) == [".lock", "temporal"]


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("echo no route to module; exit 1", "no route to module"),
        (builds("temporal", "not it"), "does not run"),
        ("exit 0", "does not run"),
    ],
)
def test_a_build_that_fails_leaves_nothing_in_the_cache(
    tmp_path: Path, environ: dict[str, str], body: str, cause: str
) -> None:
    go(tmp_path / "bin", body)
    assert cause in refused(environ).cause
    folder = tmp_path / "cache" / "temporal-v1.5.1"
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_the_callers_own_download_comes_before_a_build_and_is_checked(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    log = go(tmp_path / "bin", builds("temporal", TEMPORAL))
    asked: list[Path] = []

    def fetch(folder: Path) -> Path:
        asked.append(folder)
        return program(tmp_path / "downloads" / "temporal-cli", TEMPORAL)

    found = resolve("temporal", environ=environ, fetch=fetch, say=lambda line: None)
    assert found == tmp_path / "cache" / "temporal-v1.5.1" / "temporal"
    assert asked == [found.parent]
    assert not log.exists()
    resolve("temporal", environ=environ, fetch=fetch)
    assert len(asked) == 1


def test_a_refused_or_broken_download_falls_back_to_building(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    log = go(tmp_path / "bin", builds("temporal", TEMPORAL))
    for fetch in (lambda _: None, lambda _: program(tmp_path / "half", "half a download")):
        found = resolve("temporal", environ=environ, fetch=fetch, say=lambda line: None)
        found.unlink()
    assert len(log.read_text().splitlines()) == 2


def test_a_cache_that_cannot_be_made_is_an_error_with_the_path(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    (tmp_path / "cache").write_bytes(b"")
    assert str(tmp_path / "cache") in refused(environ).cause


def test_the_command_prints_the_path_and_exits_ten_without_one(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "infra.dev.parts", *words]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    missing = run("temporal")
    assert (missing.returncode, missing.stdout) == (10, "")
    assert "SERVER_BINARY_MISSING" in missing.stderr
    cached = program(tmp_path / "cache" / "temporal-v1.5.1" / "temporal", TEMPORAL)
    found = run("temporal")
    assert (found.returncode, found.stdout) == (0, f"{cached}\n")
    assert run("unknown").returncode == run().returncode == 2
