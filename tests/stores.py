"""What tests do to a store behind its back."""

from collections.abc import Callable

import pytest

from lockstep.errors import LockstepError
from lockstep.ports import Store
from tests.servers import S3Server

BUCKET = "lockstep"


def wipe(s3: S3Server, store: Store) -> None:
    """Empty a store behind its back: a client takes long to build, so tests share it."""
    client = s3.client()
    prefix = store.url.removeprefix(f"s3://{BUCKET}/") + "/"
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    for page in pages:
        if found := [{"Key": item["Key"]} for item in page.get("Contents", ())]:
            client.delete_objects(Bucket=BUCKET, Delete={"Objects": found})


def behind(store: Store, key: str, body: bytes) -> None:
    """Put other bytes under a key, as a broken disk or a hostile writer would."""
    stored = store.read(key)
    assert store.swap(key, body, stored.version if stored else None).landed


def code_of(call: Callable[[], object]) -> str:
    """The code of the error that ``call`` raises."""
    with pytest.raises(LockstepError) as caught:
        call()
    return caught.value.code
