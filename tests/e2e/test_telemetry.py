"""One trace a rollout, sent by OTLP to a collector that the context names; metrics to scrape."""

import gzip
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.processes import Program, free_port, script, wait_until
from tests.world import World

pytestmark = pytest.mark.e2e


class Collector:
    """Receives OTLP over HTTP and keeps (trace id, span id, name) of every span."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, str, str]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet: the spans are what the test looks at."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def take(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append((span.trace_id.hex(), span.span_id.hex(), span.name))


@pytest.fixture
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.server.shutdown()


def test_a_rollout_is_one_trace_and_a_crash_adds_no_second(worlds, collector: Collector) -> None:
    world: World = worlds(environments=("dev", "prod"), cohorts=(25, 100), bake_s=1)
    text = world.config.read_text()
    world.config.write_text(
        text.replace("development = true", f'development = true\notlp_endpoint = "{collector.url}"')
    )
    world.start_worker()
    world.adopt()
    release = world.release("1.0.0")
    run_id = world.start(release, "--detach")["run_id"]
    wait_until(lambda: "bake" in world.status(run_id)["waits_for"], "the first bake", 60)
    world.programs["worker-all"].kill()
    world.start_worker()
    wait_until(lambda: world.status(run_id)["committed"], "the commit", 60)
    world.programs["worker-all"].stop()  # flushes what is left
    names = {name for _, _, name in collector.spans}
    assert any(name.endswith("gate.evaluate") for name in names), sorted(names)
    assert any(name.endswith("target.shift") for name in names), sorted(names)
    by_trace: dict[str, set[str]] = {}
    for trace, _, name in collector.spans:
        by_trace.setdefault(trace, set()).add(name)
    assert len(by_trace) == 1, by_trace
    span_ids = [span for _, span, _ in collector.spans]
    assert len(span_ids) == len(set(span_ids))


def test_a_worker_serves_metrics_to_scrape(worlds) -> None:
    world: World = worlds(environments=("dev",), cohorts=(100,))
    port, ready = free_port(), world.folder / "ready-metrics"
    worker = Program(
        "worker with metrics",
        [
            script("lockstep-worker"),
            *("--config", world.config, "--role", "all", "--ready-file", ready),
            *("--metrics", f"127.0.0.1:{port}"),
        ],
        world.folder / "logs" / "metrics.log",
    ).start()
    try:
        wait_until(lambda: worker.check() and ready.exists(), "the worker polls")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        assert "temporal_num_pollers" in text
    finally:
        worker.stop()
