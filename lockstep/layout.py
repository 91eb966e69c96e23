"""Where every object of a tenant lies in a store (docs/spec/bytes.md §3). The one home of keys.

Keys are relative to the store's optional prefix. Every component is checked: at most 200 bytes of
``[A-Za-z0-9._-]``, never ``.`` or ``..``; no key is a path-prefix of another.
"""

import re

from lockstep.errors import DataError

COMPONENT_MAX_BYTES = 200
_COMPONENT = re.compile(rf"[A-Za-z0-9._-]{{1,{COMPONENT_MAX_BYTES}}}")


def component(text: str) -> str:
    """Return ``text`` if it may stand between two slashes.

    Raises:
        DataError: NAME_INVALID.
    """
    if not _COMPONENT.fullmatch(text) or text in (".", ".."):
        raise DataError(
            "NAME_INVALID",
            f"{text[:60]!r} cannot be part of a key",
            hint="letters, digits, dot, underscore and hyphen",
        )
    return text


def _key(*parts: str) -> str:
    return "/".join(component(part) for part in parts)


def _seq(seq: int) -> str:
    return f"{seq:020d}"


def cas(tenant: str, digest: bytes) -> str:
    text = digest.hex()
    return _key("cas", tenant, "sha256", text[:2], text[2:])


def wal_prefix(tenant: str, run_id: str) -> str:
    return _key("wal", "run_commit", tenant, run_id, "records") + "/"


def wal_record(tenant: str, run_id: str, seq: int) -> str:
    return wal_prefix(tenant, run_id) + _seq(seq) + ".cbor"


def committed(tenant: str, run_id: str) -> str:
    return _key("runs", tenant, run_id, "COMMITTED")


def reports(tenant: str, run_id: str) -> str:
    return _key("runs", tenant, run_id, "REPORTS")


def look(tenant: str, run_id: str, environment: str, percent: int, number: int) -> str:
    return _key("runs", tenant, run_id, "looks", environment, str(percent), str(number))


def current(tenant: str, environment: str, service: str) -> str:
    return _key("environments", tenant, environment, service, "CURRENT")


def release(tenant: str, release_hash: bytes) -> str:
    return _key("releases", tenant, release_hash.hex())


def approval(tenant: str, release_hash: bytes, key_id: str) -> str:
    return _key("approvals", tenant, release_hash.hex(), key_id)


def approvals_prefix(tenant: str, release_hash: bytes) -> str:
    return _key("approvals", tenant, release_hash.hex()) + "/"


def adoption(tenant: str, environment: str, service: str, seq: int) -> str:
    return _key("adoptions", tenant, environment, service, _seq(seq))


def adoptions_prefix(tenant: str, environment: str, service: str) -> str:
    return _key("adoptions", tenant, environment, service) + "/"


def lease(tenant: str, environment: str, service: str) -> str:
    return _key("leases", tenant, environment, service)


def target(tenant: str, environment: str, service: str, name: str) -> str:
    return _key("targets", tenant, environment, service, name)


def retention(tenant: str, owner: str, seq: int) -> str:
    """``owner`` is a run id or the 64 hex digits of a release hash."""
    return _key("retention", tenant, owner, _seq(seq) + ".cbor")


def retention_prefix(tenant: str, owner: str) -> str:
    return _key("retention", tenant, owner) + "/"


def trust_root(tenant: str, version: int) -> str:
    return _key("trust", tenant, "root", f"{version}.cbor")


def trust_roots_prefix(tenant: str) -> str:
    return _key("trust", tenant, "root") + "/"


def revocations(tenant: str, version: int) -> str:
    return _key("trust", tenant, "revocations", f"{version}.cbor")


def revocations_prefix(tenant: str) -> str:
    return _key("trust", tenant, "revocations") + "/"
