"""The Source port: what every source does, and each against the real thing it reads."""

import json

import pytest
from demo_agent import free_port, release, running

from activities.adapters.sources import open_source
from activities.adapters.targets import open_target
from lockstep.documents import DocumentError
from lockstep.errors import DataError, UnavailableError
from lockstep.gates.snapshot import Side
from lockstep.ports import Answer, Selection

NEW = "a" * 64
BOTH = Selection("dev", "checkout", canary=NEW, baseline="legacy")
SIDE = {"requests": 3, "errors": 1, "latency": {"kind": "p95", "p95_us": 32_000}}


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    with running(tmp_path_factory.mktemp("sources") / "agent") as one:
        target = open_target("demo", {"admin_url": one.admin_url})
        target.fence(1)
        target.prepare(release(NEW, latency_ms=100, error_permille=500), 1)
        yield one


def share(agent, percent: int) -> None:
    weights = {NEW: percent, "legacy": 100 - percent}
    open_target("demo", {"admin_url": agent.admin_url}).shift(weights, 1)


def window(source, selection, during=lambda: None):
    opened = source.open(selection)
    during()
    closed = source.close(selection, 0, 1)
    return source.parse(selection, opened, closed), [*opened, *closed]


# ---- openmetrics, scraped from a real proxy -------------------------------------------------


@pytest.fixture
def scraped(agent):
    return open_source("openmetrics", {"url": agent.admin_url + "/metrics"})


def test_a_scrape_at_both_ends_gives_what_happened_between_them(agent, scraped):
    share(agent, 25)
    agent.users(8)  # before the window: not counted
    sides, answers = window(scraped, BOTH, lambda: agent.users(40))
    assert (sides.canary["requests"], sides.canary["errors"]) == (10, 5)
    assert (sides.baseline["requests"], sides.baseline["errors"]) == (30, 0)
    latency = sides.canary["latency"]
    assert latency["bounds_us"] == [15_000, 60_000, 240_000, 960_000, 3_840_000]
    assert latency["counts"] == [0, 0, 10, 0, 0, 0]
    assert sum(sides.baseline["latency"]["counts"]) == 30
    for side in (sides.canary, sides.baseline):
        Side.model_validate(side)
    assert [answer.query for answer in answers] == [f"GET {agent.admin_url}/metrics"] * 2
    assert answers[0].at_us < answers[1].at_us


def test_a_canary_without_traffic_has_no_requests_and_no_latency_samples(agent, scraped):
    share(agent, 0)
    sides, _ = window(scraped, BOTH, lambda: agent.users(4))
    assert (sides.canary["requests"], sides.canary["errors"]) == (0, 0)
    assert sum(sides.canary["latency"]["counts"]) == 0


def test_a_release_that_no_series_names_had_no_requests(agent, scraped):
    sides, _ = window(scraped, Selection("dev", "checkout", canary="f" * 64, baseline=None))
    assert sides.canary == {"requests": 0, "errors": 0}
    assert sides.baseline is None


def test_the_stored_answers_give_the_same_sides_again(agent, scraped):
    share(agent, 50)
    sides, answers = window(scraped, BOTH, lambda: agent.users(6))
    stored = [Answer(answer.query, bytes(answer.body), answer.at_us) for answer in answers]
    assert scraped.parse(BOTH, stored[:1], stored[1:]) == sides


def test_a_restart_within_the_window_is_a_gap_and_never_counted_from_nought(tmp_path):
    with running(tmp_path / "agent") as agent:
        source = open_source("openmetrics", {"url": agent.admin_url + "/metrics"})
        selection = Selection("dev", "checkout", canary="legacy", baseline=None)

        def restart() -> None:
            agent.kill()
            agent.start()
            agent.users(5)

        with pytest.raises(UnavailableError) as gap:
            window(source, selection, restart)
        assert gap.value.code == "SCRAPE_GAP"


def test_an_absent_page_is_unreachable_and_named():
    url = f"http://127.0.0.1:{free_port()}/metrics"
    with pytest.raises(UnavailableError) as unreachable:
        open_source("openmetrics", {"url": url}).open(BOTH)
    assert (unreachable.value.code, unreachable.value.place) == ("SOURCE_UNREACHABLE", url)


def test_a_page_that_is_not_there_is_unreachable(agent):
    source = open_source("openmetrics", {"url": agent.admin_url + "/nothing"})
    with pytest.raises(UnavailableError, match="status 404"):
        source.close(BOTH, 0, 1)


def test_a_page_of_another_kind_is_invalid_when_it_is_read(agent):
    source = open_source("openmetrics", {"url": agent.admin_url + "/admin/state"})
    with pytest.raises(DataError) as invalid:
        window(source, BOTH)
    assert invalid.value.code == "SOURCE_INVALID"


# ---- file -----------------------------------------------------------------------------------


def test_a_file_gives_its_sides_for_its_environment(tmp_path):
    document = {"canary": SIDE, "baseline": SIDE | {"errors": 0}, "custom": {}}
    (tmp_path / "dev-checkout.json").write_text(json.dumps(document))
    source = open_source("file", {"path": str(tmp_path / "{environment}-{service}.json")})
    sides, answers = window(source, BOTH)
    assert sides.canary == SIDE
    assert sides.baseline == SIDE | {"errors": 0}
    assert [answer.query for answer in answers] == [f"read {tmp_path}/dev-checkout.json"]


def test_a_missing_file_is_unreachable_and_named(tmp_path):
    path = str(tmp_path / "none.json")
    with pytest.raises(UnavailableError) as unreachable:
        open_source("file", {"path": path}).close(BOTH, 0, 1)
    assert (unreachable.value.code, unreachable.value.place) == ("SOURCE_UNREACHABLE", path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"canary": {"requests": 1}}',
        '{"canary": {"requests": 1.0, "errors": 0}}',
        '{"canary": {"requests": 1, "requests": 2, "errors": 0}}',
        '{"canary": {"requests": NaN, "errors": 0}}',
        '{"canary": {"requests": 1, "errors": 0}, "more": 1}',
    ],
)
def test_a_file_that_is_not_in_the_format_is_invalid(tmp_path, text):
    (tmp_path / "f.json").write_text(text)
    with pytest.raises(DataError) as invalid:
        window(open_source("file", {"path": str(tmp_path / "f.json")}), BOTH)
    assert invalid.value.code == "SOURCE_INVALID"


# ---- every source ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "settings", "field"),
    [
        ("openmetrics", {}, "url"),
        ("openmetrics", {"url": "file:///etc/passwd"}, "url"),
        ("openmetrics", {"url": "http://user:secret@127.0.0.1/metrics"}, "url"),
        ("openmetrics", {"url": "http://127.0.0.1/m", "error_pattern": "5(.)*"}, "error_pattern"),
        ("openmetrics", {"url": "http://127.0.0.1/m", "latency": "a b"}, "latency"),
        ("file", {"path": ""}, "path"),
        ("file", {"path": "/x", "more": 1}, "more"),
        ("prometheus", {}, "kind"),
    ],
)
def test_settings_that_are_none_are_named(kind, settings, field):
    with pytest.raises(DocumentError) as broken:
        open_source(kind, settings)
    assert broken.value.problems[0].field[0] == field


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("openmetrics", {"url": "http://127.0.0.1/metrics"}), ("file", {"path": "/x"})],
)
def test_every_source_says_what_it_cannot_and_which_parser_reads_it(kind, settings):
    source = open_source(kind, settings)
    assert source.kind == kind
    assert source.parser_version
    assert all(sentence.endswith(".") for sentence in source.cannot)
