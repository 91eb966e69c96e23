"""The ExecutionCertificate, versions "1" and "2": closed field sets, signed bytes (spec bytes §5).

Here: shape and signature. Who may sign, when, and whether the bound hashes are true is judged by
``lockstep.trust.verify`` and ``lockstep.trust.equalities``. Version "1" is verified, never issued.
"""

from collections.abc import Callable, Mapping
from typing import Any

from lockstep import cbor, utc
from lockstep.digest import sha256
from lockstep.errors import DataError
from lockstep.exact import digest32, text, uint64
from lockstep.hashes import deps_lock_v1
from lockstep.trust import ed25519

NINE = (
    "manifest_hash",
    "trace_root_hash",
    "checkpoint_hash",
    "policy_bundle_hash",
    "lockfile_hash",
    "dependencies_lock_hash",
    "determinism_profile_hash",
    "operator_contracts_root_hash",
    "lineage_root_hash",
)
"""The bound hashes that promotion compares, in the order of the specification."""

SIGNATURE_ALGORITHM = "ed25519"
MAP_FIELDS = ("signed_payload", "signature")
MAP_OPTIONAL = "unsigned_metadata"

Check = Callable[[Any, str], Any]


def _time(value: Any, field: str) -> None:
    utc.to_seconds(text(value, field))


def _algorithm(value: Any, field: str) -> None:
    if text(value, field) != SIGNATURE_ALGORITHM:
        raise _invalid(f"{field} is not {SIGNATURE_ALGORITHM}", field)


def _binary64(value: Any, field: str) -> None:
    if type(value) is not float:
        raise _invalid(f"{field} is not a binary64", field)


def _fields(check: Check, names: str) -> dict[str, Check]:
    return dict.fromkeys(names.split(), check)


_ALWAYS: dict[str, Check] = {
    **_fields(text, "certificate_version tenant_id run_id key_id"),
    **dict.fromkeys(NINE, digest32),
    **_fields(digest32, "replay_token policy_gate_hash authz_decision_hash toolchain_hash"),
    **_fields(digest32, "trust_store_hash revocation_bundle_hash"),
    **_fields(uint64, "step_start step_end"),
}
_OF_A_MODEL: dict[str, Check] = {
    **_fields(digest32, "backend_binary_hash ir_hash sampler_config_hash data_access_plan_hash"),
    **_fields(digest32, "tmmu_plan_hash"),
    "dataset_snapshot_id": text,
}
_ON_RECORD: dict[str, Check] = {
    **_fields(_time, "verification_time_utc valid_until_utc"),
    "signature_algorithm": _algorithm,
}
_NEW_IN_2: dict[str, Check] = _fields(digest32, "runtime_env_hash sbom_hash")
_SOMETIMES: dict[str, Check] = {
    **_fields(digest32, "security_policy_hash authz_policy_hash monitor_policy_hash"),
    **_fields(digest32, "dp_policy_hash redaction_policy_hash dp_accountant_state_hash"),
    **_fields(digest32, "attestation_quote_hash attestation_bundle_hash"),
    **_fields(digest32, "determinism_conformance_suite_id"),
    "redaction_key_id": text,
    **_fields(_binary64, "dp_epsilon dp_delta"),
}

REQUIRED: dict[str, dict[str, Check]] = {
    "1": {**_ALWAYS, **_OF_A_MODEL},
    "2": {**_ALWAYS, **_ON_RECORD, **_NEW_IN_2},
}
OPTIONAL: dict[str, dict[str, Check]] = {
    "1": {**_ON_RECORD, **_SOMETIMES},
    "2": {**_OF_A_MODEL, **_SOMETIMES},
}


def _invalid(cause: str, field: str = "") -> DataError:
    return DataError("CERTIFICATE_INVALID", cause, place=field, hint="certify the release again")


def check_payload(payload: Any) -> None:
    """Hold a signed payload to the closed field set of its version.

    Raises:
        DataError: CERTIFICATE_INVALID, naming the field that is missing, extra or wrongly typed.
    """
    if type(payload) is not dict:
        raise _invalid("signed_payload is not a map", "signed_payload")
    version = payload.get("certificate_version")
    if type(version) is not str or version not in REQUIRED:
        raise _invalid("certificate_version is neither 1 nor 2", "certificate_version")
    required, optional = REQUIRED[version], OPTIONAL[version]
    for name in required:
        if name not in payload:
            raise _invalid(f"{name} is missing", name)
    for name, value in payload.items():
        check = required.get(name) or optional.get(name)
        if check is None:
            raise _invalid(f"{str(name)[:80]!r} is no field of version {version}", str(name)[:80])
        try:
            check(value, name)
        except DataError as error:
            raise _invalid(f"{name}: {error.cause}", name) from None
    if payload["step_start"] > payload["step_end"]:
        raise _invalid("step_start is after step_end", "step_start")


def sign_certificate(payload: dict[str, Any], private_key: bytes) -> bytes:
    """The stored bytes of a version "2" certificate over ``payload``.

    Raises:
        DataError: CERTIFICATE_INVALID or KEY_REFUSED.
    """
    check_payload(payload)
    if payload["certificate_version"] != "2":
        raise _invalid("version 1 is verified, never issued", "certificate_version")
    signature = ed25519.sign(private_key, cbor.encode(payload))
    return cbor.encode({"signed_payload": payload, "signature": signature})


def read_certificate(data: Any) -> tuple[dict[str, Any], bytes]:
    """(signed payload, signature) of a stored certificate; the signature is not judged.

    Raises:
        DataError: CERTIFICATE_INVALID.
    """
    try:
        value = cbor.decode(data)
    except DataError as error:
        raise _invalid(f"not canonical CBOR: {error.cause}") from None
    if type(value) is not dict:
        raise _invalid("a certificate is a map")
    for name in MAP_FIELDS:
        if name not in value:
            raise _invalid(f"{name} is missing", name)
    for name in value:
        if name not in MAP_FIELDS and name != MAP_OPTIONAL:
            raise _invalid(f"{name[:80]!r} is no field of a certificate", name[:80])
    if type(value.get(MAP_OPTIONAL, {})) is not dict:
        raise _invalid(f"{MAP_OPTIONAL} is not a map", MAP_OPTIONAL)
    signature = value["signature"]
    if type(signature) is not bytes or len(signature) != ed25519.SIGNATURE_BYTES:
        raise _invalid("signature is not 64 raw bytes", "signature")
    check_payload(value["signed_payload"])
    return value["signed_payload"], signature


def open_certificate(data: bytes, public_key: bytes) -> tuple[dict[str, Any], bytes]:
    """(signed payload, ``certificate_hash``) once field set and signature hold.

    ``certificate_hash`` names the whole stored map; the signature is never an identifier.

    Raises:
        DataError: CERTIFICATE_INVALID, KEY_REFUSED or SIGNATURE_REFUSED.
    """
    payload, signature = read_certificate(data)
    ed25519.verify(public_key, cbor.encode(payload), signature)
    return payload, sha256(data)


def promotion_mismatches(payload: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Names of the nine that differ from what was recomputed, in their order.

    ``expected`` holds the nine (``dependencies_lock_hash`` is not read, it is recomputed) and
    ``toolchain_hash`` and ``runtime_env_hash``.

    Raises:
        DataError: DIGEST_INVALID; an expected value is absent or no digest.
    """
    if not isinstance(payload, Mapping) or not isinstance(expected, Mapping):
        raise DataError("DIGEST_INVALID", "payload and expected are maps")
    want = {name: digest32(expected.get(name), name) for name in NINE if "dependencies" not in name}
    want["dependencies_lock_hash"] = deps_lock_v1(
        want["lockfile_hash"],
        digest32(expected.get("toolchain_hash"), "toolchain_hash"),
        digest32(expected.get("runtime_env_hash"), "runtime_env_hash"),
    )
    return [name for name in NINE if payload.get(name) != want[name]]
