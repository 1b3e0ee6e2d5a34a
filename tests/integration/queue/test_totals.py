"""What the counters of /metrics are made of: it never falls, and is what was committed."""

from pathlib import Path

import pytest
from events import make_event
from queue_file import FAILED, NOW, OK, URL, accept, claimed, opened, record, rows_of, seen

from relayd.core.acceptance import NewEvent, RejectedRow
from relayd.core.delivery import decide
from relayd.core.durations import LONGER, bound_ms
from relayd.core.event import Rejection, SpoolRow
from relayd.core.outcome import Outcome
from relayd.queue.overview_values import Overview, Totals
from relayd.queue.snapshot_values import QueueUnreadableError
from relayd.queue.sqlite.reader import SQLiteReader
from relayd.queue.sqlite.rejected import list_rejected
from relayd.queue.values import Recording


def read(path: Path) -> Totals:
    with SQLiteReader(path).snapshot() as snapshot:
        return snapshot.totals()


def look(path: Path, *, limit_s: float) -> Overview:
    with SQLiteReader(path).snapshot(limit_s=limit_s) as snapshot:
        return snapshot.overview(now=NOW)


async def test_attempts_are_counted_by_subscription_state_and_duration(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1", "evt_2", "evt_3")
        await accept(queue, "evt_4", to=("mail",))
        first, second, third = await claimed(queue)
        [mail] = await claimed(queue, name="mail")
        await record(queue, first, OK)
        await record(queue, second, FAILED)
        await record(queue, third, Outcome(40.0, status=200))
        await record(queue, mail, FAILED, schedule=())
    async with opened(path):  # and across a restart
        found = read(path)
    books = found.attempts["books"]
    assert books.states == {"delivered": 2, "retrying": 1}
    assert books.within_ms == {100: 2, LONGER: 1}
    assert books.seconds == pytest.approx(40.2)
    assert found.attempts["mail"].states == {"exhausted": 1}
    assert list(found.attempts) == ["books", "mail"]


async def test_an_attempt_that_is_not_committed_is_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1")
        [delivery] = await claimed(queue)
        await record(queue, delivery, OK)
        with pytest.raises(Exception, match="UNIQUE"):
            await record(queue, delivery, OK)
    assert read(path).attempts["books"].states == {"delivered": 1}


async def test_events_are_counted_by_source_and_once_however_often_they_come(
    tmp_path: Path,
) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        for _ in range(3):
            await queue.accept(
                [
                    NewEvent(make_event("evt_1"), "socket", ("books",)),
                    NewEvent(make_event("evt_2"), "spool market", ()),
                    NewEvent(make_event("evt_3"), "spool market", ()),
                ]
            )
        await accept(queue, "evt_4")
    assert read(path).accepted == {"socket": 2, "spool market": 2}


async def test_a_late_result_counts_as_status_has_it(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1")
        [delivery] = await claimed(queue)
        decided = decide(delivery, FAILED, (), started_at=NOW, now=NOW, jitter=0.0)
        await queue.cancel([delivery.seq])
        await queue.record(Recording(decided, URL, None))
    assert read(path).attempts["books"].states == {"retrying": 1}
    assert rows_of(path, "SELECT DISTINCT state FROM attempt_counts") == [("retrying",)]


async def test_rejected_input_is_counted_when_it_is_dropped_too(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    row = RejectedRow(
        "spool market",
        SpoolRow(1, b"evt_bad", b"Order", b"{}", None, None, None),
        Rejection("invalid_type", "the type is 'Order'"),
    )
    async with opened(path) as queue:
        for _ in range(2):  # the second time it is known
            await queue.reject([row], most_bytes=100_000)
        [listed] = await seen(queue, lambda db: list_rejected(db, limit=10))
        await queue.drop_rejected([listed.seq])
        await queue.reject([row], most_bytes=100_000)  # still in its spool
    assert read(path).rejected == {"spool market": 1}


async def test_a_snapshot_ends_when_its_time_is_over(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        for batch in range(20):
            await accept(queue, *(f"evt_{batch}_{number}" for number in range(100)))
        with pytest.raises(QueueUnreadableError, match="takes too long"):
            look(path, limit_s=0.0)
        assert look(path, limit_s=60.0).queue.waiting == 2000


@pytest.mark.parametrize(
    ("duration_s", "bound"),
    [(0.0, 5), (0.005, 5), (0.0051, 10), (10.0, 10_000), (30.0, 30_000), (30.1, LONGER)],
)
def test_bounds(duration_s: float, bound: int) -> None:
    assert bound_ms(duration_s) == bound
