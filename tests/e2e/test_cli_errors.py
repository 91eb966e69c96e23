"""What a user sees when something is wrong: the exit code, the place, and nothing half-written.

No Temporal server runs here: what works without one is shown by working.
"""

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from activities.adapters.bundle import read_bundle
from activities.adapters.secrets import write_key_file
from activities.adapters.trust_setup import generate_key
from client.main import run
from lockstep import cbor
from lockstep.errors import Exit
from tests.processes import free_port, script
from tests.world import SERVICE, TemporalServer, World

pytestmark = pytest.mark.e2e

WITHIN_S = 10.0
"""An unreachable part is reported within this time (spec interfaces §1)."""

GONE_RUN = "0123456789abcdef"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Agents and a store; the server's port is free and nothing listens on it."""
    folder = tmp_path_factory.mktemp("errors")
    made = World(folder / "w", TemporalServer(folder)).build()
    made.adopt()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def bundle(world: World) -> Path:
    world.release("1.0.0")
    return world.folder / "releases" / "1.0.0" / "bundle"


def told(
    world: World, *words: str | Path, environ: dict[str, str] | None = None
) -> tuple[int, str, float]:
    """(exit code, stderr, seconds) of the installed ``client``, as a process of its own."""
    begin = time.monotonic()
    done = subprocess.run(
        [script("client"), "--config", world.config, *map(str, words)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(environ or {})},
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr, time.monotonic() - begin


def answer(world: World, *words: str | Path) -> tuple[int, str]:
    """(exit code, stderr) of the same in this process, for the many cases that are only quick."""
    said = StringIO()
    with redirect_stderr(said), redirect_stdout(StringIO()):
        code = run(["--config", str(world.config), *map(str, words)])
    assert "Traceback" not in said.getvalue()
    return code, said.getvalue()


def objects(world: World) -> dict[str, int]:
    """Every file of the store with its time: equal before and after means nothing was written."""
    return {
        str(path): path.stat().st_mtime_ns
        for path in (world.folder / "store").rglob("*")
        if path.is_file() and ".tmp" not in path.parts
    }


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    kept.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        for connection in kept:
            connection.close()


# ---- out of reach --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("status", GONE_RUN),
        ("watch", GONE_RUN),
        ("list",),
        ("report", GONE_RUN),
        ("abort", GONE_RUN, "--reason", "x"),
        ("rollback", SERVICE, "--env", "dev"),
    ],
    ids=lambda words: words[0],
)
def test_an_absent_server_exits_10_naming_its_address(world: World, words: tuple[str, ...]) -> None:
    code, said, took_s = told(world, *words)
    assert code == Exit.UNREACHABLE
    assert "error TEMPORAL_UNREACHABLE" in said
    assert f"place: {world.server.address}" in said
    assert took_s < WITHIN_S


def test_a_rollout_without_a_server_exits_10_and_uploads_nothing(
    world: World, bundle: Path
) -> None:
    before = objects(world)
    code, said, took_s = told(world, "start-rollout", bundle)
    assert code == Exit.UNREACHABLE
    assert f"place: {world.server.address}" in said
    assert took_s < WITHIN_S
    assert objects(world) == before


def test_a_server_that_never_answers_is_given_up_within_ten_seconds(world: World) -> None:
    with silent_server() as port:
        code, said, took_s = told(
            world,
            "status",
            GONE_RUN,
            environ={"LOCKSTEP_TEMPORAL_ADDRESS": f"127.0.0.1:{port}"},
        )
    assert code == Exit.UNREACHABLE
    assert f"place: 127.0.0.1:{port}" in said
    assert took_s < WITHIN_S


@pytest.mark.parametrize("words", [("target", "status", SERVICE), ("verify", GONE_RUN)])
def test_an_absent_store_exits_10_naming_it(world: World, words: tuple[str, ...]) -> None:
    gone = world.folder / "gone"
    code, said, took_s = told(world, *words, environ={"LOCKSTEP_STORE": gone.as_uri()})
    assert code == Exit.UNREACHABLE
    assert "error STORE_UNREACHABLE" in said
    assert str(gone) in said
    assert took_s < WITHIN_S


def test_an_absent_object_store_exits_10_naming_its_endpoint(world: World) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    environ = {
        "LOCKSTEP_STORE": "s3://bucket/prefix",
        "LOCKSTEP_STORE_ENDPOINT": endpoint,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    code, said, took_s = told(world, "target", "status", SERVICE, environ=environ)
    assert code == Exit.UNREACHABLE
    assert endpoint in said
    assert took_s < WITHIN_S


def test_an_error_is_one_json_line_where_json_was_asked_for(world: World) -> None:
    code, said, _ = told(world, "list", "--json")
    assert code == Exit.UNREACHABLE
    error = json.loads(said)
    assert error["schema_version"] == "lockstep.error.v1"
    assert error["code"] == "TEMPORAL_UNREACHABLE"
    assert error["place"] == world.server.address
    assert error["docs"] == "errors.md#temporal-unreachable"


# ---- documents and bundles that are broken ---------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cohort: [1, 100]", "cohort"),
        ("cohorts: [1, 50]", "the last cohort is 100"),
        ("service: other", "duplicate key"),
        ("gate: {profile: interval-v1}", "interval-v1"),
        ("gate: {error_rate_max: 0.5}", "strict-v1 fixes this"),
        ("cohorts: [1, 100", "not YAML"),
    ],
)
def test_a_broken_policy_exits_2_at_file_and_line(
    world: World, bundle: Path, tmp_path: Path, line: str, said: str
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"schema_version: lockstep.policy.v1\nservice: {SERVICE}\n{line}\n")
    before = objects(world)
    code, shown = answer(world, "start-rollout", bundle, "--policy", policy)
    assert code == Exit.USAGE
    assert said in shown
    assert f"{policy}:" in shown
    assert objects(world) == before


def test_a_broken_profile_exits_2_at_file_and_line(
    world: World, bundle: Path, tmp_path: Path
) -> None:
    profile = tmp_path / "profile.yaml"
    text = (world.folder / "profile.yaml").read_text()
    profile.write_text(text.replace("bake_s: 0", "bake_s: -1", 1))
    code, shown = answer(world, "start-rollout", bundle, "--profile", profile)
    assert code == Exit.USAGE
    assert "bake_s" in shown
    assert f"{profile}:" in shown


def broken_copy(bundle: Path, folder: Path, name: str, body: bytes | None) -> Path:
    copy = folder / "broken"
    shutil.copytree(bundle, copy)
    if body is None:
        (copy / name).unlink()
    else:
        (copy / name).write_bytes(body)
    return copy


def _without(data: bytes, *path: str) -> bytes:
    value = cbor.decode(data)
    inner = value
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return cbor.encode(value)


def _with(data: bytes, change: object, *path: str) -> bytes:
    value = cbor.decode(data)
    inner = value
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = change
    return cbor.encode(value)


BROKEN = {
    "no manifest": ("manifest.cbor", lambda data: None, Exit.USAGE, "RELEASE_INVALID"),
    "no map": ("manifest.cbor", lambda data: b"\xff", Exit.USAGE, "RELEASE_INVALID"),
    "a field short": (
        "manifest.cbor",
        lambda data: _without(data, "version"),
        Exit.USAGE,
        "RELEASE_INVALID",
    ),
    "a field more": (
        "manifest.cbor",
        lambda data: _with(data, 1, "extra"),
        Exit.USAGE,
        "RELEASE_INVALID",
    ),
    "not certified": ("certificate.cbor", lambda data: None, Exit.USAGE, "RELEASE_INVALID"),
    "certificate field short": (
        "certificate.cbor",
        lambda data: _without(data, "signed_payload", "lockfile_hash"),
        Exit.EVIDENCE_REFUSED,
        "CERTIFICATE_INVALID",
    ),
    "certificate field more": (
        "certificate.cbor",
        lambda data: _with(data, b"", "signed_payload", "extra"),
        Exit.EVIDENCE_REFUSED,
        "CERTIFICATE_INVALID",
    ),
    "other toolchain": (
        "certificate.cbor",
        lambda data: _with(data, bytes(32), "signed_payload", "toolchain_hash"),
        Exit.EVIDENCE_REFUSED,
        "EQUALITY_FAILED",
    ),
    "other lock": (
        "evidence/lockfile",
        lambda data: data + b"\n",
        Exit.EVIDENCE_REFUSED,
        "EVIDENCE_INVALID",
    ),
    "no lineage": ("lineage.cbor", lambda data: None, Exit.USAGE, "RELEASE_INVALID"),
    "stray file": ("stray.txt", lambda data: b"x", Exit.USAGE, "RELEASE_INVALID"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_bundle_is_refused_before_anything_is_touched(
    world: World, bundle: Path, tmp_path: Path, what: str
) -> None:
    name, change, expected, code = BROKEN[what]
    data = (bundle / name).read_bytes() if (bundle / name).exists() else b""
    broken = broken_copy(bundle, tmp_path, name, change(data))
    before = objects(world)
    exit_code, said = answer(world, "start-rollout", broken)
    assert exit_code == expected
    assert f"error {code}" in said
    assert str(broken) in said
    assert objects(world) == before


def test_a_release_certified_for_another_policy_is_refused_by_name(
    world: World, bundle: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"schema_version: lockstep.policy.v1\nservice: {SERVICE}\ncohorts: [100]\n")
    code, said = answer(world, "start-rollout", bundle, "--policy", policy)
    assert code == Exit.EVIDENCE_REFUSED
    assert "error EQUALITY_FAILED: policy_bundle_hash" in said


@pytest.mark.parametrize(
    ("release", "code", "expected"),
    [
        ("nowhere", "RELEASE_INVALID", Exit.USAGE),
        ("sha256:" + "0" * 64, "OBJECT_MISSING", Exit.EVIDENCE_REFUSED),
        ("0" * 64, "OBJECT_MISSING", Exit.EVIDENCE_REFUSED),
    ],
)
def test_a_release_that_is_nowhere_is_refused(
    world: World, release: str, code: str, expected: Exit
) -> None:
    exit_code, said = answer(world, "start-rollout", release)
    assert exit_code == expected
    assert f"error {code}" in said


@pytest.mark.parametrize("until", ["prod/7", "nowhere", ""])
def test_a_stage_outside_the_plan_exits_2(world: World, bundle: Path, until: str) -> None:
    code, said = answer(world, "start-rollout", bundle, "--until", until)
    assert code == Exit.USAGE
    assert "prod/25" in said


# ---- what works without a server -------------------------------------------------------------


def test_the_plan_touches_nothing_and_says_it_all(world: World, bundle: Path) -> None:
    before = objects(world)
    plan = world.json("start-rollout", bundle, "--plan")
    assert objects(world) == before
    assert plan["schema_version"] == "lockstep.plan.v1"
    assert plan["starter"].startswith("operator-")
    assert [one["name"] for one in plan["environments"]] == ["dev", "staging", "prod"]
    for one in plan["environments"]:
        current = world.ledger.current(one["name"], SERVICE)
        assert current is not None
        assert one["rollback_release"] == f"sha256:{current.last_good.hex()}"
        assert one["task_queue"] == f"lockstep-{one['name']}"
        assert one["targets"][0]["cannot"]
    assert "nothing was touched" in world.client("start-rollout", bundle, "--plan")
    certificate = read_bundle(bundle).certificate
    assert certificate is not None


def test_target_status_knows_desired_and_actual_without_a_server(world: World) -> None:
    value = world.json("target", "status", SERVICE)
    assert value["schema_version"] == "lockstep.target-status.v1"
    for row in value["environments"]:
        assert row["actual"] == row["desired"]
        assert list(row["actual"].values()) == [100]
        assert row["drift"] is None
        assert row["healthy"] is True
        assert row["epoch"] == row["fence_epoch"] == 1


def test_a_silent_target_is_said_so_and_the_others_are_shown(world: World, tmp_path: Path) -> None:
    profile = tmp_path / "profile.yaml"
    text = (world.folder / "profile.yaml").read_text()
    gone = f"http://127.0.0.1:{free_port()}"
    profile.write_text(text.replace(world.agents["staging"], gone))
    value = world.json("target", "status", SERVICE, "--profile", profile, expect=Exit.UNREACHABLE)
    rows = {row["environment"]: row for row in value["environments"]}
    assert rows["staging"]["error"].startswith("TARGET_UNREACHABLE")
    assert rows["staging"]["actual"] is None
    assert rows["dev"]["error"] is None
    assert rows["prod"]["actual"]


def test_adopting_again_changes_nothing(world: World) -> None:
    before = objects(world)
    value = world.json("adopt", SERVICE, "--env", "dev")
    assert value["changed"] is False
    assert value["unproven"] is True
    assert objects(world) == before


def test_a_key_without_the_role_may_not_adopt(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = world.store.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    stranger = tmp_path / "stranger.key.json"
    write_key_file(stranger, generate_key("operator", now=now, days=1, origin="a test"))
    config = tmp_path / "lockstep.toml"
    text = world.config.read_text().replace(world.trust.keys["operator"], f"file:{stranger}")
    config.write_text(
        text.replace('"policy.yaml"', f'"{world.folder}/policy.yaml"').replace(
            '"profile.yaml"', f'"{world.folder}/profile.yaml"'
        )
    )
    code = run(["--config", str(config), "adopt", SERVICE, "--env", "dev"])
    assert code == Exit.EVIDENCE_REFUSED
    assert "error NOT_AUTHORISED" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected", "said"),
    [
        (("adopt", SERVICE, "--env", "nowhere"), Exit.USAGE, "no environment 'nowhere'"),
        (("rollback", "other", "--env", "dev"), Exit.USAGE, "not other"),
        (("rollback", SERVICE, "--env", "dev", "--to", "x"), Exit.USAGE, "not a release_hash"),
        (("verify", "nothing-at-all"), Exit.USAGE, "no run, bundle"),
        (("verify", GONE_RUN), Exit.USAGE, "RUN_UNKNOWN"),
        (("status", "nonsense"), Exit.USAGE, "names no run"),
        (("--context", "other", "list"), Exit.USAGE, "no context 'other'"),
        (("--config", "gone.toml", "list"), Exit.USAGE, "no settings file"),
    ],
)
def test_a_wrong_name_exits_2_and_says_which(
    world: World, words: tuple[str, ...], expected: Exit, said: str
) -> None:
    code, shown = answer(world, *words)
    assert code == expected
    assert said in shown
