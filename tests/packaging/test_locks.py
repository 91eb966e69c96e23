"""The locks: every pin has a hash and no address, and the three locks agree with each other.

They are read by the parser that reads a release's own lock: it refuses a requirement without a hash
and every option that could change where a package comes from.
"""

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lockstep.errors import DataError
from lockstep.release.locks import parse_requirements
from tests.packaging.test_wheel import PROJECT
from tests.tidy.sources import ROOT

RUNTIME = ROOT / "requirements" / "runtime.lock"
DEV = ROOT / "requirements" / "dev.lock"
DEMO = ROOT / "infra" / "demo" / "requirements.lock"
ADDRESS = re.compile(rb"[a-z+]+://")


def pins(path) -> dict[str, tuple[str, str]]:
    """Project → (version, its hashes)."""
    rows = parse_requirements(path.read_bytes())
    return {name: (version, hashes) for name, version, _, hashes in rows}


@pytest.mark.parametrize("path", [RUNTIME, DEV, DEMO], ids=lambda path: path.name)
def test_every_pin_has_a_hash_and_there_is_no_address(path) -> None:
    assert len(pins(path)) >= 10
    assert not ADDRESS.search(path.read_bytes())


def test_a_pin_without_a_hash_or_an_index_would_be_refused() -> None:
    """What the test above rests on."""
    data = DEMO.read_bytes()
    for broken in (data + b"six==1.17.0\n", b"--index-url somewhere\n" + data):
        with pytest.raises(DataError, match="LOCK_INVALID"):
            parse_requirements(broken)


def test_who_develops_runs_exactly_what_who_uses_runs() -> None:
    runtime, dev = pins(RUNTIME), pins(DEV)
    assert {name: dev.get(name) for name in runtime} == runtime


def test_the_demo_service_runs_on_pins_of_the_runtime() -> None:
    runtime, demo = pins(RUNTIME), pins(DEMO)
    assert {name: runtime.get(name) for name in demo} == demo


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        (PROJECT["project"]["dependencies"], RUNTIME),
        (PROJECT["dependency-groups"]["dev"], DEV),
    ],
    ids=["runtime", "dev"],
)
def test_every_dependency_that_is_asked_for_is_pinned_within_its_bounds(wanted, path) -> None:
    found = pins(path)
    for requirement in map(Requirement, wanted):
        version, _ = found[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), requirement


def test_what_only_developers_need_is_not_in_the_runtime() -> None:
    names = {canonicalize_name(Requirement(r).name) for r in PROJECT["dependency-groups"]["dev"]}
    assert names & set(pins(RUNTIME)) == set()
