"""What one run left, as a stranger reads it: each object loaded once and hashed again.

Everything here is read in the form that the checks of ``lockstep.verify_run`` need, and is
believed only as far as its digest goes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from lockstep import cbor, trace
from lockstep.digest import sha256, to_text
from lockstep.errors import DataError, LockstepError
from lockstep.policy import Policy, resolve_policy
from lockstep.profile import EnvironmentProfile, resolve_profile
from lockstep.trust import certificate
from lockstep.wal import WalState, fold


class CheckOutcome(StrEnum):
    PASS = "pass"
    FINDING = "finding"
    NOT_RUN = "not_run"  # something it rests on was found wrong
    NOT_APPLICABLE = "not_applicable"  # this run has no such thing, and need not


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was recomputed."""

    name: str
    outcome: CheckOutcome
    detail: str = ""
    code: str = ""


@dataclass(frozen=True)
class RunEvidence:
    """Everything about one run that lies outside the content-addressed objects."""

    tenant_id: str
    run_id: str
    load: Callable[[bytes], bytes]
    """An object's bytes by digest; raises LockstepError. They are hashed again here."""
    wal_records: Sequence[bytes]
    committed: bytes | None
    trust_roots: Sequence[bytes]
    """Every version the tenant published, as stored."""
    reports: bytes | None = None
    """The stored bytes of REPORTS."""
    trust_root_pin: bytes | None = None
    """The digest the reader believes, where there is one."""


class NotApplicable(Exception):
    """Raised by a check that this run gives nothing to do."""


def has_finding(checks: Sequence[Check]) -> bool:
    return any(check.outcome is CheckOutcome.FINDING for check in checks)


def run_check(name: str, function: Callable[[], str]) -> Check:
    """Call one check: its detail, or the finding that it raised."""
    try:
        return Check(name, CheckOutcome.PASS, function())
    except NotApplicable as why:
        return Check(name, CheckOutcome.NOT_APPLICABLE, str(why))
    except LockstepError as error:
        where = f" ({error.place})" if error.place else ""
        return Check(name, CheckOutcome.FINDING, f"{error.cause}{where}", error.code)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        # A hostile record may lack what every record of ours has; that is a finding, no defect.
        return Check(name, CheckOutcome.FINDING, f"misshapen: {error!r:.200}", "RECORD_INVALID")


def differs(code: str, what: str, expected: bytes, found: bytes) -> DataError:
    """The error for two digests that should be one."""
    return DataError(code, f"{what}: expected {to_text(expected)}, found {to_text(found)}")


def same(code: str, what: str, expected: Any, found: Any) -> None:
    """Refuse a value that is not the one recomputed.

    Raises:
        DataError: with ``code``, naming both.
    """
    if expected == found:
        return
    if isinstance(expected, bytes) and isinstance(found, bytes) and len(found) == 32:
        raise differs(code, what, expected, found)
    raise DataError(code, f"{what}: expected {expected!r:.80}, found {found!r:.80}")


class RunBook:
    """The run's objects, each read and hashed once, in the form the checks need."""

    def __init__(self, evidence: RunEvidence) -> None:
        self.evidence = evidence
        self.read: dict[bytes, bytes] = {}

    def object(self, digest: Any, what: str) -> bytes:
        """The bytes that ``digest`` names; ``what`` says in an error what they are.

        Raises:
            DataError: OBJECT_MISSING or OBJECT_CORRUPT.
        """
        if type(digest) is not bytes or len(digest) != 32:
            raise DataError("OBJECT_MISSING", f"{what} is not named by a digest")
        if digest not in self.read:
            data = self.evidence.load(digest)
            if sha256(data) != digest:
                raise differs("OBJECT_CORRUPT", what, digest, sha256(data))
            self.read[digest] = data
        return self.read[digest]

    @cached_property
    def log(self) -> WalState:
        evidence = self.evidence
        return fold(
            list(evidence.wal_records), tenant_id=evidence.tenant_id, run_id=evidence.run_id
        )

    @property
    def committed(self) -> bool:
        return self.log.last_type == "FINALIZE"

    @property
    def end(self) -> dict[str, Any]:
        """The terminal record's payload."""
        if not self.log.terminal or self.log.last is None:
            raise NotApplicable("the run has not ended")
        return self.log.last.payload

    @cached_property
    def trace(self) -> list[dict[str, Any]]:
        data = self.object(self.end.get("trace_final_hash"), "trace_final_hash")
        records = cbor.decode(data)
        trace.validate_trace(records, "rollout")
        return records

    @property
    def header(self) -> dict[str, Any]:
        return self.trace[0]

    @property
    def looks(self) -> list[dict[str, Any]]:
        """Every evaluate record that holds a verdict, in ``t`` order."""
        return [
            record
            for record in self.trace[1:-1]
            if record["action"] == "evaluate" and "gate_report" in record.get("evidence", {})
        ]

    @cached_property
    def policy(self) -> Policy:
        data = self.object(self.header["policy_bundle_hash"], "policy_bundle_hash")
        policy = resolve_policy(cbor.decode(data))
        same("OBJECT_CORRUPT", "the policy's resolved form", policy.to_bytes(), data)
        return policy

    @cached_property
    def profile(self) -> EnvironmentProfile:
        data = self.object(self.header["env_manifest_hash"], "env_manifest_hash")
        profile = resolve_profile(cbor.decode(data))
        same("OBJECT_CORRUPT", "the profile's resolved form", profile.to_bytes(), data)
        return profile

    @cached_property
    def certificate(self) -> dict[str, Any]:
        data = self.object(self.end.get("certificate_hash"), "certificate_hash")
        payload, _ = certificate.read_certificate(data)
        return payload
