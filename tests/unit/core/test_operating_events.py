"""relayd's own events of sources and reloads: when there is something to say, and that no secret is in it."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.core.operating_events import (
    STEADY_S,
    Refusals,
    Refused,
    Waits,
    reload_refused,
    source_news,
    source_recovered,
    source_unavailable,
    urls_cut,
    waits_at,
    without_paths,
)


class Watch:
    """Looks at one source over virtual time, as the daemon does."""

    def __init__(self) -> None:
        self.waits: dict[str, Waits] = {}
        self.reported: set[str] = set()
        self.told: list[tuple[float, str]] = []

    def look(self, now: float, waiting: dict[str, bool]) -> None:
        self.waits = waits_at(self.waits, waiting, now)
        news = source_news(self.waits, self.reported, now)
        self.told += [(now, f"{each} unavailable") for each in news.unavailable]
        self.told += [(now, f"{each} recovered") for each in news.recovered]
        self.reported |= set(news.unavailable)
        self.reported -= {*news.recovered, *news.forgotten}


def test_a_minute_of_waiting_is_reported_and_its_end() -> None:
    watch = Watch()
    for now in range(0, 300, 5):
        watch.look(float(now), {"spool": 10 <= now < 200, "socket": False})
    assert watch.told == [(70.0, "spool unavailable"), (260.0, "spool recovered")]


def test_a_restart_repeats_nothing_and_loses_nothing() -> None:
    watch = Watch()
    watch.reported = {"still", "over", "removed"}
    for now in range(0, 200, 5):
        # It has not said yet what it waits for.
        watch.look(float(now), {"still": now >= 10, "over": False})
    assert watch.told == [(60.0, "over recovered")]
    assert watch.reported == {"still"}


@given(st.lists(st.tuples(st.floats(0.0, 90.0), st.booleans())))
def test_they_take_turns_and_a_minute_each(looks: list[tuple[float, bool]]) -> None:
    watch, now = Watch(), 0.0
    for passed, waiting in looks:
        now += passed
        watch.look(now, {"spool": waiting})
    kinds = [what for _, what in watch.told]
    assert kinds == ["spool unavailable", "spool recovered"] * (len(kinds) // 2) + [
        "spool unavailable"
    ] * (len(kinds) % 2)
    times = [at for at, _ in watch.told]
    assert all(earlier + STEADY_S <= later for earlier, later in pairwise([0.0, *times]))


def refused(*reasons: str, at: float = 0.0) -> Refused:
    return Refused("configuration", reasons, 1, at)


def test_the_same_refusal_is_news_once_in_ten_minutes() -> None:
    refusals = Refusals()
    assert refusals.refused(refused("a"), 0.0) == refused("a")
    assert refusals.refused(refused("a", at=599.0), 599.0) is None
    assert refusals.due(700.0) is None, "that it is refused for this reason is known"
    again = refusals.refused(refused("a", at=1_000.0), 1_000.0)
    assert again == Refused("configuration", ("a",), 2, 599.0)


@given(
    st.lists(
        st.tuples(st.floats(0.0, 200.0), st.sampled_from(["a", "b", "good", "look"])), max_size=60
    )
)
def test_refusals_are_reported_at_most_once_in_ten_minutes_and_none_is_lost(
    happenings: list[tuple[float, str]],
) -> None:
    refusals = Refusals()
    now, reported, open_since_accepted = 0.0, list[tuple[float, Refused]](), 0
    for pause, what in happenings:
        now += pause
        found = None
        if what == "good":
            refusals.accepted()
            open_since_accepted = 0
        elif what == "look":
            found = refusals.due(now)
        else:
            open_since_accepted += 1
            found = refusals.refused(refused(what, at=now), now)
        if found is not None:
            assert found.refusals == open_since_accepted
            open_since_accepted = 0
            reported.append((now, found))
    assert all(later - earlier >= 600.0 for (earlier, _), (later, _) in pairwise(reported))
    last = refusals.due(now + 600.0)
    if open_since_accepted and last is None:
        assert reported[-1][1].reasons == refusals.reported, "the reasons in force were reported"


def test_another_reason_is_reported_once_the_time_is_over() -> None:
    refusals = Refusals()
    assert refusals.refused(refused("a"), 0.0)
    for moment in range(1, 100):
        assert not refusals.refused(refused("ab"[moment % 2], at=moment), float(moment))
    assert refusals.due(599.0) is None
    assert refusals.due(600.0) == Refused("configuration", ("b",), 99, 1.0)
    assert refusals.due(5_000.0) is None


def test_what_was_accepted_meanwhile_is_not_reported_and_makes_no_event_sooner() -> None:
    refusals = Refusals()
    assert refusals.refused(refused("a"), 0.0)
    assert not refusals.refused(refused("b"), 1.0)
    refusals.accepted()
    assert refusals.due(700.0) is None
    refusals = Refusals()
    for moment in range(0, 600, 2):
        found = refusals.refused(refused("a"), float(moment))
        assert (found is not None) == (moment == 0)
        refusals.accepted()


def test_what_could_not_be_reported_is_due() -> None:
    refusals = Refusals()
    taken = refusals.refused(refused("a", at=1.0), 1.0)
    assert taken is not None
    assert refusals.refused(refused("b", at=2.0), 2.0) is None
    refusals.put_back(taken)
    assert refusals.due(3.0) == Refused("configuration", ("b",), 2, 1.0)


def test_what_could_not_be_reported_and_was_accepted_meanwhile_is_not_due() -> None:
    refusals = Refusals()
    taken = refusals.refused(refused("a"), 1.0)
    assert taken is not None
    refusals.accepted()  # while the report of it waits for the queue
    refusals.put_back(taken)
    assert refusals.due(5_000.0) is None


def test_reasons_are_bounded_in_number_and_length() -> None:
    reasons = [f"{number} " + "x" * 10_000 for number in range(100)]
    thing = reload_refused(refused(*reasons, at=3.0), 5.5).data["object"]
    assert isinstance(thing, dict)
    assert (thing["count"], thing["refusals"], thing["since"]) == (100, 1, 3)
    shown = thing["reasons"]
    assert isinstance(shown, list)
    assert [len(str(each)) for each in shown] == [300] * 10
    assert (thing["reason"], thing["next"]) == (shown[0], "relayd check")


def test_no_url_is_shown_with_its_path() -> None:
    text = "x: 'https://user:pw@hooks.example/T0/SECRET?key=SECRET' and http://h:80?SECRET, no https://ok"
    assert without_paths(text) == "x: 'https://hooks.example/…' and http://h:80/… no https://ok"
    event = source_unavailable("spool", text, 1.0, 5.0)
    assert "SECRET" not in str(event.data)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no route to https://user:hunter2@h.example", "no route to https://h.example"),
        ("https://user:hunter2@h.example:8443, later", "https://h.example:8443, later"),
        ("'https://u:p@h.example'", "'https://h.example'"),
        ("https://u:p@ss@h.example/x", "https://h.example/…"),
        ("https://u:p'ss@h.example", "https://h.example"),
        ('https://u:p"ss@h.example?q', "https://h.example/…"),
        ("https://token@h.example#f", "https://h.example/…"),
        ("https://h.example/a@b", "https://h.example/…"),
        ("https://h.example", "https://h.example"),
        ("https://[2001:db8::7]:443", "https://[2001:db8::7]:443"),
        ("URL('mailto:ops@example.com')", "URL('mailto:…@example.com')"),
        ("smtp://u:p@[::1]:25 and mailto:a@b", "smtp://[::1]:25 and mailto:…@b"),
        ("who is a:b@c?", "who is a:b@c?"),
    ],
)
def test_no_login_and_no_address_is_left_of_a_url(text: str, shown: str) -> None:
    assert urls_cut(text) == shown


@pytest.mark.parametrize(
    "text", ["a" * 1_000_000, "http://" * 100_000, "http://" + "a@" * 500_000, "mailto:" * 100_000]
)
def test_a_long_text_is_cut_at_once(text: str) -> None:
    began = time.process_time()
    urls_cut(text)
    assert time.process_time() - began < 2.0


def test_times_do_not_lie_ahead() -> None:
    for event in (source_unavailable("s", "r", 9.0, 5.0), source_recovered("s", 9.0, 5.0)):
        thing = event.data["object"]
        assert isinstance(thing, dict)
        assert thing["since"] == 5
