"""The wheel: the same bytes from the same sources, whole, and enough to run the programs from."""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.processes import script
from tests.tidy.sources import ROOT, repository_files

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = tuple(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
EPOCH = "1700000000"
OLD = 1_000_000_000
TOP = re.compile(r"\w+/__init__\.py")


def build(folder: Path, out: Path) -> Path:
    """One wheel out of the sources in ``folder``."""
    subprocess.run(
        [script("hatchling"), "build", "-t", "wheel", "-d", out],
        cwd=folder,
        env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH},
        check=True,
        capture_output=True,
        timeout=60,
    )
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's files elsewhere, with other times and other permissions."""
    folder = tmp_path_factory.mktemp("copied")
    for name in repository_files():
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy)
        copy.chmod(0o600)
        os.utime(copy, (OLD, OLD))
    return folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_two_builds_in_two_places_give_the_same_bytes(
    wheel: Path, copied: Path, tmp_path: Path
) -> None:
    again = build(copied, tmp_path)
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


def test_a_changed_source_gives_another_wheel(wheel: Path, copied: Path, tmp_path: Path) -> None:
    """The comparison above can fail."""
    changed = copied / "lockstep" / "__init__.py"
    whole = changed.read_bytes()
    changed.write_bytes(whole + b"# more\n")
    try:
        assert build(copied, tmp_path).read_bytes() != wheel.read_bytes()
    finally:
        changed.write_bytes(whole)


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {name for name in repository_files() if name.split("/")[0] in PACKAGES}
    assert "infra/demo/requirements.lock" in names
    assert "infra/demo/service.py" in names


def test_every_package_of_ours_is_in_the_wheel() -> None:
    """``bench`` and ``tests`` are for who works on Lockstep, not for who runs it."""
    tops = {name.split("/")[0] for name in repository_files() if TOP.fullmatch(name)}
    assert tops - set(PACKAGES) == {"bench", "tests"}


def test_the_wheel_names_its_programs(unpacked: Path) -> None:
    (info,) = unpacked.glob("*.dist-info")
    points = configparser.ConfigParser()
    points.read(info / "entry_points.txt")
    assert dict(points["console_scripts"]) == PROJECT["project"]["scripts"]
    assert set(points["console_scripts"]) == {"client", "lockstep", "lockstep-worker"}


IMPORT_ALL = """
import importlib, json, sys
folder, repository, *names = sys.argv[1:]
sys.path[:] = [folder, *(path for path in sys.path if path != repository)]
found = {}
for name in names:
    found[name] = importlib.import_module(name).__file__
json.dump(found, sys.stdout)
"""


def test_every_module_is_imported_from_the_wheel_alone(unpacked: Path) -> None:
    files = [path.relative_to(unpacked) for path in unpacked.rglob("*.py")]
    names = [".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files]
    done = subprocess.run(
        [sys.executable, "-P", "-c", IMPORT_ALL, unpacked, ROOT, *sorted(names)],
        cwd=unpacked,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    places = json.loads(done.stdout)
    assert len(places) == len(files) > 100
    assert [name for name, file in places.items() if not file.startswith(str(unpacked))] == []


@pytest.mark.parametrize("name", PROJECT["project"]["scripts"])
def test_the_programs_are_installed_and_answer(name: str) -> None:
    done = subprocess.run([script(name), "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: {name} [OPTIONS]")
