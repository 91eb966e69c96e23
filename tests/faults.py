"""A proxy on loopback before a real HTTP server that breaks chosen requests in chosen ways."""

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

UPSTREAM_MAX_S = 10

HANG = "hang"
"""Take the request and never answer."""
SWALLOW = "swallow"
"""Forward the request, then close without passing the answer on."""
BREAK_BODY = "break body"
"""Pass the answer on with its last byte changed."""
PASS = "pass"


@dataclass(frozen=True)
class Answer:
    """Answer in the server's stead; ``forward`` lets the request through first."""

    status: int
    code: str
    forward: bool = False


@dataclass
class FaultProxy:
    """Requests whose method has a script are handled by its next entry, others are passed on.

    ``always`` applies to a method once its script is used up. ``meanwhile`` runs once, after the
    first request that was swallowed.
    """

    upstream_port: int
    scripts: dict[str, list[object]] = field(default_factory=dict)
    always: dict[str, object] = field(default_factory=dict)
    meanwhile: Callable[[], None] | None = None
    seen: list[str] = field(default_factory=list)

    def reset(self) -> None:
        """Pass everything on again and forget what was seen."""
        self.scripts, self.always, self.meanwhile, self.seen = {}, {}, None, []

    def __enter__(self) -> "FaultProxy":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            request = _read_request(connection)
            if request is None:
                return
            method = request.split(b" ", 1)[0].decode()
            self.seen.append(method)
            script = self.scripts.get(method, [])
            action = script.pop(0) if script else self.always.get(method, PASS)
            if action == HANG:
                connection.recv(1)  # until the client gives up
            else:
                self._act(connection, request, action)
        except OSError:
            pass  # the client or the test has gone
        finally:
            connection.close()

    def _act(self, connection: socket.socket, request: bytes, action: object) -> None:
        if isinstance(action, Answer):
            if action.forward:
                self._forward(request)
            connection.sendall(_answer(action))
            return
        answer = self._forward(request)
        if action == SWALLOW:
            then, self.meanwhile = self.meanwhile, None
            if then:
                then()
            return
        if action == BREAK_BODY:
            answer = answer[:-1] + bytes([answer[-1] ^ 1])
        connection.sendall(answer)

    def _forward(self, request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.upstream_port), UPSTREAM_MAX_S) as up:
            up.sendall(request)
            answer = b""
            while chunk := up.recv(65536):  # the server closes after each answer
                answer += chunk
            return answer


def _read_request(connection: socket.socket) -> bytes | None:
    """One whole request, without its Expect header: the proxy says "continue" itself."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        data += chunk
    head, body = data.split(b"\r\n\r\n", 1)
    lines = head.split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(b"expect:")]
    if len(kept) < len(lines):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    lengths = [line for line in lines if line.lower().startswith(b"content-length:")]
    wanted = int(lengths[0].split(b":")[1]) if lengths else 0
    while len(body) < wanted:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        body += chunk
    return b"\r\n".join(kept) + b"\r\n\r\n" + body


def _answer(action: Answer) -> bytes:
    body = f"<Error><Code>{action.code}</Code><Message>injected</Message></Error>".encode()
    head = f"HTTP/1.1 {action.status} Injected\r\nContent-Type: application/xml\r\n"
    return (head + f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n").encode() + body
