"""Real servers for tests, each on a free loopback port in a folder of its own."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.dev.parts import resolve

START_MAX_S = 20


@dataclass(frozen=True)
class S3Server:
    """An S3 server that keeps its objects as files; its root account is the only one."""

    port: int
    access_key: str = "testkey"
    secret_key: str = "testsecret123"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def credentials(self) -> dict[str, str]:
        """What boto3's usual chain reads from the environment."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @cached_property
    def _client(self):
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(s3={"addressing_style": "path"}, proxies={}, connect_timeout=1),
        )

    def client(self):
        """A plain boto3 client, for what a test does behind the store's back."""
        return self._client


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Run versitygw over ``folder`` until the block ends; built first where it is not cached."""
    binary = resolve("versitygw")
    server = S3Server(free_port())
    for name in ("data", "versions"):
        (folder / name).mkdir(parents=True)
    log = (folder / "server.log").open("wb")
    process = subprocess.Popen(
        [
            binary,
            *("--port", f"127.0.0.1:{server.port}", "--quiet"),
            *("posix", "--versioning-dir", folder.absolute() / "versions"),
            folder.absolute() / "data",
        ],
        env={
            **os.environ,
            "ROOT_ACCESS_KEY": server.access_key,
            "ROOT_SECRET_KEY": server.secret_key,
        },
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        _await_ready(server, process, folder / "server.log")
        yield server
    finally:
        process.terminate()
        process.wait(timeout=10)
        log.close()


def _await_ready(server: S3Server, process: subprocess.Popen, log: Path) -> None:
    client = server.client()
    give_up = time.monotonic() + START_MAX_S
    while True:
        try:
            client.list_buckets()
            return
        except (BotoCoreError, ClientError):
            if process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"versitygw did not start: {log.read_text()}") from None
            time.sleep(0.05)
