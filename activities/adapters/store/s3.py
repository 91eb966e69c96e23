"""``s3://``: objects in a bucket of any server that honours If-None-Match and If-Match on PUT.

The library's own retries are off: they turn a success whose answer was lost into a 412. Instead
each write goes: put; on "it exists", or when an answer stayed away, read back and compare bytes.
Equal bytes are ours, other bytes are a loss, and what cannot be settled in time is UNKNOWN.
Only ``open_store`` imports this module, since importing boto3 takes long.
"""

import base64
import ipaddress
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore import exceptions as boto_errors
from botocore.config import Config

from activities.adapters.store.keys import check_key, check_prefix, check_size, conflict
from lockstep.digest import sha256
from lockstep.errors import DataError, LockstepError, UnavailableError
from lockstep.layout import component
from lockstep.ports import Listed, Stored, WriteOutcome, Written

CONNECT_MAX_S = 2.0
ANSWER_MAX_S = 3.0
"""Silence after which one attempt is given up."""
ATTEMPT_MAX_S = CONNECT_MAX_S + ANSWER_MAX_S
CALL_MAX_S = 9.8
"""No attempt starts that could end later than this: a hung server is reported within 10 s."""
ATTEMPTS_MAX = 6
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.05, 0.8
CONNECTIONS_MAX = 16
LIST_PAGES_MAX = 1_000_000

_BOTO_ERRORS = (boto_errors.ClientError, boto_errors.BotoCoreError)
_UNSENT = (
    boto_errors.EndpointConnectionError,
    boto_errors.ConnectTimeoutError,
    boto_errors.ProxyConnectionError,
)
_UNCLEAR = (
    boto_errors.HTTPClientError,
    boto_errors.ConnectionError,
    boto_errors.IncompleteReadError,
    boto_errors.FlexibleChecksumError,
    boto_errors.ChecksumError,
)
_NOTHING_LANDED = frozenset(
    {
        "ConditionalRequestConflict",  # 409, AWS's "try again"
        "OperationAborted",
        "BadDigest",  # the body did not arrive whole
        "XAmzContentChecksumMismatch",
        "IncompleteBody",
        "RequestTimeout",
    }
)
_KEY_CONFLICTS = frozenset({"ObjectParentIsFile", "ExistingObjectIsDirectory"})
_HINTS = {
    "NoSuchBucket": "make the bucket, or mend its name in the store URL",
    "PermanentRedirect": "name the bucket's own region",
    "AuthorizationHeaderMalformed": "name the bucket's own region",
    "RequestTimeTooSkewed": "mend this machine's clock",
}


class _Fault(Enum):
    UNSENT = auto()  # nothing left this machine
    AGAIN = auto()  # the server says that nothing landed
    UNCLEAR = auto()  # it may have landed
    CONDITION = auto()  # the condition did not hold
    ABSENT = auto()  # no such key
    FINAL = auto()  # asking again would not help


class S3Store:
    """One prefix of one bucket. Credentials come from boto3's usual chain."""

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint: str | None = None,
        region: str | None = None,
    ) -> None:
        """Build the client; asks the server nothing.

        Raises:
            DataError: NAME_INVALID for the prefix, CONTEXT_INVALID for endpoint or settings.
        """
        for part in prefix.split("/") if prefix else ():
            component(part)
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._bucket = bucket
        self._base = f"{prefix}/" if prefix else ""
        try:
            self._client = _client(endpoint, region)
        except (boto_errors.BotoCoreError, ValueError) as error:
            raise DataError("CONTEXT_INVALID", str(error), place=endpoint or self.url) from error
        self.endpoint: str = self._client.meta.endpoint_url

    def read(self, key: str) -> Stored | None:
        check_key(key)
        return self._read(key, time.monotonic() + CALL_MAX_S)

    def create(self, key: str, body: bytes) -> Written:
        return self._write(key, body, None)

    def swap(self, key: str, body: bytes, expected: str | None) -> Written:
        return self._write(key, body, expected)

    def list(self, prefix: str, after: str = "") -> Iterator[Listed]:
        base = self._base + check_prefix(prefix)
        start = self._base + after if after else ""
        for _ in range(LIST_PAGES_MAX):
            page = self._ask(lambda: self._page(base, start))  # noqa: B023 (called at once)
            found = page.get("Contents", ())
            for item in found:
                key = item["Key"][len(self._base) :]
                yield Listed(key, item["Size"], item["LastModified"].astimezone(UTC))
            if not page.get("IsTruncated") or not found:
                return
            start = found[-1]["Key"]  # unlike a continuation token, harmless to ask twice

    def now(self) -> datetime:
        answer = self._ask(lambda: self._client.head_bucket(Bucket=self._bucket))
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
        try:
            return parsedate_to_datetime(date).astimezone(UTC)
        except ValueError:
            raise UnavailableError(
                "STORE_UNREACHABLE", "the answer carries no date", place=self.endpoint
            ) from None

    # ---- reading ---------------------------------------------------------------------------

    def _page(self, base: str, start: str) -> dict[str, Any]:
        after = {"StartAfter": start} if start else {}
        return self._client.list_objects_v2(Bucket=self._bucket, Prefix=base, **after)

    def _read(self, key: str, give_up: float) -> Stored | None:
        def get() -> Stored | None:
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._base + key)
            except boto_errors.ClientError as error:
                if _fault(error) is _Fault.ABSENT:
                    return None
                raise
            # NOTE: "with answer['Body'] as stream" would hand out the raw stream, unchecked.
            with closing(answer["Body"]) as stream:
                check_size(answer["ContentLength"], key)
                return Stored(stream.read(), answer["ETag"])

        try:
            return self._ask(get, give_up)
        except UnavailableError as error:
            if isinstance(error.__cause__, boto_errors.FlexibleChecksumError):
                raise DataError(
                    "OBJECT_CORRUPT", "the body does not match its own checksum", place=key
                ) from error
            raise

    def _ask(self, call: Callable[[], Any], give_up: float | None = None) -> Any:
        """Call until it answers, within the limits of one call.

        Raises:
            UnavailableError: STORE_UNREACHABLE, naming the endpoint.
        """
        give_up = give_up or time.monotonic() + CALL_MAX_S
        last: Exception | None = None
        for attempt in range(ATTEMPTS_MAX):
            if not _may_go_on(attempt, give_up):
                break
            try:
                return call()
            except _BOTO_ERRORS as error:
                last = error
                if _fault(error) not in (_Fault.UNSENT, _Fault.UNCLEAR, _Fault.AGAIN):
                    break
        raise self._refusal(last) from last

    # ---- writing ---------------------------------------------------------------------------

    def _write(self, key: str, body: bytes, expected: str | None) -> Written:
        check_key(key)
        check_size(len(body), key)
        give_up = time.monotonic() + CALL_MAX_S
        unclear, last = False, None
        for attempt in range(ATTEMPTS_MAX):
            if not _may_go_on(attempt, give_up):
                break
            try:
                return Written(WriteOutcome.CREATED, self._put(key, body, expected))
            except _BOTO_ERRORS as error:
                last, fault = error, _fault(error)
            if fault is _Fault.FINAL:
                raise self._refusal(last, key) from last
            if fault in (_Fault.CONDITION, _Fault.ABSENT):
                settled = self._settle(key, body, expected, unclear, give_up)
                if settled:
                    return settled
            unclear = unclear or fault is _Fault.UNCLEAR
        if not unclear:
            raise self._refusal(last) from last
        settled = self._settle(key, body, expected, unclear, give_up)
        return settled or Written(WriteOutcome.UNKNOWN)

    def _put(self, key: str, body: bytes, expected: str | None) -> str:
        condition = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": expected}
        answer = self._client.put_object(
            Bucket=self._bucket,
            Key=self._base + key,
            Body=body,
            ChecksumSHA256=base64.b64encode(sha256(body)).decode(),
            **condition,
        )
        return answer["ETag"]

    def _settle(
        self, key: str, body: bytes, expected: str | None, unclear: bool, give_up: float
    ) -> Written | None:
        """Read back what is there now; None: our write has not landed, and may be tried again."""
        try:
            there = self._read(key, give_up)
        except UnavailableError:
            return Written(WriteOutcome.UNKNOWN)
        if there and there.body == body:
            return Written(WriteOutcome.OURS, there.version)
        if expected is None:
            return Written(WriteOutcome.LOST) if there else None
        if there and there.version == expected:
            return None
        # After a lost answer a third version means either "lost" or "won, then superseded".
        return Written(WriteOutcome.UNKNOWN if unclear else WriteOutcome.LOST)

    def _refusal(self, error: Exception | None, key: str = "") -> LockstepError:
        """What the caller can act on; never the library's own exception."""
        if not isinstance(error, boto_errors.ClientError):
            cause = f"{self.url}: {error or 'no time left to ask'}"[:300]
            return UnavailableError("STORE_UNREACHABLE", cause, place=self.endpoint)
        code = error.response["Error"]["Code"]
        if code in _KEY_CONFLICTS:
            return conflict(key)
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        hint = _HINTS.get(code, "")
        if status in (401, 403) and not hint:
            hint = "check the credentials and what they may do in this bucket"
        elif status == 404 and not hint:
            hint = _HINTS["NoSuchBucket"]
        cause = f"{self.url}: the server answered {status} {code}"
        return UnavailableError("STORE_UNREACHABLE", cause, place=self.endpoint, hint=hint)


def _client(endpoint: str | None, region: str | None) -> Any:
    session = boto3.session.Session()
    settings: dict[str, Any] = {
        "retries": {"total_max_attempts": 1},
        "connect_timeout": CONNECT_MAX_S,
        "read_timeout": ANSWER_MAX_S,
        "max_pool_connections": CONNECTIONS_MAX,
        "tcp_keepalive": True,
    }
    if endpoint:
        settings["s3"] = {"addressing_style": "path"}
        region = region or session.region_name or "us-east-1"
        if _is_local(endpoint):
            settings["proxies"] = {}  # a proxy from the environment cannot reach this machine
    return session.client(
        "s3", endpoint_url=endpoint, region_name=region, config=Config(**settings)
    )


def _is_local(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _may_go_on(attempt: int, give_up: float) -> bool:
    """Wait before a further attempt, or say that it could end too late."""
    most_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2**attempt) if attempt else 0
    pause_s = random.uniform(0, most_s)  # noqa: S311 (spreads callers, no secret)
    if time.monotonic() + pause_s + ATTEMPT_MAX_S > give_up:
        return False
    time.sleep(pause_s)
    return True


def _fault(error: Exception) -> _Fault:
    """Sort an error by what may have happened on the server."""
    if not isinstance(error, boto_errors.ClientError):
        if isinstance(error, _UNSENT):
            return _Fault.UNSENT
        return _Fault.UNCLEAR if isinstance(error, _UNCLEAR) else _Fault.FINAL
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    code = error.response["Error"]["Code"]
    if code in _NOTHING_LANDED:
        return _Fault.AGAIN
    if status == 412:
        return _Fault.CONDITION
    if status == 404 and code == "NoSuchKey":
        return _Fault.ABSENT
    return _Fault.UNCLEAR if status >= 500 or status == 429 else _Fault.FINAL
