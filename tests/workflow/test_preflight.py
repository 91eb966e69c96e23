"""Preflight: every check is reported, in one order, and one exit code follows from what failed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from activities import preflight
from activities.adapters.targets import open_target
from activities.checks import not_configured, run_check
from activities.preflight import FIXED_ORDER, TRUST_CHECKS
from activities.preflight_environment import EnvironmentPreflight
from lockstep import messages as m
from lockstep.digest import from_text
from lockstep.errors import DataError, Exit, RefusedError
from lockstep.ledger import Current
from lockstep.messages import CheckOutcome, CheckResult, PreflightEnvironmentRequest
from lockstep.trust.report import TrustReport
from tests import release_world as world
from tests.contract.demo_agent import Agent
from tests.workflow.place import (
    NOBODY,
    SERVICE,
    STABLE,
    Place,
    make_place,
    performed,
    refused,
)

PASS, FAIL = CheckOutcome.PASS, CheckOutcome.FAIL
DEFERRED, NOT_CONFIGURED = CheckOutcome.DEFERRED, CheckOutcome.NOT_CONFIGURED


def check(name: str, outcome: CheckOutcome = PASS, code: str = "", environment: str = ""):
    return CheckResult(name=name, outcome=outcome, code=code, environment=environment)


# ---- one check -----------------------------------------------------------------------------


def fails(error: Exception):
    def judge() -> str:
        raise error

    return judge


def test_a_check_that_holds_says_what_it_saw() -> None:
    assert run_check("metrics", lambda: "two answers", "dev") == CheckResult(
        name="metrics", outcome=PASS, detail="two answers", environment="dev"
    )
    assert run_check("lease", lambda: "held", "dev", DEFERRED).outcome is DEFERRED


def test_a_check_that_does_not_hold_gives_code_place_and_cause() -> None:
    error = RefusedError("TARGET_DRIFT", "found nothing", place="main")
    found = run_check("target_state", fails(error), "dev", DEFERRED)
    assert (found.outcome, found.code) == (FAIL, "TARGET_DRIFT")
    assert found.detail == "main found nothing"


def test_a_defect_is_not_taken_for_a_failed_check() -> None:
    with pytest.raises(KeyError):
        run_check("metrics", fails(KeyError("p95")))


def test_a_long_detail_is_cut_to_what_a_message_may_hold() -> None:
    assert len(run_check("metrics", lambda: "d" * 1_000).detail) == 600
    assert len(run_check("metrics", fails(DataError("SOURCE_INVALID", "c" * 1_000))).detail) == 600


def test_what_has_nothing_to_check_with_is_never_a_pass() -> None:
    assert not_configured("windows", "none named", "dev").outcome is NOT_CONFIGURED


# ---- the order of the report ---------------------------------------------------------------


def test_checks_are_ordered_by_kind_and_then_by_the_profiles_environments() -> None:
    given = [
        check("windows", environment="dev"),
        check("target_state", environment="prod"),
        check("target_state", environment="dev"),
        check("migrations"),
        check("schemas"),
        check("target_state", environment="staging"),
        check("equalities"),
    ]
    ordered = preflight._ordered(given, ["dev", "staging", "prod"])
    assert [(found.name, found.environment) for found in ordered] == [
        ("schemas", ""),
        ("equalities", ""),
        ("target_state", "dev"),
        ("target_state", "staging"),
        ("target_state", "prod"),
        ("migrations", ""),
        ("windows", "dev"),
    ]


def test_the_order_does_not_depend_on_who_answered_first() -> None:
    given = [check(name, environment=env) for name in FIXED_ORDER for env in ("dev", "prod")]
    ordered = preflight._ordered(given, ["dev", "prod"])
    assert preflight._ordered(list(reversed(given)), ["dev", "prod"]) == ordered == given


def test_no_check_stands_twice_in_the_order() -> None:
    assert len(set(FIXED_ORDER)) == len(FIXED_ORDER)
    assert [name for name, _ in TRUST_CHECKS] == list(FIXED_ORDER[: len(TRUST_CHECKS)])


# ---- the exit code -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codes", "exit_code"),
    [
        ([], Exit.DONE),
        (["TARGET_DRIFT"], Exit.PREFLIGHT_REFUSED),
        (["ADOPT_FIRST", "MIGRATION_BLOCKED"], Exit.PREFLIGHT_REFUSED),
        (["CERTIFICATE_EXPIRED"], Exit.EVIDENCE_REFUSED),
        (["TARGET_DRIFT", "OBJECT_CORRUPT"], Exit.EVIDENCE_REFUSED),
        (["LEASE_BUSY"], Exit.IN_THE_WAY),
        (["LEASE_BUSY", "OBJECT_CORRUPT", "TARGET_DRIFT"], Exit.IN_THE_WAY),
        (["TARGET_UNREACHABLE"], Exit.PREFLIGHT_REFUSED),
        (["NEVER_REGISTERED"], Exit.PREFLIGHT_REFUSED),
    ],
    ids=str,
)
def test_the_exit_code_follows_from_what_failed(codes: list[str], exit_code: Exit) -> None:
    failed = [check("objects", FAIL, code) for code in codes]
    assert preflight._exit_code(failed) == exit_code


# ---- the trust report's checks -------------------------------------------------------------


def trust_checks(report: TrustReport) -> dict[str, CheckResult]:
    return {found.name: found for found in preflight._trust_checks(report)}


def test_every_check_of_a_trust_report_belongs_to_exactly_one_of_preflights() -> None:
    """One that belonged to none would be refused in silence, or not at all."""
    report = world.judged(world.approved())
    parts = [part for _, group in TRUST_CHECKS for part in group]
    assert sorted(parts) == sorted(found.name for found in report.checks)
    assert len(parts) > 15


def test_a_release_in_order_passes_all_of_them() -> None:
    found = trust_checks(world.judged(world.approved()))
    assert {result.outcome for result in found.values()} == {PASS}
    assert list(found) == [name for name, _ in TRUST_CHECKS]


@pytest.mark.parametrize(
    ("report", "failed", "code"),
    [
        (lambda: world.judged(world.certified()), "certificate", "APPROVAL_MISSING"),
        (
            lambda: world.judged(replace(world.approved(), lineage=b"\x80")),
            "objects",
            "LINEAGE_INVALID",
        ),
        (
            lambda: world.judged(world.approved(), now="2027-11-20T00:00:00Z"),
            "certificate",
            "TRUST_STALE",
        ),
        (lambda: world.judged(world.approved(), service="other"), "schemas", "EVIDENCE_INVALID"),
    ],
    ids=["no approval", "other lineage", "stale", "other service"],
)
def test_what_the_trust_report_refuses_preflight_refuses(report, failed: str, code: str) -> None:
    found = trust_checks(report())[failed]
    assert (found.outcome, found.code) == (FAIL, code)
    assert found.detail


# ---- one environment -----------------------------------------------------------------------


def environment_checks(place: Place, environment: str = "dev") -> dict[str, CheckResult]:
    request = PreflightEnvironmentRequest(run=place.run, environment=environment)
    answer = performed(EnvironmentPreflight(place.bench).preflight_environment, request)
    body = place.bench.cas.get(from_text(answer.checks))
    checks = m.EnvironmentChecks.model_validate_json(body).checks
    assert {found.environment for found in checks} == {environment}
    assert len({found.name for found in checks}) == len(checks)
    preflight._ordered(checks, ["dev", "prod"])  # every name has its place in the report
    return {found.name: found for found in checks}


def failures(checks: dict[str, CheckResult]) -> dict[str, str]:
    return {name: found.code for name, found in checks.items() if found.outcome is FAIL}


@pytest.fixture
def adopted(place_with_agent: Place, agent: Agent) -> Place:
    """STABLE serves and is what the environment goes back to; another run has given it back."""
    target = open_target("demo", {"admin_url": agent.admin_url})
    target.fence(1)
    target.adopt("legacy", STABLE, 1)
    ledger = place_with_agent.bench.ledger
    ledger.take("dev", SERVICE, "f" * 16, 60, "test")
    stable = bytes.fromhex(STABLE)

    def change(_: Current | None) -> Current:
        return Current(serving=stable, last_good=stable, withdrawn=[], epoch=1, write_id="-")

    ledger.set_current("dev", SERVICE, 1, change)
    ledger.free("dev", SERVICE, "f" * 16, 1)
    return place_with_agent


def test_a_service_that_runs_and_was_never_adopted_is_to_be_adopted_first(
    place_with_agent: Place,
) -> None:
    checks = environment_checks(place_with_agent)
    assert failures(checks) == {"rollback_target": "ADOPT_FIRST", "target_state": "TARGET_DRIFT"}
    assert checks["target_reachable"].detail == "demo, 1 instances, fence 0"
    assert checks["windows"].outcome is NOT_CONFIGURED


def test_a_target_out_of_reach_is_said_so_and_not_judged(place: Place) -> None:
    """What cannot be looked at is neither passed nor failed; the rest is checked all the same."""
    checks = environment_checks(place)
    assert failures(checks) == {
        "rollback_target": "TARGET_UNREACHABLE",
        "target_reachable": "TARGET_UNREACHABLE",
    }
    assert NOBODY in checks["target_reachable"].detail
    assert "target_state" not in checks
    assert "capacity" not in checks
    assert checks["lease"].outcome is PASS


def test_the_release_to_go_back_to_must_be_known(adopted: Place) -> None:
    """CURRENT names it, and neither a manifest nor an adoption does."""
    assert failures(environment_checks(adopted)) == {
        "rollback_target": "ROLLBACK_TARGET_MISSING",
        "target_state": "ROLLBACK_TARGET_MISSING",
    }


def test_metrics_and_capacity_are_those_of_the_release_that_serves(adopted: Place) -> None:
    checks = environment_checks(adopted)
    assert checks["metrics"].outcome is PASS
    assert checks["capacity"].detail == "the serving release can carry all of it"
    adopted.metrics.write_text(json.dumps({"canary": {"requests": 1, "errors": 0}}))
    assert "metrics" in failures(environment_checks(adopted))
    adopted.metrics.unlink()
    assert failures(environment_checks(adopted))["metrics"] == "SOURCE_UNREACHABLE"


def test_a_busy_environment_defers_what_needs_its_lease(adopted: Place) -> None:
    adopted.bench.ledger.take("dev", SERVICE, "e" * 16, 60, "test")
    checks = environment_checks(adopted)
    deferred = {name for name, found in checks.items() if found.outcome is DEFERRED}
    assert deferred == {"target_state", "metrics", "capacity", "lease"}
    assert "e" * 16 in checks["lease"].detail


def test_ones_own_lease_is_not_in_the_way(adopted: Place) -> None:
    adopted.bench.ledger.take("dev", SERVICE, adopted.run.run_id, 60, "test")
    assert environment_checks(adopted)["lease"].outcome is PASS


def test_a_busy_environment_is_refused_where_the_policy_says_so(tmp_path) -> None:
    place = make_place(tmp_path, policy={"concurrency": "refuse"})
    assert environment_checks(place)["lease"].outcome is PASS
    place.bench.ledger.take("dev", SERVICE, "e" * 16, 60, "test")
    assert failures(environment_checks(place))["lease"] == "LEASE_BUSY"


def stored(place: Place) -> dict[str, bytes]:
    """Every object of the store with its bytes."""
    folder = Path(place.bench.store.url.removeprefix("file://"))
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_preflight_touches_nothing(adopted: Place, agent: Agent) -> None:
    before = agent.effects()
    kept = stored(adopted)
    environment_checks(adopted)
    assert agent.effects() == before
    after = stored(adopted)
    assert {file: after[file] for file in kept} == kept
    assert len(kept) > 3
    # what it found is kept by digest; no pointer, lease, target record or log was written
    new = {
        file.removeprefix(adopted.bench.store.url.removeprefix("file://"))
        for file in set(after) - set(kept)
    }
    assert {file.split("/")[1] for file in new if ".tmp" not in file} == {"cas", "retention"}


def test_another_environments_worker_is_not_asked(place: Place) -> None:
    request = PreflightEnvironmentRequest(run=place.run, environment="prod")
    failure = refused(EnvironmentPreflight(place.bench).preflight_environment, request)
    assert failure.type == "NOT_AUTHORISED"
