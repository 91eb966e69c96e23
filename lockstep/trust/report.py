"""The trust report: every check of a release, its outcome, and how they come together."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from lockstep.errors import DataError, LockstepError
from lockstep.record import Digest32, Record, Utc
from lockstep.trust.equalities import Equality

SCHEMA = "lockstep.trust-report.v1"
DETAIL_MAX = 600
"""Characters of a check's detail; the rest of a long cause helps nobody."""

CheckOutcomeName = Literal["pass", "fail", "stale", "not_configured"]

T = TypeVar("T")


class Check(Record):
    name: str
    outcome: CheckOutcomeName
    code: str | None = None
    detail: str


class KeyWindow(Record):
    not_before: Utc
    not_after: Utc


class TrustReport(Record):
    """What was verified, with what, when, and how it came out."""

    schema_version: Literal["lockstep.trust-report.v1"] = "lockstep.trust-report.v1"
    tenant_id: str
    release_hash: Digest32
    verification_time_utc: Utc
    trust_store_hash: Digest32
    revocation_bundle_hash: Digest32
    """Of the current bundle."""
    pinned_revocation_bundle_hash: Digest32 | None = None
    """Of the bundle that the certificate names."""
    key_id: str | None = None
    key_window: KeyWindow | None = None
    approvers: list[str]
    """Key ids of the approvals that count, sorted."""
    checks: list[Check]
    equalities: list[Equality]
    outcome: Literal["pass", "fail", "stale"]

    def first_problem(self) -> Check | None:
        """The first failed check, else the first stale one; None when all is well."""
        for wanted in ("fail", "stale"):
            for check in self.checks:
                if check.outcome == wanted:
                    return check
        return None


@dataclass(slots=True)
class Judging:
    """Collects the checks; a value that cannot be had fails what needs it, by name."""

    checks: list[Check] = field(default_factory=list)

    def run(self, name: str, judge: Callable[[], tuple[str, T]]) -> T | None:
        """Run one check; ``judge`` returns (detail, value) or raises."""
        try:
            detail, value = judge()
        except LockstepError as error:
            outcome: CheckOutcomeName = "stale" if error.code == "TRUST_STALE" else "fail"
            self.add(name, outcome, error.cause, error.code)
            return None
        self.add(name, "pass", detail)
        return value

    def add(
        self, name: str, outcome: CheckOutcomeName, detail: str, code: str | None = None
    ) -> None:
        self.checks.append(Check(name=name, outcome=outcome, code=code, detail=detail[:DETAIL_MAX]))

    def outcome(self) -> Literal["pass", "fail", "stale"]:
        found = {check.outcome for check in self.checks}
        return "fail" if "fail" in found else "stale" if "stale" in found else "pass"


def need(value: T | None, what: str, code: str) -> T:
    if value is None:
        raise DataError(code, f"cannot be judged: {what} is bad")
    return value
