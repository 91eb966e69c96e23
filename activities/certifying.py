"""Trust at work: verify a release with what the store holds now, and sign a rollout's certificate.

The verdicts are ``lockstep.trust.verify``'s, pure over bytes; here they are only fetched. The
verification time is this activity's one reading of the clock and stands in the report.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from activities.adapters.releases import load_release, load_trust, pinned_revocations_of
from activities.adapters.secrets import SigningKey, resolve_key
from activities.bench import MICROS, Bench
from lockstep import determinism, operators, utc
from lockstep.digest import from_text, sha256
from lockstep.errors import UnavailableError
from lockstep.hashes import policy_gate_hash
from lockstep.messages import RunContext
from lockstep.release.evidence import RECOMPUTE, ReleaseEvidence
from lockstep.release.manifest import Manifest
from lockstep.trust.authz import Decision, authorize
from lockstep.trust.certificate import sign_certificate
from lockstep.trust.equalities import Expected
from lockstep.trust.root import TrustRoot, verify_root
from lockstep.trust.verify import Check, Rules, TrustData, TrustReport, verify_release

ROLLOUT_CERTIFICATE = "rollout-certificate"
# A rollout's certificate is evidence of the past; verifiers judge it as of its own time.
CERTIFICATE_VALID_DAYS = 3650


@dataclass(frozen=True)
class Verified:
    outcome: str
    report: TrustReport
    checks: Sequence[Check]


def verify_for(bench: Bench, run: RunContext) -> Verified:
    """The promotion gate's verification, at the time of this call.

    Raises:
        DataError: OBJECT_MISSING or OBJECT_CORRUPT; the release itself cannot be read.
    """
    policy = bench.policy(run)
    approvals = policy.approvals.production
    rules = Rules(
        tenant_id=run.tenant_id,
        service=run.service,
        expected=Expected(
            policy_bundle_hash=from_text(run.policy_bundle_hash),
            profiles=determinism.accepted_profiles(),
            operator_roots=operators.accepted_roots(),
        ),
        approvals_required=approvals.required,
        separation_of_duty=approvals.separation_of_duty,
        starter=run.starter,
    )
    release = release_evidence(bench, run)
    # The store's time, by which certificates and approvals were dated: never a worker's clock.
    now = utc.from_seconds(int(bench.store.now().timestamp()))
    report = verify_release(release, trust_data(bench, release), rules, now=now)
    return Verified(outcome=report.outcome, report=report, checks=report.checks)


def release_evidence(bench: Bench, run: RunContext) -> ReleaseEvidence:
    return load_release(bench.cas, bench.ledger, from_text(run.release_hash))


def trust_data(bench: Bench, release: ReleaseEvidence) -> TrustData:
    """Root and current revocations as stored, and the bundle that the certificate names."""
    return load_trust(
        bench.ledger,
        pinned_root=bench.trust_root_pin,
        pinned_revocations=pinned_revocations_of(release),
    )


def rollout_key(bench: Bench) -> SigningKey:
    """The managed key that signs rollout certificates.

    Raises:
        UnavailableError: SECRET_UNRESOLVED; the context names none, or it cannot be had.
    """
    reference = bench.signing_keys.get(ROLLOUT_CERTIFICATE)
    if reference is None:
        raise UnavailableError(
            "SECRET_UNRESOLVED", f"the context names no key for {ROLLOUT_CERTIFICATE}"
        )
    return resolve_key(reference, development=bench.development, purpose=ROLLOUT_CERTIFICATE)


def authorise_start(bench: Bench, run: RunContext) -> Decision:
    """May the starter start this? Denied unless a role in the trust root grants it."""
    return authorize(
        _root(bench),
        run.starter,
        operators.ROLLOUT,
        ["rollout.start"],
        tenant_id=run.tenant_id,
        policy_bundle_hash=from_text(run.policy_bundle_hash),
    )


def _root(bench: Bench) -> TrustRoot:
    data = load_trust(bench.ledger, pinned_root=bench.trust_root_pin, pinned_revocations=None)
    return verify_root(data.root, tenant_id=bench.tenant, pinned=bench.trust_root_pin)


@dataclass(frozen=True)
class RolloutEvidence:
    """What a rollout certificate is signed over."""

    run: RunContext
    manifest: Manifest
    gate_reports: Sequence[bytes]
    trace_tail: bytes
    checkpoint: bytes
    lineage_root: bytes
    step_end: int


def sign_rollout_certificate(bench: Bench, evidence: RolloutEvidence) -> bytes:
    """The rollout certificate, version 2: each field recomputed from stored bytes, none invented.

    Raises:
        DataError: TRUST_ROOT_INVALID; the managed key is not in the trust root.
        UnavailableError: SECRET_UNRESOLVED.
    """
    run = evidence.run
    release = release_evidence(bench, run)
    trust = trust_data(bench, release)
    key = rollout_key(bench)
    _root(bench).key(key.key_id)
    now = utc.from_seconds(bench.now_us() // MICROS)
    recomputed = {
        name: RECOMPUTE[name](release)
        for name in (
            "manifest_hash",
            "lockfile_hash",
            "dependencies_lock_hash",
            "toolchain_hash",
            "runtime_env_hash",
            "sbom_hash",
        )
    }
    payload = {
        "certificate_version": "2",
        "tenant_id": run.tenant_id,
        "run_id": run.run_id,
        "replay_token": from_text(run.replay_token),
        **recomputed,
        "trace_root_hash": evidence.trace_tail,
        "checkpoint_hash": evidence.checkpoint,
        "policy_bundle_hash": from_text(run.policy_bundle_hash),
        "determinism_profile_hash": determinism.profile_hash(),
        "operator_contracts_root_hash": operators.root_hash(),
        "lineage_root_hash": evidence.lineage_root,
        "policy_gate_hash": policy_gate_hash(evidence.gate_reports),
        "authz_decision_hash": authorise_start(bench, run).require().decision_hash,
        "trust_store_hash": sha256(trust.root),
        "key_id": key.key_id,
        "revocation_bundle_hash": sha256(trust.revocations),
        "step_start": 0,
        "step_end": evidence.step_end,
        "verification_time_utc": now,
        "valid_until_utc": utc.plus_days(now, CERTIFICATE_VALID_DAYS),
        "signature_algorithm": "ed25519",
    }
    return sign_certificate(payload, key.private_key)
