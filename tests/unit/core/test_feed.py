"""The feed's cursors, pages and gaps."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.core.feed import (
    MOST_REMOVALS,
    Entitlement,
    FeedCursor,
    FeedWish,
    Removal,
    after_removal,
    fill_page,
    has_gap,
    matcher_of,
    parse_cursor,
)
from relayd.core.matching import Selection, compile_where

BEGIN = FeedCursor("ab12", 0, 0)


@given(st.integers(0, 2**53), st.integers(0, 2**53))
def test_a_cursor_is_read_as_it_was_written(sequence: int, removal: int) -> None:
    cursor = FeedCursor("0123abcd", sequence, removal)
    assert parse_cursor(str(cursor)) == cursor


@pytest.mark.parametrize(
    "text",
    ["", "ab", "ab.1", "ab.1.2.3", "ab.-1.0", "ab.1.x", "AB.1.2", "ab.\uff11.2", "ab.1.2\n", "ab.1." + "9" * 17],
)  # fmt: skip
def test_what_is_no_cursor_is_none(text: str) -> None:
    assert parse_cursor(text) is None


@given(
    st.lists(st.integers(1, 50), max_size=60),
    st.integers(0, 60),
    st.integers(0, 50),
    st.integers(0, 5),
)
def test_what_is_remembered_says_what_all_removals_say(
    throughs: list[int], known: int, sequence: int, clock: int
) -> None:
    every: list[Removal] = []
    kept: tuple[Removal, ...] = ()
    for at, through in enumerate(throughs):
        kept = after_removal(kept, through, (at % 7) * clock / 1e6)  # a clock that is set, too
        every.append(kept[-1])
    assert [each.number for each in every] == sorted({each.number for each in every})
    removal = every[min(known, len(every)) - 1].number if every and known else 0
    cursor = FeedCursor("q", sequence, removal)
    assert has_gap(cursor, kept) == has_gap(cursor, every)


@given(st.integers(0, 400), st.integers(0, 400))
def test_beyond_the_bound_a_gap_is_reported_too_often_and_never_too_rarely(
    known: int, sequence: int
) -> None:
    every: list[Removal] = []
    kept: tuple[Removal, ...] = ()
    for through in range(300, 0, -1):  # each says something that no other says
        kept = after_removal(kept, through, 0.0)
        every.append(Removal(kept[-1].number, through))
        assert len(kept) <= MOST_REMOVALS
    cursor = FeedCursor("q", sequence, known)
    assert has_gap(cursor, kept) or not has_gap(cursor, every)


EVENTS = {
    1: ("order.created", b'{"type":"order.created","data":{"object":{"total":1}}}'),
    2: ("order.created", b'{"type":"order.created","data":{"object":{"total":9}}}'),
    3: ("user.created", b'{"type":"user.created","data":{"object":{}}}'),
    4: ("relayd.reload.refused", b'{"type":"relayd.reload.refused","data":{}}'),
    5: ("order.created", None),
    6: ("order.paid", b'{"type":"order.paid","data":{"object":{"total":9}}}'),
}


def page(
    wanted: Entitlement,
    after: int = 0,
    limit: int = 10,
    most_bytes: int = 10_000,
    is_late: Callable[[], bool] = lambda: False,
) -> tuple[list[int], int, bool]:
    rows = [
        (seq, seq, kind, body is not None) for seq, (kind, body) in EVENTS.items() if seq > after
    ]
    begin = FeedCursor("ab12", after, 3)

    def load(seq: int) -> bytes:
        return EVENTS[seq][1] or b"never loaded"

    found = fill_page(rows, load, begin, FeedWish(wanted, limit, is_late, most_bytes))
    assert (found.next.queue, found.next.removal) == ("ab12", 3)
    numbers = {body: seq for seq, (_, body) in EVENTS.items()}
    return [numbers[each] for each in found.events], found.next.sequence, found.more


def selection(*events: str, **where: object) -> Entitlement:
    paths = {f"data.object.{name}": value for name, value in where.items()}
    return Entitlement(matcher_of("books", Selection(events, compile_where(paths))))


def test_a_page_has_what_the_selection_wants_and_moves_past_the_rest() -> None:
    assert page(Entitlement(None)) == ([1, 2, 3, 4, 6], 6, False)
    assert page(selection("*")) == ([1, 2, 3, 6], 6, False)
    assert page(selection("order.*", total={"gte": 5})) == ([2, 6], 6, False)
    assert page(selection("user.created")) == ([3], 6, False)
    assert page(selection("user.created"), after=3) == ([], 6, False)
    assert page(selection("user.created"), after=6) == ([], 6, False)


def test_types_narrow_it() -> None:
    assert page(Entitlement(None, ["order.created"])) == ([1, 2], 6, False)
    assert page(Entitlement(None, ["order.*", "user.created"])) == ([1, 2, 3, 6], 6, False)
    assert page(Entitlement(None, ["*"])) == ([1, 2, 3, 4, 6], 6, False)
    matcher = matcher_of("books", Selection(("order.*",)))
    assert page(Entitlement(matcher, ["user.*"])) == ([], 6, False)


def test_a_page_ends_at_its_limits_and_the_next_one_goes_on() -> None:
    everything = Entitlement(None)
    assert page(everything, limit=2) == ([1, 2], 2, True)
    assert page(everything, after=4, limit=1) == ([6], 6, False)
    first = len(EVENTS[1][1] or b"")
    assert page(everything, most_bytes=first) == ([1], 1, True)
    assert page(everything, most_bytes=1) == ([1], 1, True), "one always fits"
    assert page(everything, is_late=lambda: True) == ([1], 1, True), "it always moves on"
    assert page(selection("user.created"), is_late=lambda: True) == ([], 1, True)
