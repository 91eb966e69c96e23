"""``client keys generate | list``: keys, each for one purpose."""

from pathlib import Path

import click

from client.output import columns, emit, output_option
from lockstep.errors import Exit
from lockstep.settings import Context

DAYS_DEFAULT = 365
DAYS_MAX = 3650


@click.group()
def keys() -> None:
    """Make and list keys."""


@keys.command()
@click.option("--purpose", required=True, help="What the key is for; a key never serves two.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="The new key file; only you can read it, and none is ever replaced.",
)
@click.option(
    "--days",
    default=DAYS_DEFAULT,
    show_default=True,
    type=click.IntRange(1, DAYS_MAX),
    help="How long the key is in force, from now.",
)
@output_option
def generate(purpose: str, out: Path, days: int, output: str) -> int:
    """Make a key file for development; its descriptor is printed, its private half never.

    The key counts once a version of the trust root names it.
    """
    from datetime import UTC, datetime

    from activities.adapters.secrets import write_key_file
    from activities.adapters.trust_setup import generate_key
    from lockstep import utc
    from lockstep.errors import DataError
    from lockstep.trust.keys import PURPOSES

    if purpose not in PURPOSES:
        raise DataError("USAGE", f"no purpose {purpose!r}", hint=f"one of {', '.join(PURPOSES)}")
    now = utc.from_seconds(int(datetime.now(UTC).timestamp()))
    key = generate_key(purpose, now=now, days=days, origin="client keys generate, a key file")
    write_key_file(out, key)
    descriptor = key.descriptor.to_map()
    value = {
        "schema_version": "lockstep.key-generated.v1",
        "reference": f"file:{out}",
        **descriptor,
        "public_key": key.descriptor.public_key.hex(),  # 32 bytes, but no digest
    }
    emit(value, output, f"{key.key_id}  file:{out}")
    return Exit.DONE


@keys.command("list")
@output_option
def list_keys(output: str) -> int:
    """List the keys of the trust root, their roles and windows, and whether they are in force."""
    from client.context import Stored, load
    from client.inputs import trust_root_of
    from client.releasing import store_time
    from lockstep.trust.root import verify_revocations

    context = load()
    stored = Stored(context)
    root = trust_root_of(context, stored)
    latest = stored.ledger.latest_revocations()
    bundle = verify_revocations(latest[1], root) if latest else None
    now = store_time(stored)
    at_hand = _at_hand(context)
    rows = []
    for key in root.signed_payload.keys:
        entry = bundle.revokes(key.key_id, now) if bundle else None
        in_window = key.not_before <= now < key.not_after
        rows.append(
            {
                **key.to_map(),
                "public_key": key.public_key.hex(),
                "roles": sorted(
                    role for role, ids in root.signed_payload.roles.items() if key.key_id in ids
                ),
                "state": "revoked" if entry else "in force" if in_window else "out of its window",
                "reference": at_hand.get(key.key_id),
            }
        )
    value = {
        "schema_version": "lockstep.keys.v1",
        "trust_root_version": root.signed_payload.version,
        "revocation_version": bundle.signed_payload.version if bundle else None,
        "keys": rows,
    }
    head = ("key", "roles", "state", "until before")
    cells = [
        (row["key_id"], ",".join(row["roles"]) or "-", row["state"], row["not_after"])
        for row in rows
    ]
    emit(value, output, columns(cells, head))
    return Exit.DONE


def _at_hand(context: Context) -> dict[str, str]:
    """Key id → reference of the context's keys that resolve here."""
    from activities.adapters.secrets import resolve_key
    from lockstep.errors import LockstepError

    found = {}
    for purpose, reference in context.keys.items():
        try:
            key = resolve_key(reference, development=context.development, purpose=purpose)
        except LockstepError:
            continue  # listing says which keys are at hand; using one says why it is not
        found[key.key_id] = reference
    return found
