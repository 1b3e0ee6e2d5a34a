"""What the daemon asks beside its deliveries, on a real queue."""

import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
import trio
from queue_file import FAILED, accept, claimed, opened, record

from relayd.core.hold import FREE
from relayd.queue.sqlite import looks
from relayd.queue.values import Waiting


async def test_a_slow_look_holds_up_neither_a_claim_nor_a_record_nor_retention(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = threading.Event(), threading.Event()

    def slow(_: sqlite3.Connection, names: Iterable[str]) -> dict[str, Waiting]:
        began.set()
        assert go_on.wait(30)
        return dict.fromkeys(names, Waiting(1, FREE, ""))

    monkeypatch.setattr(looks, "read_waiting", slow)
    async with opened(tmp_path / "queue.db") as queue:
        found = []

        async def look() -> None:
            found.append(await queue.looks.waiting(["books"]))

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(look)
                try:
                    while not began.is_set():
                        await trio.sleep(0.01)
                    await accept(queue, "evt_1")
                    [delivery] = await claimed(queue)
                    assert await record(queue, delivery, FAILED)
                    async with queue.survey() as survey:
                        assert await survey.used_bytes() > 0
                    assert not found, "the look is still under way"
                finally:
                    go_on.set()
        assert len(found) == 1
