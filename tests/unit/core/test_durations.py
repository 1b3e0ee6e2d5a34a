"""Response times in classes: right within a tenth, whatever the times."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.core.durations import NO_ANSWER, quantile_s, response_class

times = st.floats(0.0011, 60.0)


@given(st.lists(times, min_size=1), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_quantile_is_right_within_a_tenth(durations: list[float], quantile: float) -> None:
    found = quantile_s(Counter(map(response_class, durations)), quantile)
    exact = sorted(durations)[max(1, math.ceil(quantile * len(durations))) - 1]
    assert found == pytest.approx(exact, rel=0.1)


@given(st.floats(0.0, 1e9), st.floats(0.0, 1e9))
def test_longer_times_have_no_lower_class(one: float, other: float) -> None:
    classes = [response_class(each) for each in sorted((one, other))]
    assert classes == sorted(classes)
    assert all(0 <= each <= 80 for each in classes)


def test_what_got_no_answer_has_no_time() -> None:
    assert quantile_s({}, 0.5) is None
    assert quantile_s({NO_ANSWER: 10}, 0.5) is None
    assert quantile_s({NO_ANSWER: 10, response_class(0.1): 1}, 0.5) == pytest.approx(0.1, rel=0.1)
