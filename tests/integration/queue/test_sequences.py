"""Sequence numbers and object ids in the queue's file: across restarts, backups and retention."""

import shutil
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from events import make_event
from queue_file import NOW, rows_of

from relayd.core.acceptance import NewEvent
from relayd.database import sqlite_loop
from relayd.queue.sqlite.open_queue import open_queue
from relayd.queue.sqlite.queue import Queue
from relayd.queue.sqlite.sequences import first_after, first_unnumbered, last_sequence
from relayd.queue.values import Declared, Horizon, Want


async def accept(queue: Queue, *numbers: int) -> None:
    news = [
        NewEvent(
            make_event(f"evt_{number}", data={"object": {"id": f"order_{number}"}}), "s", ("books",)
        )
        for number in numbers
    ]
    await queue.accept(news)


def sequences(path: Path) -> list[int]:
    return [int(str(n)) for (n,) in rows_of(path, "SELECT sequence FROM events ORDER BY seq")]


async def opened_and_accepted(path: Path, now: float, *numbers: int) -> list[int]:
    """Accept events in a daemon of its own, whose clock says `now`; return all numbers there are."""
    async with sqlite_loop(), open_queue(path, lambda: now) as queue:
        await queue.declare([Declared("books", "https://app.example/", True)])
        await accept(queue, *numbers)
    return sequences(path)


async def test_numbers_grow_across_restarts_and_a_clock_that_was_set_back(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    assert await opened_and_accepted(path, NOW, 1, 2) == [int(NOW * 1e6), int(NOW * 1e6) + 1]
    found = await opened_and_accepted(path, NOW - 9999, 3, 1, 4)  # 1 is a duplicate
    assert found[2:] == [found[1] + 1, found[1] + 2]
    found = await opened_and_accepted(path, NOW + 60, 5)
    assert found[-1] == int((NOW + 60) * 1e6)


async def test_numbers_grow_from_a_lost_queue_to_its_restored_backup_and_to_a_new_one(
    tmp_path: Path,
) -> None:
    path, backup = tmp_path / "queue.db", tmp_path / "backup.db"
    await opened_and_accepted(path, NOW, 1)
    shutil.copy(path, backup)
    lost = await opened_and_accepted(path, NOW + 10, 2, 3)
    restored = await opened_and_accepted(backup, NOW + 20, 4)
    new = await opened_and_accepted(tmp_path / "new.db", NOW + 30, 5)
    assert max(lost) < restored[-1] < new[0]


async def test_no_number_comes_again_though_its_event_was_removed(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with sqlite_loop(), open_queue(path, lambda: NOW) as queue:
        await queue.declare([])
        await queue.accept([NewEvent(make_event("evt_1"), "s", ())])
        [number] = sequences(path)
        assert await queue.prune(Horizon(NOW + 1, NOW + 1), [1]) == 1
    assert sequences(path) == []
    [again] = await opened_and_accepted(path, NOW - 3600, 2)
    assert again == number + 1


async def test_what_is_left_of_an_event_keeps_its_number_and_its_objects_id(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with sqlite_loop(), open_queue(path, lambda: NOW) as queue:
        await queue.declare([])
        await queue.accept([NewEvent(make_event("evt_1"), "s", ())])
        [before] = rows_of(path, "SELECT sequence, object_id FROM events")
        assert before[1] == "order_456"
        await queue.prune(Horizon(NOW + 1, NOW - 1), [1])
    [after] = rows_of(path, "SELECT sequence, object_id, body FROM events")
    assert after == (*before, None)


async def test_a_claim_has_the_number_and_a_replay_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with sqlite_loop(), open_queue(path, lambda: NOW) as queue:
        await queue.declare([Declared("books", "https://app.example/", True)])
        await accept(queue, 1)
        want = Want(("books",), 10, NOW, frozenset(), 0, backlog_first=False)
        [first] = (await queue.claim(want)).deliveries
        await queue.cancel([1])
        await queue.replay([1])
        [again] = (await queue.claim(want)).deliveries
        assert first.sequence == again.sequence == int(NOW * 1e6)


@pytest.mark.parametrize("gaps", [(), (1,), (2, 3), (1, 2, 9), range(1, 10)])
async def test_events_are_found_by_their_numbers_without_an_index(
    tmp_path: Path, gaps: tuple[int, ...]
) -> None:
    path = tmp_path / "queue.db"
    async with sqlite_loop(), open_queue(path, lambda: NOW) as queue:
        await queue.declare([])
        for number in range(1, 10):
            await queue.accept([NewEvent(make_event(f"evt_{number}"), "s", ())])
        last = max(sequences(path))
        await queue.prune(Horizon(NOW + 1, NOW + 1), list(gaps))
        left = await queue._reader.run(
            lambda db: db.execute("SELECT seq, sequence FROM events ORDER BY seq").fetchall()
        )
        numbers = [0, *(number for _, number in left)]
        assert all(before < after for before, after in pairwise(numbers))
        for number in range(numbers[-1] - 12, numbers[-1] + 2):
            expected = next((seq for seq, each in left if each > number), None)
            found = await queue._reader.run(partial(first_after, sequence=number))
            assert found == expected
        assert await queue._reader.run(first_unnumbered) is None
        assert await queue._reader.run(last_sequence) == last
