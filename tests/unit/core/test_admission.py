"""Fresh deliveries and the backlog are admitted in turn, and neither waits for an empty queue."""

from hypothesis import given
from hypothesis import strategies as st

from relayd.core.admission import admit


def test_in_turn_and_the_turn_is_remembered() -> None:
    assert admit("abc", "xyz", 3, backlog_first=False) == (["a", "x", "b"], True)
    assert admit("abc", "xyz", 3, backlog_first=True) == (["x", "a", "y"], False)
    assert admit("abc", "xyz", 2, backlog_first=False) == (["a", "x"], False)


def test_one_at_a_time_takes_both_in_turn() -> None:
    first, turn = admit("abc", "xyz", 1, backlog_first=False)
    second, turn = admit("bc", "xyz", 1, backlog_first=turn)
    third, turn = admit("bc", "yz", 1, backlog_first=turn)
    assert (first, second, third) == (["a"], ["x"], ["b"])


def test_an_empty_queue_gives_its_turns_away() -> None:
    assert admit("abc", "", 3, backlog_first=True)[0] == ["a", "b", "c"]
    assert admit("", "xyz", 2, backlog_first=False)[0] == ["x", "y"]


@given(
    fresh=st.lists(st.integers(0, 99), max_size=20),
    backlog=st.lists(st.integers(100, 199), max_size=20),
    count=st.integers(0, 30),
    backlog_first=st.booleans(),
)
def test_takes_all_that_there_is_room_for_in_each_queues_order(
    fresh: list[int], backlog: list[int], count: int, backlog_first: bool
) -> None:
    admitted, _ = admit(fresh, backlog, count, backlog_first=backlog_first)
    assert len(admitted) == min(count, len(fresh) + len(backlog))
    taken_fresh = [each for each in admitted if each < 100]
    taken_backlog = [each for each in admitted if each >= 100]
    assert taken_fresh == fresh[: len(taken_fresh)]
    assert taken_backlog == backlog[: len(taken_backlog)]
    if len(taken_fresh) < len(fresh) and len(taken_backlog) < len(backlog):
        assert abs(len(taken_fresh) - len(taken_backlog)) <= 1
