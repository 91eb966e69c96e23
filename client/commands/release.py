"""``client release pack | certify | approve | show``: releases and who vouches for them."""

from pathlib import Path
from typing import Any

import click

from client.output import columns, emit, output_option
from lockstep.errors import Exit

SHOWN_SCHEMA = "lockstep.release-shown.v1"
BUNDLE = click.Path(exists=True, path_type=Path)


@click.group()
def release() -> None:
    """Pack, certify and approve releases."""


@release.command()
@click.argument(
    "document",
    metavar="[RELEASE_YAML]",
    default="release.yaml",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="The new bundle: a folder, or a file that ends in .tar.",
)
@click.option("--tenant", help="Whose release it is, instead of the context's tenant.")
@output_option
def pack(document: Path, out: Path, tenant: str | None, output: str) -> int:
    """Build the bundle that RELEASE_YAML describes.

    The bundle depends on the files' bytes and the tenant alone.
    """
    from client.context import load
    from client.releasing import pack_release
    from lockstep.digest import sha256
    from lockstep.release.manifest import Manifest

    bundle = pack_release(document, out, tenant or load().tenant_id)
    manifest = Manifest.from_bytes(bundle.manifest)
    value = {
        "schema_version": "lockstep.packed.v1",
        "bundle": str(out),
        "service": manifest.service,
        "version": manifest.version,
        "manifest_hash": sha256(bundle.manifest),
    }
    emit(value, output, f"{out}: {manifest.service} {manifest.version} packed, not yet certified")
    return Exit.DONE


@release.command()
@click.argument("bundle", type=BUNDLE)
@click.option("--key", "reference", metavar="REF", help="The signing key instead of the context's.")
@output_option
def certify(bundle: Path, reference: str | None, output: str) -> int:
    """Sign a certificate over BUNDLE: every hash recomputed, nothing taken on trust."""
    from activities.adapters.releases import release_hash_of
    from client.context import load
    from client.releasing import certify_bundle
    from lockstep.digest import sha256, to_text
    from lockstep.trust.certificate import read_certificate

    certified = certify_bundle(load(), bundle, reference)
    evidence = certified.as_evidence()
    payload, _ = read_certificate(evidence.certificate)
    release_hash = to_text(release_hash_of(evidence))
    value = {
        "schema_version": "lockstep.certified.v1",
        "bundle": str(bundle),
        "release_hash": release_hash,
        "certificate_hash": sha256(evidence.certificate),
        "key_id": payload["key_id"],
        "valid_until_utc": payload["valid_until_utc"],
    }
    emit(value, output, release_hash)
    return Exit.DONE


@release.command()
@click.argument("release_text", metavar="RELEASE")
@click.option("--key", "reference", metavar="REF", help="The signing key instead of the context's.")
@output_option
def approve(release_text: str, reference: str | None, output: str) -> int:
    """Sign an approval of RELEASE, a bundle or a release_hash in the store.

    A bundle is uploaded. The certificate's own signer may not approve it.
    """
    from client.context import load
    from client.releasing import approve_release

    value = approve_release(load(), release_text, reference)
    word = "approved" if value["changed"] else "approved before"
    emit(value, output, f"{value['release_hash']} {word} by {value['approver']}")
    return Exit.DONE


@release.command()
@click.argument("release_text", metavar="RELEASE")
@output_option
def show(release_text: str, output: str) -> int:
    """Show what RELEASE holds, and whether it verifies now."""
    from client.context import load

    value = describe(load(), release_text)
    emit(value, output, _table)
    return Exit.DONE


def describe(context: Any, release_text: str) -> dict[str, Any]:
    """A release for people and programs: manifest, certificate, approvals, checks."""
    from activities.adapters.bundle import read_bundle
    from activities.adapters.releases import release_hash_of
    from client import releasing
    from client.context import Stored
    from lockstep.digest import sha256
    from lockstep.release.manifest import Manifest

    if releasing.release_name(release_text) is None:
        bundle = read_bundle(Path(release_text))
        if bundle.certificate is None:
            manifest = Manifest.from_bytes(bundle.manifest)
            return {
                "schema_version": SHOWN_SCHEMA,
                "release_hash": None,
                "manifest_hash": sha256(bundle.manifest),
                "manifest": manifest.to_map(),
                "outcome": "not certified",
            }
    stored = Stored(context)
    evidence, _ = releasing.find_release(stored, release_text)
    release_hash = release_hash_of(evidence)
    report = _verify(context, stored, evidence, release_hash)
    return {
        "schema_version": SHOWN_SCHEMA,
        "release_hash": release_hash,
        "manifest_hash": sha256(evidence.manifest),
        "manifest": Manifest.from_bytes(evidence.manifest).to_map(),
        "key_id": report.key_id,
        "approvers": report.approvers,
        "checks": [check.model_dump(exclude_none=True) for check in report.checks],
        "equalities": [row.model_dump(exclude_none=True) for row in report.equalities],
        "outcome": report.outcome,
    }


def _verify(context: Any, stored: Any, evidence: Any, release_hash: bytes) -> Any:
    """The trust report now, held to the policy that the release itself brings."""
    from dataclasses import replace

    from client import releasing
    from lockstep.digest import sha256
    from lockstep.trust.verify import Rules, verify_release

    approvals = tuple(record for _, record in stored.ledger.approvals(release_hash))
    expected = releasing.shipped(sha256(evidence.evidence["policy_bundle"]))
    return verify_release(
        replace(evidence, approvals=approvals),
        releasing.trust_data(context, stored, evidence),
        Rules(tenant_id=context.tenant_id, expected=expected),
        now=releasing.store_time(stored),
    )


def _table(value: dict[str, Any]) -> str:
    from lockstep.digest import to_text

    manifest = value["manifest"]
    name = to_text(value["release_hash"]) if value["release_hash"] else "(not certified)"
    lines = [
        f"{manifest['service']} {manifest['version']}  {name}",
        f"commit {manifest['code_commit']}",
        "",
        columns(
            [
                *(("artifact", a["name"], to_text(a["digest"])) for a in manifest["artifacts"]),
                *(("config", c["name"], to_text(c["digest"])) for c in manifest["configs"]),
                *(("evidence", k, to_text(d)) for k, d in sorted(manifest["evidence"].items())),
            ],
            ("type", "name", "digest"),
        ),
    ]
    if "checks" in value:
        rows = [(c["name"], c["outcome"], c["detail"]) for c in value["checks"]]
        lines += ["", columns(rows, ("check", "outcome", "detail"))]
        lines += ["", f"approved by {', '.join(value['approvers']) or 'nobody'}"]
    return "\n".join([*lines, f"outcome: {value['outcome']}"])
