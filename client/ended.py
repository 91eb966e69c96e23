"""A run as the store alone tells it: after its workflow is gone, or with no server at all."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from client.run_status import SCHEMA_VERSION
from lockstep import cbor
from lockstep.commit import Committed, RecoveryAction, recovery_action
from lockstep.digest import from_text, to_text
from lockstep.gates.explain import one_line
from lockstep.record import to_json_value
from lockstep.wal import WalState

if TYPE_CHECKING:
    from client.context import Stored

DEPLOYMENT = "deployment_report"


def ended_run(stored: "Stored", run_id: str) -> dict[str, Any] | None:
    """The status document of a run that has ended; None where the store knows no end of it.

    Raises:
        DataError: WAL_CORRUPTION, OBJECT_MISSING or OBJECT_CORRUPT.
        UnavailableError: STORE_UNREACHABLE.
    """
    found = stored_run(stored, run_id)
    return found if found is not None and found["status"] != "running" else None


def stored_run(stored: "Stored", run_id: str) -> dict[str, Any] | None:
    """As ``ended_run``, and a run whose log is open as ``running``; None: there is no log."""
    books = stored.wal(run_id)
    log = books.read()
    if not log.records:
        return None
    index = stored.ledger.reports_index(run_id) or {}
    report: dict[str, Any] = {}
    if DEPLOYMENT in index:
        report = to_json_value(cbor.decode(stored.cas.get(index[DEPLOYMENT])))
    return _document(stored, run_id, log, books.committed(), index, report)


def _document(
    stored: "Stored",
    run_id: str,
    log: WalState,
    committed: Committed | None,
    index: Mapping[str, bytes],
    report: Mapping[str, Any],
) -> dict[str, Any]:
    prepared = to_json_value(log.records[0].payload)
    action = recovery_action(log, committed)
    status = {
        RecoveryAction.COMMITTED: "success",
        RecoveryAction.TERMINAL_ROLLBACK: "rolled_back",
    }.get(action, "running")
    status = report.get("final_status", status)
    end = to_json_value(log.last.payload) if log.last else {}
    stages = [_stage(stored, looks) for looks in _by_stage(report.get("stages", []))]
    code, cause = report.get("code", end.get("code", "")), report.get("cause", "")
    if status == "running":
        cause = cause or "its log is open and no workflow answers for it"
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "tenant_id": stored.tenant,
        "operation": prepared.get("operation", "rollout"),
        "service": prepared["service"],
        "release_hash": prepared["release_hash"],
        "rollback_releases": dict(report.get("rollback_releases", {})),
        "status": status,
        "stage": "done" if action is RecoveryAction.COMMITTED else _last_stage(stages),
        "epoch": max(report.get("epochs", {}).values(), default=None),
        "stages": stages,
        "environments": _environments(prepared["environments"], stages, status),
        "waits_for": "",
        "until": "",
        "code": code,
        "cause": cause,
        "started": "",
        "reports": {kind: to_text(digest) for kind, digest in sorted(index.items())},
        "committed": action is RecoveryAction.COMMITTED,
        "trace_tail_hash": end.get("trace_tail_hash"),
        "ui_url": "",
    }


def _last_stage(stages: list[dict[str, Any]]) -> str:
    return stages[-1]["stage"] if stages else "preflight"


def _by_stage(rows: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """The looks of each stage, in order."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["stage"], []).append(row)
    return list(found.values())


def _stage(stored: "Stored", looks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A stage as its last look left it, with values and limits read from that verdict."""
    row = looks[-1]
    names = ("stage", "action", "outcome", "snapshot_hash", "verdict_hash", "started", "ended")
    verdict = cbor.decode(stored.cas.get(from_text(row["verdict_hash"])))
    return {
        **{name: row.get(name) for name in names},
        "started": looks[0].get("started"),
        "looks": len(looks),
        "summary": one_line(verdict["metrics"]),
    }


def _environments(
    names: list[str], stages: list[dict[str, Any]], status: str
) -> list[dict[str, str]]:
    """Those the run came to: all but the last of them passed, the last as the run ended."""
    reached = {row["stage"].partition("/")[0] for row in stages}
    came_to = [name for name in names if name in reached]
    last = "passed" if status == "success" else status
    return [{"name": name, "status": "passed" if name != came_to[-1] else last} for name in came_to]
