"""Make, certify and approve releases: read files, ask the core, write what it gives.

The commands of ``client release`` and ``client demo`` both come here. Everything is checked before
anything is written; a refusal leaves no file and no object behind.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from client.context import Stored
from lockstep.errors import DataError, LockstepError, RefusedError, UnavailableError
from lockstep.settings import Context

if TYPE_CHECKING:
    from activities.adapters.bundle import Bundle
    from activities.adapters.secrets import SigningKey
    from lockstep.record import Record
    from lockstep.release.authoring import Inputs, ReleaseDocument
    from lockstep.release.evidence import ReleaseEvidence
    from lockstep.trust.equalities import Expected
    from lockstep.trust.verify import TrustData

R = TypeVar("R", bound="Record")
FieldPath = tuple[str | int, ...]


# ---- pack ----------------------------------------------------------------------------------


def pack_release(document_path: Path, out: Path, tenant_id: str) -> "Bundle":
    """Write the bundle that ``release.yaml`` describes to ``out``, and return it.

    Raises:
        DataError: DOCUMENT_INVALID at file and line, LOCK_INVALID, EVIDENCE_INVALID or
            RELEASE_INVALID.
    """
    from activities.adapters.bundle import Bundle, write_bundle
    from client.files import load_yaml
    from lockstep.documents import DocumentError
    from lockstep.release import authoring

    data, lines = load_yaml(document_path)
    try:
        document = authoring.read_document(data)
        inputs = _inputs(document, document_path.parent)
        packed = authoring.pack(document, inputs, tenant_id)
    except DocumentError as error:
        # A document that this one names has placed its own problems already.
        raise error if error.place else error.located(str(document_path), lines) from None
    except LockstepError as error:
        error.place = f"{document_path}: {error.place}" if error.place else str(document_path)
        raise
    bundle = Bundle(
        manifest=packed.manifest.to_bytes(),
        trace=packed.trace,
        checkpoint=packed.checkpoint,
        lineage=packed.lineage,
        evidence=packed.evidence,
        artifacts=packed.artifacts,
        configs=packed.configs,
        step_evidence=packed.step_evidence,
    )
    write_bundle(out, bundle)
    return bundle


def _inputs(document: "ReleaseDocument", folder: Path) -> "Inputs":
    """Every file that the document names, read; a file that cannot be is its field's problem."""
    from client.files import read_policy
    from lockstep import determinism, operators
    from lockstep.release.authoring import Inputs, file_fields
    from lockstep.release.evidence import RuntimeEnv, Toolchain

    files = _read_files(folder, file_fields(document))
    return Inputs(
        files=files,
        policy=read_policy(folder / document.evidence.policy),
        toolchain=_read_record(Toolchain, folder / document.evidence.toolchain),
        runtime_env=_read_record(RuntimeEnv, folder / document.evidence.runtime_env),
        determinism_profile=determinism.profile_bytes(),
        operator_registry=operators.registry_bytes(),
    )


def _read_files(folder: Path, fields: Mapping[FieldPath, str]) -> dict[FieldPath, bytes]:
    from activities.adapters.bundle import FILE_MAX_BYTES
    from client.files import read_file
    from lockstep.documents import DocumentError, Problem

    bodies, problems = {}, []
    for field, path in fields.items():
        try:
            bodies[field] = read_file(folder / path, size_max_bytes=FILE_MAX_BYTES)
        except DataError as error:
            problems.append(Problem(field, f"{path}: {error.cause}"))
    if problems:
        raise DocumentError(problems)
    return bodies


def _read_record(kind: type[R], path: Path) -> R:
    """A toolchain or runtime environment as people write it."""
    from client.files import load_yaml
    from lockstep.documents import DocumentError, check

    data, lines = load_yaml(path)
    try:
        return check(kind, data)
    except DocumentError as error:
        raise error.located(str(path), lines) from None


# ---- certify -------------------------------------------------------------------------------


def certify_bundle(context: Context, path: Path, reference: str | None = None) -> "Bundle":
    """Sign a certificate over the bundle at ``path`` and put it there; returns the bundle.

    ``reference`` names the key instead of the context's ``release-certificate`` key.

    Raises:
        LockstepError: the code says what promotion would refuse; the bundle is unchanged.
    """
    from activities.adapters.bundle import read_bundle, write_certificate
    from activities.adapters.releases import load_trust
    from lockstep.trust.certify import Signer, certify_release

    bundle = read_bundle(path)
    key = _key(context, "release-certificate", reference)
    stored = Stored(context)
    certificate = certify_release(
        bundle.as_evidence(),
        load_trust(stored.ledger, pinned_root=pinned_root(context), pinned_revocations=None),
        shipped(b""),
        Signer(descriptor=key.descriptor, private_key=key.private_key),
        tenant_id=context.tenant_id,
        now=store_time(stored),
    )
    return write_certificate(path, bundle, certificate)


# ---- approve -------------------------------------------------------------------------------


def approve_release(
    context: Context, release_text: str, reference: str | None = None
) -> dict[str, Any]:
    """Sign an approval of a bundle (which is uploaded) or of a release in the store.

    An approval under which the release would not verify is not given.

    Raises:
        LockstepError: the code of the first check that does not hold; nothing was stored.
    """
    from activities.adapters.releases import release_hash_of, upload_release
    from lockstep.digest import sha256, to_text
    from lockstep.trust.certificate import read_certificate

    key = _key(context, "approval", reference)
    stored = Stored(context)
    release, bundle = find_release(stored, release_text)
    signer_key_id = read_certificate(release.certificate)[0]["key_id"]
    now = store_time(stored)
    record = _signed_approval(context, release, key, signer_key_id, now)
    _require_good(context, stored, release, record, now)
    release_hash = release_hash_of(release)
    if bundle is not None:
        now_us = int(stored.store.now().timestamp() * 1_000_000)
        upload_release(stored.cas, stored.ledger, bundle, now_us=now_us)
    before = dict(stored.ledger.approvals(release_hash)).get(key.key_id)
    kept = stored.ledger.put_approval(release_hash, key.key_id, record)
    return {
        "schema_version": "lockstep.approved.v1",
        "release_hash": to_text(release_hash),
        "approver": key.key_id,
        "approval": to_text(sha256(kept)),
        "changed": before is None,
        "uploaded": bundle is not None,
    }


def _signed_approval(
    context: Context, release: "ReleaseEvidence", key: "SigningKey", signer_key_id: str, now: str
) -> bytes:
    from lockstep.release.evidence import RECOMPUTE
    from lockstep.release.manifest import Manifest
    from lockstep.trust.approvals import Approval, approve

    bound = {
        name: RECOMPUTE[name](release)
        for name in (
            "policy_bundle_hash",
            "manifest_hash",
            "trace_root_hash",
            "checkpoint_hash",
            "lineage_root_hash",
        )
    }
    approval = Approval.from_map(
        {
            "type": "approval",
            "tenant_id": context.tenant_id,
            "service": Manifest.from_bytes(release.manifest).service,
            "approver": key.key_id,
            "time": now,
            **bound,
        }
    )
    return approve(approval, key.descriptor, key.private_key, signer_key_id=signer_key_id)


def _require_good(
    context: Context, stored: Stored, release: "ReleaseEvidence", approval: bytes, now: str
) -> None:
    """Refuse unless the release verifies with this approval alone."""
    from dataclasses import replace

    from lockstep.digest import sha256
    from lockstep.trust.verify import Rules, verify_release

    expected = shipped(sha256(release.evidence["policy_bundle"]))
    report = verify_release(
        replace(release, approvals=(approval,)),
        trust_data(context, stored, release),
        Rules(tenant_id=context.tenant_id, expected=expected),
        now=now,
    )
    problem = report.first_problem()
    if problem is not None:
        code = problem.code or "EVIDENCE_INVALID"
        kind = UnavailableError if problem.outcome == "stale" else RefusedError
        raise kind(code, f"{problem.name}: {problem.detail}", hint="client release show RELEASE")


# ---- what all of them need -----------------------------------------------------------------


def find_release(stored: Stored, text: str) -> tuple["ReleaseEvidence", "Bundle | None"]:
    """A release by bundle path or by name; (its bytes, the bundle when it was a path).

    Raises:
        DataError: RELEASE_INVALID, OBJECT_MISSING or OBJECT_CORRUPT.
    """
    from activities.adapters.bundle import read_bundle
    from activities.adapters.releases import load_release

    name = release_name(text)
    if name is not None:
        return load_release(stored.cas, stored.ledger, name), None
    bundle = read_bundle(Path(text))
    if bundle.certificate is None:
        raise DataError(
            "RELEASE_INVALID",
            "the bundle is not certified",
            place=text,
            hint=f"client release certify {text}",
        )
    return bundle.as_evidence(), bundle


def release_name(text: str) -> bytes | None:
    """The release_hash that ``text`` spells (``sha256:…`` or 64 hex digits); None for a path."""
    digits = text.removeprefix("sha256:")
    if len(digits) == 64 and all(digit in "0123456789abcdef" for digit in digits):
        return bytes.fromhex(digits)
    return None


def shipped(policy_bundle_hash: bytes) -> "Expected":
    """What this version ships, with the policy that is to be compared."""
    from lockstep import determinism, operators
    from lockstep.trust.equalities import Expected

    return Expected(
        policy_bundle_hash=policy_bundle_hash,
        profiles=determinism.accepted_profiles(),
        operator_roots=operators.accepted_roots(),
    )


def trust_data(context: Context, stored: Stored, release: "ReleaseEvidence") -> "TrustData":
    """The store's trust data for verifying ``release``.

    Raises:
        DataError: TRUST_ROOT_INVALID; the store holds none.
    """
    from activities.adapters.releases import load_trust, pinned_revocations_of

    return load_trust(
        stored.ledger,
        pinned_root=pinned_root(context),
        pinned_revocations=pinned_revocations_of(release),
    )


def pinned_root(context: Context) -> bytes | None:
    from lockstep.digest import from_text

    return from_text(context.trust_root) if context.trust_root else None


def store_time(stored: Stored) -> str:
    """The store's own time, whole seconds."""
    from lockstep import utc

    return utc.from_seconds(int(stored.store.now().timestamp()))


def _key(context: Context, purpose: str, reference: str | None) -> "SigningKey":
    from activities.adapters.secrets import is_reference, resolve_key

    if reference is not None and not is_reference(reference):
        raise DataError(
            "USAGE", f"--key {reference[:80]!r} is no reference", hint="file:PATH or env:NAME"
        )
    named = reference or context.keys.get(purpose)
    if named is None:
        raise DataError(
            "CONTEXT_INVALID",
            f"context {context.name} names no key of purpose {purpose}",
            hint="pass --key REF, or name one in the context's keys",
        )
    return resolve_key(named, development=context.development, purpose=purpose)
