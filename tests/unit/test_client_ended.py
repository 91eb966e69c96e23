"""A run as the store alone tells it, from reports of this version and of older ones."""

from pathlib import Path
from typing import Any

import pytest
from gate_samples import policy, snapshot_map

from client.context import Stored
from client.ended import ended_run
from lockstep import cbor
from lockstep.digest import to_text
from lockstep.gates.evaluate import evaluate_bytes
from lockstep.settings import Context

RUN = "0123456789abcdef"
RELEASE, BEFORE = b"\x01" * 32, b"\x02" * 32


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    (tmp_path / "store").mkdir()
    found = Stored(Context(name="t", tenant_id="demo", store=(tmp_path / "store").as_uri()))
    log = found.wal(RUN)
    facts = {"service": "web", "release_hash": RELEASE, "environments": ["dev"]}
    log.append("PREPARE", facts)
    log.append("ROLLBACK", {"code": "GATE_FAILED"})
    return found


def put(stored: Stored, data: bytes) -> bytes:
    now_us = int(stored.store.now().timestamp() * 1_000_000)
    return stored.cas.put_all([data], owner=RUN, seq=0, now_us=now_us)[0]


def told(stored: Stored, **report: Any) -> dict[str, Any]:
    digest = put(stored, cbor.encode({"final_status": "rolled_back", **report}))
    stored.ledger.put_reports_index(RUN, {"deployment_report": digest})
    found = ended_run(stored, RUN)
    assert found is not None
    return found


def test_the_epoch_is_the_largest_and_a_stage_tells_all_its_looks(stored: Stored) -> None:
    snapshot = cbor.encode(snapshot_map())
    verdict = put(stored, evaluate_bytes(snapshot, policy(), policy().digest()).to_bytes())
    look = {
        "stage": "dev/10",
        "action": "evaluate",
        "outcome": "INCONCLUSIVE",
        "snapshot_hash": put(stored, snapshot),
        "verdict_hash": verdict,
        "started": "2026-11-20T10:00:00Z",
        "ended": "2026-11-20T10:01:00Z",
    }
    later = {
        **look,
        "outcome": "PASS",
        "started": "2026-11-20T10:02:00Z",
        "ended": "2026-11-20T10:03:00Z",
    }
    value = told(
        stored,
        epochs={"dev": 3, "prod": 7, "stage": 5},
        rollback_releases={"dev": BEFORE},
        stages=[look, later],
    )
    assert value["epoch"] == 7
    assert value["rollback_releases"] == {"dev": to_text(BEFORE)}
    (stage,) = value["stages"]
    assert (stage["looks"], stage["outcome"]) == (2, "PASS")
    assert (stage["started"], stage["ended"]) == (look["started"], later["ended"])


def test_an_older_report_says_neither(stored: Stored) -> None:
    value = told(stored)
    assert value["epoch"] is None
    assert value["rollback_releases"] == {}
    assert value["status"] == "rolled_back"
