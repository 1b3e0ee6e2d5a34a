"""The queue's SQL changes holds as the table of `core.hold` has it, whatever happens in any order."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.core.hold import (
    FREE,
    Hold,
    HoldChange,
    Holds,
    after_change,
    after_declaring,
    after_handing_over,
    shown_hold,
)
from relayd.queue.sqlite import subscriptions
from relayd.queue.sqlite.schema import migrate
from relayd.queue.values import Declared

NAMES = ("books", "mail")
URLS = ("https://a.example/", "https://b.example/")

NAME, URL = st.sampled_from(NAMES), st.sampled_from(URLS)
STEPS = st.one_of(
    st.tuples(st.just("pause"), NAME),
    st.tuples(st.just("resume"), NAME),
    st.tuples(st.just("answer_gone"), NAME, URL),
    st.tuples(st.just("hand_over"), st.sampled_from([NAMES, NAMES[::-1]])),
    st.tuples(st.just("declare"), st.dictionaries(NAME, st.tuples(URL, st.booleans()))),
)


@dataclass
class Known:
    """A subscription as the table has it."""

    url: str
    holds: Holds = FREE


class Both:
    """Does each step to a queue's file and to the table; each returns whether anything changed."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.known: dict[str, Known] = {}
        self.ids: dict[str, int] = {}
        self.declare(dict.fromkeys(NAMES, (URLS[0], True)))

    def _change(self, name: str, change: HoldChange) -> bool:
        known = self.known[name]
        before, known.holds = known.holds, after_change(known.holds, change)
        return before != known.holds

    def pause(self, name: str) -> None:
        changed = self._change(name, HoldChange.PAUSE)
        assert subscriptions.pause(self.db, name, now=1.0) is changed

    def resume(self, name: str) -> None:
        changed = self._change(name, HoldChange.RESUME)
        assert subscriptions.resume(self.db, name) is changed

    def answer_gone(self, name: str, url: str) -> None:
        held = self.known[name].url == url and self._change(name, HoldChange.ANSWER_GONE)
        assert subscriptions.note_gone(self.db, name, url, now=1.0) is held

    def hand_over(self, names: tuple[str, str]) -> None:
        old, new = (self.known[name] for name in names)
        before, same_url = old.holds, old.url == new.url
        old.holds, new.holds = after_handing_over(before, new.holds, same_url=same_url)
        moved = subscriptions.hand_over_holds(self.db, *(self.ids[name] for name in names))
        assert moved is (before != old.holds)

    def declare(self, wanted: Mapping[str, tuple[str, bool]]) -> None:
        for name, known in self.known.items():
            if name not in wanted:
                known.holds = after_declaring(known.holds, active=None, moved=False)
        for name, (url, active) in wanted.items():
            known = self.known.setdefault(name, Known(url))
            known.holds = after_declaring(known.holds, active=active, moved=known.url != url)
            known.url = url
        declared = [Declared(name, *each) for name, each in wanted.items()]
        found = subscriptions.declare(self.db, declared, release=1, now=1.0)
        self.ids = {name: number for name, (number, _) in found.items()}
        assert {name: hold for name, (_, hold) in found.items()} == self.shown()

    def shown(self) -> dict[str, Hold | None]:
        return {name: shown_hold(each.holds) for name, each in self.known.items()}


@given(st.lists(STEPS, max_size=30))
def test_the_file_and_the_table_agree(steps: list[tuple[str, object]]) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db, 0, "ab12")
        both = Both(db)
        for name, *values in steps:
            getattr(both, name)(*values)
            assert subscriptions.read_holds(db) == both.shown()
            waiting = subscriptions.read_waiting(db, NAMES)
            assert {n: (w.holds, w.url) for n, w in waiting.items()} == {
                n: (k.holds, k.url) for n, k in both.known.items()
            }


def test_a_hold_that_goes_on_keeps_the_time_at_which_it_began() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db, 0, "ab12")
        both = Both(db)
        assert subscriptions.pause(db, "books", now=5.0)
        assert not subscriptions.pause(db, "books", now=9.0)
        subscriptions.hand_over_holds(db, both.ids["books"], both.ids["mail"])
        rows = db.execute("SELECT name, paused_at FROM subscriptions ORDER BY name").fetchall()
        assert rows == [("books", None), ("mail", 5.0)]


@pytest.mark.parametrize("hold", Hold)
def test_every_hold_has_its_place_in_the_file(hold: Hold) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db, 0, "ab12")
        both = Both(db)
        match hold:
            case Hold.INACTIVE:
                both.declare({"books": (URLS[0], False)})
            case Hold.REMOVED:
                both.declare({})
            case Hold.PAUSED:
                both.pause("books")
            case Hold.GONE:
                both.answer_gone("books", URLS[0])
        assert subscriptions.read_holds(db)["books"] is hold
