"""The time that expiry goes by."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.core.expiry import (
    AFTER_STEP_S,
    CATCH_UP_S,
    STRIDE_S,
    TRUSTED_S,
    Evidence,
    Expiry,
    Steadiness,
    decide,
)

NOW = 1_700_000_000.0
DAY = 86_400.0
RETENTION_S = 30 * DAY


def decided(
    now: float = NOW,
    *,
    steady_s: float = 0.0,
    stepped: bool = False,
    stood: float | None = NOW - 300,
    oldest: float | None = NOW - RETENTION_S,
) -> Expiry:
    evidence = Evidence(stood, NOW - 400, oldest)
    return decide(now, Steadiness(steady_s, stepped), evidence, retention_s=RETENTION_S)


def test_it_follows_a_clock_that_runs_even_just_after_the_start() -> None:
    assert decided() == Expiry(NOW, NOW, 0.0, 0.0)
    assert decided(stood=NOW - STRIDE_S).horizon == NOW


@pytest.mark.parametrize("days", [1, 31, 400, 20_000])
def test_a_clock_far_ahead_expires_nothing_for_an_hour_and_then_a_day_at_a_time(days: int) -> None:
    ahead = NOW + days * DAY
    for steady_s in (0.0, 8.0, TRUSTED_S - 1):
        waiting = decided(ahead, steady_s=steady_s)
        assert (waiting.stands_at, waiting.horizon) == (NOW - 300, NOW - 300)
        assert waiting.waits_s == TRUSTED_S - steady_s
        assert waiting.ahead_s == pytest.approx(days * DAY + 300)
    first = decided(ahead, steady_s=TRUSTED_S)
    assert first.horizon == min(ahead, NOW + CATCH_UP_S)
    second = decided(
        ahead, steady_s=TRUSTED_S + 300, stood=first.stands_at, oldest=NOW - RETENTION_S + DAY
    )
    assert second.horizon == min(ahead, NOW + 2 * CATCH_UP_S)


@pytest.mark.parametrize("step", [5.0, 1_800.0, -5.0, -1_800.0, -31 * DAY, 31 * DAY])
def test_after_a_step_it_stands_still_until_the_clock_has_been_steady(step: float) -> None:
    waiting = decided(NOW + step, steady_s=8.0, stepped=True)
    assert waiting.waits_s > 0
    assert waiting.stands_at == NOW - 300
    assert waiting.horizon <= NOW - 300
    needed = AFTER_STEP_S if abs(step) < STRIDE_S else TRUSTED_S
    assert decided(NOW + step, steady_s=needed, stepped=True).waits_s == 0.0


def test_a_clock_that_was_ahead_and_is_right_again_leaves_no_trace() -> None:
    ahead = decided(NOW + 400 * DAY, steady_s=8.0)
    after = decided(NOW + 10, steady_s=AFTER_STEP_S, stepped=True, stood=ahead.stands_at)
    assert after == Expiry(NOW + 10, NOW + 10, 0.0, 0.0)


def test_a_clock_that_was_behind_for_hours_does_not_make_the_way_back_long() -> None:
    behind = decided(0.0, steady_s=TRUSTED_S)
    assert behind.stands_at == behind.horizon == 0.0
    back = decided(NOW, steady_s=TRUSTED_S, stepped=True, stood=behind.stands_at)
    assert back.horizon == NOW


def test_the_first_time_it_begins_with_what_the_queue_has_seen() -> None:
    """As in a queue of version 1 that is opened by a clock which is ahead."""
    first = decided(NOW + 31 * DAY, steady_s=8.0, stood=None)
    assert first.horizon == NOW - 400
    empty = decide(NOW, Steadiness(0.0, stepped=False), Evidence(None, None, None), retention_s=DAY)
    assert empty == Expiry(NOW, NOW, 0.0, 0.0)


def test_what_is_empty_is_passed_in_one_stride() -> None:
    assert decided(NOW + 400 * DAY, steady_s=inf, oldest=None).horizon == NOW + 400 * DAY


@given(
    now=st.floats(0, 4e9),
    steady=st.builds(Steadiness, st.floats(0, 1e6), st.booleans()),
    stood=st.none() | st.floats(0, 4e9),
    newest=st.floats(0, 4e9),
    age=st.floats(0, 1e9),
)
def test_one_pass_never_expires_more_than_a_day_of_what_is_kept(
    now: float, steady: Steadiness, stood: float | None, newest: float, age: float
) -> None:
    oldest = newest - age
    evidence = Evidence(stood, newest, oldest)
    expiry = decide(now, steady, evidence, retention_s=RETENTION_S)
    assert expiry.horizon <= now
    before = min(now, newest) if stood is None else stood
    newly = expiry.horizon - max(before, oldest + RETENTION_S)
    assert newly <= CATCH_UP_S + 1e-3
    if steady.stepped and steady.seconds < AFTER_STEP_S:
        assert expiry.horizon <= before
    assert expiry.waits_s >= 0
    assert expiry.ahead_s >= 0
