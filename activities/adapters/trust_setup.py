"""Make keys, and the minimal real trust of a development stack: one root key, one root version.

Everything is signed and published as in earnest; only the custody is a folder of key files, which
is why contexts that use it are marked development.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from activities.adapters.secrets import SigningKey, resolve_key, write_key_file
from activities.adapters.store.ledger import Ledger
from lockstep import utc
from lockstep.digest import sha256, to_text
from lockstep.errors import DataError
from lockstep.ports import Store
from lockstep.trust import ed25519
from lockstep.trust.keys import Purpose, describe
from lockstep.trust.root import (
    PURPOSE_OF_ROLE,
    REVOCATIONS_SCHEMA,
    ROOT_SCHEMA,
    RevocationPayload,
    RootPayload,
    read_root,
    sign_revocations,
    sign_root,
    verify_revocations,
)

DEV_PURPOSES: tuple[Purpose, ...] = (
    "root",
    "release-certificate",
    "rollout-certificate",
    "approval",
    "step-grant",
    "operator",
)
KEY_DAYS = 365
ROTATION_DAYS = 365
REVOCATIONS_DAYS = 30
REISSUE_BELOW_DAYS = 15
"""A stack that comes up with less than this left gets the next version of the bundle."""


@dataclass(frozen=True, slots=True)
class DevTrust:
    """What a context needs to know about a stack's trust."""

    pin: str
    """``sha256:…`` of the trust root."""
    keys: dict[str, str]
    """Purpose → ``file:PATH`` reference."""
    created: bool


def generate_key(purpose: str, *, now: str, days: int, origin: str) -> SigningKey:
    """A new key, in force from ``now`` for ``days`` days."""
    private_key = os.urandom(ed25519.KEY_BYTES)
    descriptor = describe(
        purpose,
        ed25519.public_of(private_key),
        not_before=now,
        not_after=utc.plus_days(now, days),
        rotation_max_age_days=min(days, ROTATION_DAYS),
        origin=origin,
    )
    return SigningKey(descriptor=descriptor, private_key=private_key)


def create_dev_trust(folder: Path, store: Store, tenant_id: str, now: str) -> DevTrust:
    """Make, or find again, the keys in ``folder`` and the trust they are in ``store``.

    Safe to repeat: existing keys are used as they are, the root follows from them alone, and the
    revocation bundle is issued again, as the next version, when it nears its end.

    Raises:
        DataError: TRUST_ROOT_INVALID; the store holds a trust root of other keys.
        UnavailableError: SECRET_UNRESOLVED; a key file cannot be read.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = {purpose: _key_at(folder, purpose, now) for purpose in DEV_PURPOSES}
    ledger = Ledger(store, tenant_id)
    root_bytes = _root(keys, tenant_id)
    latest = ledger.latest_trust_root()
    if latest is not None and latest[1] != root_bytes:
        raise DataError(
            "TRUST_ROOT_INVALID",
            "the store holds a trust root of other keys",
            place=str(folder),
            hint="use the key folder this store was made with, or another store",
        )
    if latest is None:
        ledger.put_trust_root(1, root_bytes)
    _issue_revocations(ledger, keys["root"], root_bytes, now)
    return DevTrust(
        pin=to_text(sha256(root_bytes)),
        keys={purpose: f"file:{_path(folder, purpose)}" for purpose in DEV_PURPOSES},
        created=latest is None,
    )


def _path(folder: Path, purpose: str) -> Path:
    return folder.resolve() / f"{purpose}.key.json"


def _key_at(folder: Path, purpose: Purpose, now: str) -> SigningKey:
    path = _path(folder, purpose)
    if not path.exists():
        origin = "generated for a development stack, kept in a key file"
        write_key_file(path, generate_key(purpose, now=now, days=KEY_DAYS, origin=origin))
    return resolve_key(f"file:{path}", development=True, purpose=purpose)


def _root(keys: dict[Purpose, SigningKey], tenant_id: str) -> bytes:
    """Root version 1: it follows from the keys, so that a repeat gives the same bytes."""
    of_purpose = {purpose: key.key_id for purpose, key in keys.items()}
    roles = {
        role: [of_purpose[purpose]]
        for role, purpose in PURPOSE_OF_ROLE.items()
        if purpose in of_purpose
    }
    descriptors = sorted((key.descriptor for key in keys.values()), key=lambda key: key.key_id)
    payload = RootPayload.from_map(
        {
            "type": "trust-root",
            "schema_version": ROOT_SCHEMA,
            "version": 1,
            "tenant_id": tenant_id,
            "keys": [descriptor.to_map() for descriptor in descriptors],
            "roles": roles,
            "thresholds": {"root": 1},
            "not_after": keys["root"].descriptor.not_after,
        }
    )
    return sign_root(payload, [(keys["root"].descriptor, keys["root"].private_key)]).to_bytes()


def _issue_revocations(ledger: Ledger, root_key: SigningKey, root_bytes: bytes, now: str) -> None:
    """Publish an empty bundle where there is none, and the next version before one goes stale."""
    latest = ledger.latest_revocations()
    version, entries = 1, []
    if latest is not None:
        payload = verify_revocations(latest[1], read_root(root_bytes)).signed_payload
        if utc.plus_days(now, REISSUE_BELOW_DAYS) < payload.next_update:
            return
        version, entries = payload.version + 1, payload.entries
    payload = RevocationPayload.from_map(
        {
            "type": "revocation-bundle",
            "schema_version": REVOCATIONS_SCHEMA,
            "version": version,
            "tenant_id": ledger.tenant,
            "issued_at": now,
            "next_update": utc.plus_days(now, REVOCATIONS_DAYS),
            "entries": [entry.to_map() for entry in entries],
        }
    )
    bundle = sign_revocations(payload, [(root_key.descriptor, root_key.private_key)])
    ledger.put_revocations(version, bundle.to_bytes())
