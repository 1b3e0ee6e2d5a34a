"""What the conformance tests do to a queue, whichever it is: its whole interface, at a time they set."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from events import make_event
from memory_writer import MemoryWriter
from queue_file import URL, seen

from relayd.core.acceptance import Acceptance, NewEvent
from relayd.core.catalogue import RELAYD_TYPES
from relayd.core.delivery import State
from relayd.core.feed import FeedCursor, FeedPage, FeedWish
from relayd.database import sqlite_loop
from relayd.queue.interface import QueueWriter
from relayd.queue.sqlite.open_queue import open_queue
from relayd.queue.sqlite.queue import Queue
from relayd.queue.sqlite.reader import SQLiteReader
from relayd.queue.values import Declared

START = 1_700_000_000.0
NAMES = ("books", "mail")
OWN_TYPES = frozenset(RELAYD_TYPES)

Row = tuple[State, int, int, float | None, str, str | None, bool]
"""A delivery's state, attempts, step, due time, subscription, order key, and whether it is behind."""


class UnderTest(Protocol):
    """A queue, and what only a test does to it. `now` is the time of all that is done."""

    now: float

    @property
    def queue(self) -> QueueWriter:
        """The queue as the daemon sees it."""

    async def rows(self) -> dict[int, Row]:
        """Return each delivery by its number."""

    def feed(self, after: FeedCursor | None, wish: FeedWish) -> FeedPage:
        """Return a page of the feed, as a snapshot does."""


async def states(under_test: UnderTest) -> dict[int, State]:
    """Return each delivery's state by its number."""
    return {seq: row[0] for seq, row in (await under_test.rows()).items()}


async def add(under_test: UnderTest, *subscriptions: str, key: str | None = None) -> int:
    """Accept an event for these subscriptions; return its first delivery's number.

    With `key`, they order it by that.
    """
    seqs = await under_test.rows()
    event = make_event(f"evt_added_{len(seqs)}")
    keys = () if key is None else tuple((name, key) for name in subscriptions)
    new = NewEvent(event, "socket", subscriptions, keys)
    assert await under_test.queue.accept([new]) == [Acceptance.ACCEPTED]
    return min((await under_test.rows()).keys() - seqs.keys())


class InMemory:
    """The one that virtual-time tests use."""

    def __init__(self) -> None:
        self.now = START
        self.queue = MemoryWriter(clock=lambda: self.now)

    def feed(self, after: FeedCursor | None, wish: FeedWish) -> FeedPage:
        return self.queue.feed(after, wish)

    async def rows(self) -> dict[int, Row]:
        return {
            seq: (
                row.delivery.state,
                row.delivery.attempts,
                row.delivery.step,
                row.due_at,
                row.delivery.subscription,
                row.order_key,
                self.queue.is_behind(seq),
            )
            for seq, row in self.queue.rows.items()
        }


@dataclass
class InSQLite:
    """The real one, in a file."""

    queue: Queue
    path: Path
    now: float = START

    @classmethod
    @asynccontextmanager
    async def opened(cls, path: Path) -> AsyncIterator["InSQLite"]:
        under_test: InSQLite | None = None

        def clock() -> float:
            return START if under_test is None else under_test.now

        async with sqlite_loop(), open_queue(path, clock) as queue:
            under_test = cls(queue, path)
            yield under_test

    def feed(self, after: FeedCursor | None, wish: FeedWish) -> FeedPage:
        with SQLiteReader(self.path).snapshot() as snapshot:
            return snapshot.feed(after, wish)

    async def rows(self) -> dict[int, Row]:
        found = await seen(
            self.queue,
            lambda db: db.execute(
                "SELECT seq, state, attempts, step, due_at, name, order_key, behind IS NOT NULL"
                " FROM deliveries"
                " JOIN subscriptions ON id = subscription_id"
            ).fetchall(),
        )
        return {seq: (State(state), *rest, bool(behind)) for seq, state, *rest, behind in found}


async def declare(under_test: UnderTest) -> None:
    """Declare the subscriptions of these tests, as a start does."""
    await under_test.queue.declare((Declared(name, URL, active=True) for name in NAMES), OWN_TYPES)
