"""Stores: keys to bytes with four-answer conditional writes (docs/spec/bytes.md §3).

``open_store`` turns a URL into one of the two adapters of ``lockstep.ports.Store``; ``Cas``,
``WalStore`` and ``Ledger`` lay Lockstep's records over either.
"""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from activities.adapters.store.cas import Cas
from activities.adapters.store.file import FileStore
from activities.adapters.store.ledger import Ledger
from activities.adapters.store.wal_store import WalStore
from lockstep.errors import DataError
from lockstep.ports import Store

__all__ = ["Cas", "Ledger", "WalStore", "open_store"]


def open_store(url: str, *, endpoint: str | None = None, region: str | None = None) -> Store:
    """Open ``file:///folder`` or ``s3://bucket/prefix``; asks the store nothing yet.

    ``endpoint`` is the address of an S3-compatible server (default: LOCKSTEP_S3_ENDPOINT, else
    AWS). The folder of a ``file://`` store must exist: a mistyped path is not an empty store.

    Raises:
        DataError: CONTEXT_INVALID; the URL, the endpoint or the S3 settings cannot be used.
    """
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise _refused(url, "a store URL has no query and no fragment")
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise _refused(url, "a file store is file:/// and an absolute path")
        return FileStore(Path(unquote(parts.path)))
    if parts.scheme == "s3":
        if not parts.hostname or parts.netloc != parts.hostname:
            raise _refused(url, "an S3 store is s3:// and a bucket, then a prefix or nothing")
        from activities.adapters.store.s3 import S3Store  # boto3 takes 200 ms to import

        return S3Store(
            parts.netloc,
            parts.path.strip("/"),
            endpoint=endpoint or os.environ.get("LOCKSTEP_S3_ENDPOINT") or None,
            region=region,
        )
    raise _refused(url, "a store URL begins with file:/// or s3://")


def _refused(url: str, cause: str) -> DataError:
    return DataError("CONTEXT_INVALID", cause, place=url)
