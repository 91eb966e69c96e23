"""The status document: out of what workflows answer, and what is drawn and decided from it."""

from typing import Any

import pytest

from client.commands.list_runs import row_of
from client.commands.start_rollout import check_until
from client.follow import has_passed
from client.render.tree import changes, end_text, facts_of, tree
from client.run_status import compose, exit_of_status, run_id_of
from client.server import Execution
from lockstep.errors import DataError, Exit

RUN_ID = "0123456789abcdef"
DIGEST = "sha256:" + "ab" * 32
GOOD = "sha256:" + "cd" * 32


def stage(name: str, outcome: str = "PASS", **more: Any) -> dict[str, Any]:
    row = {"stage": name, "action": "evaluate", "outcome": outcome, "looks": 1, "summary": "fine"}
    return {**row, "snapshot_hash": DIGEST, "verdict_hash": DIGEST, **more}


def rollout(**more: Any) -> dict[str, Any]:
    """The answer of Rollout's query."""
    return {
        "run": {
            "tenant_id": "demo",
            "run_id": RUN_ID,
            "service": "checkout",
            "release_hash": DIGEST,
        },
        "status": "running",
        "stage": "staging",
        "environment": "staging",
        "epoch": 0,
        "passed": ["dev"],
        "waits_for": "staging",
        "rollback_releases": {"dev": GOOD},
        "reports": {},
        "committed": False,
        **more,
    }


def child(**more: Any) -> dict[str, Any]:
    """The answer of the open environment's query."""
    return {
        "environment": "staging",
        "status": "baking",
        "stage": "staging/5",
        "epoch": 7,
        "waits_for": "bake of staging at 5 % of traffic",
        "until": "2026-01-01T00:00:10Z",
        "rollback_release": GOOD,
        **more,
    }


STAGES = {"dev": [stage("dev/100")], "staging": [stage("staging/1"), stage("staging/5", "")]}


def document(run: dict[str, Any] | None = None, **of_child: Any) -> dict[str, Any]:
    return compose(run or rollout(), STAGES, child(**of_child), "http://ui/x")


def test_a_running_rollout_is_told_by_itself_and_its_open_environment() -> None:
    told = document()
    assert told["schema_version"] == "lockstep.run-status.v1"
    assert told["status"] == "running"
    assert told["stage"] == "staging/5"
    assert told["epoch"] == 7
    assert told["rollback_releases"] == {"dev": GOOD, "staging": GOOD}
    assert [row["stage"] for row in told["stages"]] == ["dev/100", "staging/1", "staging/5"]
    assert told["environments"] == [
        {"name": "dev", "status": "passed"},
        {"name": "staging", "status": "baking"},
    ]
    assert told["waits_for"].startswith("bake of staging")
    assert told["ui_url"] == "http://ui/x"


@pytest.mark.parametrize("state", ["held", "paused"])
def test_a_run_whose_environment_waits_for_a_person_says_so(state: str) -> None:
    told = document(status=state)
    assert told["status"] == state
    assert exit_of_status(told) is Exit.HELD


def test_a_run_that_waits_for_its_turn_has_no_child_of_its_own() -> None:
    told = compose(rollout(waits_for="its turn on staging"), {"dev": STAGES["dev"]}, None, "")
    assert told["environments"][-1] == {"name": "staging", "status": "waiting"}
    assert told["waits_for"] == "its turn on staging"
    assert told["stage"] == "staging"


def test_a_run_that_ended_early_names_the_cohort_where_it_did() -> None:
    ended = rollout(status="rolled_back", code="THRESHOLD_BREACHED", cause="too many errors")
    told = compose(ended, STAGES, None, "")
    assert told["stage"] == "staging/5"
    assert told["environments"][-1] == {"name": "staging", "status": "rolled_back"}
    assert exit_of_status(told) is Exit.ROLLED_BACK


@pytest.mark.parametrize(
    ("status", "code", "stages", "expected"),
    [
        ("success", "", True, Exit.DONE),
        ("running", "", True, Exit.WAIT_TIMED_OUT),
        ("rolled_back", "ABORTED", True, Exit.ROLLED_BACK),
        ("rolled_back", "SIGNATURE_REFUSED", True, Exit.EVIDENCE_REFUSED),
        ("superseded", "", True, Exit.ROLLED_BACK),
        ("failed", "ROLLBACK_FAILED", True, Exit.ROLLBACK_FAILED),
        ("failed", "NO_SAFE_TARGET", True, Exit.ROLLBACK_FAILED),
        ("failed", "THRESHOLD_BREACHED", True, Exit.ROLLBACK_FAILED),
        ("failed", "ADOPT_FIRST", False, Exit.PREFLIGHT_REFUSED),
        ("failed", "EQUALITY_FAILED", False, Exit.EVIDENCE_REFUSED),
        ("failed", "LEASE_BUSY", False, Exit.IN_THE_WAY),
    ],
)
def test_the_exit_code_follows_from_how_the_run_stands(
    status: str, code: str, stages: bool, expected: Exit
) -> None:
    rows = STAGES if stages else {}
    told = compose(rollout(status=status, code=code), rows, None, "")
    assert exit_of_status(told) is expected


@pytest.mark.parametrize(
    "text",
    [
        RUN_ID,
        f"rollout/demo/{RUN_ID}",
        f"http://ui/namespaces/default/workflows/rollout%2Fdemo%2F{RUN_ID}",
        f" {RUN_ID}\n",
    ],
)
def test_a_run_is_named_by_id_workflow_id_or_link(text: str) -> None:
    assert run_id_of(text) == RUN_ID


@pytest.mark.parametrize("text", ["", "abc", RUN_ID + "0", RUN_ID.upper(), "../" + RUN_ID[:-1]])
def test_other_text_names_no_run(text: str) -> None:
    with pytest.raises(DataError, match="names no run"):
        run_id_of(text)


# ---- how far it is -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("until", "passed"),
    [
        ("dev", True),
        ("dev/1", True),  # every environment passes its cohorts in order
        ("staging/1", True),
        ("staging/5", False),
        ("staging", False),
        ("prod", False),
        ("prod/1", False),
        ("done", False),
    ],
)
def test_a_stage_has_passed_when_its_gate_has(until: str, passed: bool) -> None:
    assert has_passed(document(), until) is passed


def test_everything_has_passed_in_a_committed_run() -> None:
    ended = compose(rollout(status="success", committed=True, passed=["dev"]), STAGES, None, "")
    assert has_passed(ended, "prod/25")
    assert has_passed(ended, "done")


def test_a_stage_outside_the_plan_is_refused_with_those_it_has() -> None:
    class Prepared:
        plan = (type("E", (), {"name": "dev", "cohorts": (1, 100)})(),)

    for until in (None, "done", "dev", "dev/1", "dev/100"):
        check_until(Prepared(), until)
    for until in ("prod", "dev/5", "dev/", "DEV", ""):
        with pytest.raises(DataError, match="no such stage") as refused:
            check_until(Prepared(), until)
        assert refused.value.hint == "done, dev, dev/1, dev/100"


# ---- what people see -----------------------------------------------------------------------


def test_the_tree_has_a_line_for_the_run_each_environment_and_each_cohort() -> None:
    assert [line.text for line in tree(document())] == [
        f"checkout abababababab  run {RUN_ID}  running",
        "├─ dev  passed",
        "│  └─ 100 %  PASS     fine",
        "└─ staging  baking",
        "   ├─   1 %  PASS     fine",
        "   └─   5 %  evaluate fine",
        "waits for bake of staging at 5 % of traffic until 2026-01-01T00:00:10Z",
    ]


def test_a_failed_gate_and_the_reason_are_marked() -> None:
    ended = rollout(status="rolled_back", code="THRESHOLD_BREACHED", cause="too many errors")
    rows = {"dev": [], "staging": [stage("staging/1", "FAIL", looks=2)]}
    lines = {line.text: line.style for line in tree(compose(ended, rows, None, ""))}
    assert lines["   └─   1 %  FAIL     fine (look 2)"] == "bad"
    assert lines["THRESHOLD_BREACHED: too many errors"] == "bad"


def test_off_a_terminal_only_what_changed_is_told() -> None:
    first = facts_of(document())
    assert "dev/100: PASS fine" in first.values()
    assert changes({}, first) == list(first.values())
    assert changes(first, facts_of(document())) == []
    later = facts_of(document(waits_for="bake of staging at 25 % of traffic"))
    assert changes(first, later) == [
        "waits for bake of staging at 25 % of traffic until 2026-01-01T00:00:10Z"
    ]


def test_the_end_names_each_report_and_the_page() -> None:
    ended = compose(rollout(status="success", reports={"deployment_report": DIGEST}), {}, None, "u")
    assert f"deployment_report  {DIGEST}" in end_text(ended)
    assert end_text(ended).endswith("Temporal UI: u")


# ---- client list ---------------------------------------------------------------------------


def execution(**more: Any) -> Execution:
    facts: dict[str, Any] = {
        "workflow_id": f"rollout/demo/{RUN_ID}",
        "first_run_id": "x",
        "workflow_type": "Rollout",
        "parent_id": "",
        "closed": False,
        "status": "running",
        "started": "2026-01-01T00:00:00Z",
        "attributes": {"LockstepStatus": "running", "LockstepStage": "preflight"},
        "memo": {"operation": "rollout", "service": "checkout", "release_hash": DIGEST},
    }
    return Execution(**{**facts, **more})


def test_a_listed_run_has_the_stage_of_its_open_environment() -> None:
    at_work = execution(attributes={"LockstepStatus": "held", "LockstepStage": "dev/25"})
    assert row_of(execution(), at_work) == {
        "run_id": RUN_ID,
        "operation": "rollout",
        "service": "checkout",
        "release_hash": DIGEST,
        "status": "held",
        "stage": "dev/25",
        "started": "2026-01-01T00:00:00Z",
    }


def test_a_run_that_was_ended_from_outside_has_failed_whatever_it_said_last() -> None:
    assert row_of(execution(closed=True, status="terminated"))["status"] == "failed"


def test_a_run_without_a_memo_is_told_by_its_attributes() -> None:
    named = {"LockstepService": "shop", "LockstepRelease": "ab", "LockstepStatus": "success"}
    row = row_of(execution(memo={}, attributes=named))
    assert (row["run_id"], row["service"], row["operation"]) == (RUN_ID, "shop", "rollout")
