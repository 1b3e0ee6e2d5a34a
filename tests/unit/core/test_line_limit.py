"""The log's limit for lines of one kind."""

from hypothesis import given
from hypothesis import strategies as st

from relayd.core.line_limit import LINES, WINDOW_S, LineLimit


def test_the_first_lines_pass_and_the_rest_are_counted() -> None:
    limit = LineLimit()
    for number in range(LINES):
        assert limit.admit("attempt_failed", number * 0.001) == 0
    for _ in range(70):
        assert limit.admit("attempt_failed", 1.0) is None
    assert limit.admit("stopped", 1.0) == 0, "other kinds are not held back"
    assert limit.admit("attempt_failed", WINDOW_S) == 70
    assert limit.admit("attempt_failed", WINDOW_S + 0.1) == 0, "it is told once"


def test_what_was_not_told_is_told_at_the_end() -> None:
    limit = LineLimit()
    for _ in range(LINES + 3):
        limit.admit("attempt_failed", 0.0)
    limit.admit("started", 0.0)
    assert limit.left_out() == {"attempt_failed": 3}
    assert limit.left_out() == {}


@given(st.lists(st.floats(0.0, 0.05), max_size=3000))
def test_every_line_is_written_or_counted(pauses: list[float]) -> None:
    limit = LineLimit()
    now, written, counted = 0.0, 0, 0
    for pause_s in pauses:
        now += pause_s
        verdict = limit.admit("attempt_failed", now)
        if verdict is not None:
            written += 1
            counted += verdict
    counted += sum(limit.left_out().values())
    assert written + counted == len(pauses)
    assert written <= LINES * (now // WINDOW_S + 1)
