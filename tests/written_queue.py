"""A queue file that the daemon's own code wrote, for tests of what commands read."""

import sqlite3
from pathlib import Path

from events import make_event

from relayd.core.acceptance import NewEvent
from relayd.core.delivery import decide
from relayd.core.endpoint import Health
from relayd.core.outcome import Failure, Outcome
from relayd.core.queue_files import LOCK, RESERVE, WORK
from relayd.database import sqlite_loop
from relayd.queue.sqlite.open_queue import open_queue
from relayd.queue.sqlite.queue import Queue
from relayd.queue.values import Declared, Recording, Want

START = 1_700_000_000.0
SCHEDULE = (120.0,)
FAILED = Outcome(0.25, 500, Failure.STATUS, "answered 500", b"<h1>no</h1>")
DELIVERED = Outcome(0.125, 204)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


async def fail_or_deliver(
    queue: Queue, clock: Clock, outcome: Outcome, name: str, health: Health | None = None
) -> None:
    """Claim the one delivery that is due for a subscription, and record this outcome."""
    want = Want((name,), 1, clock.now, frozenset(), 0, backlog_first=False)
    [delivery] = (await queue.claim(want)).deliveries
    record = decide(
        delivery, outcome, SCHEDULE, started_at=clock.now - 1, now=clock.now, jitter=0.0
    )
    await queue.record(
        # Each attempt is made after a first release.
        Recording(
            record,
            f"https://{name}.example/",
            (lambda: health) if health else None,
            newest_release=1,
        )
    )


async def write_queue(path: Path) -> None:
    """Write three events: evt_0 delivered to shop and pending at books, evt_1 retrying at shop,
    evt_2 exhausted at books after two attempts. Only the file is left, without its reserve."""
    clock = Clock()
    async with sqlite_loop(), open_queue(path, clock) as queue:
        names = ("shop", "books")
        await queue.declare(Declared(name, f"https://{name}.example/", True) for name in names)
        await queue.accept([NewEvent(make_event("evt_0"), "socket", ("shop",))])
        await fail_or_deliver(queue, clock, DELIVERED, "shop")
        clock.now += 100
        await queue.accept(
            [NewEvent(make_event("evt_1", "payment.failed"), "spool market", ("shop",))]
        )
        await fail_or_deliver(queue, clock, FAILED, "shop")
        clock.now += 100
        await queue.accept([NewEvent(make_event("evt_2"), "socket", ("books",))])
        await fail_or_deliver(queue, clock, FAILED, "books")
        clock.now += 120
        await fail_or_deliver(queue, clock, FAILED, "books")
        clock.now += 1
        await queue.accept([NewEvent(make_event("evt_3"), "socket", ("books", "shop"))])
        await fail_or_deliver(queue, clock, DELIVERED, "shop")
    for side in (RESERVE, LOCK, WORK):
        path.with_name(f"{path.name}{side}").unlink(missing_ok=True)


def change(path: Path, sql: str) -> None:
    with sqlite3.connect(path) as db:
        db.execute(sql)
    db.close()
