"""The little HTTP/1.1 that the demo's proxy and load generator speak, on plain asyncio protocols.

A general client and server cost several times the processor time of the demo service itself, and
three environments under steady load share two cores with everything else. Understood are messages
with ``Content-Length`` or without a body; anything else is ``Malformed``, never guessed at.
"""

import re

HEAD_MAX_BYTES = 16 * 1024
BODY_MAX_BYTES = 1024 * 1024
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([^\r]*)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_CONNECTION = re.compile(rb"\r\n(?:proxy-)?connection:[ \t]*([^\r]*)", re.IGNORECASE)


class Malformed(ValueError):
    """Bytes that are no message of the kind understood here."""


def message_end(buffer: bytes, *, bodiless: bool = False) -> tuple[int, int] | None:
    """(end of head, end of message) in ``buffer``, None while more bytes are to come.

    ``bodiless`` is for answers to HEAD, whose length speaks of a body that is not sent.

    Raises:
        Malformed: too long, chunked, or with a length that is none.
    """
    head_end = buffer.find(b"\r\n\r\n")
    if head_end < 0:
        if len(buffer) > HEAD_MAX_BYTES:
            raise Malformed(f"a head of more than {HEAD_MAX_BYTES} bytes")
        return None
    if head_end > HEAD_MAX_BYTES:
        raise Malformed(f"a head of more than {HEAD_MAX_BYTES} bytes")
    head_end += 4
    lengths = _LENGTH.findall(buffer, 0, head_end)
    if _CHUNKED.search(buffer, 0, head_end):
        raise Malformed("a transfer encoding")
    if not lengths or bodiless:
        return head_end, head_end
    if len(lengths) > 1 or not lengths[0].isdigit() or int(lengths[0]) > BODY_MAX_BYTES:
        raise Malformed("a content length that is none, or too large")
    end = head_end + int(lengths[0])
    return (head_end, end) if len(buffer) >= end else None


def status_of(answer: bytes) -> int:
    """Status code of an answer that begins in ``answer``.

    Raises:
        Malformed: the first line is no status line.
    """
    if answer[:9] not in (b"HTTP/1.1 ", b"HTTP/1.0 ") or not answer[9:12].isdigit():
        raise Malformed("no status line")
    return int(answer[9:12])


def keeps_alive(message: bytes, head_end: int) -> bool:
    """Whether the sender will take another message on the same connection."""
    words = b",".join(_CONNECTION.findall(message, 0, head_end)).lower()
    first_line = message[: message.find(b"\r\n")]
    if b"HTTP/1.0" in first_line:
        return b"keep-alive" in words
    return b"close" not in words


def without_connection(message: bytes, head_end: int) -> bytes:
    """The message without the headers that speak of this one hop only."""
    if not _CONNECTION.search(message, 0, head_end):
        return message
    return _CONNECTION.sub(b"", message[:head_end]) + message[head_end:]


def answer(status: int, reason: str, text: str = "", *, close: bool = False) -> bytes:
    """An answer of our own."""
    body = text.encode()
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n" + ("Connection: close\r\n" if close else "")
    )
    return head.encode() + b"\r\n" + body
