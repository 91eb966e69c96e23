"""The demo's release artefact: a small HTTP service, whole in this one file.

A release folder holds ``artifacts/service.py`` (this file) and ``configs/config.json``:
``python artifacts/service.py --config configs/config.json --environment prod``. It listens on a
free loopback port and prints that port as its first line. ``GET /-/identity`` says by digest what
runs, ``GET /-/health`` that it runs; any other GET is work that takes ``latency_ms`` and fails
``error_permille`` times in a thousand, evenly spread and without chance. It ends with its standard
input, so that a supervisor that was killed leaves no orphan.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# Far from both edges of its bucket, (60, 240] ms: a busy machine must not look like a release.
LATENCY_MS_DEFAULT = 100
LATENCY_MS_MAX = 60_000
CONFIG_MAX_BYTES = 64 * 1024
FILES_MAX = 64
DRAIN_S = 5.0
POLL_S = 0.2


@dataclass(frozen=True)
class Behaviour:
    version: str
    latency_ms: int
    error_permille: int


def behaviour_in(config: dict, environment: str) -> Behaviour:
    """How the service acts in ``environment``; faults outside ``faulty_in`` do not show.

    Raises:
        ValueError: a field is unknown, of another type or out of range.
    """
    unknown = set(config) - {"version", "latency_ms", "error_permille", "faulty_in"}
    if unknown:
        raise ValueError(f"config: unknown field {sorted(unknown)[0]!r}")
    version = config.get("version")
    latency_ms = config.get("latency_ms", LATENCY_MS_DEFAULT)
    error_permille = config.get("error_permille", 0)
    faulty_in = config.get("faulty_in")
    if not isinstance(version, str):
        raise ValueError("config.version: text is needed")
    if type(latency_ms) is not int or not 0 <= latency_ms <= LATENCY_MS_MAX:
        raise ValueError(f"config.latency_ms: a whole number from 0 to {LATENCY_MS_MAX} is needed")
    if type(error_permille) is not int or not 0 <= error_permille <= 1000:
        raise ValueError("config.error_permille: a whole number from 0 to 1000 is needed")
    if faulty_in is not None and not isinstance(faulty_in, list):
        raise ValueError("config.faulty_in: a list of environments is needed")
    if faulty_in is not None and environment not in faulty_in:
        return Behaviour(version, LATENCY_MS_DEFAULT, 0)
    return Behaviour(version, latency_ms, error_permille)


def digests_of(folder: Path) -> dict[str, str]:
    """``sha256:…`` of each file in ``folder``, by name, as the bytes are now."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    if len(files) > FILES_MAX:
        raise ValueError(f"{folder}: more than {FILES_MAX} files")
    return {f.name: "sha256:" + hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


class Service:
    """What every request shares: what was read at the start, and one counter."""

    def __init__(self, behaviour: Behaviour, identity: bytes) -> None:
        self.identity = identity
        self.latency_s = behaviour.latency_ms / 1000
        self.version = behaviour.version.encode()
        self._error_permille = behaviour.error_permille
        self._owed_permille = 0
        self._counting = threading.Lock()

    def fails(self) -> bool:
        """Every (1000 / error_permille)-th request, to the request: no run of luck either way."""
        with self._counting:
            self._owed_permille += self._error_permille
            if self._owed_permille < 1000:
                return False
            self._owed_permille -= 1000
            return True


def handler_of(service: Service) -> type[BaseHTTPRequestHandler]:
    """Health, identity, or one page after the release's own latency and with its error rate."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body leave in one packet
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            if self.path == "/-/health":
                self.answer(200, b"ok\n")
            elif self.path == "/-/identity":
                self.answer(200, service.identity, "application/json")
            else:
                time.sleep(service.latency_s)
                self.answer(500 if service.fails() else 200, service.version)

        def answer(self, status: int, body: bytes, kind: str = "text/plain") -> None:
            self.send_response_only(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet: the proxy counts requests."""

    return Handler


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = False  # requests in flight finish before the end


def serve(config_file: Path, environment: str) -> None:
    """Run until the end is asked for, then let requests in flight finish."""
    identity = {
        "artifacts": digests_of(Path(__file__).resolve().parent),
        "configs": digests_of(config_file.resolve().parent),
    }
    raw = config_file.read_bytes()
    if len(raw) > CONFIG_MAX_BYTES:
        raise ValueError(f"{config_file}: more than {CONFIG_MAX_BYTES} bytes")
    config = json.loads(raw)
    if not isinstance(config, dict):
        raise ValueError("config: a JSON object is needed")
    service = Service(behaviour_in(config, environment), json.dumps(identity).encode())
    server = Server(("127.0.0.1", 0), handler_of(service))
    threading.Thread(target=server.serve_forever, args=(POLL_S,), daemon=True).start()
    print(server.server_address[1], flush=True)
    _wait_for_the_end()
    server.shutdown()
    # Idle kept-alive connections would be waited for without end: give work in flight its time.
    time.sleep(min(DRAIN_S, service.latency_s))
    sys.stdout.flush()
    os._exit(0)


def _wait_for_the_end() -> None:
    """Return when standard input closes or a signal asks for the end."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.close(0))
    try:
        while os.read(0, 1024):
            pass
    except OSError:
        pass  # closed by the handler above


def main() -> None:
    parser = argparse.ArgumentParser(description="The demo service.")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--environment", default="")
    arguments = parser.parse_args()
    try:
        serve(arguments.config, arguments.environment)
    except (OSError, ValueError) as error:
        sys.exit(f"service: {error}")


if __name__ == "__main__":
    main()
