"""Attempts counted while they are recorded: rates and times of the last hour and day."""

from pathlib import Path

import pytest
from queue_file import FAILED, NOW, OK, URL, accept, claimed, inside, opened, rows_of, seen

from relayd.core.delivery import Delivery, decide
from relayd.core.outcome import Failure, Outcome
from relayd.queue.sqlite import statistics
from relayd.queue.sqlite.queue import Queue
from relayd.queue.values import Recording

OTHER = "https://other.example/"


async def attempt(
    queue: Queue, delivery: Delivery, outcome: Outcome, *, ago_s: float, url: str = URL
) -> None:
    moment = NOW - ago_s
    decided = decide(delivery, outcome, (), started_at=moment, now=moment, jitter=0.0)
    await queue.record(Recording(decided, url, None))


async def test_rates_and_times_of_the_last_hour_and_day(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        await accept(queue, *(f"evt_{number}" for number in range(40)))
        deliveries = await claimed(queue)
        for delivery in deliveries[:8]:
            await attempt(queue, delivery, OK, ago_s=60)
        for delivery in deliveries[8:10]:
            await attempt(queue, delivery, FAILED, ago_s=1800)
        no_answer = Outcome(10.0, failure=Failure.TIMEOUT, detail="no answer within 10 s")
        for delivery in deliveries[10:30]:
            await attempt(queue, delivery, no_answer, ago_s=7200)
        await attempt(queue, deliveries[30], OK, ago_s=60, url=OTHER)
        for delivery in deliveries[31:40]:
            await attempt(queue, delivery, OK, ago_s=3 * 86_400)
        found = await seen(queue, lambda db: statistics.read_tallies(db, now=NOW))
    assert set(found) == {URL, OTHER}
    hour, day = found[URL].last_hour, found[URL].last_day
    assert (hour.attempts, hour.delivered, hour.failed, hour.exhausted) == (10, 8, 2, 2)
    assert hour.success_rate == pytest.approx(0.8)
    assert (day.attempts, day.failed) == (30, 22)
    # Of those that were answered: a timeout has no response time.
    assert day.response_s(0.95) == pytest.approx(0.1, rel=0.1)
    assert found[OTHER].last_day.success_rate == 1.0
    assert found[OTHER].last_hour.response_s(0.5) == pytest.approx(0.1, rel=0.1)


async def test_what_is_counted_is_what_was_recorded(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1", "evt_2")
        first, second = await claimed(queue)
        await attempt(queue, first, OK, ago_s=0)
        # The same attempt a second time breaks off the transaction, and is not counted.
        with pytest.raises(Exception, match="UNIQUE"):
            await attempt(queue, first, OK, ago_s=0)
        await attempt(queue, second, OK, ago_s=0)
    assert rows_of(path, "SELECT sum(count) FROM attempt_counts WHERE span_s = 300") == [(2,)]


async def test_old_counts_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1", "evt_2")
        first, second = await claimed(queue)
        await attempt(queue, first, OK, ago_s=5 * 86_400)
        await attempt(queue, second, OK, ago_s=0)
        await inside(queue, lambda db, *_: statistics.forget(db, now=NOW))
        found = await seen(queue, lambda db: statistics.read_tallies(db, now=NOW))
        assert found[URL].last_day.attempts == 1
    assert rows_of(path, "SELECT count(*) FROM attempt_counts") == [(2,)]
