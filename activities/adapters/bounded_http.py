"""One HTTP exchange with a bound on its time and on its size; no redirects, no proxies."""

import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

CHUNK_BYTES = 64 * 1024


class Unanswered(Exception):
    """No whole answer came: the sentence says why and names no address."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    status: int
    body: bytes


def is_http_url(url: str) -> bool:
    """Whether ``url`` names a host over http or https and carries no credentials."""
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number
        return False
    return parts.scheme in ("http", "https") and named and "@" not in parts.netloc


def exchange(
    method: str,
    url: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float,
    size_max_bytes: int,
) -> HttpAnswer:
    """Send one request and read its whole answer within ``timeout_s``.

    Raises:
        Unanswered: refused, reset, too slow, too large or not HTTP.
    """
    parts = urlsplit(url)
    end = time.monotonic() + timeout_s
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=timeout_s)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(method, path, body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        received = bytearray()
        # In pieces: the socket's time-out bounds one read, not a sender that drips.
        while chunk := response.read1(CHUNK_BYTES):
            received += chunk
            if len(received) > size_max_bytes:
                raise Unanswered(f"an answer of more than {size_max_bytes} bytes")
            if time.monotonic() > end:
                raise Unanswered(f"no whole answer within {timeout_s:g} s")
        if response.length:  # closed before the length that was promised
            raise Unanswered("the answer broke off")
    except TimeoutError:
        raise Unanswered(f"no answer within {timeout_s:g} s") from None
    except (OSError, http.client.HTTPException) as error:
        raise Unanswered(str(error) or type(error).__name__) from None
    finally:
        connection.close()
    return HttpAnswer(response.status, bytes(received))
