"""From two pages to two sides: differences, gaps, and pages that are none."""

import pytest

from activities.adapters.sources.openmetrics import (
    OpenMetricsSettings,
    open_openmetrics,
    read_page,
    side,
)
from lockstep.errors import DataError, UnavailableError
from lockstep.ports import Answer, Selection

SETTINGS = OpenMetricsSettings(url="http://127.0.0.1/metrics", requests="r", latency="l")


def page(*lines: str) -> bytes:
    return "\n".join([*lines, "# EOF", ""]).encode()


def counts(*rows: tuple[str, str, float], created: float | None = None) -> bytes:
    """A page of the counter ``r``: (release, code, value)."""
    lines = ["# TYPE r counter"]
    for release, code, value in rows:
        lines.append(f'r_total{{release="{release}",code="{code}"}} {value}')
        if created is not None:
            lines.append(f'r_created{{release="{release}",code="{code}"}} {created}')
    return page(*lines)


def buckets(*cumulative: int, edges=("0.02", "0.08"), extra: str = "") -> list[str]:
    names = [*edges, "+Inf"]
    return [
        f'l_bucket{{release="a",le="{le}"{extra}}} {count}'
        for le, count in zip(names, cumulative, strict=True)
    ] + [f'l_count{{release="a"{extra}}} {cumulative[-1]}', f'l_sum{{release="a"{extra}}} 1.0']


def between(start: bytes, end: bytes, release: str = "a") -> dict:
    return side(read_page(start), read_page(end), release, SETTINGS)


def test_requests_are_the_difference_and_errors_the_codes_that_match():
    start = counts(("a", "200", 10), ("a", "500", 1), ("b", "200", 7))
    end = counts(("a", "200", 30), ("a", "500", 2), ("a", "404", 3), ("b", "200", 99))
    assert between(start, end) == {"requests": 24, "errors": 1}


def test_a_series_that_is_new_in_the_window_began_at_nought():
    assert between(counts(("a", "200", 5)), counts(("a", "200", 5), ("a", "503", 4))) == {
        "requests": 4,
        "errors": 4,
    }


def test_several_series_of_a_release_are_summed():
    def both(one: int, other: int) -> bytes:
        return page(
            "# TYPE r counter",
            f'r_total{{release="a",code="200",route="/x"}} {one}',
            f'r_total{{release="a",code="200",route="/y"}} {other}',
        )

    assert between(both(1, 2), both(11, 22))["requests"] == 30


def test_a_release_without_series_had_no_requests():
    assert between(counts(("b", "200", 1)), counts(("b", "200", 2))) == {"requests": 0, "errors": 0}


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (counts(("a", "200", 10)), counts(("a", "200", 9))),
        (counts(("a", "200", 10), ("a", "500", 0)), counts(("a", "200", 11))),
        (counts(("a", "200", 10), created=1.5), counts(("a", "200", 12), created=2.5)),
    ],
    ids=["fell", "vanished", "created anew"],
)
def test_a_series_that_did_not_last_the_window_is_a_gap(start, end):
    with pytest.raises(UnavailableError) as gap:
        between(start, end)
    assert gap.value.code == "SCRAPE_GAP"


def test_another_release_that_began_anew_is_no_gap_of_this_one():
    start = counts(("a", "200", 1), ("b", "200", 9))
    assert between(start, counts(("a", "200", 3), ("b", "200", 0)))["requests"] == 2


def test_a_histogram_comes_in_whole_microseconds_and_bucket_by_bucket():
    start = page("# TYPE l histogram", *buckets(1, 4, 5))
    end = page("# TYPE l histogram", *buckets(3, 10, 12))
    assert between(start, end)["latency"] == {
        "kind": "histogram",
        "bounds_us": [20_000, 80_000],
        "counts": [2, 4, 1],
    }


def test_histograms_of_several_series_add_up_only_on_the_same_buckets():
    one, other = buckets(1, 2, 3, extra=',i="1"'), buckets(1, 2, 3, extra=',i="2"')
    added = between(page(), page("# TYPE l histogram", *one, *other))["latency"]
    assert added["counts"] == [2, 2, 2]
    different = buckets(1, 2, 3, edges=("0.01", "0.08"), extra=',i="2"')
    with pytest.raises(DataError, match="different buckets"):
        between(page(), page("# TYPE l histogram", *one, *different))


def test_an_edge_that_is_no_whole_microsecond_is_refused():
    end = page("# TYPE l histogram", *buckets(1, 2, 3, edges=("0.0000005", "0.08")))
    with pytest.raises(DataError, match="whole microsecond"):
        between(page(), end)


def test_buckets_that_shrink_from_edge_to_edge_in_the_difference_are_refused():
    start = page("# TYPE l histogram", *buckets(0, 5, 5))
    end = page("# TYPE l histogram", *buckets(6, 7, 8))
    with pytest.raises(DataError, match="do not add up"):
        between(start, end)


@pytest.mark.parametrize("value", ["1.5", "-1", "NaN", "+Inf", "1e300"])
def test_a_count_that_is_none_is_refused(value):
    body = page("# TYPE r counter", f'r_total{{release="a",code="200"}} {value}')
    with pytest.raises(DataError) as invalid:
        between(body, body)
    assert invalid.value.code == "SOURCE_INVALID"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"# TYPE r counter\nr_total 1\n",  # no EOF: it broke off
        b"\xff\xfe",
        page("r_total{ 1"),
        page("# TYPE r counter", "r_total 1", "r_total 1"),
        page("# TYPE r counter", "r 1"),
        b"<html></html>",
    ],
)
def test_what_is_not_openmetrics_to_the_letter_is_refused(body):
    with pytest.raises(DataError) as invalid:
        read_page(body)
    assert invalid.value.code == "SOURCE_INVALID"


def test_a_window_without_an_opening_scrape_is_no_evidence():
    source = open_openmetrics({"url": "http://127.0.0.1/metrics"})
    selection = Selection("dev", "checkout", canary="a", baseline=None)
    with pytest.raises(UnavailableError) as missing:
        source.parse(selection, [], [Answer("GET", page(), 1)])
    assert missing.value.code == "SOURCE_UNREACHABLE"
