"""``verify`` on REPORTS: it lists reports of this very run, and only once the run has ended."""

import pytest

from lockstep import cbor, layout
from lockstep.digest import sha256
from lockstep.errors import DataError
from lockstep.run_book import Check, CheckOutcome, RunEvidence
from lockstep.verify_run import verify_run
from lockstep.wal import fold, next_record

TENANT, RUN = "demo", "0123456789abcdef"
REPORT = {"schema_version": "lockstep.rollback-report.v1", "run_id": RUN}


def log(*, ended: bool) -> list[bytes]:
    records: list[bytes] = []
    for kind in ("PREPARE", "ROLLBACK") if ended else ("PREPARE",):
        state = fold(records, tenant_id=TENANT, run_id=RUN)
        records.append(next_record(state, TENANT, RUN, kind, {}).to_bytes())
    return records


def judged(raw: bytes | None, *objects: bytes, ended: bool = True) -> Check:
    """The check of REPORTS in a run that left nothing else."""
    held = {sha256(data): data for data in objects}

    def load(digest: bytes) -> bytes:
        if digest not in held:
            raise DataError("OBJECT_MISSING", "not there")
        return held[digest]

    evidence = RunEvidence(TENANT, RUN, load, log(ended=ended), None, [], reports=raw)
    return next(check for check in verify_run(evidence) if check.name == "reports")


def test_reports_of_the_run_pass_and_none_are_none() -> None:
    data = cbor.encode(REPORT)
    raw = cbor.encode({"rollback_report": sha256(data)})
    assert judged(raw, data).outcome is CheckOutcome.PASS
    assert judged(None).outcome is CheckOutcome.NOT_APPLICABLE


def test_reports_of_a_log_that_has_not_ended_are_a_finding() -> None:
    found = judged(cbor.encode({}), ended=False)
    assert (found.outcome, found.code) == (CheckOutcome.FINDING, "WAL_CORRUPTION")
    assert found.detail == "REPORTS exist, but the log has not ended"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        cbor.encode([]),
        cbor.encode({"rollback_report": b"short"}),
        cbor.encode({"other_report": bytes(32)}),
    ],
)
def test_damaged_reports_are_a_finding_that_names_the_key(raw: bytes) -> None:
    found = judged(raw)
    assert found.outcome is CheckOutcome.FINDING
    assert layout.reports(TENANT, RUN) in found.detail


@pytest.mark.parametrize(
    "changed",
    [{"schema_version": "lockstep.gate-report.v1"}, {"run_id": "f" * 16}, {"committed": True}],
)
def test_a_report_of_another_kind_or_run_is_a_finding(changed: dict) -> None:
    data = cbor.encode({**REPORT, **changed})
    found = judged(cbor.encode({"rollback_report": sha256(data)}), data)
    assert found.outcome is CheckOutcome.FINDING
    assert "rollback_report" in found.detail
