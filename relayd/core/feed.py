"""The feed: which kept events a page has, where the next page begins, and when events in between are gone.

A cursor stands behind the last event that was looked at, handed out or not, by its sequence number. It
also has the number of the last removal that its reader knows of: a later removal of an event behind the
cursor is a gap, and a gap is always reported. Whether the reader would have wanted what is gone is not
known any more, so it is reported either way.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from relayd.core.js_json import Parsed, parse_json
from relayd.core.matching import Matcher, Selection
from relayd.core.patterns import pattern_matches
from relayd.core.sequence import next_sequence

PAGE_BYTES: Final = 8 * 1024 * 1024
"""Of the events of one page. One event always fits."""

MOST_REMOVALS: Final = 100
"""So many are told apart. Beyond that they are taken for one, which reports a gap too often, never too rarely."""

_CURSOR: Final = re.compile(r"([0-9a-z]{1,32})\.([0-9]{1,16})\.([0-9]{1,16})", re.ASCII)


@dataclass(frozen=True, slots=True)
class FeedCursor:
    """A place in the feed of one queue, which `queue` names.

    `sequence` is the number of the last event before it, 0 at the beginning. `removal` is the number of
    the last removal that its reader knows of.
    """

    queue: str
    sequence: int
    removal: int

    def __str__(self) -> str:
        return f"{self.queue}.{self.sequence}.{self.removal}"


def parse_cursor(text: str) -> FeedCursor | None:
    """Return the cursor that `str` gave, or None."""
    match = _CURSOR.fullmatch(text)
    return None if match is None else FeedCursor(match[1], int(match[2]), int(match[3]))


class FeedGapError(Exception):
    """Events behind a cursor are gone, or it is of another queue. `oldest` is before all that is kept."""

    def __init__(self, oldest: FeedCursor) -> None:
        super().__init__(str(oldest))
        self.oldest = oldest


@dataclass(frozen=True, slots=True)
class Removal:
    """Bodies that were removed. `through` is the greatest sequence number among them.

    `number` grows with each, and is the time in microseconds where that is greater: so it also grows from
    a queue to its restored backup.
    """

    number: int
    through: int


def after_removal(removals: Sequence[Removal], through: int, now: float) -> tuple[Removal, ...]:
    """Return what is to be remembered after bodies up to `through` were removed, oldest first.

    A removal that did not reach as far as a later one says nothing more. `now` is in Unix seconds.
    """
    number = next_sequence(removals[-1].number if removals else 0, now)
    kept = [each for each in removals if each.through > through]
    if len(kept) >= MOST_REMOVALS:
        return (Removal(number, kept[0].through),)
    return (*kept, Removal(number, through))


def has_gap(cursor: FeedCursor, removals: Iterable[Removal]) -> bool:
    """Return whether an event behind the cursor was removed that its reader does not know of."""
    return any(each.number > cursor.removal and each.through > cursor.sequence for each in removals)


class Entitlement:
    """Which events a reader gets: those that a selection wants, all without one; of these types, if any are given.

    `types` are patterns; `*` is every type here, since nothing is sent by asking.
    """

    def __init__(self, matcher: Matcher | None, types: Sequence[str] = ()) -> None:
        self._matcher = matcher
        self._types = () if "*" in types else tuple(types)

    def may_have(self, event_type: str) -> bool:
        """Return whether an event of this type may be one of them, whatever it holds."""
        if self._types and not any(pattern_matches(each, event_type) for each in self._types):
            return False
        found = None if self._matcher is None else self._matcher.of_type(event_type)
        return found is None or bool(found.names)

    def has(self, event_type: str, body: bytes) -> bool:
        """Return whether an event of a type that it `may_have` is one of them."""
        if self._matcher is None or self._matcher.of_type(event_type) is not None:
            return True
        parsed = parse_json(body.decode())
        if not isinstance(parsed, Parsed) or not isinstance(parsed.value, dict):
            return False
        return bool(self._matcher.match(parsed.value))


def matcher_of(name: str, selection: Selection) -> Matcher:
    """Return what finds one subscription's events, as intake finds all of them."""
    return Matcher({name: selection})


@dataclass(frozen=True, slots=True)
class FeedWish:
    """What is asked of one page: at most `limit` events, and at most `most_bytes` of them.

    `is_late` says that it has taken long enough: what was found by then is the page.
    """

    entitlement: Entitlement
    limit: int
    is_late: Callable[[], bool]
    most_bytes: int = PAGE_BYTES


@dataclass(frozen=True, slots=True)
class FeedPage:
    """Events as they are stored, oldest first. `more`: there are further ones to look at, behind `next`."""

    events: tuple[bytes, ...] = field(repr=False)
    next: FeedCursor
    more: bool


FeedRow = tuple[int, int, str, bool]
"""An event's key, by which its body is loaded, its sequence number, its type, and whether it has a body."""


def fill_page(
    rows: Iterable[FeedRow], load: Callable[[int], bytes], begin: FeedCursor, wish: FeedWish
) -> FeedPage:
    """Return a page of the events behind `begin`, given in their order. At least one row is looked at."""
    events: list[bytes] = []
    size = 0
    sequence = begin.sequence
    more = False
    for key, number, event_type, kept in rows:
        if len(events) >= wish.limit or (sequence != begin.sequence and wish.is_late()):
            more = True
            break
        if kept and wish.entitlement.may_have(event_type):
            body = load(key)
            if wish.entitlement.has(event_type, body):
                if events and size + len(body) > wish.most_bytes:
                    more = True
                    break
                events.append(body)
                size += len(body)
        sequence = number
    return FeedPage(tuple(events), FeedCursor(begin.queue, sequence, begin.removal), more)
