"""Following deliveries: each change is told once, in its order, at little cost."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from events import make_event
from queue_file import NOW, OK, URL, inside, opened, replay, rows_of

from relayd.core.acceptance import NewEvent
from relayd.core.delivery import decide
from relayd.core.outcome import Failure, Outcome
from relayd.queue.snapshot_values import Look, QueueUnreadableError
from relayd.queue.sqlite import change_feed
from relayd.queue.sqlite.change_feed import SQLiteChangeFeed, open_change_feed
from relayd.queue.sqlite.queue import Queue
from relayd.queue.sqlite.read_only import open_file
from relayd.queue.values import Recording, Want

FAILED = Outcome(0.1, 500, Failure.STATUS, "answered 500")


async def accept(queue: Queue, *ids: str, to: Sequence[str] = ("books",)) -> None:
    await queue.accept([NewEvent(make_event(each), "socket", tuple(to)) for each in ids])


async def attempt(queue: Queue, outcome: Outcome, *ids: str, at: float = NOW) -> None:
    want = Want(("books", "mail"), 100, at, frozenset(), 0, backlog_first=False)
    for each in (await queue.claim(want)).deliveries:
        if each.event_id in ids:
            decided = decide(each, outcome, (60.0,), started_at=at, now=at, jitter=0.0)
            await queue.record(Recording(decided, URL, None))


def told(look: Look) -> list[tuple[str, str, int]]:
    return [(each.event_id, each.state.value, each.attempts) for each in look.deliveries]


async def test_what_is_new_and_what_changes_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_before")
        with open_change_feed(path) as follower:
            assert follower.look() == Look()
            await accept(queue, "evt_1", "evt_2")
            assert told(follower.look()) == [("evt_1", "pending", 0), ("evt_2", "pending", 0)]
            assert follower.look() == Look()
            await attempt(queue, FAILED, "evt_1", "evt_before")
            await attempt(queue, OK, "evt_2", at=NOW + 1)
            assert told(follower.look()) == [
                ("evt_before", "retrying", 1),
                ("evt_1", "retrying", 1),
                ("evt_2", "delivered", 1),
            ]
            await attempt(queue, FAILED, "evt_1", at=NOW + 100)
            assert told(follower.look()) == [("evt_1", "exhausted", 2)]
            await replay(queue, 2)
            assert told(follower.look()) == [("evt_1", "pending", 2)]
            # Made and delivered between two looks: one change for who looks.
            await accept(queue, "evt_3", to=("books", "mail"))
            await attempt(queue, OK, "evt_3", at=NOW + 200)
            assert told(follower.look()) == [("evt_3", "delivered", 1)] * 2
            assert follower.look() == Look()


async def test_many_changes_come_a_part_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_feed, "AT_ONCE", 10)
    path = tmp_path / "queue.db"
    ids = [f"evt_{number}" for number in range(25)]
    async with opened(path) as queue:
        with open_change_feed(path) as follower:
            await accept(queue, *ids)
            await attempt(queue, OK, *ids)
            looks = [follower.look() for _ in range(4)]
            assert [look.more for look in looks] == [True, True, False, False]
            assert [name for look in looks for name, *_ in told(look)] == ids
            assert {state for look in looks for _, state, _ in told(look)} == {"delivered"}


async def test_what_was_forgotten_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1", "evt_2")
        with open_change_feed(path) as follower:
            await attempt(queue, FAILED, "evt_1", "evt_2")
            await inside(
                queue, lambda db, *_: db.execute("DELETE FROM changes WHERE seq = 1").rowcount
            )
            look = follower.look()
            assert (told(look), look.missed) == ([("evt_2", "retrying", 1)], 1)


async def test_the_changes_that_are_kept_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1")
        await inside(
            queue,
            lambda db, *_: [
                db.execute("INSERT INTO changes (seq, delivery_seq) VALUES (5, 1)").rowcount,
                db.execute("INSERT INTO changes (seq, delivery_seq) VALUES (100004, 1)").rowcount,
            ],
        )
        await attempt(queue, FAILED, "evt_1")
        assert rows_of(path, "SELECT seq FROM changes") == [(100_004,), (100_005,)]


async def test_a_file_in_its_place_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path):
        pass
    with open_change_feed(path) as follower:
        assert follower.look() == Look()
        path.rename(tmp_path / "old.db")
        with pytest.raises(QueueUnreadableError, match="was replaced by another file"):
            follower.look()


async def test_a_look_reads_no_whole_table_and_nothing_without_a_commit(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path):
        pass
    with open_file(path) as db:
        for statement in (change_feed._NEW, change_feed._CHANGED):
            plan = db.execute(f"EXPLAIN QUERY PLAN {statement}", (0, 1)).fetchall()
            assert all(row[3].startswith("SEARCH") for row in plan), plan
        follower = SQLiteChangeFeed(db, path)
        follower.look()
        read: list[str] = []
        db.set_trace_callback(read.append)
        assert follower.look() == Look()
        assert read == ["PRAGMA data_version"]
