"""What the conformance tests do to a queue, whichever it is: the delivering side of the contract."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from events import make_event
from memory_queue import MemoryQueue
from queue_file import URL, seen

from relayd.core.acceptance import NewEvent
from relayd.core.delivery import State
from relayd.database import sqlite_loop
from relayd.delivery.delivery_queue import DeliveryQueue
from relayd.queue.sqlite.open_queue import open_queue
from relayd.queue.sqlite.queue import Queue
from relayd.queue.values import Declared

START = 1_700_000_000.0
NAMES = ("books", "mail")


class UnderTest(Protocol):
    """A queue, and what only a test does to it. `now` is the time of all that is done."""

    now: float

    @property
    def queue(self) -> DeliveryQueue:
        """The queue as endpoints see it."""

    async def add(self, subscription: str) -> int:
        """Accept an event for a subscription; return its delivery's number."""

    async def release(self, subscription: str) -> None:
        """Release what waits for a subscription, as the operator does."""

    async def states(self) -> dict[int, State]:
        """Return each delivery's state by its number."""


@dataclass
class InMemory:
    now: float = START
    # The SQLite one has used a number to declare the subscriptions.
    queue: MemoryQueue = field(default_factory=lambda: MemoryQueue(last_release=1))

    async def add(self, subscription: str) -> int:
        return self.queue.add(self.now, subscription)

    async def release(self, subscription: str) -> None:
        self.queue.release(subscription)

    async def states(self) -> dict[int, State]:
        return self.queue.states()


@dataclass
class InSQLite:
    queue: Queue
    now: float = START
    added: int = 0

    @classmethod
    @asynccontextmanager
    async def opened(cls, path: Path) -> AsyncIterator["InSQLite"]:
        under_test: InSQLite | None = None

        def clock() -> float:
            return START if under_test is None else under_test.now

        async with sqlite_loop(), open_queue(path, clock) as queue:
            await queue.declare(Declared(name, URL, active=True) for name in NAMES)
            under_test = cls(queue)
            yield under_test

    async def add(self, subscription: str) -> int:
        self.added += 1
        event = make_event(f"evt_{self.added}")
        await self.queue.accept([NewEvent(event, "socket", (subscription,))])
        return self.added

    async def release(self, subscription: str) -> None:
        await self.queue.release(subscription)

    async def states(self) -> dict[int, State]:
        found = await seen(
            self.queue, lambda db: db.execute("SELECT seq, state FROM deliveries").fetchall()
        )
        return {seq: State(state) for seq, state in found}
