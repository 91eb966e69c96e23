"""Where the external programs come from: one table of versions, one order of looking.

    environment variable → PATH → cache → the caller's own download → go install, once

``resolve`` needs no network when the program is cached. Cached programs lie in
``${LOCKSTEP_CACHE:-~/.cache/lockstep}/<name>-<version>/``; a lock file there lets any number of
callers ask at once and only one of them build. From a shell: ``python -m infra.dev.parts NAME``.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lockstep.errors import Exit, UnavailableError

ANSWER_MAX_S = 20
BUILD_MAX_S = 1_800
REMIND_S = 30

Fetch = Callable[[Path], Path | None]
"""Gets the folder of the cache entry; returns the program that it put somewhere, or None."""


@dataclass(frozen=True, slots=True)
class Part:
    """One external program, pinned."""

    name: str
    version: str
    module: str
    """The Go package that builds it."""
    variable: str
    """Environment variable that names a binary to use instead."""
    answer: str
    """What ``--version`` prints somewhere when it is this program."""
    path_answer: str
    """The same for one found on PATH, which may be of any age."""
    build_minutes: int


PARTS: Mapping[str, Part] = {
    part.name: part
    for part in (
        Part(
            name="temporal",
            version="v1.5.1",
            module="github.com/temporalio/cli/cmd/temporal",
            variable="LOCKSTEP_TEMPORAL_BIN",
            answer=r"^temporal version ",
            path_answer=r"^temporal version ",
            build_minutes=3,
        ),
        Part(
            name="versitygw",
            version="v1.8.0",
            module="github.com/versity/versitygw/cmd/versitygw",
            variable="LOCKSTEP_VERSITYGW_BIN",
            answer=r"^Version\s*:",
            # Older ones let two writers win one key, and a build from source names no version.
            path_answer=r"^Version\s*: v?1\.8\.0\b",
            build_minutes=4,
        ),
    )
}


def resolve(
    name: str,
    *,
    fetch: Fetch | None = None,
    environ: Mapping[str, str] | None = None,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Return a program that was seen to run; get it first where it is not at hand.

    ``fetch`` is tried before building; ``say`` gets progress lines (default: stderr).

    Raises:
        KeyError: no such part.
        UnavailableError: SERVER_BINARY_MISSING, with what to do.
    """
    part = PARTS[name]
    environ = os.environ if environ is None else environ
    say = say or (lambda line: print(line, file=sys.stderr, flush=True))
    if chosen := environ.get(part.variable):
        if _answers(Path(chosen), part.answer):
            return Path(chosen)
        raise _missing(part, f"{part.variable} names {chosen}, which is no {name} that runs")
    on_path = shutil.which(name, path=environ.get("PATH", os.defpath))
    if on_path and _answers(Path(on_path), part.path_answer):
        return Path(on_path)
    folder = _cache(environ) / f"{part.name}-{part.version}"
    cached = folder / part.name
    if _answers(cached, part.answer):
        return cached
    with _alone(folder, part, say):
        if not _answers(cached, part.answer):  # another caller may have built it meanwhile
            _obtain(part, cached, fetch, environ, say)
    return cached


def _cache(environ: Mapping[str, str]) -> Path:
    chosen = environ.get("LOCKSTEP_CACHE")
    if chosen:
        return Path(chosen).absolute()
    return Path(environ.get("HOME") or Path.home()) / ".cache" / "lockstep"


def _answers(program: Path, pattern: str) -> bool:
    """Whether the file runs and says that it is the program wanted."""
    if not program.is_file() or not os.access(program, os.X_OK):
        return False
    try:
        told = subprocess.run(  # noqa: S603 (a fixed argument; the program is the caller's choice)
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ANSWER_MAX_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    text = told.stdout.decode(errors="replace")
    return told.returncode == 0 and re.search(pattern, text, re.MULTILINE) is not None


@contextmanager
def _alone(folder: Path, part: Part, say: Callable[[str], None]) -> Iterator[None]:
    """Be the only caller that fills ``folder``; the lock ends with its holder, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "w")  # noqa: SIM115 (closed below; its life is the lock's)
    except OSError as error:
        raise _missing(part, f"the cache cannot be written: {error}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another build of {part.name} {part.version}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _obtain(
    part: Part,
    cached: Path,
    fetch: Fetch | None,
    environ: Mapping[str, str],
    say: Callable[[str], None],
) -> None:
    """Put the program at ``cached``, whole or not at all."""
    fetched = fetch(cached.parent) if fetch else None
    if fetched is not None and _answers(fetched, part.answer):
        with tempfile.TemporaryDirectory(dir=cached.parent, prefix=".fetched-") as scratch:
            copy = Path(scratch) / part.name
            shutil.copy2(fetched, copy)
            copy.replace(cached)
        return
    compiler = shutil.which("go", path=environ.get("PATH", os.defpath))
    if compiler is None:
        raise _missing(part, f"there is no {part.name} {part.version} and no Go to build it with")
    with tempfile.TemporaryDirectory(dir=cached.parent, prefix=".build-") as scratch:
        built = _build(part, compiler, Path(scratch), environ, say)
        if not _answers(built, part.answer):
            raise _missing(part, f"the {part.name} that Go built does not run")
        built.replace(cached)


def _build(
    part: Part, compiler: str, scratch: Path, environ: Mapping[str, str], say: Callable[[str], None]
) -> Path:
    started = time.monotonic()
    target = f"{part.module}@{part.version}"
    say(f"building {part.name} {part.version}: about {part.build_minutes} minutes, once")
    log = scratch / "build.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 (fixed words and the pinned module)
            [compiler, "install", "-ldflags", "-s -w", target],
            cwd=scratch,  # away from any go.mod
            env={**environ, "GOBIN": str(scratch)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            while True:
                try:
                    code = process.wait(timeout=REMIND_S)
                    break
                except subprocess.TimeoutExpired:
                    took_s = time.monotonic() - started
                    say(f"building {part.name} {part.version}: {took_s:.0f} s so far")
                    if took_s > BUILD_MAX_S:
                        raise _missing(part, f"not built within {BUILD_MAX_S} s") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if code != 0:
        last = log.read_text(errors="replace").strip().splitlines()[-3:]
        raise _missing(part, f"go install {target} failed: {' / '.join(last)}")
    say(f"built {part.name} {part.version} in {time.monotonic() - started:.0f} s")
    return scratch / part.name


def _missing(part: Part, cause: str) -> UnavailableError:
    return UnavailableError(
        "SERVER_BINARY_MISSING",
        cause,
        place=part.name,
        hint=f"install Go, put {part.name} {part.version} on PATH, or name it in {part.variable}",
    )


def main(words: list[str]) -> int:
    if len(words) != 1 or words[0] not in PARTS:
        print(f"usage: python -m infra.dev.parts {{{'|'.join(PARTS)}}}", file=sys.stderr)
        return Exit.USAGE
    try:
        print(resolve(words[0]))
    except UnavailableError as error:
        print(f"{error}\n{error.hint}", file=sys.stderr)
        return Exit.UNREACHABLE
    return Exit.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
