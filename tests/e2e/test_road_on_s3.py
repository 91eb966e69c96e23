"""The same road with a real S3 server as the store: to COMMITTED and back, verified from it."""

from collections.abc import Iterator

import pytest

from lockstep import layout
from tests.servers import S3Server, s3_server
from tests.world import BAD, GOOD, TENANT, World

pytestmark = pytest.mark.e2e

BUCKET = "lockstep"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with pytest.MonkeyPatch.context() as patch, s3_server(tmp_path_factory.mktemp("s3")) as server:
        for name, value in server.credentials().items():
            patch.setenv(name, value)
        server.client().create_bucket(Bucket=BUCKET)
        yield server


def test_a_good_release_commits_and_a_bad_one_goes_back_on_s3(worlds, s3: S3Server) -> None:
    world: World = worlds(
        environments=("dev", "prod"),
        cohorts=(25, 100),
        store_url=f"s3://{BUCKET}/team",
        store_endpoint=s3.endpoint,
    )
    world.start_worker()
    world.adopt()
    told = world.start(world.release("1.0.0"))
    assert told["status"] == "success"
    assert world.store.read(layout.committed(TENANT, told["run_id"])) is not None
    world.client("verify", told["run_id"])
    world.set_metrics("prod", BAD)
    bad = world.start(world.release("1.1.0"), expect=4)
    assert bad["status"] == "rolled_back"
    assert world.store.read(layout.committed(TENANT, bad["run_id"])) is None
    world.client("verify", bad["run_id"])
    world.set_metrics("prod", GOOD)
