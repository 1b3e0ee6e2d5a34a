"""When subscriptions come up: each at its time, in turns, and none is forgotten."""

import math

from hypothesis import given
from hypothesis import strategies as st

from relayd.core.agenda import NOW, Agenda


def test_what_is_noted_comes_up_at_its_time_and_once() -> None:
    agenda = Agenda()
    assert agenda.next_at == math.inf
    agenda.note("a", 10.0)
    agenda.note("b", 5.0)
    assert agenda.next_at == 5.0
    assert agenda.take(4.9, 10) == ()
    assert agenda.take(5.0, 10) == ("b",)
    assert agenda.take(10.0, 10) == ("a",)
    assert agenda.next_at == math.inf


def test_the_sooner_time_counts() -> None:
    agenda = Agenda()
    agenda.note("a", 10.0)
    agenda.note("a", 5.0)
    agenda.note("a", 7.0)
    assert agenda.next_at == 5.0


def test_keep_asks_for_these_and_forgets_the_others() -> None:
    agenda = Agenda()
    agenda.note("a", 10.0)
    agenda.note("b", 10.0)
    agenda.keep(["b", "c"])
    assert agenda.next_at == NOW
    assert agenda.take(0.0, 10) == ("b", "c")
    agenda.note("d", 1.0)
    agenda.forget("d")
    agenda.forget("nobody")
    assert agenda.next_at == math.inf


@given(count=st.integers(1, 50), limit=st.integers(1, 7))
def test_those_that_always_have_something_due_take_turns(count: int, limit: int) -> None:
    agenda = Agenda()
    names = [str(number) for number in range(count)]
    agenda.keep(names)
    rounds: list[str] = []
    while len(rounds) < count:
        taken = agenda.take(1.0, limit)
        rounds += taken
        agenda.note_all(dict.fromkeys(taken, 1.0))
    assert rounds[:count] == names
