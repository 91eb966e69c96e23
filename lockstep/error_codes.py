"""The one registry of error codes (docs/reference/errors.md is generated from it; spec bytes §9).

Numbers 2000–2099 belong to deployment. A code is never reused for another meaning.
"""

from dataclasses import dataclass
from enum import StrEnum

from lockstep.errors import Exit


class Severity(StrEnum):
    ERROR = "error"
    CRITICAL = "critical"  # somebody has to look now: data is wrong or a way back is missing


@dataclass(frozen=True, slots=True)
class ErrorCode:
    code_id: str
    numeric_code: int
    exit: Exit
    retryable: bool
    message: str
    remediation: str
    severity: Severity = Severity.ERROR

    @property
    def docs_anchor(self) -> str:
        return "errors.md#" + self.code_id.lower().replace("_", "-")


_U, _P, _E, _W, _N, _F = (
    Exit.USAGE,
    Exit.PREFLIGHT_REFUSED,
    Exit.EVIDENCE_REFUSED,
    Exit.IN_THE_WAY,
    Exit.UNREACHABLE,
    Exit.ROLLBACK_FAILED,
)
_R = Exit.ROLLED_BACK
_C = Severity.CRITICAL

_TABLE = (
    # ---- input that a person or program gave: 2000–2019
    ErrorCode("USAGE", 2000, _U, False, "The command's words do not fit.", "See the command's --help."),
    ErrorCode("DOCUMENT_INVALID", 2001, _U, False, "A document breaks its schema.", "Mend the named field."),
    ErrorCode("CBOR_INVALID", 2002, _U, False, "Bytes are not canonical CBOR.", "Write them with Lockstep's encoder."),
    ErrorCode("RECORD_INVALID", 2003, _U, False, "A stored record breaks its schema.", "Restore the object from a copy."),
    ErrorCode("DIGEST_INVALID", 2004, _U, False, "Text is not a digest.", "Write sha256:<64 hex>."),
    ErrorCode("NAME_INVALID", 2005, _U, False, "A name cannot be part of a key.", "Use letters, digits, . _ and -."),
    ErrorCode("LINEAGE_INVALID", 2006, _U, False, "Lineage leaves are empty or repeated.", "Name every object once."),
    ErrorCode("SNAPSHOT_INVALID", 2007, _U, False, "A metrics snapshot breaks its schema.", "Freeze it again."),
    ErrorCode("CONTEXT_INVALID", 2008, _U, False, "The settings cannot be used.", "Mend the context or run client dev up."),
    ErrorCode("POLICY_NOT_PINNED", 2009, _U, False, "No policy is pinned for this start.", "Pass --policy or name one in the context."),
    # ---- evidence and trust: 2020–2039
    ErrorCode("OBJECT_MISSING", 2020, _E, False, "A content-addressed object is absent.", "Restore it; nothing was deleted.", _C),
    ErrorCode("OBJECT_CORRUPT", 2021, _E, False, "An object's bytes do not match its name.", "Restore it; nothing was changed.", _C),
    ErrorCode("WAL_CORRUPTION", 2022, _E, False, "A run's log is broken.", "Stop; compare with a copy. Nothing was deleted.", _C),
    ErrorCode("COMMITTED_CONFLICT", 2023, _E, False, "COMMITTED differs from the log's FINALIZE.", "Stop; somebody wrote another pointer.", _C),
    ErrorCode("TRACE_INVALID", 2024, _E, False, "A trace is broken.", "Restore its segments.", _C),
    ErrorCode("TRACE_MISSING", 2025, _E, False, "A trace segment cannot be read back.", "The rollout goes back; restore the segment.", _C),
    ErrorCode("KEY_REFUSED", 2026, _E, False, "A public key may not be used.", "Generate a key with client keys generate."),
    ErrorCode("SIGNATURE_REFUSED", 2027, _E, False, "A signature does not hold.", "Sign the very bytes with the right key."),
    ErrorCode("CERTIFICATE_INVALID", 2028, _E, False, "A certificate breaks its closed field set.", "Certify the release again."),
    ErrorCode("CERTIFICATE_EXPIRED", 2029, _E, False, "A certificate or key is outside its window.", "Certify the release again."),
    ErrorCode("KEY_REVOKED", 2030, _E, False, "A key or certificate is revoked.", "Certify with a key in force."),
    ErrorCode("EQUALITY_FAILED", 2031, _E, False, "A bound hash differs from what was recomputed.", "Certify and approve what is deployed."),
    ErrorCode("APPROVAL_MISSING", 2032, _E, False, "No approval by a second key holds.", "Run client release approve."),
    ErrorCode("TRUST_ROOT_INVALID", 2033, _E, False, "The trust root is not the pinned one.", "Pin the right digest in the context."),
    ErrorCode("TRUST_STALE", 2034, _P, True, "Trust data is stale.", "Publish a fresh revocation bundle."),
    ErrorCode("NOT_AUTHORISED", 2035, _E, False, "The principal may not do this.", "Ask somebody whose role allows it."),
    ErrorCode("EVIDENCE_INVALID", 2036, _E, False, "A piece of evidence does not parse or match.", "Pack the release again."),
    ErrorCode("LOCK_INVALID", 2037, _E, False, "The dependency lock is not fully hashed.", "Pin every dependency with a hash."),
    ErrorCode("SECRET_UNRESOLVED", 2038, _P, True, "A secret reference cannot be resolved.", "Check the reference and its store."),
    ErrorCode("RELEASE_INVALID", 2039, _U, False, "A release bundle cannot be read.", "Pack it again."),
    # ---- preflight: 2040–2059
    ErrorCode("PREFLIGHT_REFUSED", 2040, _P, False, "Preflight refused the rollout.", "Read the report; mend what it names."),
    ErrorCode("ADOPT_FIRST", 2041, _P, False, "The service runs and was never adopted.", "Run client adopt SERVICE --env E."),
    ErrorCode("FIRST_RELEASE_REFUSED", 2042, _P, False, "A first release is not allowed.", "Set first_release: allow if it serves nobody."),
    ErrorCode("ROLLBACK_TARGET_MISSING", 2043, _P, False, "There is nothing to go back to.", "Adopt or commit a release first."),
    ErrorCode("TARGET_DRIFT", 2044, _P, False, "The target does not run what the record says.", "See client target status."),
    ErrorCode("TARGET_UNREACHABLE", 2045, _N, True, "The target cannot be reached.", "Check its address and its process."),
    ErrorCode("SOURCE_UNREACHABLE", 2046, _N, True, "The metrics source cannot be reached.", "Check its address and its process."),
    ErrorCode("SOURCE_INVALID", 2047, _P, True, "The metrics source answered nonsense.", "Look at the raw answer."),
    ErrorCode("NO_WORKER", 2048, _P, True, "No worker polls an environment's queue.", "Start lockstep-worker for that environment."),
    ErrorCode("CAPACITY", 2049, _P, True, "Capacity for the next share is not ready.", "Wait, or add capacity."),
    ErrorCode("NOT_DEPLOYED", 2050, _P, True, "What runs is not exactly the release.", "Deploy the release's very artefacts."),
    ErrorCode("PLAN_MISMATCH", 2051, _P, False, "The request's plan is not what policy and profile give.", "Start again."),
    ErrorCode("MIGRATION_BLOCKED", 2052, _P, False, "A forward-only migration forbids rollback.", "Set on_failure to hold or roll_forward."),
    ErrorCode("CLOCK_SKEW", 2053, _P, True, "Clocks differ by more than max_skew_s.", "Mend the clock."),
    ErrorCode("SCRAPE_GAP", 2054, _P, True, "A series did not last the whole window.", "Look again in a new window."),
    # ---- running: 2060–2079
    ErrorCode("FENCED", 2060, _R, False, "A newer epoch owns the target.", "A newer owner acts here: only stop."),
    ErrorCode("LEASE_BUSY", 2061, _W, True, "Another rollout holds the environment.", "Wait, or see client target status."),
    ErrorCode("GATE_FAILED", 2062, _R, False, "A health gate failed.", "See client explain VERDICT."),
    ErrorCode("ABORTED", 2063, _R, False, "An operator aborted the rollout.", "Pack a release of another version to try again."),
    ErrorCode("RUN_ENDED", 2064, _U, False, "The run has ended.", "Pack a release of another version to try again."),
    ErrorCode("RUN_UNKNOWN", 2065, _U, False, "No such run.", "See client list."),
    ErrorCode("ROLLBACK_FAILED", 2066, _F, False, "The way back is refused or unhealthy.", "A person must look now.", _C),
    ErrorCode("NO_SAFE_TARGET", 2067, _F, False, "No release is safe to go back to.", "A person must look now.", _C),
    ErrorCode("SHIFT_UNCONFIRMED", 2068, _R, True, "Traffic does not read back as asked.", "See client target status."),
    ErrorCode("ROLLBACK_REF_STALE", 2069, _P, False, "The release to go back to is not safe any more.", "Name another committed release."),
    # ---- control plane and store: 2080–2089
    ErrorCode("STORE_UNREACHABLE", 2080, _N, True, "The store cannot be reached.", "Check its address and credentials."),
    ErrorCode("STORE_ANSWER_UNKNOWN", 2081, _N, True, "A conditional write got no usable answer.", "Run it again; nothing was cleaned up."),
    ErrorCode("STORE_UNSUITABLE", 2082, _U, False, "The store ignores conditional writes.", "Use another store."),
    ErrorCode("TEMPORAL_UNREACHABLE", 2083, _N, True, "The Temporal server cannot be reached.", "client dev up, or check the address."),
    ErrorCode("PAYLOAD_TOO_LARGE", 2084, Exit.INTERNAL, False, "A message exceeds 8 KiB.", "Report this: it is a bug."),
    ErrorCode("SERVER_BINARY_MISSING", 2085, _N, False, "No Temporal server binary is at hand.", "Install Go, or set LOCKSTEP_TEMPORAL_BIN."),
    ErrorCode("STACK_STATE", 2086, _U, False, "The embedded stack is not in the needed state.", "See client dev status."),
    ErrorCode("OBJECT_TOO_LARGE", 2087, _U, False, "An object exceeds the store's limit.", "Keep it elsewhere and name its digest."),
    ErrorCode("WORKER_SILENT", 2089, _N, True, "No worker answers the question.", "Start lockstep-worker --role control."),
    ErrorCode("INTERNAL", 2099, Exit.INTERNAL, False, "A defect in Lockstep.", "Run again with --debug and report it.", _C),
)  # fmt: skip

ERROR_CODES = {row.code_id: row for row in _TABLE}


def exit_of(code_id: str) -> Exit:
    """Exit code of an error; an unregistered one is a defect and exits 1."""
    row = ERROR_CODES.get(code_id)
    return row.exit if row else Exit.INTERNAL
