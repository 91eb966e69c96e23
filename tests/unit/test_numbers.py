"""The numbers of strict-v1: both sides of every limit (docs/spec/gates.md)."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.errors import DataError
from lockstep.gates import numbers

NOT_NUMBERS = [math.nan, math.inf, -math.inf, True, False, "1", None, [1], {}, b"1", 10**400]


def test_a_ratio_on_the_limit_passes_and_one_past_fails() -> None:
    assert numbers.error_rate(5, 1000) == "pass"
    assert numbers.error_rate(6, 1000) == "fail"
    assert numbers.error_rate(50, 10_000) == "pass"
    assert numbers.error_rate(51, 10_000) == "fail"


def test_the_slack_is_one_ten_thousand_millionth() -> None:
    edge = numbers.ERROR_RATE_MAX + numbers.EPS_EQ
    assert numbers.error_rate_value(edge) == "pass"
    assert numbers.error_rate_value(math.nextafter(edge, 1)) == "fail"
    edge = numbers.P95_DELTA_MAX_PERCENT + numbers.EPS_EQ
    assert numbers.within(edge, numbers.P95_DELTA_MAX_PERCENT) == "pass"
    assert numbers.within(math.nextafter(edge, 11), numbers.P95_DELTA_MAX_PERCENT) == "fail"


@pytest.mark.parametrize(
    ("failed", "total"),
    [(0, 0), (1, 0), (-1, 10), (11, 10), (0, -1), (-2, -1), (True, 10), (0, True), (0.0, 10)],
)
def test_impossible_counts_are_invalid(failed: object, total: object) -> None:
    assert numbers.error_rate(failed, total) == "invalid"


def test_all_and_none_failed_are_possible_counts() -> None:
    assert numbers.error_rate(0, 1) == "pass"
    assert numbers.error_rate(1, 1) == "fail"


@pytest.mark.parametrize("bad", NOT_NUMBERS, ids=lambda bad: repr(bad)[:12])
def test_what_is_no_number_is_invalid_wherever_it_stands(bad: object) -> None:
    assert numbers.within(bad, 1.0) == "invalid"
    assert numbers.within(1.0, bad) == "invalid"
    assert numbers.error_rate_value(bad) == "invalid"
    assert numbers.p95_delta(bad, 100) == "invalid"
    assert numbers.p95_delta(100, bad) == "invalid"
    with pytest.raises(DataError):
        numbers.p95([1, bad])


def test_a_ratio_lies_between_zero_and_one() -> None:
    for inside in (0, 0.0, -0.0):
        assert numbers.error_rate_value(inside) == "pass"
    assert numbers.error_rate_value(1) == "fail"
    for outside in (math.nextafter(1, 2), math.nextafter(0, -1), -1, 2):
        assert numbers.error_rate_value(outside) == "invalid"


@pytest.mark.parametrize(
    ("count", "rank"), [(1, 1), (19, 19), (20, 19), (21, 20), (40, 38), (100, 95), (101, 96)]
)
def test_the_nearest_rank_is_the_ceiling_of_ninety_five_hundredths(count: int, rank: int) -> None:
    assert numbers.p95(list(range(count, 0, -1))) == rank


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(0, 10**9) | st.floats(0, 1e9), min_size=1, max_size=200))
def test_p95_is_a_sample_that_ninety_five_percent_do_not_exceed(samples: list) -> None:
    value = numbers.p95(samples)
    assert value in samples
    assert 100 * sum(sample <= value for sample in samples) >= 95 * len(samples)
    assert 100 * sum(sample < value for sample in samples) < 95 * len(samples)


@pytest.mark.parametrize("bad", [[], None, "12", {1: 2}, [-1], [math.nextafter(0, -1)]])
def test_p95_refuses_no_samples_and_negative_ones(bad: object) -> None:
    with pytest.raises(DataError) as caught:
        numbers.p95(bad)
    assert caught.value.code == "SNAPSHOT_INVALID"


def test_ten_percent_slower_passes_and_more_fails() -> None:
    assert numbers.p95_delta(110, 100) == "pass"
    assert numbers.p95_delta(111, 100) == "fail"
    assert numbers.p95_delta(1100, 1000) == "pass"
    assert numbers.p95_delta(1101, 1000) == "fail"
    assert numbers.p95_delta(0, 100) == "pass"


def test_a_baseline_must_exceed_the_smallest_denominator() -> None:
    just_above = math.nextafter(numbers.EPS_DENOM, 1)
    assert numbers.p95_delta(just_above, just_above) == "pass"
    for baseline in (numbers.EPS_DENOM, 0, 0.0, -1):
        assert numbers.p95_delta(0, baseline) == "invalid"


def test_a_delta_that_binary64_cannot_hold_is_invalid() -> None:
    assert numbers.p95_delta(1.7e308, 0.5) == "invalid"
    assert numbers.p95_delta(10**308, 1) == "invalid"
    assert numbers.p95_delta(-1, 100) == "invalid"


def test_only_the_integer_zero_is_no_replay_failure() -> None:
    assert numbers.replay_failures(0) == "pass"
    assert numbers.replay_failures(1) == "fail"
    for bad in (-1, 0.0, False, "0", None):
        assert numbers.replay_failures(bad) == "invalid"
