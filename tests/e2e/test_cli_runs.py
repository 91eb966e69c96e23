"""The commands around a run: attach, wait, leave, look, act, and prove it afterwards offline."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from client import context as settings
from client.verifying import check_run
from lockstep import cbor, layout
from lockstep.errors import Exit
from lockstep.run_book import Check, CheckOutcome
from lockstep.settings import Context, load_context
from tests.processes import script, wait_until
from tests.world import BAD, GOOD, SERVICE, TENANT, World

pytestmark = pytest.mark.e2e

BAKE_S = 1
SLOW = {"cohorts": (5, 100), "environments": ("dev", "prod"), "bake_s": BAKE_S}
RATIO_MAX = 1.2
TRIES = 12


@pytest.fixture(scope="module")
def world(worlds) -> World:
    made = worlds(**SLOW)
    made.start_worker()
    made.adopt()
    return made


@pytest.fixture(autouse=True)
def _good_metrics(world: World) -> None:
    for name in world.environments:
        world.set_metrics(name, GOOD)


@pytest.fixture(scope="module")
def committed(world: World) -> dict[str, Any]:
    for name in world.environments:
        world.set_metrics(name, GOOD)
    return world.start(world.release("1.0.0"))


@pytest.fixture(scope="module")
def rolled_back(world: World, committed: dict[str, Any]) -> dict[str, Any]:
    world.set_metrics("dev", BAD)
    return world.start(world.release("1.0.1"), expect=Exit.ROLLED_BACK)


def test_starting_a_run_that_ended_prints_its_end_and_starts_nothing(
    world: World, committed: dict[str, Any], rolled_back: dict[str, Any]
) -> None:
    for ended, code in ((committed, Exit.DONE), (rolled_back, Exit.ROLLED_BACK)):
        before = len(world.json("list")["runs"])
        again = world.start(ended["release_hash"], expect=code)
        assert again["run_id"] == ended["run_id"]
        assert again["status"] == ended["status"]
        assert again["exit_code"] == code
        assert len(world.json("list")["runs"]) == before


def test_a_second_start_attaches_and_each_wait_ends_as_it_was_told(
    world: World, committed: dict[str, Any]
) -> None:
    release = world.release("1.1.0")
    begun = world.start(release, "--detach")
    assert begun["schema_version"] == "lockstep.rollout-started.v1"
    reached = world.start(release, "--until", "dev/5")
    assert reached["run_id"] == begun["run_id"]
    assert reached["status"] == "running"
    assert next(row for row in reached["stages"] if row["stage"] == "dev/5")["outcome"] == "PASS"
    assert world.start(release, "--timeout", "0.1", expect=Exit.WAIT_TIMED_OUT)["stages"]
    passed = world.json("watch", begun["run_id"], "--until", "dev")
    assert {"name": "dev", "status": "passed"} in passed["environments"]
    ended = world.json("watch", begun["run_id"])
    assert ended["status"] == "success"
    assert ended["stage"] == "done"


def test_an_interrupted_wait_stops_nothing(world: World, committed: dict[str, Any]) -> None:
    release = world.release("1.2.0")
    waiting = subprocess.Popen(
        [script("client"), "--config", world.config, "start-rollout", release],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    run_id = wait_until(lambda: _newest(world, release), "the run is listed")
    time.sleep(0.5)
    os.kill(waiting.pid, signal.SIGINT)
    _, said = waiting.communicate(timeout=30)
    assert waiting.returncode == Exit.INTERRUPTED
    assert f"re-attach with: client watch {run_id}" in said
    assert "Traceback" not in said
    assert world.json("watch", str(run_id))["status"] == "success"


def _newest(world: World, release: str) -> str | None:
    runs = world.json("list", "--limit", "5")["runs"]
    return next((row["run_id"] for row in runs if row["release_hash"] == release), None)


def test_a_paused_run_needs_a_person_and_goes_on_when_one_says_so(
    world: World, committed: dict[str, Any]
) -> None:
    release = world.release("1.3.0")
    run_id = world.start(release, "--detach")["run_id"]
    paused = world.json("pause", run_id, "--reason", "a look at the graphs")
    assert paused["accepted"] is True
    held = world.start(release, expect=Exit.HELD)
    assert held["status"] == "paused"
    assert world.json("watch", run_id, "--timeout", "0.5", expect=Exit.HELD)["waits_for"]
    listed = {row["run_id"]: row for row in world.json("list")["runs"]}
    assert listed[run_id]["status"] in ("paused", "running")
    world.json("resume", run_id, "--reason", "all is well")
    assert world.json("watch", run_id)["status"] == "success"
    world.client("pause", run_id, "--reason", "too late", expect=Exit.USAGE)


def test_a_watch_survives_a_server_that_comes_back(world: World, committed: dict[str, Any]) -> None:
    run_id = world.start(world.release("1.4.0"), "--detach")["run_id"]
    watching = subprocess.Popen(
        [script("client"), "--config", world.config, "watch", run_id],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(1.5)
    world.server.program.kill()
    time.sleep(3)
    world.server.start()
    out, said = watching.communicate(timeout=120)
    assert watching.returncode == Exit.DONE, said
    assert "success" in out
    assert "the rollout goes on, asking again" in said


# ---- what is printed -------------------------------------------------------------------------


def test_status_has_every_field_that_programs_rely_on(
    world: World, committed: dict[str, Any]
) -> None:
    status = world.status(committed["run_id"])
    assert status["schema_version"] == "lockstep.run-status.v1"
    wanted = (
        "run_id tenant_id service release_hash rollback_releases status stage epoch stages "
        "reports committed trace_tail_hash ui_url"
    )
    assert set(wanted.split()) <= set(status)
    of_stage = "stage action outcome snapshot_hash verdict_hash started ended"
    for row in status["stages"]:
        assert set(of_stage.split()) <= set(row)
        assert row["started"] <= row["ended"]
    assert status["committed"] is True
    assert status["ui_url"].endswith(f"rollout%2F{TENANT}%2F{committed['run_id']}")


def test_list_names_each_run_with_its_whole_release(
    world: World, committed: dict[str, Any], rolled_back: dict[str, Any]
) -> None:
    value = world.json("list", "--service", SERVICE)
    assert value["schema_version"] == "lockstep.runs.v1"
    rows = {row["run_id"]: row for row in value["runs"]}
    for run, status in ((committed, "success"), (rolled_back, "rolled_back")):
        row = rows[run["run_id"]]
        assert (row["operation"], row["service"], row["status"]) == ("rollout", SERVICE, status)
        assert row["release_hash"] == run["release_hash"]
    assert world.json("list", "--service", "another")["runs"] == []


def test_a_report_holds_every_report_with_the_digest_that_names_it(
    world: World, rolled_back: dict[str, Any]
) -> None:
    value = world.json("report", rolled_back["run_id"])
    kinds = {"deployment_report", "preflight_report", "rollback_report", "trust_report"}
    assert set(value["reports"]) == kinds
    for kind, one in value["reports"].items():
        assert one["digest"] == rolled_back["reports"][kind]
    back = value["reports"]["rollback_report"]["report"]
    assert back["environment"] == "dev"
    said = world.client("report", rolled_back["run_id"])
    assert "dev went back" in said
    assert rolled_back["reports"]["deployment_report"] in said


def test_a_dry_run_prints_the_preflight_report_and_touches_no_target(world: World) -> None:
    release = world.release("1.5.0")
    before = {name: world.effects(name) for name in world.environments}
    report = world.start(release, "--dry-run")
    assert report["schema_version"] == "lockstep.preflight-report.v1"
    assert {check["outcome"] for check in report["checks"]} <= {"pass", "not_configured"}
    assert {name: world.effects(name) for name in world.environments} == before
    assert world.store.read(layout.committed(TENANT, report["run_id"])) is None
    world.client("status", report["run_id"], expect=Exit.USAGE)  # no run was begun


def test_progress_is_on_stderr_and_quiet_is_quiet(world: World, committed: dict[str, Any]) -> None:
    done = subprocess.run(
        [script("client"), "--config", world.config, "-q", "watch", committed["run_id"]],
        capture_output=True,
        text=True,
    )
    assert done.returncode == Exit.DONE
    assert done.stderr == ""
    assert "\x1b" not in done.stdout


# ---- without the server ----------------------------------------------------------------------


def offline(world: World, *words: str, expect: int = Exit.DONE) -> str:
    """A command line while no server is to be reached."""
    done = subprocess.run(
        [script("client"), "--config", world.config, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "LOCKSTEP_TEMPORAL_ADDRESS": "127.0.0.1:1"},
    )
    assert done.returncode == expect, done.stderr
    return done.stdout


def test_a_run_that_ended_is_told_by_the_store_alone(
    world: World, committed: dict[str, Any], rolled_back: dict[str, Any]
) -> None:
    for run, code in ((committed, Exit.DONE), (rolled_back, Exit.ROLLED_BACK)):
        assert run["status"] in offline(world, "status", run["run_id"])
        assert run["release_hash"][7:19] in offline(world, "watch", run["run_id"], expect=code)
        assert "deployment_report" in offline(world, "report", run["run_id"])
        assert "FINDING" not in offline(world, "verify", run["run_id"])


# ---- verify --------------------------------------------------------------------------------


def context_of(world: World, store: Path) -> Context:
    environ = {"LOCKSTEP_STORE": store.as_uri()}
    return load_context(world.config.read_bytes(), None, environ, folder=str(world.folder))


def checks_of(world: World, store: Path, run_id: str) -> dict[str, Check]:
    context = context_of(world, store)
    return {one.name: one for one in check_run(context, settings.Stored(context), run_id)}


@pytest.fixture
def copied(world: World, committed: dict[str, Any], tmp_path: Path) -> Path:
    copy = tmp_path / "store"
    shutil.copytree(world.folder / "store", copy)
    return copy


def findings(checks: dict[str, Check]) -> set[str]:
    return {name for name, check in checks.items() if check.outcome is CheckOutcome.FINDING}


def of_cas(store: Path, digest: str) -> Path:
    return store / layout.cas(TENANT, bytes.fromhex(digest.removeprefix("sha256:")))


def test_a_sound_run_has_no_finding(world: World, copied: Path, committed: dict[str, Any]) -> None:
    checks = checks_of(world, copied, committed["run_id"])
    assert findings(checks) == set()
    for name in ("log", "pointer", "trace", "verdicts", "lineage", "checkpoint", "certificate"):
        assert checks[name].outcome is CheckOutcome.PASS


@pytest.mark.parametrize(
    ("field", "check"), [("snapshot_hash", "verdicts"), ("verdict_hash", "verdicts")]
)
def test_an_object_that_was_altered_is_found(
    world: World, copied: Path, committed: dict[str, Any], field: str, check: str
) -> None:
    path = of_cas(copied, committed["stages"][0][field])
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    checks = checks_of(world, copied, committed["run_id"])
    assert {"objects", check, "lineage"} <= findings(checks)
    assert checks["objects"].code == "OBJECT_CORRUPT"


def test_an_object_that_is_gone_is_found(
    world: World, copied: Path, committed: dict[str, Any]
) -> None:
    of_cas(copied, committed["stages"][-1]["verdict_hash"]).unlink()
    checks = checks_of(world, copied, committed["run_id"])
    assert checks["objects"].code == "OBJECT_MISSING"


def test_a_pointer_that_differs_from_the_log_is_found(
    world: World, copied: Path, committed: dict[str, Any]
) -> None:
    path = copied / layout.committed(TENANT, committed["run_id"])
    value = cbor.decode(path.read_bytes())
    value["checkpoint_hash"] = bytes(32)
    path.chmod(0o600)
    path.write_bytes(cbor.encode(value))
    checks = checks_of(world, copied, committed["run_id"])
    assert findings(checks) == {"pointer"}
    path.unlink()
    checks = checks_of(world, copied, committed["run_id"])
    assert "recovery has not run" in checks["pointer"].detail


@pytest.mark.parametrize("change", ["gap", "altered", "of another run"])
def test_a_broken_log_is_found_and_what_rests_on_it_is_not_judged(
    world: World, copied: Path, committed: dict[str, Any], rolled_back: dict[str, Any], change: str
) -> None:
    path = copied / layout.wal_record(TENANT, committed["run_id"], 1)
    path.chmod(0o600)
    if change == "gap":
        path.unlink()
    elif change == "altered":
        value = cbor.decode(path.read_bytes())
        value["payload"]["checkpoint_hash"] = bytes(32)
        path.write_bytes(cbor.encode(value))
    else:
        other = copied / layout.wal_record(TENANT, rolled_back["run_id"], 1)
        path.write_bytes(other.read_bytes())
    checks = checks_of(world, copied, committed["run_id"])
    assert findings(checks) == {"log"}
    assert checks["log"].code == "WAL_CORRUPTION"
    assert checks["verdicts"].outcome is CheckOutcome.NOT_RUN


def test_a_trust_root_that_is_gone_or_another_is_found(
    world: World, copied: Path, committed: dict[str, Any]
) -> None:
    path = copied / layout.trust_root(TENANT, 1)
    path.unlink()
    checks = checks_of(world, copied, committed["run_id"])
    assert findings(checks) == {"certificate"}
    assert checks["certificate"].code == "TRUST_ROOT_INVALID"


def test_the_command_exits_8_on_a_finding(
    world: World, copied: Path, committed: dict[str, Any]
) -> None:
    of_cas(copied, committed["stages"][0]["snapshot_hash"]).unlink()
    done = subprocess.run(
        [script("client"), "--config", world.config, "verify", committed["run_id"], "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "LOCKSTEP_STORE": copied.as_uri()},
    )
    assert done.returncode == Exit.EVIDENCE_REFUSED
    assert '"outcome": "finding"' in done.stdout


@pytest.mark.parametrize("field", ["certificate", "verdict", "snapshot", "approval", "adoption"])
def test_one_stored_record_is_verified_by_what_it_is(
    world: World, copied: Path, committed: dict[str, Any], tmp_path: Path, field: str
) -> None:
    store = copied
    if field == "certificate":
        report = world.json("report", committed["run_id"])["reports"]["deployment_report"]
        path = of_cas(store, report["report"]["certificate_hash"])
    elif field in ("verdict", "snapshot"):
        path = of_cas(store, committed["stages"][0][f"{field}_hash"])
    else:
        folder = store / ("approvals" if field == "approval" else "adoptions")
        path = next(path for path in sorted(folder.rglob("*")) if path.is_file())
    world.client("verify", path)
    data = path.read_bytes()
    broken = [data[:-1]]
    if field != "snapshot":  # a snapshot alone binds nothing but its raw answers
        broken.append(data[:-1] + bytes([data[-1] ^ 1]))
    for body in broken:
        (tmp_path / "broken.cbor").write_bytes(body)
        world.client("verify", tmp_path / "broken.cbor", expect=Exit.EVIDENCE_REFUSED)


# ---- speed ---------------------------------------------------------------------------------


def test_status_asks_its_first_question_soon(world: World) -> None:
    """At most 1.2 times a bare import of the Temporal client library (issue, Reach)."""
    import socket
    import sys

    with socket.create_server(("127.0.0.1", 0)) as server:
        environ = {
            **os.environ,
            "LOCKSTEP_TEMPORAL_ADDRESS": f"127.0.0.1:{server.getsockname()[1]}",
        }
        command = [script("client"), "--config", world.config, "status", "0123456789abcdef"]

        def status_s() -> float:
            begin = time.perf_counter()
            asking = subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL)
            connection, _ = server.accept()
            with connection:
                connection.recv(1)
                took = time.perf_counter() - begin
            asking.kill()
            asking.wait()
            return took

        def import_s() -> float:
            begin = time.perf_counter()
            program = "import os, temporalio.client; os._exit(0)"
            subprocess.run([sys.executable, "-c", program], check=True)
            return time.perf_counter() - begin

        pairs = [(status_s(), import_s()) for _ in range(TRIES)]
    ratio = min(status for status, _ in pairs) / min(bare for _, bare in pairs)
    assert ratio <= RATIO_MAX
