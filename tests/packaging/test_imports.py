"""What a command does not use it does not load: help answers at once, facts need no server library.

Each command runs in a process of its own through ``client.main.run``, as the installed program
does; then the process says which of the heavy libraries it has loaded.
"""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from client.main import COMMANDS
from lockstep import cbor
from lockstep.errors import Exit
from lockstep.policy import resolve_policy
from lockstep.profile import resolve_profile
from tests.unit.gate_samples import snapshot_map

HEAVY = ("temporalio", "boto3", "botocore", "rich", "ruamel", "aiohttp", "opentelemetry")

RUN = """
import json, sys
from client.main import run
heavy, *lines = json.loads(sys.argv[1])
ends = []
for words in lines:
    code = run(words)
    ends.append([int(code), [name for name in heavy if name in sys.modules]])
print("\\n" + json.dumps(ends))
"""


def loaded_by(folder: Path, *lines: list[str]) -> list[tuple[int, list[str]]]:
    """(exit code, heavy libraries loaded so far) after each command line, all in one process."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", RUN, json.dumps([HEAVY, *lines])],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [(code, found) for code, found in json.loads(done.stdout.splitlines()[-1])]


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A context, a policy and a profile as stored, a store, and a port where nobody listens."""
    with socket.socket() as claim:
        claim.bind(("127.0.0.1", 0))
        port = claim.getsockname()[1]
    (tmp_path / "store").mkdir()
    environment = {
        "name": "prod",
        "targets": [
            {
                "name": "main",
                "kind": "demo",
                "settings": {"admin_url": f"http://127.0.0.1:{port}"},
            }
        ],
        "sources": [{"name": "main", "kind": "file", "settings": {"path": "metrics.json"}}],
    }
    profile = {
        "schema_version": "lockstep.environment-profile.v1",
        "environments": [environment],
    }
    policy = {"schema_version": "lockstep.policy.v1", "service": "web"}
    (tmp_path / "profile.cbor").write_bytes(resolve_profile(profile).to_bytes())
    (tmp_path / "policy.cbor").write_bytes(resolve_policy(policy).to_bytes())
    (tmp_path / "policy.yaml").write_text(json.dumps(policy))
    (tmp_path / "snapshot.cbor").write_bytes(cbor.encode(snapshot_map()))
    settings = {
        "tenant_id": "demo",
        "namespace": "default",
        "temporal_address": f"127.0.0.1:{port}",
        "store": (tmp_path / "store").as_uri(),
        "profile": "profile.cbor",
    }
    lines = ['current = "dev"', "[contexts.dev]", "development = true"]
    lines += [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    (tmp_path / "lockstep.toml").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_no_help_loads_a_heavy_library(tmp_path: Path) -> None:
    lines = [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)]
    ends = loaded_by(tmp_path, *lines)
    assert [(words, end) for words, end in zip(lines, ends, strict=True) if end != (0, [])] == []


def test_a_gate_is_evaluated_without_a_heavy_library(documents: Path) -> None:
    words = ["gate", "evaluate", "--snapshot", "snapshot.cbor", "--policy"]
    ends = loaded_by(documents, [*words, "policy.cbor"], [*words, "policy.yaml"])
    assert ends == [(Exit.DONE, []), (Exit.DONE, ["ruamel"])]  # a text is read with its lines


def test_the_status_of_a_target_is_told_without_a_heavy_library(documents: Path) -> None:
    assert loaded_by(documents, ["target", "status", "web"]) == [(Exit.UNREACHABLE, [])]


def test_a_run_is_verified_without_a_heavy_library(documents: Path) -> None:
    """There is none of that name: it is looked for in the store all the same."""
    ((code, found),) = loaded_by(documents, ["verify", "0" * 16])
    assert code == Exit.USAGE
    assert found == []


def test_a_command_that_asks_the_server_does_load_its_library(documents: Path) -> None:
    """What the tests above look for can be seen."""
    ((code, found),) = loaded_by(documents, ["list"])
    assert code == Exit.UNREACHABLE
    assert "temporalio" in found
