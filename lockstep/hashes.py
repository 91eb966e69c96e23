"""The derived hashes: names computed from other names (docs/spec/bytes.md §2).

Each is H of a tagged array, so that no two kinds of hash share a preimage. Every function takes
exact types and raises DataError (DIGEST_INVALID or RECORD_INVALID, naming the field) otherwise.
"""

from collections.abc import Sequence

from lockstep import SPEC_VERSION
from lockstep.digest import h
from lockstep.errors import DataError
from lockstep.exact import digest32, items, text, uint64

OPERATIONS = ("rollout", "rollback", "adopt")
"""What a run may be; named in its run_id."""

VERDICTS = ("ALLOW", "DENY")

RUN_ID_HEX = 16
"""Hex digits of a run id: 64 bits, ample against accident; identity is proved by full digests."""


def deps_lock_v1(lockfile_hash: bytes, toolchain_hash: bytes, runtime_env_hash: bytes) -> bytes:
    """``dependencies_lock_hash``: the lock, the build's tools and the build's environment."""
    return h(
        [
            "deps_lock_v1",
            digest32(lockfile_hash, "lockfile_hash"),
            digest32(toolchain_hash, "toolchain_hash"),
            digest32(runtime_env_hash, "runtime_env_hash"),
        ]
    )


def replay_token_v1(
    spec_version: str, policy_bundle_hash: bytes, env_manifest_hash: bytes, seed: int
) -> bytes:
    """The formula of ``replay_token``; ``seed`` is a uint64."""
    return h(
        [
            "replay_token_v1",
            text(spec_version, "spec_version"),
            digest32(policy_bundle_hash, "policy_bundle_hash"),
            digest32(env_manifest_hash, "env_manifest_hash"),
            uint64(seed, "seed"),
        ]
    )


def replay_token(
    policy_bundle_hash: bytes,
    env_manifest_hash: bytes,
    *,
    seed: int = 0,
    spec_version: str = SPEC_VERSION,
) -> bytes:
    """The replay token of this Lockstep's runs: seed 0 and its own spec version."""
    return replay_token_v1(spec_version, policy_bundle_hash, env_manifest_hash, seed)


def run_id(
    tenant: str,
    operation: str,
    service: str,
    release_hash: bytes,
    replay_token: bytes,
    attempt: int,
) -> str:
    """The name of one run: the same request gives the same name, so a repeat attaches to it.

    ``attempt`` counts from 1; for a rollback or an adoption it is the lease epoch.

    Raises:
        DataError: RECORD_INVALID; an unknown operation, or attempt 0.
    """
    if operation not in OPERATIONS:
        raise DataError("RECORD_INVALID", f"operation is not one of {', '.join(OPERATIONS)}")
    if uint64(attempt, "attempt") < 1:
        raise DataError("RECORD_INVALID", "attempt counts from 1")
    return h(
        [
            "run_id_v1",
            text(tenant, "tenant_id"),
            operation,
            text(service, "service"),
            digest32(release_hash, "release_hash"),
            digest32(replay_token, "replay_token"),
            attempt,
        ]
    ).hex()[:RUN_ID_HEX]


def qualification_run_id(tenant: str, code_commit: str, replay_token: bytes) -> str:
    """The run id in a release certificate; never compared with a rollout's."""
    return h(
        [
            "qualification_run_v1",
            text(tenant, "tenant_id"),
            text(code_commit, "code_commit"),
            digest32(replay_token, "replay_token"),
        ]
    ).hex()[:RUN_ID_HEX]


def release_hash(manifest_hash: bytes, certificate_hash: bytes) -> bytes:
    """The name of a release: its manifest together with the certificate that binds it."""
    return h(
        [
            "release_v1",
            digest32(manifest_hash, "manifest_hash"),
            digest32(certificate_hash, "certificate_hash"),
        ]
    )


def adoption_release_hash(record_digest: bytes) -> bytes:
    """The release name of an adoption, from the object digest of its signed record."""
    return h(["adoption_v1", digest32(record_digest, "record_digest")])


def policy_gate_hash(gate_report_digests: Sequence[bytes]) -> bytes:
    """The transcript of every look, in the order of ``t``."""
    reports = items(gate_report_digests, "gate_report_hashes")
    digests = [digest32(digest, "gate_report_hash") for digest in reports]
    return h(["policy_transcript_v1", digests])


def authz_query_hash(
    tenant_id: str,
    principal: str,
    operator_id: str,
    capabilities: Sequence[str],
    policy_bundle_hash: bytes,
) -> bytes:
    """The question that was put to the authorisation policy; capabilities are sorted here."""
    wanted = [text(item, "capability") for item in items(capabilities, "capabilities")]
    return h(
        [
            text(tenant_id, "tenant_id"),
            text(principal, "principal"),
            text(operator_id, "operator_id"),
            sorted(wanted),
            digest32(policy_bundle_hash, "policy_bundle_hash"),
        ]
    )


def authz_decision_hash(
    query_hash: bytes, verdict: str, granted_capabilities_hash: bytes, reason: str
) -> bytes:
    """The answer to one question.

    Raises:
        DataError: RECORD_INVALID; a verdict other than ALLOW or DENY.
    """
    if verdict not in VERDICTS:
        raise DataError("RECORD_INVALID", f"verdict is not one of {', '.join(VERDICTS)}")
    return h(
        [
            digest32(query_hash, "authz_query_hash"),
            verdict,
            digest32(granted_capabilities_hash, "granted_capabilities_hash"),
            text(reason, "reason"),
        ]
    )


def toolchain_hash(python_version: str, pip_version: str, installer_version: str) -> bytes:
    """The build's tools, for Python releases."""
    return h(
        [
            "toolchain_v1",
            text(python_version, "python_version"),
            text(pip_version, "pip_version"),
            text(installer_version, "installer_version"),
        ]
    )


def toolchain_pairs_hash(pairs: Sequence[tuple[str, str]]) -> bytes:
    """The build's tools as (name, version) pairs, for other ecosystems; sorted here by name.

    Raises:
        DataError: RECORD_INVALID; a name stands twice, or there is none.
    """
    rows = [items(pair, "toolchain pair") for pair in items(pairs, "toolchain pairs")]
    if not rows or any(len(row) != 2 for row in rows):
        raise DataError("RECORD_INVALID", "toolchain pairs are empty, or one is not a pair")
    rows = sorted(
        [text(name, "toolchain name"), text(version, "toolchain version")] for name, version in rows
    )
    if len({name for name, _ in rows}) != len(rows):
        raise DataError("RECORD_INVALID", "a toolchain name stands twice")
    return h(["toolchain_v1", rows])
