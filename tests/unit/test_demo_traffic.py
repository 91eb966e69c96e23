"""What the demo's numbers rest on: exact shares, the parser, the meters, the service's faults."""

from collections import Counter
from itertools import pairwise

import pytest

from infra.demo import http1
from infra.demo.load import Second
from infra.demo.metrics import BUCKETS_S, Metrics
from infra.demo.proxy import Backend, Router
from infra.demo.service import LATENCY_MS_DEFAULT, Behaviour, Service, behaviour_in

# ---- the split ------------------------------------------------------------------------------


async def routed(weights: dict[str, int], count: int) -> list[str]:
    router, metrics = Router(), Metrics()
    router.backends = {name: Backend(name, metrics.meter(name)) for name in weights}
    router.set_weights(weights)
    return [router.choose().release for _ in range(count)]


@pytest.mark.parametrize("percent", [1, 5, 25, 50, 99, 100])
async def test_each_hundred_requests_hold_exactly_the_share(percent):
    chosen = await routed({"new": percent, "old": 100 - percent}, 1000)
    for start in range(0, 1000, 100):
        assert Counter(chosen[start : start + 100])["new"] == percent


@pytest.mark.parametrize("percent", [1, 5, 25, 50])
async def test_the_share_is_evenly_spread(percent):
    chosen = await routed({"new": percent, "old": 100 - percent}, 1000)
    places = [place for place, name in enumerate(chosen) if name == "new"]
    steps = {later - earlier for earlier, later in pairwise(places)}
    assert steps == {100 // percent}


async def test_without_any_share_nobody_answers():
    router, metrics = Router(), Metrics()
    assert router.choose() is None
    router.backends = {"new": Backend("new", metrics.meter("new"))}
    router.set_weights({"new": 0})
    assert router.choose() is None


# ---- the parser -----------------------------------------------------------------------------

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize("length", range(len(ANSWER)))
def test_a_message_is_whole_only_when_its_last_byte_is_there(length):
    assert http1.message_end(ANSWER[:length]) is None


def test_where_a_message_ends_is_told_whatever_follows():
    head_end = ANSWER.index(b"hello")
    assert http1.message_end(ANSWER + b"HTTP/1.1") == (head_end, len(ANSWER))
    assert http1.message_end(ANSWER, bodiless=True) == (head_end, head_end)
    assert http1.message_end(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == (27, 27)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"x" * (http1.HEAD_MAX_BYTES + 1),
    ],
)
def test_what_is_not_understood_is_refused_never_guessed(raw):
    with pytest.raises(http1.Malformed):
        http1.message_end(raw)


def test_headers_of_one_hop_are_not_passed_on():
    raw = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nbody"
    assert not http1.keeps_alive(raw, len(raw) - 4)
    assert http1.without_connection(raw, len(raw) - 4) == b"GET / HTTP/1.1\r\nHost: x\r\n\r\nbody"
    assert http1.keeps_alive(ANSWER, len(ANSWER) - 5)
    assert not http1.keeps_alive(b"GET / HTTP/1.0\r\n\r\n", 18)


def test_a_status_is_a_number_in_a_status_line():
    assert http1.status_of(ANSWER) == 200
    with pytest.raises(http1.Malformed):
        http1.status_of(b"hello")


# ---- the meters -----------------------------------------------------------------------------


def test_a_release_is_seen_at_nought_before_its_first_request_and_gone_when_forgotten():
    metrics = Metrics()
    metrics.meter("new")
    page = metrics.exposition().decode()
    for code in ("200", "500"):
        assert f'demo_requests_total{{code="{code}",release="new"}} 0.0' in page
    assert 'demo_request_duration_seconds_bucket{le="0.24",release="new"} 0.0' in page
    metrics.meter("new").count(503, 0.05)
    assert 'demo_requests_total{code="503",release="new"} 1.0' in metrics.exposition().decode()
    metrics.forget("new")
    assert 'release="new"' not in metrics.exposition().decode()


def test_the_services_latency_lies_well_inside_one_bucket():
    latency_s = LATENCY_MS_DEFAULT / 1000
    below = max(edge for edge in BUCKETS_S if edge < latency_s)
    above = min(edge for edge in BUCKETS_S if edge > latency_s)
    assert latency_s / below >= 1.5
    assert above / latency_s >= 2
    assert {round(high / low, 9) for low, high in pairwise(BUCKETS_S)} == {4.0}


# ---- the service ----------------------------------------------------------------------------


@pytest.mark.parametrize(("permille", "failed"), [(0, 0), (5, 5), (200, 200), (1000, 1000)])
def test_failures_are_exactly_so_many_in_a_thousand_and_evenly_spread(permille, failed):
    service = Service(Behaviour("1", 0, permille), b"")
    outcomes = [service.fails() for _ in range(1000)]
    assert sum(outcomes) == failed
    if failed:
        places = [place for place, fails in enumerate(outcomes) if fails]
        assert {b - a for a, b in pairwise(places)} == {1000 // permille}


def test_faults_show_only_where_they_are_meant_to():
    config = {"version": "2", "latency_ms": 150, "error_permille": 20, "faulty_in": ["prod"]}
    assert behaviour_in(config, "prod") == Behaviour("2", 150, 20)
    assert behaviour_in(config, "dev") == Behaviour("2", LATENCY_MS_DEFAULT, 0)
    assert behaviour_in({"version": "2", "latency_ms": 150}, "dev").latency_ms == 150


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"version": 1},
        {"version": "1", "latency_ms": -1},
        {"version": "1", "latency_ms": True},
        {"version": "1", "error_permille": 1001},
        {"version": "1", "faulty_in": "prod"},
        {"version": "1", "latency": 3},
    ],
)
def test_a_configuration_that_is_none_is_refused(config):
    with pytest.raises(ValueError, match="config"):
        behaviour_in(config, "dev")


# ---- the load's statistics ------------------------------------------------------------------


def test_a_quiet_second_has_no_latency_instead_of_a_zero():
    assert '"p95_us": null' in Second(sent=3, lost=3).line(1)


def test_the_p95_of_a_second_is_the_nearest_rank():
    second = Second(sent=20, latencies_us=list(range(20, 0, -1)))
    assert '"p95_us": 19' in second.line(1)
