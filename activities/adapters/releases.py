"""Releases in a store: put a bundle there, and read back every byte its certificate rests on.

A release's objects are announced in retention batches under its own name before they are stored;
the batches are also how its trace is found again, since the certificate binds the trace by its
tail and not by an object digest (docs/spec/bytes.md §4).
"""

from collections.abc import Iterator

from activities.adapters.bundle import Bundle
from activities.adapters.store.cas import Cas
from activities.adapters.store.ledger import Ledger
from activities.adapters.store.pointers import body_of
from lockstep import cbor, layout, trace
from lockstep.digest import sha256, to_text
from lockstep.errors import DataError
from lockstep.hashes import release_hash as name_of_release
from lockstep.ledger import ReleaseIndex, RetentionBatch
from lockstep.release.evidence import ReleaseEvidence, lineage_bytes
from lockstep.release.manifest import Manifest
from lockstep.trust.certificate import read_certificate
from lockstep.trust.verify import TrustData

RETENTION_CLASS = "certified_release"
TRACE_MAX_BYTES = cbor.SIZE_MAX_BYTES


def release_hash_of(release: ReleaseEvidence) -> bytes:
    return name_of_release(sha256(release.manifest), sha256(release.certificate))


def upload_release(cas: Cas, ledger: Ledger, bundle: Bundle, *, now_us: int) -> bytes:
    """Store a certified bundle and its index; returns its release_hash. Safe to repeat.

    The index comes last: a release that can be named is there whole. Artefacts and
    configurations that the bundle does not carry must lie in the store already.

    Raises:
        DataError: RELEASE_INVALID, OBJECT_MISSING or OBJECT_CORRUPT.
        UnavailableError: the store did not confirm a write.
    """
    release = bundle.as_evidence()
    read_certificate(release.certificate)
    release_hash = release_hash_of(release)
    manifest = Manifest.from_bytes(release.manifest)
    objects = [
        release.manifest,
        release.certificate,
        *release.evidence.values(),
        release.trace,
        release.checkpoint,
        release.lineage,
        *_carried(cas, manifest, bundle),
        *bundle.step_evidence.values(),
    ]
    if ledger.release_index(release_hash) is None or not all(
        cas.has(sha256(body)) for body in objects
    ):
        cas.put_all(objects, release_hash.hex(), 0, now_us=now_us, retention_class=RETENTION_CLASS)
    ledger.put_release_index(
        release_hash,
        ReleaseIndex(
            manifest_hash=sha256(release.manifest), certificate_hash=sha256(release.certificate)
        ),
    )
    return release_hash


def _carried(cas: Cas, manifest: Manifest, bundle: Bundle) -> list[bytes]:
    """The bundle's own files, each the bytes that the manifest names."""
    wanted = [("artifact", item.name, item.digest) for item in manifest.artifacts]
    wanted += [("config", item.name, item.digest) for item in manifest.configs]
    bodies = []
    for kind, name, digest in wanted:
        body = (bundle.artifacts if kind == "artifact" else bundle.configs).get(name)
        if body is None:
            if not cas.has(digest):
                raise DataError("OBJECT_MISSING", f"{kind} {name}: {to_text(digest)}")
            continue
        if sha256(body) != digest:
            raise DataError(
                "RELEASE_INVALID", f"{kind} {name}: not the bytes that the manifest names"
            )
        bodies.append(body)
    return bodies


def load_release(cas: Cas, ledger: Ledger, release_hash: bytes) -> ReleaseEvidence:
    """Every stored byte of a release that verification needs; nothing is judged here.

    Raises:
        DataError: OBJECT_MISSING, OBJECT_CORRUPT, CERTIFICATE_INVALID or RECORD_INVALID.
    """
    index = ledger.release_index(release_hash)
    if index is None:
        raise DataError(
            "OBJECT_MISSING",
            f"no release {to_text(release_hash)} in the store",
            hint="client release approve BUNDLE uploads it",
        )
    manifest_bytes = cas.get(index.manifest_hash)
    certificate = cas.get(index.certificate_hash)
    manifest = Manifest.from_bytes(manifest_bytes)
    payload, _ = read_certificate(certificate)
    lineage = lineage_bytes(manifest)
    known = {index.manifest_hash, index.certificate_hash, payload["checkpoint_hash"]}
    known |= {row[2] for row in manifest.lineage_rows()} | {sha256(lineage)}
    return ReleaseEvidence(
        manifest=manifest_bytes,
        certificate=certificate,
        evidence={kind: cas.get(digest) for kind, digest in manifest.evidence.items()},
        trace=_find_trace(cas, release_hash, payload["trace_root_hash"], known),
        checkpoint=cas.get(payload["checkpoint_hash"]),
        lineage=cas.get(sha256(lineage)),
        approvals=tuple(record for _, record in ledger.approvals(release_hash)),
    )


def _batch_digests(cas: Cas, release_hash: bytes) -> Iterator[bytes]:
    """Every digest that the release's retention batches name, in their order."""
    for listed in cas.store.list(layout.retention_prefix(cas.tenant, release_hash.hex())):
        body = body_of(cas.store, listed.key)
        if body is not None:
            yield from RetentionBatch.from_bytes(body, place=listed.key).digests


def _find_trace(cas: Cas, release_hash: bytes, trace_root: bytes, known: set[bytes]) -> bytes:
    """The one batched object whose chain ends in ``trace_root``; ``known`` are other things."""
    for digest in _batch_digests(cas, release_hash):
        if digest in known:
            continue
        body = cas.get(digest)
        try:
            if trace.tail(cbor.decode(body, size_max_bytes=TRACE_MAX_BYTES)) == trace_root:
                return body
        except DataError:
            continue  # some other object: no CBOR, or no list of records
    raise DataError(
        "OBJECT_MISSING",
        f"no stored trace ends in {to_text(trace_root)}",
        place=layout.retention_prefix(cas.tenant, release_hash.hex()),
        hint="upload the release bundle again",
    )


def load_trust(
    ledger: Ledger, *, pinned_root: bytes | None, pinned_revocations: bytes | None
) -> TrustData:
    """Trust data of the tenant as stored: newest root, newest bundle, the certificate's bundle.

    ``pinned_revocations`` is the digest that a certificate names (None: not known yet).

    Raises:
        DataError: TRUST_ROOT_INVALID; the store holds no trust root or no revocation bundle.
    """
    root, current = ledger.latest_trust_root(), ledger.latest_revocations()
    if root is None or current is None:
        raise DataError(
            "TRUST_ROOT_INVALID",
            "the store holds no trust root" if root is None else "no revocation bundle is stored",
            hint="client dev up makes one for a development stack",
        )
    named = None
    for version in range(current[0], 0, -1):
        body = current[1] if version == current[0] else ledger.revocations(version)
        if body is not None and sha256(body) == pinned_revocations:
            named = body
            break
    return TrustData(
        root=root[1],
        pinned_root=pinned_root,
        revocations=current[1],
        pinned_revocations=named,
    )


def pinned_revocations_of(release: ReleaseEvidence) -> bytes | None:
    """Digest of the revocation bundle that a release's certificate names; None if unreadable."""
    try:
        payload, _ = read_certificate(release.certificate)
    except DataError:
        return None
    return payload["revocation_bundle_hash"]
