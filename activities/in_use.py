"""Releases as they are run: their files out of the store, and what must be seen running.

A release that was adopted has no files here, only the digests its record names.
"""

from collections.abc import Sequence

from activities.bench import Bench
from lockstep import cbor, hashes
from lockstep.digest import from_text, sha256
from lockstep.errors import DataError, RefusedError
from lockstep.ports import BringUp
from lockstep.release.manifest import Manifest

Digests = dict[str, bytes]


def release_name(release_hash: str) -> str:
    """How targets and metrics name a release: the 64 hex digits of its hash."""
    return from_text(release_hash).hex()


def manifest_of(bench: Bench, release_hash: bytes) -> Manifest | None:
    """The manifest of a release in the store; None where the hash names no packed release.

    Raises:
        DataError: OBJECT_MISSING, OBJECT_CORRUPT or RECORD_INVALID.
    """
    index = bench.ledger.release_index(release_hash)
    if index is None:
        return None
    return Manifest.from_bytes(bench.cas.get(index.manifest_hash))


def bring_up(bench: Bench, release_hash: bytes) -> BringUp:
    """Every file that a target needs to run the release, each verified by its digest.

    Raises:
        RefusedError: NO_SAFE_TARGET; the release was adopted and its files are not here.
    """
    manifest = manifest_of(bench, release_hash)
    if manifest is None:
        raise RefusedError(
            "NO_SAFE_TARGET",
            f"the files of {release_hash.hex()[:12]} are not in the store",
            hint="an adopted release can only be gone back to while it still runs",
        )
    return BringUp(
        release=release_hash.hex(),
        artifacts={item.name: bench.cas.get(item.digest) for item in manifest.artifacts},
        configs={item.name: bench.cas.get(item.digest) for item in manifest.configs},
    )


def digests_of(wanted: BringUp) -> tuple[Digests, Digests]:
    """(artifact name → digest, configuration name → digest), recomputed from the bytes."""
    return (
        {name: sha256(body) for name, body in sorted(wanted.artifacts.items())},
        {name: sha256(body) for name, body in sorted(wanted.configs.items())},
    )


def expected_digests(
    bench: Bench, environment: str, service: str, release_hash: bytes
) -> tuple[Digests, Digests]:
    """What a release, packed or adopted, must be seen to run.

    Raises:
        DataError: ROLLBACK_TARGET_MISSING; neither a manifest nor an adoption names it.
    """
    manifest = manifest_of(bench, release_hash)
    if manifest is not None:
        return (
            {item.name: item.digest for item in manifest.artifacts},
            {item.name: item.digest for item in manifest.configs},
        )
    record = adoption_of(bench, [environment], service, release_hash)
    payload = cbor.decode(record)["signed_payload"]
    return dict(payload["artifacts"]), dict(payload["configs"])


def adoption_of(
    bench: Bench, environments: Sequence[str], service: str, release_hash: bytes
) -> bytes:
    """The signed adoption record that ``release_hash`` names.

    Raises:
        DataError: ROLLBACK_TARGET_MISSING; no adoption of this service has that name.
    """
    for environment in environments:
        for record in bench.ledger.adoptions(environment, service):
            if hashes.adoption_release_hash(sha256(record)) == release_hash:
                return record
    raise DataError(
        "ROLLBACK_TARGET_MISSING",
        f"{release_hash.hex()[:12]} was neither committed from a bundle nor adopted here",
    )


def bill_of_materials(
    bench: Bench, environments: Sequence[str], service: str, release_hash: bytes
) -> bytes:
    """``sbom_hash`` of a release; of an adoption, the record that lists what was found running."""
    manifest = manifest_of(bench, release_hash)
    if manifest is not None:
        return manifest.evidence["sbom"]
    return sha256(adoption_of(bench, environments, service, release_hash))
