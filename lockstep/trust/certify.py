"""Certify a release: recompute every bound hash from its bytes and sign what came out.

Nothing in the payload is taken on anybody's word: hashes are recomputed, the authorisation is
decided, the trust data is what verifies now. What promotion would refuse is not certified.
"""

from dataclasses import dataclass

from lockstep import hashes, utc
from lockstep.digest import sha256
from lockstep.errors import DataError, LockstepError, RefusedError
from lockstep.release.evidence import RECOMPUTE, ReleaseEvidence, read_trace
from lockstep.release.qualification import step_bounds
from lockstep.trust import checks, ed25519
from lockstep.trust.authz import authorize
from lockstep.trust.certificate import NINE, SIGNATURE_ALGORITHM, sign_certificate
from lockstep.trust.equalities import Expected
from lockstep.trust.keys import KeyDescriptor, check_window
from lockstep.trust.root import (
    RevocationBundle,
    TrustRoot,
    check_revocations_fresh,
    check_root_fresh,
    verify_revocations,
    verify_root,
)
from lockstep.trust.verify import CERTIFY_OPERATOR, TrustData


@dataclass(frozen=True, slots=True)
class Signer:
    descriptor: KeyDescriptor
    private_key: bytes


def certify_release(
    release: ReleaseEvidence,
    trust: TrustData,
    expected: Expected,
    signer: Signer,
    *,
    tenant_id: str,
    now: str,
) -> bytes:
    """The stored bytes of a release certificate over ``release``, valid from ``now``.

    ``release.certificate`` is not read. ``expected.policy_bundle_hash`` is not asked for here:
    the release brings its own policy, and the environment compares it with the pinned one.

    Raises:
        LockstepError: the code says what promotion would refuse; nothing was signed.
    """
    root = verify_root(trust.root, tenant_id=tenant_id, pinned=trust.pinned_root)
    check_root_fresh(root, now)
    revocations = verify_revocations(trust.revocations, root)
    check_revocations_fresh(revocations, now)
    key = _key_in_force(root, revocations, signer, now)
    bound = _recomputed(release, expected)
    decision = authorize(
        root,
        key.key_id,
        CERTIFY_OPERATOR,
        ["release.certify"],
        tenant_id=tenant_id,
        policy_bundle_hash=bound["policy_bundle_hash"],
    ).require()
    _, manifest = checks.check_manifest(release, None)
    _, policy = checks.check_policy(release, manifest)
    header, (start, end) = _qualified(release)
    payload = {
        "certificate_version": "2",
        "tenant_id": tenant_id,
        "run_id": header["run_id"],
        "replay_token": header["replay_token"],
        **bound,
        "policy_gate_hash": hashes.policy_gate_hash([]),
        "authz_decision_hash": decision.decision_hash,
        "trust_store_hash": sha256(trust.root),
        "key_id": key.key_id,
        "revocation_bundle_hash": sha256(trust.revocations),
        "step_start": start,
        "step_end": end,
        "verification_time_utc": now,
        "valid_until_utc": utc.plus_days(now, policy.evidence.certificate_max_age_d),
        "signature_algorithm": SIGNATURE_ALGORITHM,
    }
    for check in (checks.check_evidence, checks.check_lineage, checks.check_checkpoint):
        check(release, manifest)
    checks.check_qualification(release, manifest, payload, tenant_id)
    return sign_certificate(payload, signer.private_key)


def _key_in_force(
    root: TrustRoot, revocations: RevocationBundle, signer: Signer, now: str
) -> KeyDescriptor:
    key = root.key(signer.descriptor.key_id)
    if key.public_key != ed25519.public_of(signer.private_key):
        raise DataError("KEY_REFUSED", f"{key.key_id}: the private half is another key's")
    check_window(key, now)
    entry = revocations.revokes(key.key_id, now)
    if entry:
        raise RefusedError("KEY_REVOKED", f"{key.key_id} is revoked: {entry.reason}")
    return key


def _recomputed(release: ReleaseEvidence, expected: Expected) -> dict[str, bytes]:
    bound = {}
    for name in (*NINE, *checks.BOUND_BESIDE_THE_NINE):
        try:
            bound[name] = RECOMPUTE[name](release)
        except LockstepError as error:
            error.place = error.place or name
            raise
    if bound["determinism_profile_hash"] not in expected.profiles:
        raise DataError("EVIDENCE_INVALID", "determinism_profile: not one that this version ships")
    if bound["operator_contracts_root_hash"] not in expected.operator_roots:
        raise DataError("EVIDENCE_INVALID", "operator_registry: not one that this version ships")
    return bound


def _qualified(release: ReleaseEvidence) -> tuple[dict, tuple[int, int]]:
    records = read_trace(release.trace)
    return records[0], step_bounds(records)
