"""The policy, profile and key that a command works with: its own option, else the context's.

Nothing is guessed: without either the command is refused with the way to name one.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from client.context import Stored
from lockstep.errors import DataError, RefusedError
from lockstep.settings import Context

if TYPE_CHECKING:
    from activities.adapters.secrets import SigningKey
    from lockstep.policy import Policy
    from lockstep.profile import EnvironmentProfile, EnvironmentSpec
    from lockstep.trust.root import TrustRoot

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

policy_option = click.option(
    "--policy", "policy_file", type=FILE, help="The policy to use instead of the context's."
)
profile_option = click.option(
    "--profile", "profile_file", type=FILE, help="The environment profile to use instead."
)


def policy_of(context: Context, file: Path | None) -> "Policy":
    """Raises DataError: POLICY_NOT_PINNED, or DOCUMENT_INVALID at file and line."""
    from client.files import read_policy

    return read_policy(_named(context, file, context.policy, "policy"))


def profile_of(context: Context, file: Path | None) -> "EnvironmentProfile":
    """Raises DataError: POLICY_NOT_PINNED, or DOCUMENT_INVALID at file and line."""
    from client.files import read_profile

    return read_profile(_named(context, file, context.profile, "profile"))


def _named(context: Context, file: Path | None, pinned: str | None, what: str) -> Path:
    if file is not None:
        return file
    if pinned is None:
        raise DataError(
            "POLICY_NOT_PINNED",
            f"context {context.name} names no {what}",
            hint=f"pass --{what} FILE, or name one in the context; client init writes one",
        )
    return Path(pinned)


def environment_of(profile: "EnvironmentProfile", name: str) -> "EnvironmentSpec":
    """Raises DataError: USAGE; the profile has no such environment."""
    found = profile.environment(name)
    if found is None:
        names = ", ".join(profile.names())
        raise DataError("USAGE", f"the profile has no environment {name!r}", hint=f"one of {names}")
    return found


def operator_key(context: Context) -> "SigningKey":
    """The key of the person at this terminal: purpose ``operator``.

    Raises:
        DataError: CONTEXT_INVALID; the context names none. KEY_REFUSED; another purpose.
        UnavailableError: SECRET_UNRESOLVED.
    """
    from activities.adapters.secrets import resolve_key

    reference = context.keys.get("operator")
    if reference is None:
        raise DataError(
            "CONTEXT_INVALID",
            f"context {context.name} names no operator key",
            hint='keys = { operator = "file:…" } in its table',
        )
    return resolve_key(reference, development=context.development, purpose="operator")


def trust_root_of(context: Context, stored: Stored) -> "TrustRoot":
    """The tenant's newest trust root, the pinned one where the context pins one.

    Raises:
        DataError: TRUST_ROOT_INVALID.
    """
    from client.releasing import pinned_root
    from lockstep.trust.root import verify_root

    latest = stored.ledger.latest_trust_root()
    if latest is None:
        raise DataError("TRUST_ROOT_INVALID", "the store holds no trust root", place=context.store)
    return verify_root(latest[1], tenant_id=context.tenant_id, pinned=pinned_root(context))


def require_capability(
    context: Context, stored: Stored, key: "SigningKey", capability: str, now: str
) -> None:
    """Refuse, before anything is touched, a key that may not do what it is used for.

    Raises:
        RefusedError: NOT_AUTHORISED, CERTIFICATE_EXPIRED or KEY_REVOKED.
        DataError: TRUST_ROOT_INVALID.
    """
    from lockstep.trust.authz import capabilities_of
    from lockstep.trust.keys import check_window
    from lockstep.trust.root import verify_revocations

    root = trust_root_of(context, stored)
    if capability not in capabilities_of(root, key.key_id):
        raise RefusedError(
            "NOT_AUTHORISED",
            f"{key.key_id} may not {capability}",
            hint="ask somebody whose key holds the role",
        )
    check_window(key.descriptor, now)
    latest = stored.ledger.latest_revocations()
    entry = latest and verify_revocations(latest[1], root).revokes(key.key_id, now)
    if entry:
        raise RefusedError("KEY_REVOKED", f"{key.key_id} is revoked: {entry.reason}")
