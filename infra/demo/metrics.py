"""What the demo's proxy counts, as OpenMetrics: answers by release and code, and their duration."""

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST

BUCKETS_S = (0.015, 0.06, 0.24, 0.96, 3.84)
"""Four times apart: a service of 32 ms lies a factor of two and more from either edge."""

CODES_AT_START = (200, 500)
"""Created at zero: a series that only appears with its first error hides that error's jump."""


class Meter:
    """Counters of one release; the label children are looked up once, not per request."""

    def __init__(self, release: str, requests: Counter, duration: Histogram) -> None:
        self._release = release
        self._requests = requests
        self._duration = duration.labels(release)
        self._by_code = {code: requests.labels(release, str(code)) for code in CODES_AT_START}

    def count(self, code: int, seconds: float) -> None:
        """One answered request; a code that was not seen before gets a series of its own."""
        counter = self._by_code.get(code)
        if counter is None:
            counter = self._by_code[code] = self._requests.labels(self._release, str(code))
        counter.inc()
        self._duration.observe(seconds)

    def codes(self) -> tuple[int, ...]:
        return tuple(self._by_code)


class Metrics:
    """All meters of one proxy, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "demo_requests", "Answers by release and code.", ["release", "code"],
            registry=self._registry,
        )  # fmt: skip
        self._duration = Histogram(
            "demo_request_duration_seconds", "From routing a request to its whole answer.",
            ["release"], buckets=BUCKETS_S, registry=self._registry,
        )  # fmt: skip
        self._meters: dict[str, Meter] = {}

    def meter(self, release: str) -> Meter:
        """The one meter of ``release``, created at zero."""
        if release not in self._meters:
            self._meters[release] = Meter(release, self._requests, self._duration)
        return self._meters[release]

    def forget(self, release: str) -> None:
        """Drop the series of a release that is gone: labels would pile up for ever."""
        meter = self._meters.pop(release, None)
        if meter is None:
            return
        self._duration.remove(release)
        for code in meter.codes():
            self._requests.remove(release, str(code))

    def exposition(self) -> bytes:
        return generate_latest(self._registry)
