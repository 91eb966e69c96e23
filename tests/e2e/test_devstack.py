"""``client dev`` as a user runs it: up, back up after any kill, down without a trace."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.processes import wait_until

pytestmark = pytest.mark.e2e

CLIENT = str(Path(sys.executable).with_name("client"))
COMMAND_MAX_S = 120
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def client(*words: str, **environ: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [CLIENT, *words],
        capture_output=True,
        text=True,
        timeout=COMMAND_MAX_S,
        env={**os.environ, **environ},
        check=False,
    )


def dev(*words: str) -> dict:
    """A ``client dev`` command that must succeed, and what it printed."""
    done = client("dev", *words, "--output", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def pids(document: dict) -> dict[str, int]:
    return {process["role"]: process["pid"] for process in document["processes"]}


def processes_with(folder: Path) -> list[str]:
    """Command lines of all live processes that speak of ``folder``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(folder) in command:
                found.append(command)
    return found


def bound(squatter: socket.socket, port: int) -> bool:
    try:
        squatter.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def get(url: str) -> bytes:
    with DIRECT.open(url, timeout=5) as answer:
        return answer.read()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("stack") / "dev"
    dev("up", "--dir", str(where))
    yield where
    client("dev", "down", "--purge", "--dir", str(where))


def test_up_gives_a_server_with_ui_workers_targets_and_users(folder):
    status = dev("status", "--dir", str(folder))
    assert status["state"] == "up"
    assert list(pids(status)) == [
        "temporal",
        *("agent-dev", "agent-staging", "agent-prod"),
        *("worker-control", "worker-dev", "worker-staging", "worker-prod"),
        *("load-dev", "load-staging", "load-prod"),
    ]
    assert b'"name":"default"' in get(status["ui_url"] + "/api/v1/namespaces").replace(b" ", b"")
    assert get(status["proxy_url"]) == b"1.0.0"
    assert b"demo_requests_total" in get(status["metrics_url"])
    assert (folder / "store" / "trust").is_dir()
    assert all(Path(process["log"]).exists() for process in status["processes"])


def test_the_users_get_their_answers(folder):
    stats = folder / "logs" / "load-prod.stats.jsonl"
    time.sleep(2)
    line = json.loads(stats.read_text().splitlines()[-1])
    assert line["sent"] > 0
    assert line["codes"].keys() == {"200"}
    assert line["releases"].keys() == {"legacy"}
    assert len(stats.read_text().splitlines()) <= 60


def test_a_second_up_changes_nothing(folder):
    before = dev("status", "--dir", str(folder))
    assert dev("up", "--dir", str(folder)) == before


def test_after_kill_9_of_anything_up_brings_it_back_and_leaves_the_rest(folder):
    before = pids(dev("status", "--dir", str(folder)))
    killed = {"temporal", "agent-prod", "worker-control", "load-dev"}
    for role in killed:
        os.kill(before[role], signal.SIGKILL)
    partial = dev("status", "--dir", str(folder))
    assert partial["state"] == "partial"
    assert set(partial["missing"]) == killed
    after = dev("up", "--dir", str(folder))
    assert after["state"] == "up"
    changed = {role for role, pid in pids(after).items() if before[role] != pid}
    assert changed == killed
    assert get(after["proxy_url"]) == b"1.0.0"


def test_one_worker_for_all_and_no_users_is_a_change_of_the_same_stack(folder):
    before = pids(dev("status", "--dir", str(folder)))
    small = dev("up", "--dir", str(folder), "--role", "all", "--no-load")
    assert small["state"] == "up"
    assert {role for role in pids(small) if role.startswith("worker-")} == {"worker-all"}
    assert not [role for role in pids(small) if role.startswith("load-")]
    assert pids(small)["temporal"] == before["temporal"]


def test_a_port_that_is_taken_is_named_and_nothing_is_left(folder, tmp_path):
    taken = dev("status", "--dir", str(folder))["temporal_address"]
    other = tmp_path / "other"
    refused = client("dev", "up", "--dir", str(other), "--port-base", taken.rsplit(":", 1)[1])
    assert refused.returncode == 2
    assert "STACK_STATE" in refused.stderr
    assert taken in refused.stderr
    assert not other.exists()


def test_a_part_that_cannot_come_back_is_named_and_nothing_new_is_left_running(folder):
    before = dev("status", "--dir", str(folder))
    os.kill(pids(before)["agent-dev"], signal.SIGKILL)
    port = int(before["environments"]["dev"]["admin_url"].rsplit(":", 1)[1])
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        wait_until(lambda: bound(squatter, port), "the killed agent's port is free")
        squatter.listen()
        refused = client("dev", "up", "--dir", str(folder))
        assert refused.returncode == 2
        assert str(port) in refused.stderr
    assert dev("status", "--dir", str(folder))["missing"] == ["agent-dev"]
    assert dev("up", "--dir", str(folder))["state"] == "up"


def test_down_leaves_no_process_and_up_goes_on_where_it_was(folder):
    assert dev("down", "--dir", str(folder))["state"] == "down"
    assert processes_with(folder) == []
    assert (folder / "temporal.sqlite").exists()
    again = dev("up", "--dir", str(folder))
    assert again["state"] == "up"
    assert get(again["proxy_url"]) == b"1.0.0"


def test_purge_leaves_no_file_and_no_process(folder):
    dev("down", "--purge", "--dir", str(folder))
    assert processes_with(folder) == []
    assert not folder.exists()
    assert dev("status", "--dir", str(folder))["state"] == "down"


# ---- starts that do not come to an end ------------------------------------------------------


def test_an_up_that_was_killed_leaves_nothing_that_down_does_not_find(tmp_path):
    folder = tmp_path / "dev"
    starting = subprocess.Popen(
        [CLIENT, "dev", "up", "--dir", str(folder)], stderr=subprocess.PIPE, text=True
    )
    try:
        line = starting.stderr.readline()
        assert line.startswith("starting temporal")
        wait_until(lambda: processes_with(folder / "agents"), "an agent runs")
        starting.kill()
        starting.wait()
        down = dev("down", "--purge", "--dir", str(folder))
        assert down["state"] == "down"
        assert processes_with(folder) == []
        assert not folder.exists()
    finally:
        starting.kill()
        starting.wait()
        starting.stderr.close()


def test_a_missing_server_is_named_before_anything_starts(tmp_path):
    folder = tmp_path / "dev"
    refused = client("dev", "up", "--dir", str(folder), LOCKSTEP_TEMPORAL_BIN="/nowhere/temporal")
    assert refused.returncode == 10
    assert "SERVER_BINARY_MISSING" in refused.stderr
    assert "/nowhere/temporal" in refused.stderr
    assert not folder.exists()


def test_a_folder_with_other_things_is_neither_used_nor_purged(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    for words in (("up",), ("down", "--purge")):
        refused = client("dev", *words, "--dir", str(tmp_path))
        assert refused.returncode == 2
        assert "STACK_STATE" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    refused = client("dev", "up", "--dir", str(tmp_path / "file" / "dev"))
    assert refused.returncode == 2
    assert "cannot be written" in refused.stderr


def test_two_ups_at_once_are_one_up(tmp_path):
    folder = tmp_path / "dev"
    words = [CLIENT, "dev", "up", "--dir", str(folder), "--role", "all", "--no-load"]
    both = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        errors = [one.communicate(timeout=COMMAND_MAX_S)[1] for one in both]
        codes = sorted(one.returncode for one in both)
        # The second is told that the first is at work, or comes later and finds it done.
        assert codes in ([0, 0], [0, 2]), errors
        assert codes == [0, 0] or any("another client dev" in error for error in errors)
        assert dev("status", "--dir", str(folder))["state"] == "up"
    finally:
        client("dev", "down", "--purge", "--dir", str(folder))
    assert processes_with(folder) == []
    assert not folder.exists()
