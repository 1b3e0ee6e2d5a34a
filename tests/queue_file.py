"""A queue on a real file for tests: what is done to it, and what its rows say."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TypeVar

from events import make_event

from relayd.core.acceptance import NewEvent
from relayd.core.clock_step import moved_health
from relayd.core.delivery import Delivery, decide
from relayd.core.outcome import Failure, Outcome
from relayd.database import sqlite_loop
from relayd.queue.sqlite import operate
from relayd.queue.sqlite.health import read_health, write_health
from relayd.queue.sqlite.open_queue import open_queue
from relayd.queue.sqlite.queue import Queue
from relayd.queue.values import Changed, Declared, Recording, Want

T = TypeVar("T")
URL = "https://app.example/hook"
NOW = 1_700_000_000.0
OK = Outcome(0.1, status=200)
FAILED = Outcome(0.1, status=500, failure=Failure.STATUS, detail="answered 500")


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Queue]:
    async with sqlite_loop(), open_queue(path, lambda: NOW) as queue:
        await queue.declare([Declared("books", URL, True), Declared("mail", URL, True)])
        yield queue


async def inside(queue: Queue, work: Callable[..., T]) -> T:
    """Do something to the queue that only a test does, in one transaction.

    `work` gets the connection, the next numbers, and the subscriptions' own.
    """
    return await queue._writer.write(lambda db: work(db, queue._numbers, queue._subscription_ids))


async def seen(queue: Queue, work: Callable[[sqlite3.Connection], T]) -> T:
    """Look at the queue as only a test does."""
    return await queue._reader.run(work)


async def accept(queue: Queue, *event_ids: str, to: tuple[str, ...] = ("books",)) -> None:
    await queue.accept([NewEvent(make_event(each), "socket", to) for each in event_ids])


async def claimed(queue: Queue, *, now: float = NOW, name: str = "books") -> list[Delivery]:
    want = Want((name,), 100, now, frozenset(), 0, backlog_first=False)
    return list((await queue.claim(want)).deliveries)


async def record(
    queue: Queue, delivery: Delivery, outcome: Outcome, schedule: tuple[float, ...] = (100.0,)
) -> bool:
    decided = decide(delivery, outcome, schedule, started_at=NOW, now=NOW, jitter=0.0)
    return await queue.record(Recording(decided, URL, None, newest_release=queue.newest_release))


async def replay(queue: Queue, *seqs: int, now: float = NOW) -> Changed:
    return await inside(queue, lambda db, _, ids: operate.replay(db, ids, seqs, now=now))


async def cancel(queue: Queue, *seqs: int) -> Changed:
    return await inside(queue, lambda db, _, ids: operate.cancel(db, ids, seqs, now=NOW))


def rows_of(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


def states(path: Path) -> dict[int, tuple[object, ...]]:
    found = rows_of(path, "SELECT seq, state, attempts, step FROM deliveries")
    return {int(str(seq)): tuple(rest) for seq, *rest in found}


def age_endpoints(path: Path, seconds: float) -> None:
    """Let what is known of each endpoint be older, while relayd does not run: a minute passes."""
    with closing(sqlite3.connect(path)) as db:
        known = read_health(db)
        write_health(db, {url: moved_health(each, -seconds) for url, each in known.items()})
        db.commit()


def age_notices(path: Path, seconds: float) -> None:
    """Let relayd's last own events be older, while it does not run: ten minutes pass."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE notices SET last_sent_at = last_sent_at - ?", (seconds,))
        db.commit()
