"""The demonstration: a good release carried to production, two bad ones stopped and taken back.

Everything is what the commands do, on the embedded stack and its real traffic; nothing here
decides how a rollout ends, it only says whether it ended as it should.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from client.commands.adopt import adopt_service
from client.commands.report import report_text, reports_of
from client.commands.start_rollout import carry
from client.commands.target import facts
from client.commands.verify import verification
from client.context import Stored
from client.devstack import stack
from client.devstack.releases import make_demo_release
from client.devstack.state import ENVIRONMENTS, SERVICE
from client.follow import Wait
from client.inputs import policy_of, profile_of
from client.releasing import approve_release, certify_bundle, pack_release
from client.rollouts import prepare
from lockstep.errors import Exit
from lockstep.settings import Context, load_context

SCHEMA_VERSION = "lockstep.demo.v1"
FOLDER = "demo"
TURNS_MAX = 10_000

Say = Callable[[str], None]


@dataclass(frozen=True)
class Case:
    """One release of the demonstration and how its rollout has to end."""

    name: str
    story: str
    ends: Exit
    faults: dict[str, Any] = field(default_factory=dict)


CASES = (
    Case("good", "a good release, to be committed in production", Exit.DONE),
    Case(
        "errors",
        "a release that raises errors, to be stopped by its first gate",
        Exit.ROLLED_BACK,
        {"error_permille": 100},
    ),
    Case(
        "latency",
        "a release that is slow in prod alone, to be stopped there and taken back everywhere",
        Exit.ROLLED_BACK,
        {"latency_ms": 500, "faulty_in": ["prod"]},
    ),
)


@dataclass(frozen=True)
class Demo:
    """The stack the demonstration runs on."""

    context: Context
    stored: Stored
    folder: Path
    """Where this turn's releases are made; new each time."""
    turn: int
    ui_url: str


def begin(folder: Path, say: Say) -> Demo:
    """Bring the stack up and adopt what it serves, everywhere.

    Raises:
        LockstepError: the stack did not come up, or there is nothing to adopt.
    """
    up = stack.up(folder, stack.Wanted(), say)
    settings = folder.resolve() / "lockstep.toml"
    context = load_context(
        settings.read_bytes(), None, {}, folder=str(settings.parent), place=str(settings)
    )
    policy, profile = policy_of(context, None), profile_of(context, None)
    for name in ENVIRONMENTS:
        adopted = adopt_service(context, SERVICE, name, policy, profile)
        word = "adopted" if adopted["changed"] else "known already"
        say(f"{name}: {SERVICE} {adopted['release_hash'][7:19]} {word}")
    turn, place = _new_turn(settings.parent / FOLDER)
    return Demo(context, Stored(context), place, turn, up["ui_url"])


def _new_turn(folder: Path) -> tuple[int, Path]:
    """The number of this demonstration on this stack, and its own new folder."""
    for turn in range(1, TURNS_MAX):
        place = folder / str(turn)
        if not place.exists():
            place.mkdir(parents=True)
            return turn, place
    raise FileExistsError(f"{folder} holds {TURNS_MAX} turns")


def make_release(demo: Demo, case: Case, number: int) -> Path:
    """Write, pack, certify and approve one release; returns its bundle."""
    version = f"1.{demo.turn}.{number}"
    source = demo.folder / case.name
    document = make_demo_release(
        source, version, policy_path=Path(str(demo.context.policy)), **case.faults
    )
    bundle = demo.folder / f"{case.name}.tar"
    pack_release(document, bundle, demo.context.tenant_id)
    certify_bundle(demo.context, bundle)
    approve_release(demo.context, str(bundle))
    return bundle


def carry_case(demo: Demo, case: Case, number: int, say: Say) -> dict[str, Any]:
    """Roll one release out, read its reports, verify its run; what came of it."""
    say(f"{case.name}: {case.story}")
    prepared = prepare(demo.context, str(make_release(demo, case, number)), None, None)
    followed = asyncio.run(carry(prepared, Wait()))
    assert followed is not None  # only a detached start has no end
    document = followed.document
    reports = reports_of(demo.context, demo.stored, prepared.run_id)
    verified = verification(demo.context, demo.stored, prepared.run_id)
    return {
        "name": case.name,
        "story": case.story,
        "run_id": prepared.run_id,
        "release_hash": document["release_hash"],
        "status": document["status"],
        "stage": document["stage"],
        "exit_code": int(followed.exit),
        "expected_exit_code": int(case.ends),
        "verified": verified["outcome"],
        "ui_url": document["ui_url"],
        "as_expected": followed.exit == case.ends and verified["outcome"] == "pass",
        "report": report_text(reports),
    }


def traffic(demo: Demo, good: str) -> list[dict[str, Any]]:
    """Where the traffic is at the end: all of it on the good release, healthy, everywhere."""
    profile = profile_of(demo.context, None)
    found = []
    for spec in profile.environments:
        row = facts(demo.stored, spec, SERVICE)
        wanted = {good.removeprefix("sha256:"): 100}
        fine = row["actual"] == wanted and row["drift"] is None and row["healthy"] is True
        found.append(
            {
                "environment": spec.name,
                "actual": row["actual"],
                "drift": row["drift"],
                "healthy": row["healthy"],
                "as_expected": fine,
            }
        )
    return found
