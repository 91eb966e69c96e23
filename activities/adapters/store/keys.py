"""Which keys and bodies a store takes; the same on every store, checked before it is asked."""

from lockstep.errors import DataError
from lockstep.layout import component

RESERVED = ".tmp"
"""First component of a store's own files; never an object."""

BODY_MAX_BYTES = 256 * 1024 * 1024
"""One object is held in memory whole. Larger artefacts are named by digest and kept elsewhere."""


def check_key(key: str) -> str:
    """Return ``key`` if it may name an object.

    Raises:
        DataError: NAME_INVALID.
    """
    first, *rest = key.split("/")
    if component(first) == RESERVED:
        raise DataError("NAME_INVALID", f"{RESERVED} belongs to the store itself", place=key)
    for part in rest:
        component(part)
    return key


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` if it is empty or names a whole level, so that run1 never lists run10.

    Raises:
        DataError: NAME_INVALID.
    """
    if prefix:
        if not prefix.endswith("/"):
            raise DataError("NAME_INVALID", "a prefix ends with a slash", place=prefix)
        check_key(prefix[:-1])
    return prefix


def check_size(size: int, key: str) -> None:
    """Refuse a body over the limit, when writing and when reading.

    Raises:
        DataError: OBJECT_TOO_LARGE.
    """
    if size > BODY_MAX_BYTES:
        raise DataError(
            "OBJECT_TOO_LARGE",
            f"{size} bytes, more than the limit of {BODY_MAX_BYTES}",
            place=key,
            hint="keep it elsewhere and name its digest",
        )


def conflict(key: str) -> DataError:
    """The error of a key that is a path-prefix of another, or has one as its own."""
    return DataError("NAME_INVALID", "one key would be a path-prefix of another", place=key)
