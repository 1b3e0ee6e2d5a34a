"""The limit holds in every window, whatever happens, and a backlog is not slowed below it."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relayd.core.token_bucket import Rate, TokenBucket

PERIODS = st.sampled_from([1.0, 60.0, 90.0, 3600.0])
LIMITS = st.integers(1, 30) | st.sampled_from([99, 100, 101, 200, 1000, 1099, 1100, 5000])
# Monotonic clocks begin anywhere; trio's begins at up to a million seconds.
BEGINNINGS = st.sampled_from([0.0, 0.1, 12_345.678, 1e6 + 0.3])


def most_in_a_window(starts: list[float], period_s: float) -> int:
    """Return the most starts in any half-open window of one period. `starts` is in order."""
    most = first = 0
    for last, start in enumerate(starts):
        # [starts[first], starts[first] + period) holds every start before its end.
        while start - starts[first] >= period_s:
            first += 1
        most = max(most, last - first + 1)
    return most


def test_the_measure_itself_is_half_open() -> None:
    assert most_in_a_window([], 60.0) == 0
    assert most_in_a_window([0.0, 0.0, 30.0], 60.0) == 3
    assert most_in_a_window([0.0, 60.0, 119.0], 60.0) == 2
    assert most_in_a_window([0.0, 1.0, 60.5, 60.9], 60.0) == 3


@dataclass(frozen=True)
class Poll:
    """Some time passes, in tenths of a period, and then at most `wanted` attempts start."""

    tenths: float
    wanted: int


@dataclass(frozen=True)
class Drain:
    """For some time, in tenths of a period, an attempt starts whenever one may."""

    tenths: float


@dataclass(frozen=True)
class Reload:
    """The limit becomes another one."""

    limit: int


@dataclass(frozen=True)
class Restart:
    """The process starts anew, and knows nothing of before."""


Step = Poll | Drain | Reload | Restart
SPANS = st.floats(0, 25, allow_subnormal=False) | st.sampled_from([0.0, 1e-9, 10.0, 10.03, 100.0])
STEPS = (
    st.builds(Poll, SPANS, st.integers(0, 40))
    | st.builds(Drain, st.floats(0, 22))
    | st.builds(Reload, st.integers(1, 60))
    | st.just(Restart())
)


def run(steps: list[Step], rate: Rate, begins_at: float) -> tuple[list[float], int]:
    """Return when attempts started, and the largest limit there was."""
    now = begins_at
    bucket = TokenBucket.empty(rate, now)
    largest = rate.limit
    starts: list[float] = []
    for step in steps:
        match step:
            case Poll(tenths, wanted):
                now += tenths * rate.period_s / 10
                bucket = bucket.at(now)
                count = min(wanted, bucket.available)
                bucket = bucket.take(count)
                starts += [now] * count
            case Drain(tenths):
                ends_at = now + tenths * rate.period_s / 10
                while now < ends_at:
                    bucket = bucket.at(now)
                    count = bucket.available
                    bucket = bucket.take(count)
                    starts += [now] * count
                    now += bucket.wait_s
            case Reload(limit):
                bucket = bucket.with_rate(Rate(limit, rate.period_s), now)
                largest = max(largest, limit)
            case Restart():
                bucket = TokenBucket.empty(bucket.rate, now)
    return starts, largest


@settings(max_examples=500, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=12), st.integers(1, 60), PERIODS, BEGINNINGS)
# A full bucket, all of it at once, and what is gained in the period after.
@example([Poll(100, 0), Drain(10)], 60, 60.0, 0.0)
@example([Poll(100, 40), Drain(10), Restart(), Drain(10)], 100, 60.0, 0.0)
@example(
    [Reload(60), Poll(100, 0), Drain(5), Reload(20), Drain(5), Reload(60), Drain(5)], 20, 60.0, 0.0
)
def test_no_window_has_more_starts_than_the_limit(
    steps: list[Step], limit: int, period_s: float, begins_at: float
) -> None:
    starts, largest = run(steps, Rate(limit, period_s), begins_at)
    assert most_in_a_window(starts, period_s) <= largest


@pytest.mark.parametrize("limit", [1, 2, 9, 10, 19, 20, 99, 100, 101, 999, 1000, 1100, 5000])
@pytest.mark.parametrize("begins_at", [0.0, 1e6 + 0.3])
def test_the_worst_case_keeps_the_limit_and_nearly_reaches_it(limit: int, begins_at: float) -> None:
    """Saved up to the brim, then drained: the window that a textbook bucket fills twice."""
    starts, _ = run([Poll(50, 0), Drain(30)], Rate(limit, 60.0), begins_at)
    most = most_in_a_window(starts, 60.0)
    assert 0.99 * limit - 1 <= most <= limit


@settings(deadline=None)
@given(LIMITS.filter(lambda limit: limit >= 10), PERIODS, BEGINNINGS)
@example(100, 60.0, 0.0)
@example(20, 60.0, 1e6 + 0.3)
def test_a_backlog_drains_at_nine_tenths_of_the_limit(
    limit: int, period_s: float, begins_at: float
) -> None:
    periods = 5
    starts, _ = run([Drain(10.0 * periods)], Rate(limit, period_s), begins_at)
    # The bucket begins empty, so the first token comes a moment late: once, not every period.
    assert len(starts) >= math.floor(0.9 * limit * periods) - 1


def test_the_contracts_figures() -> None:
    """At most 100 in any 60 seconds, and a backlog at 90 or more a minute."""
    starts, _ = run([Drain(100.0)], Rate(100, 60.0), 0.0)
    assert most_in_a_window(starts, 60.0) <= 100
    for minute in range(1, 10):
        assert sum(60 * minute <= start < 60 * (minute + 1) for start in starts) >= 90


@given(LIMITS, PERIODS, BEGINNINGS, st.floats(0, 1.5, allow_subnormal=False))
@example(5000, 1.0, 1e6 + 0.3, 0.9999999999)
@example(5000, 1.0, 1e9 + 0.3, 0.0)
def test_one_wait_is_enough(limit: int, period_s: float, begins_at: float, tokens: float) -> None:
    rate = Rate(limit, period_s)
    bucket = TokenBucket(rate, min(tokens, rate.burst), begins_at)
    later = begins_at + bucket.wait_s
    assert bucket.at(later).available >= 1
    # And not much too long, either: a token and a microsecond.
    assert bucket.wait_s <= 1 / rate.refill_per_s + 1e-6


def test_no_wait_while_there_is_a_token() -> None:
    assert TokenBucket(Rate(100, 60.0), 1.0, 5.0).wait_s == 0.0


@given(LIMITS, PERIODS)
def test_burst_and_refill_add_up_to_the_limit(limit: int, period_s: float) -> None:
    rate = Rate(limit, period_s)
    assert 1 <= rate.burst <= limit
    # Whole starts: less than limit + 1 is at most limit.
    assert rate.burst + rate.refill_per_s * period_s < limit + 1


@given(st.integers(1, 20_000), PERIODS)
def test_a_larger_limit_is_never_slower(limit: int, period_s: float) -> None:
    """On this a reload relies: before and after it, the larger limit bounds both parts."""
    rate, larger = Rate(limit, period_s), Rate(limit + 1, period_s)
    assert rate.burst <= larger.burst
    assert rate.refill_per_s <= larger.refill_per_s


def test_a_bucket_begins_empty_and_fills_to_its_burst() -> None:
    bucket = TokenBucket.empty(Rate(100, 60.0), 1000.0)
    assert bucket.available == 0
    assert bucket.at(1e6).available == bucket.rate.burst == 10


def test_a_clock_that_steps_back_gains_nothing() -> None:
    bucket = TokenBucket(Rate(100, 60.0), 3.0, 1000.0)
    assert bucket.at(0.0) == bucket.at(1000.0) == bucket
    # Nor does it gain twice when the clock comes back to where it was.
    assert bucket.at(0.0).at(1000.0) == bucket


def test_taking() -> None:
    bucket = TokenBucket(Rate(100, 60.0), 3.5, 0.0)
    assert bucket.available == 3
    assert bucket.take(2).tokens == 1.5
    assert bucket.take(0) == bucket
    with pytest.raises(ValueError, match="4 tokens taken from a bucket that holds 3"):
        bucket.take(4)


@given(LIMITS, LIMITS, PERIODS, PERIODS, st.floats(0, 1e5))
def test_a_reload_grants_no_tokens(
    limit: int, other: int, period_s: float, other_s: float, passed_s: float
) -> None:
    bucket = TokenBucket.empty(Rate(limit, period_s), 0.0)
    reloaded = bucket.with_rate(Rate(other, other_s), passed_s)
    assert reloaded.rate == Rate(other, other_s)
    assert reloaded.updated_at == passed_s
    assert reloaded.tokens == min(bucket.at(passed_s).tokens, reloaded.rate.burst)


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (Rate(100, 60.0), "100/min"),
        (Rate(5, 1.0), "5/s"),
        (Rate(1000, 3600.0), "1000/h"),
        (Rate(10, 86400.0), "10/d"),
        (Rate(10, 90.0), "10/90s"),
    ],
)
def test_a_rate_reads_as_it_is_written(rate: Rate, text: str) -> None:
    assert str(rate) == text
