"""Steps of the wall clock, told from its running."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.core.clock_step import (
    GAP_S,
    STEP_S,
    Sighting,
    is_from_before,
    is_gap,
    moved_health,
    step_between,
    step_since,
)
from relayd.core.endpoint import Health

NOON = 1_700_000_000.0
HOUR = 3600.0


@pytest.mark.parametrize("set_by", [HOUR, -HOUR, 86_400.0, STEP_S, -STEP_S])
def test_a_clock_that_was_set_has_stepped(set_by: float) -> None:
    before = Sighting(wall=NOON, steady=50.0)
    now = Sighting(wall=NOON + 1.0 + set_by, steady=51.0)
    assert step_between(before, now) == pytest.approx(set_by)


@given(pause=st.floats(0.0, 1e6), slewed=st.floats(-1.0, 1.0))
def test_time_that_passed_is_no_step(pause: float, slewed: float) -> None:
    before = Sighting(wall=NOON, steady=50.0)
    now = Sighting(wall=NOON + pause + slewed, steady=50.0 + pause)
    assert step_between(before, now) == 0.0


def test_a_start_after_a_pause_is_no_step() -> None:
    assert step_since(newest=NOON, now=NOON + 86_400.0) == 0.0
    assert step_since(newest=0.0, now=NOON) == 0.0
    assert step_since(newest=NOON + 1.0, now=NOON) == 0.0


def test_a_start_before_the_newest_time_is_a_step_back() -> None:
    assert step_since(newest=NOON, now=NOON - HOUR) == -HOUR


@given(
    step=st.one_of(st.floats(-1e6, -10.0), st.floats(10.0, 1e6)),
    ago=st.floats(0.0, 1e7),
    later=st.floats(0.0, 1.0),
)
def test_what_was_scheduled_before_and_after_a_step(step: float, ago: float, later: float) -> None:
    now = NOON + step
    assert not is_from_before(now + later, step, now)
    scheduled = NOON - ago
    if step > 0 or not now - 0.001 <= scheduled <= now + 1.001:
        assert is_from_before(scheduled, step, now)


@pytest.mark.parametrize("step", [HOUR, -HOUR, 5.0, -5.0])
def test_what_was_scheduled_since_a_step_is_new_however_late_it_is_looked_at(step: float) -> None:
    stepped_at = NOON + step
    for since in (0.0, 1.5, 30.0, 59.0):
        assert not is_from_before(stepped_at + since, step, stepped_at, now=stepped_at + 60.0)
    assert is_from_before(NOON - 1.0, step, stepped_at, now=stepped_at + 0.5)


def test_health_moves_with_the_clock() -> None:
    health = Health(
        failures=4,
        recent=(0, int(NOON) - 5, 0),
        failed_since=NOON,
        failing_since=NOON,
        succeeded_at=NOON,
        last_failure="answered 500",
        held_until=NOON + 30.0,
        ramp=1,
    )
    moved = moved_health(health, -HOUR)
    assert {moved.failed_since, moved.failing_since, moved.succeeded_at} == {NOON - HOUR}
    assert moved.recent == (0, int(NOON) - 5 - int(HOUR), 0)
    assert moved.held_until == NOON + 30.0 - HOUR
    assert moved.released_at is None
    assert (moved.failures, moved.last_failure, moved.ramp) == (4, "answered 500", 1)
    assert moved_health(moved, HOUR) == health
    assert moved_health(Health(), HOUR) == Health()


@given(scheduled=st.floats(NOON - 1e7, NOON + 1e7), step=st.floats(-1e6, -10.0))
def test_a_step_back_soon_after_the_start_moves_what_lies_ahead_and_makes_nothing_early(
    scheduled: float, step: float
) -> None:
    now = NOON + step
    moves = is_from_before(scheduled, step, now, certain=False)
    assert moves == (scheduled > now + 1.0)
    if moves and scheduled <= NOON:
        assert is_from_before(scheduled, step, now)


def test_a_gap_is_a_day_or_more_since_the_clock_was_looked_at() -> None:
    assert not is_gap(None, NOON)
    assert not is_gap(NOON, NOON + GAP_S - 1)
    assert is_gap(NOON, NOON + GAP_S)
    assert not is_gap(NOON + 400 * GAP_S, NOON)
