"""What of a list is asked for: a query's fields, read as the commands read their options."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from relayd.config.moments import MOMENT_FORMS, parse_moment
from relayd.core.delivery import State, delivery_seq
from relayd.core.patterns import is_pattern
from relayd.queue.delivery_filter import DeliveryFilter
from relayd.queue.event_filter import EventFilter
from relayd.queue.snapshot import Snapshot
from relayd.queue.snapshot_values import SeveralMarketsError

LIMIT: Final = 50
"""Rows of a page."""

MOST_EVENTS: Final = 50_000
"""Events that one page looks at, where no index helps: some 50 ms. The next one goes on from there."""

MOST: Final = 256
"""Characters of a field."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The fields as they were given; a bad one is empty, and lets all through."""

    subscription: str = ""
    state: str = ""
    type: str = ""
    object: str = ""
    since: str = ""
    until: str = ""
    market: str = ""
    unmatched: str = ""
    before: str = ""

    @property
    def any(self) -> bool:
        """Whether something is left out."""
        return any(self._fields().values())

    def page_before(self, identifier: str) -> str:
        """Return the query of the page with what is older than this."""
        return urlencode({**self._fields(), "before": identifier})

    def first_page(self) -> str:
        """Return the query of the first page."""
        return urlencode(self._fields())

    def _fields(self) -> dict[str, str]:
        names = ("subscription", "state", "type", "object", "since", "until", "market", "unmatched")
        return {name: value for name in names if (value := getattr(self, name))}

    def deliveries(self, snapshot: Snapshot) -> tuple[DeliveryFilter | None, Sequence[str]]:
        """Return which deliveries are meant, None where there can be none, and what is wrong."""
        problems: list[str] = []
        if self.subscription and self.subscription not in snapshot.subscriptions:
            problems.append("There is no such subscription.")
            return None, problems
        before = delivery_seq(self.before, snapshot.tag) if self.before else None
        if self.before and before is None:
            problems.append("The page is one of another queue; this is the first one.")
        wanted = DeliveryFilter(
            subscriptions=(self.subscription,) if self.subscription else (),
            states=frozenset({State(self.state)}) if self.state else frozenset(),
            types=(self.type,) if self.type else (),
            since=_moment(self.since),
            until=_moment(self.until),
            before=before,
            object_id=self.object or None,
        )
        return wanted, problems

    def events(self, snapshot: Snapshot) -> tuple[EventFilter, Sequence[str]]:
        """Return which events are meant, and what is wrong."""
        problems: list[str] = []
        before = None
        if self.before:
            identifier, _, market = self.before.partition("@")
            try:
                before = snapshot.event_number(identifier, market or None)
            except SeveralMarketsError as several:
                before = several.events[0].seq
            if before is None:
                problems.append("The event before this page is gone; this is the first one.")
        wanted = EventFilter(
            types=(self.type,) if self.type else (),
            since=_moment(self.since),
            until=_moment(self.until),
            object_id=self.object or None,
            market=self.market or None,
            unmatched=bool(self.unmatched),
            before=before,
            most=MOST_EVENTS,
        )
        return wanted, problems


def read(query: QueryParams) -> tuple[Asked, list[str]]:
    """Read a query's fields; return them, and what is wrong with those that were left out."""
    fields = [each.name for each in dataclasses.fields(Asked)]
    texts = {name: query.get(name, "").strip()[:MOST] for name in fields}
    problems = []
    if texts["type"] and not is_pattern(texts["type"]):
        problems.append("The type is not a pattern: give order.created, order.* or *.")
        texts["type"] = ""
    if texts["state"] and texts["state"] not in set(State):
        problems.append("There is no such state.")
        texts["state"] = ""
    for name in ("since", "until"):
        if texts[name] and _moment(texts[name]) is None:
            problems.append(f"“{name}” is not a time: give {MOMENT_FORMS}.")
            texts[name] = ""
    return Asked(**texts), problems


def _moment(text: str) -> float | None:
    return parse_moment(text, time.time()) if text else None
