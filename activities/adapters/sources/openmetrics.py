"""The ``openmetrics`` source: one page scraped at both ends of the window, and the difference.

A counter means nothing alone; what happened in the window is its value at the end less that at the
start, series by series. Where that difference is not to be had — a series that began anew or
vanished in between — there is no evidence, and that is said (SCRAPE_GAP) instead of counted from
nought: the rollout stays where it is. A release that no series names had no requests.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import BaseModel, ConfigDict

from activities.adapters.bounded_http import Unanswered, exchange, is_http_url
from activities.adapters.sources.file import wall_clock_us
from lockstep.documents import Problem, check
from lockstep.errors import DataError, UnavailableError
from lockstep.ports import Answer, NowUs, Selection, Sides

ACCEPT = "application/openmetrics-text; version=1.0.0"
SCRAPE_MAX_S = 3.0
BODY_MAX_BYTES = 4 * 1024 * 1024
EDGE_MAX_S = 1_000_000
COUNT_MAX = 2**53  # above it binary64 no longer counts one by one

Labels = tuple[tuple[str, str], ...]
Page = dict[str, dict[Labels, float]]
"""Sample name → labels → value."""


class OpenMetricsSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    url: str
    requests: str = "demo_requests"
    """A counter by release and code; several series of a release are summed."""
    code_label: str = "code"
    error_pattern: str = "5.."
    """A code of this length counts as an error; a dot stands for any character."""
    latency: str = "demo_request_duration_seconds"
    """A histogram in seconds."""
    release_label: str = "release"


def open_openmetrics(settings: Mapping[str, Any]) -> "OpenMetricsSource":
    """Raises DocumentError: DOCUMENT_INVALID, naming the field."""
    return OpenMetricsSource(check(OpenMetricsSettings, dict(settings), _problems))


def _problems(settings: OpenMetricsSettings) -> list[Problem]:
    found = []
    if not is_http_url(settings.url):
        found.append(Problem(("url",), f"an http address is needed, not {settings.url!r:.80}"))
    for field in ("requests", "code_label", "latency", "release_label"):
        if not re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,199}", getattr(settings, field)):
            found.append(Problem((field,), "no name of a metric or label"))
    if not re.fullmatch(r"[A-Za-z0-9.]{1,20}", settings.error_pattern):
        found.append(Problem(("error_pattern",), "letters, digits and dots, as in 5.."))
    return found


@dataclass(frozen=True, slots=True)
class OpenMetricsSource:
    """One page scraped at the start of the window and once more at its end."""

    settings: OpenMetricsSettings
    now_us: NowUs = wall_clock_us
    kind: str = "openmetrics"
    parser_version: str = "lockstep.openmetrics-source.v1"
    cannot: tuple[str, ...] = (
        "It cannot be asked about the past: a scrape missed at the window's start opens a new one.",
        "It sees one page: several instances behind one address are not told apart.",
        "It gives a p95 no finer than the buckets of the histogram.",
        "Where a page has no _created samples, a restart that outgrew its old counts goes unseen.",
    )

    def open(self, selection: Selection) -> Sequence[Answer]:
        return (self._scrape(),)

    def close(self, selection: Selection, start_us: int, end_us: int) -> Sequence[Answer]:
        return (self._scrape(),)

    def parse(
        self, selection: Selection, opened: Sequence[Answer], closed: Sequence[Answer]
    ) -> Sides:
        """Raises also UnavailableError: SCRAPE_GAP, when a series did not last the window."""
        if not opened or not closed:
            raise UnavailableError(
                "SOURCE_UNREACHABLE", "a scrape of one end is missing", place=self.settings.url
            )
        start, end = read_page(opened[-1].body), read_page(closed[-1].body)
        baseline = selection.baseline
        return Sides(
            canary=side(start, end, selection.canary, self.settings),
            baseline=side(start, end, baseline, self.settings) if baseline else None,
        )

    def _scrape(self) -> Answer:
        url = self.settings.url
        try:
            answer = exchange(
                "GET",
                url,
                headers={"Accept": ACCEPT},
                timeout_s=SCRAPE_MAX_S,
                size_max_bytes=BODY_MAX_BYTES,
            )
        except Unanswered as error:
            raise UnavailableError("SOURCE_UNREACHABLE", str(error), place=url) from None
        if answer.status != 200:
            raise UnavailableError("SOURCE_UNREACHABLE", f"status {answer.status}", place=url)
        return Answer(f"GET {url}", answer.body, self.now_us())


# ---- pure: from pages to sides ---------------------------------------------------------------


def read_page(body: bytes) -> Page:
    """Every sample of an OpenMetrics page.

    Raises:
        DataError: SOURCE_INVALID; not OpenMetrics to the letter, ``# EOF`` included.
    """
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    page: Page = {}
    try:
        text = body.decode("utf-8")
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                series = page.setdefault(sample.name, {})
                labels = tuple(sorted(sample.labels.items()))
                if labels in series:
                    raise ValueError(f"{sample.name} {dict(labels)} stands twice")
                series[labels] = sample.value
        # The parser passes over a repeated sample in silence; here nothing may be passed over.
        lines = sum(1 for line in text.split("\n") if line and not line.startswith("#"))
        if lines != sum(map(len, page.values())):
            raise ValueError("a sample stands twice")
    except (ValueError, KeyError, TypeError, IndexError) as error:  # what the parser lets out
        raise DataError("SOURCE_INVALID", f"no OpenMetrics: {str(error)[:300]}") from None
    return page


def side(start: Page, end: Page, release: str, settings: OpenMetricsSettings) -> dict[str, Any]:
    """What ``release`` did between two pages, in the shape of a snapshot's side.

    Raises:
        DataError: SOURCE_INVALID; counts that are none, buckets that do not fit together.
        UnavailableError: SCRAPE_GAP.
    """
    chosen = (settings.release_label, release)
    codes = _differences(start, end, settings.requests, "_total", chosen)
    errors = {
        labels: count
        for labels, count in codes.items()
        if _matches(dict(labels).get(settings.code_label, ""), settings.error_pattern)
    }
    counted: dict[str, Any] = {"requests": sum(codes.values()), "errors": sum(errors.values())}
    buckets = _differences(start, end, settings.latency, "_bucket", chosen)
    if buckets:
        counted["latency"] = _histogram(buckets)
    return counted


def _matches(code: str, pattern: str) -> bool:
    return len(code) == len(pattern) and all(
        want in (".", have) for have, want in zip(code, pattern, strict=True)
    )


def _differences(
    start: Page, end: Page, metric: str, suffix: str, chosen: tuple[str, str]
) -> dict[Labels, int]:
    """End less start of each series of the release; one that is new in the window began at 0."""
    name = metric + suffix
    before = _of_release(start, name, chosen)
    after = _of_release(end, name, chosen)
    _require_lasting(start, end, metric, chosen)
    for labels in before:
        if labels not in after:
            raise _gap(f"{name} {_shown(labels)} vanished in the window")
    differences = {}
    for labels, value in after.items():
        difference = value - before.get(labels, 0)
        if difference < 0:
            raise _gap(f"{name} {_shown(labels)} fell in the window: it began anew")
        differences[labels] = difference
    return differences


def _of_release(page: Page, name: str, chosen: tuple[str, str]) -> dict[Labels, int]:
    return {
        labels: _count(value, name)
        for labels, value in page.get(name, {}).items()
        if chosen in labels
    }


def _count(value: float, name: str) -> int:
    if not 0 <= value < COUNT_MAX or value != int(value):
        raise DataError("SOURCE_INVALID", f"{name}: {value!r} is no count")
    return int(value)


def _require_lasting(start: Page, end: Page, metric: str, chosen: tuple[str, str]) -> None:
    """A series whose time of creation moved began anew, even where its value has caught up."""
    created = metric + "_created"
    after = end.get(created, {})
    for labels, at in start.get(created, {}).items():
        if chosen in labels and labels in after and after[labels] != at:
            raise _gap(f"{metric} {_shown(labels)} was created anew in the window")


def _gap(cause: str) -> UnavailableError:
    return UnavailableError(
        "SCRAPE_GAP", cause, hint="the next window, opened after the restart, will tell"
    )


def _shown(labels: Labels) -> str:
    return "{" + ",".join(f"{name}={value}"[:100] for name, value in labels) + "}"


def _histogram(buckets: Mapping[Labels, int]) -> dict[str, Any]:
    """Cumulative differences of one or more series into one histogram in microseconds."""
    by_series: dict[Labels, dict[Decimal, int]] = {}
    for labels, count in buckets.items():
        rest = tuple(item for item in labels if item[0] != "le")
        by_series.setdefault(rest, {})[_edge_us(dict(labels).get("le", ""))] = count
    edges = [tuple(sorted(series)) for series in by_series.values()]
    if len(set(edges)) != 1:
        raise DataError("SOURCE_INVALID", "the series of a release have different buckets")
    cumulative = [sum(series[edge] for series in by_series.values()) for edge in edges[0]]
    counts = [high - low for low, high in zip([0, *cumulative], cumulative, strict=False)]
    if edges[0][-1] != Decimal("Infinity") or min(counts) < 0:
        raise DataError("SOURCE_INVALID", "the buckets of a histogram do not add up")
    return {"kind": "histogram", "bounds_us": [int(e) for e in edges[0][:-1]], "counts": counts}


def _edge_us(le: str) -> Decimal:
    try:
        edge = Decimal(le.replace("+Inf", "Infinity"))
    except InvalidOperation:
        raise DataError("SOURCE_INVALID", f"the bucket edge {le[:40]!r} is no number") from None
    if edge.is_infinite() and edge > 0:
        return edge
    edge_us = edge * 1_000_000 if edge.is_finite() and 0 <= edge <= EDGE_MAX_S else Decimal(-1)
    if edge_us < 0 or edge_us != int(edge_us):
        raise DataError("SOURCE_INVALID", f"the bucket edge {le[:40]!r} s is no whole microsecond")
    return edge_us
