"""Where a run stands, in one document: from its workflows, or from the store when they are gone.

The document is what ``client status RUN --output json`` prints (schema lockstep.run-status.v1)
and what the live tree is drawn from. Answers come in the shapes of ``lockstep.messages``.
"""

from typing import Any

from client.server import Execution, Server, ui_url
from lockstep.error_codes import ERROR_CODES, exit_of
from lockstep.errors import DataError, Exit
from lockstep.settings import Context
from workflows.client_api import QUERY_STAGES, QUERY_STATUS, environment_id, rollout_id

SCHEMA_VERSION = "lockstep.run-status.v1"

ENDED = ("success", "failed", "rolled_back", "superseded")
WAITS_FOR_A_PERSON = ("held", "paused")

_STAGE_FIELDS = (
    "stage",
    "action",
    "outcome",
    "snapshot_hash",
    "verdict_hash",
    "started",
    "ended",
    "looks",
    "summary",
)


def run_id_of(text: str) -> str:
    """A run id, also out of a workflow id or a link into the UI.

    Raises:
        DataError: RUN_UNKNOWN; the text names no run.
    """
    run_id = text.strip().rstrip("/").rsplit("/", 1)[-1].rsplit("%2F", 1)[-1]
    if len(run_id) != 16 or any(digit not in "0123456789abcdef" for digit in run_id):
        raise DataError(
            "RUN_UNKNOWN", f"{text[:80]!r} names no run", hint="16 hex digits, as client list shows"
        )
    return run_id


def compose(
    run: dict[str, Any],
    stages: dict[str, list[dict[str, Any]]],
    child: dict[str, Any] | None,
    url: str,
) -> dict[str, Any]:
    """The document out of Rollout's status, each environment's stages and the open child's."""
    identity = run["run"]
    status, stage = run["status"], run["stage"]
    if child and status not in ENDED:
        stage = child["stage"] or stage
        if status == "running" and child["status"] in WAITS_FOR_A_PERSON:
            status = child["status"]
    waits_for = (child or {}).get("waits_for") or run.get("waits_for", "")
    if waits_for == run["environment"]:
        waits_for = ""  # its workflow says what for, and has just begun or just ended
    rows = [_stage(row) for found in stages.values() for row in found]
    if status in ENDED and not run["committed"] and rows:
        stage = rows[-1]["stage"]  # the cohort at which it came to its end
    rollback = dict(run["rollback_releases"])
    if child and child.get("rollback_release"):
        rollback[child["environment"]] = child["rollback_release"]
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": identity["run_id"],
        "tenant_id": identity["tenant_id"],
        "operation": "rollout",
        "service": identity["service"],
        "release_hash": identity["release_hash"],
        "rollback_releases": rollback,
        "status": status,
        "stage": stage,
        "epoch": child["epoch"] if child else run["epoch"],
        "stages": rows,
        "environments": _environments(run, stages, child),
        "waits_for": waits_for,
        "until": (child or {}).get("until", ""),
        "code": run.get("code", ""),
        "cause": run.get("cause", ""),
        "started": run.get("started", ""),
        "reports": run["reports"],
        "committed": run["committed"],
        "trace_tail_hash": run.get("trace_tail_hash"),
        "ui_url": url,
    }


def _stage(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in _STAGE_FIELDS}


def _environments(
    run: dict[str, Any], stages: dict[str, Any], child: dict[str, Any] | None
) -> list[dict[str, Any]]:
    names = list(dict.fromkeys([*run["passed"], *stages]))
    if run["environment"] and run["environment"] not in names:
        names.append(run["environment"])
    found = []
    for name in names:
        if name in run["passed"]:
            state = "passed"
        elif child and child["environment"] == name:
            state = child["status"]
        else:
            state = run["status"] if run["status"] in ENDED else "waiting"
        found.append({"name": name, "status": state})
    return found


class Watcher:
    """Asks for one run's status, remembering which environments need no second question."""

    def __init__(
        self, server: Server, context: Context, run_id: str, workflow_id: str = ""
    ) -> None:
        self.server = server
        self.context = context
        self.run_id = run_id
        self.workflow_id = workflow_id or rollout_id(context.tenant_id, run_id)
        self.url = ui_url(context, self.workflow_id)
        self._stages: dict[str, list[dict[str, Any]]] = {}
        self._children: dict[str, Execution] = {}

    async def ask(self) -> dict[str, Any] | None:
        """The document now; None where the server knows no such run.

        Raises:
            UnavailableError: TEMPORAL_UNREACHABLE or WORKER_SILENT.
        """
        run = await self.server.query(self.workflow_id, QUERY_STATUS)
        if run is None:
            return None
        for name in run["passed"]:
            if name not in self._stages:
                self._stages[name] = await self._ended_stages(name)
        child = None
        name = run["environment"]
        shown = dict(self._stages)
        if name:
            rows = await self._ended_stages(name)
            if not rows and run["status"] not in ENDED:
                child = await self._open_child(name, run["run"]["service"])
                rows = list(child["stages"]) if child else []
            shown[name] = rows
        return compose(run, shown, child, self.url)

    async def _ended_stages(self, environment: str) -> list[dict[str, Any]]:
        return await self.server.query(self.workflow_id, QUERY_STAGES, environment) or []

    async def _open_child(self, environment: str, service: str) -> dict[str, Any] | None:
        """The environment's own status, if the workflow of that name is this run's child."""
        workflow_id = environment_id(self.context.tenant_id, environment, service)
        known = self._children.get(environment)
        if known is None:
            found = await self.server.describe(workflow_id)
            if found is None or found.parent_id != self.workflow_id:
                return None  # another rollout is under way there; this one waits for its turn
            known = self._children[environment] = found
        return await self.server.query(workflow_id, QUERY_STATUS, run_id=known.first_run_id)


def exit_of_status(document: dict[str, Any]) -> Exit:
    """The exit code of a run that stands as the document says (spec interfaces §1)."""
    status, code = document["status"], document["code"]
    if status == "success":
        return Exit.DONE
    if status in WAITS_FOR_A_PERSON:
        return Exit.HELD
    if status == "running":
        return Exit.WAIT_TIMED_OUT
    named = exit_of(code) if code in ERROR_CODES else Exit.ROLLED_BACK
    if named in (Exit.EVIDENCE_REFUSED, Exit.ROLLBACK_FAILED):
        return named
    if status == "failed":
        touched = bool(document["stages"])
        return Exit.ROLLBACK_FAILED if touched else named
    return Exit.ROLLED_BACK
