"""Sequence numbers: each is greater than the one before, whatever the clock does."""

from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from relayd.core.sequence import next_sequence

NOW = 1_700_000_000.25
CLOCKS = st.floats(min_value=-1e12, max_value=1e18)


def test_a_number_is_the_time_in_microseconds() -> None:
    assert next_sequence(0, NOW) == 1_700_000_000_250_000


def test_events_at_one_moment_and_with_a_clock_that_was_set_back_have_the_next_number() -> None:
    first = next_sequence(0, NOW)
    assert next_sequence(first, NOW) == first + 1
    assert next_sequence(first, NOW - 86_400) == first + 1


def test_a_new_queue_goes_on_above_the_old_one() -> None:
    assert next_sequence(next_sequence(0, NOW) + 1000, NOW + 1) < next_sequence(0, NOW + 1.01)


@given(st.lists(CLOCKS, min_size=1))
def test_numbers_grow_and_stay_below_what_javascript_counts_to(clocks: list[float]) -> None:
    numbers = list(accumulate(clocks, next_sequence, initial=0))
    assert all(before < after < 2**53 for before, after in pairwise(numbers))
