"""Counted own events: the first at once, then at most one in ten minutes, and nothing is left out."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from relayd.core.notices import (
    INTERVAL_S,
    Notice,
    after_happening,
    after_renaming,
    is_due,
    summed,
    together,
    when_due,
)
from relayd.core.own_events import EXHAUSTED, MOST_IDS, Counted


def happening(number: int, at: float = 0.0, subject: str = "books") -> Counted:
    return Counted(EXHAUSTED, subject, 1, at, (f"dlv_{number}",), {"reason": str(number)})


class Subject:
    """One subject's notice, as the queue keeps it, over virtual time."""

    def __init__(self) -> None:
        self.notice: Notice | None = None
        self.reported: list[tuple[float, Counted]] = []
        self.happened = 0

    def happen(self, now: float) -> None:
        self.happened += 1
        self.notice, reported = after_happening(self.notice, happening(self.happened, now), now)
        if reported is not None:
            self.reported.append((now, reported))

    def look(self, now: float) -> None:
        if self.notice is not None and is_due(self.notice.last_sent_at, now):
            self.notice, reported = when_due(self.notice, now)
            if reported is not None:
                self.reported.append((now, reported))

    @property
    def left(self) -> int:
        counted = None if self.notice is None else self.notice.counted
        return 0 if counted is None else counted.count


def test_three_hundred_make_two() -> None:
    subject = Subject()
    for number in range(300):
        subject.happen(1_000.0 + number)
        subject.look(1_000.0 + number)
    for later in range(0, 3_000, 5):
        subject.look(1_300.0 + later)
    [(first_at, first), (second_at, second)] = subject.reported
    assert (first_at, first.count, first.ids) == (1_000.0, 1, ("dlv_1",))
    assert (second_at, second.count, second.since) == (1_600.0, 299, 1_001.0)
    assert second.ids == tuple(f"dlv_{number}" for number in range(2, 12))
    assert second.details == {"reason": "300"}
    assert subject.notice is None, "it ends ten minutes after the last own event"


# A step of the clock, or time that passes; and what happens then, or relayd's regular look.
MOMENTS = st.lists(
    st.tuples(
        st.one_of(st.floats(0.0, 700.0), st.floats(-1e7, 1e7)), st.sampled_from(["happen", "look"])
    ),
    max_size=60,
)


@given(MOMENTS)
def test_nothing_is_left_out_whatever_the_clock_does(moments: list[tuple[float, str]]) -> None:
    subject, now = Subject(), 1e9
    for passed, what in moments:
        now += passed
        getattr(subject, what)(now)
        assert sum(each.count for _, each in subject.reported) + subject.left == subject.happened
        assert all(len(each.ids) <= MOST_IDS for _, each in subject.reported)
    # However wrong the clock was, ten minutes after it is right all is reported.
    subject.look(now)
    subject.look(now + INTERVAL_S)
    subject.look(now + INTERVAL_S + 2.0)
    assert subject.left == 0


@given(st.lists(st.tuples(st.floats(0.0, 700.0), st.sampled_from(["happen", "look"]))))
def test_at_most_one_in_ten_minutes(moments: list[tuple[float, str]]) -> None:
    subject, now = Subject(), 1e9
    for passed, what in moments:
        now += passed
        getattr(subject, what)(now)
    times = [at for at, _ in subject.reported]
    assert all(earlier + INTERVAL_S <= later for earlier, later in pairwise(times))


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    subject = Subject()
    subject.happen(2e9)
    subject.happen(1e9)
    assert [each.count for _, each in subject.reported] == [1, 1]
    # But one that is slewed does not make it talk.
    subject.happen(1e9 - 1.0)
    assert len(subject.reported) == 2


def test_since_does_not_lie_ahead() -> None:
    event = happening(1, at=2e9).event(1e9)
    assert isinstance(event.data["object"], dict)
    assert event.data["object"]["since"] == 1e9


def test_each_subject_is_counted_by_itself() -> None:
    names = ["books", "mail", "books", "chat", "books"]
    found = summed(happening(number, subject=name) for number, name in enumerate(names))
    assert {each.subject: each.count for each in found} == Counter(names)
    assert found[0].ids == ("dlv_0", "dlv_2", "dlv_4")


def test_a_renamed_subject_takes_over_what_was_counted() -> None:
    old = Notice(100.0, happening(1, 90.0))
    new = Notice(50.0, happening(2, 40.0, "new"))
    assert after_renaming(old, None, "new") == Notice(100.0, happening(1, 90.0, "new"))
    both = Notice(100.0, together(happening(1, 90.0), happening(2, 40.0, "new")))
    assert after_renaming(old, new, "new") == both
    assert after_renaming(Notice(100.0), new, "new") == Notice(100.0, new.counted)
    assert after_renaming(Notice(1.0), Notice(2.0), "new") == Notice(2.0)


def test_the_command_is_one_that_a_shell_takes() -> None:
    event = happening(1, subject="a b").event(1.0)
    assert isinstance(event.data["object"], dict)
    assert event.data["object"]["next"] == "relayd replay 'a b'"
