"""Stores for the contract suites: the same tests over a folder and over a real S3 server."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from activities.adapters.store import open_store
from lockstep.ports import Store
from tests.servers import S3Server, s3_server
from tests.stores import BUCKET, wipe

_numbers = itertools.count()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One real S3 server for the session, its credentials where boto3 looks for them."""
    with pytest.MonkeyPatch.context() as patch, s3_server(tmp_path_factory.mktemp("s3")) as server:
        for name, value in server.credentials().items():
            patch.setenv(name, value)
        for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "LOCKSTEP_S3_ENDPOINT"):
            patch.delenv(name, raising=False)
        server.client().create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture(scope="session")
def s3_store(s3: S3Server) -> Callable[..., Store]:
    """Opens a store under a fresh prefix, or under ``prefix``; ``endpoint`` may be a proxy's."""

    def opened(*, prefix: str | None = None, endpoint: str | None = None) -> Store:
        prefix = prefix or f"team-{next(_numbers)}/ring"
        return open_store(f"s3://{BUCKET}/{prefix}", endpoint=endpoint or s3.endpoint)

    return opened


@pytest.fixture(scope="session")
def shared_s3_store(s3_store: Callable[..., Store]) -> Store:
    return s3_store()


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store of each kind."""
    if request.param == "s3":
        shared = request.getfixturevalue("shared_s3_store")
        yield shared
        wipe(request.getfixturevalue("s3"), shared)
        return
    folder = tmp_path / "store"
    folder.mkdir()
    yield open_store(folder.as_uri())
