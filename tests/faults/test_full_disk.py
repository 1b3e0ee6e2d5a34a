"""A full disk stops what comes in, tells so, and goes on by itself; what waits is delivered."""

import json
import os
import signal
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
import trio
from faults.injection import fill, long_form, needs_root, small_disk
from faults.producing import Producer, insert, integrity, producer, states, until
from processes import command, make_spool, running, write_config
from receivers import Conversation, answer, open_receiver

from relayd.config.sections import SpoolConfig
from relayd.core.acceptance import Acceptance, Rejected, RejectedRow
from relayd.core.event import Event
from relayd.core.webhook import Webhook
from relayd.crash_journal import AtWork
from relayd.queue.sqlite.reserve import RESERVE_BYTES, FileReserve
from relayd.sources.pace import Pace
from relayd.sources.readers import Readers
from relayd.sources.spool import Spool

pytestmark = needs_root


class Gate:
    """A receiver's act that holds its answers back until it is opened."""

    def __init__(self) -> None:
        self.open = trio.Event()
        self._answer = answer(200)

    async def __call__(self, conversation: Conversation) -> None:
        await self.open.wait()
        await self._answer(conversation)


async def test_a_full_disk_refuses_what_comes_and_delivers_what_waits(tmp_path: Path) -> None:
    gate = Gate()
    with small_disk(tmp_path / "disk", "24m") as disk:
        make_spool(tmp_path / "spool.db")
        async with open_receiver(gate) as receiver:
            config = write_config(
                disk,
                {"books": {"url": receiver.url, "rate_limit": "1000/s"}},
                spools={"market": {"path": str(tmp_path / "spool.db")}},
            )
            async with running(config) as relayd, producer(disk) as each:
                for number in range(50):
                    assert (await each.hand_over(f"evt_{number}"))["ok"]
                # What a checkpoint frees could be room enough for the reserve again.
                await until(lambda: emptied_wal(disk / "queue.db"))
                filler = fill(disk)
                refused = await refusal(each)
                assert refused["code"] == "unavailable"
                assert "full" in refused["error"]
                insert(tmp_path / "spool.db", "evt_spool")
                with trio.fail_after(30):
                    line = await relayd.logged("source_unavailable")
                assert "full" in line["detail"]
                status = json.loads(await command("status", "--json", config=config))
                assert status["running"]
                assert "full" in next(
                    source["waits_for"] for source in status["sources"] if source["waits_for"]
                )

                gate.open.set()
                await until(lambda: delivered(disk) >= 50)
                # Room that the reserve left is not for new events, however often relayd looks.
                assert not (disk / "queue.db.reserve").exists()
                for number in range(5):
                    assert not (await each.hand_over(f"evt_in_the_reserve_{number}"))["ok"]
                    assert free(disk) > RESERVE_BYTES // 2, "it would fit"
                    await trio.sleep(0.5)
                waiting = len(relayd.events("source_unavailable"))
                assert waiting == 1, "told once, not once a second"

                filler.unlink()
                await until_accepted(each, "evt_after")
                with trio.fail_after(30):
                    await relayd.logged("attempt_succeeded", event_id="evt_after")
                    await relayd.logged("attempt_succeeded", event_id="evt_spool")
            queue = states(disk / "queue.db")
            assert set(queue.values()) == {"delivered"}
            accepted = {f"evt_{number}" for number in range(50)} | {"evt_after", "evt_spool"}
            assert accepted <= queue.keys()
            # Nothing was sent twice for want of room to note it.
            assert len(receiver.requests) == len(queue)
            assert integrity(disk / "queue.db") == "ok"


def emptied_wal(queue: Path) -> bool:
    """Move what the -wal holds into the file, and say whether nobody was in the way."""
    with closing(sqlite3.connect(queue, timeout=1)) as db:
        busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def delivered(folder: Path) -> int:
    return sum(state == "delivered" for state in states(folder / "queue.db").values())


async def refusal(each: Producer) -> dict[str, str]:
    """Hand over large events until one is refused."""
    for number in range(500):
        answered = await each.hand_over(f"evt_large_{number}", filler="x" * 100_000)
        if not answered["ok"]:
            return answered
    raise AssertionError("the disk was never full")


async def until_accepted(each: Producer, event_id: str) -> None:
    with trio.fail_after(30):
        while not (await each.hand_over(event_id))["ok"]:
            await trio.sleep(0.2)


@long_form  # the grace of 10 s
async def test_sigterm_ends_relayd_on_a_full_disk(tmp_path: Path) -> None:
    gate = Gate()
    with small_disk(tmp_path / "disk", "16m") as disk:
        make_spool(tmp_path / "spool.db")
        async with open_receiver(gate) as receiver:
            config = write_config(
                disk,
                {"books": {"url": receiver.url, "rate_limit": "1000/s", "timeout": "5s"}},
                spools={"market": {"path": str(tmp_path / "spool.db")}},
            )
            async with running(config) as relayd, producer(disk) as each:
                await each.hand_over("evt_1")
                (disk / "queue.db.reserve").unlink()
                fill(disk)
                gate.open.set()
                with trio.fail_after(30):
                    await relayd.logged("queue_unavailable")
                relayd.signal(signal.SIGTERM)
                assert await relayd.wait() == 0
            # The attempt could not be noted: it counts for nothing, and is made again.
            assert states(disk / "queue.db") == {"evt_1": "pending"}


async def test_a_full_spool_disk_is_waited_out(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        make_spool(disk / "spool.db")
        async with open_receiver() as receiver:
            config = write_config(
                tmp_path,
                {"books": {"url": receiver.url, "rate_limit": "1000/s"}},
                spools={"market": {"path": str(disk / "spool.db")}},
            )
            insert(disk / "spool.db", "evt_1")
            filler = fill(disk)
            async with running(config) as relayd:
                with trio.fail_after(30):
                    line = await relayd.logged("source_unavailable")
                assert "full" in line["detail"]
                filler.unlink()
                with trio.fail_after(30):
                    await relayd.logged("attempt_succeeded", event_id="evt_1")
                assert len(receiver.requests) == 1


class FillingIntake:
    """Accepts rows, and fills the spool's disk before they can be deleted."""

    paths: tuple[str, ...] = ()

    def __init__(self, disk: Path) -> None:
        self.calls = 0
        self._disk = disk

    async def accept(
        self, events: Sequence[Event], source: str, webhooks: Sequence[Webhook] = ()
    ) -> list[Acceptance]:
        assert not webhooks
        assert source == "spool market"
        self.calls += 1
        fill(self._disk)
        return [Acceptance.ACCEPTED for _ in events]

    async def reject(self, rejected: Sequence[RejectedRow]) -> Rejected:
        raise AssertionError(f"nothing is to be rejected, least of all {rejected}")


async def test_rows_that_cannot_be_deleted_are_not_handed_in_again(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        path = make_spool(disk / "spool.db")
        insert(path, "evt_1")
        intake = FillingIntake(disk)
        config = SpoolConfig("market", path, "relayd_spool", "market_123", "2024-01-01")
        readers = Readers()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(readers.run)
            spool = Spool(config, intake, readers, Pace(lambda: False), AtWork.unrecorded())
            nursery.start_soon(spool.run)
            await until(lambda: spool.waits_for is not None)
            await trio.sleep(2.2)
            assert "full" in str(spool.waits_for)
            (disk / "filler").unlink()
            await until(lambda: spool.waits_for is None)
            nursery.cancel_scope.cancel()
        assert intake.calls == 1


async def test_a_start_on_a_full_disk_uses_the_reserve(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "16m") as disk:
        make_spool(tmp_path / "spool.db")
        async with open_receiver(answer(500), answer(200)) as receiver:
            config = write_config(
                disk,
                {"books": {"url": receiver.url, "rate_limit": "1000/s", "retry": ["1s"]}},
                spools={"market": {"path": str(tmp_path / "spool.db")}},
            )
            async with running(config) as relayd, producer(disk) as each:
                await each.hand_over("evt_1")
                with trio.fail_after(30):
                    await relayd.logged("retry_scheduled")
            fill(disk)
            async with running(config) as relayd:
                with trio.fail_after(30):
                    await relayd.logged("attempt_succeeded", event_id="evt_1")


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


def test_the_reserve_is_taken_given_up_and_taken_again(tmp_path: Path, clock: list[float]) -> None:
    with small_disk(tmp_path / "disk", "4m") as disk:
        path = disk / "reserve"
        reserve = FileReserve(path, 2 * 1024 * 1024, monotonic=lambda: clock[0])
        assert reserve.keep()
        assert path.stat().st_blocks * 512 >= 2 * 1024 * 1024, "the room is really taken"
        fill(disk)
        assert reserve.give_up()
        assert not reserve.give_up(), "there is none left"
        (disk / "filler").rename(disk / "other")
        fill(disk)
        clock[0] += 1.0
        assert not reserve.keep()
        assert not path.exists(), "half a reserve is none"
        (disk / "other").unlink()
        assert not reserve.keep(), "it looks once a second"
        clock[0] += 1.0
        assert reserve.keep()


def test_a_reserve_that_cannot_be_had_is_none(tmp_path: Path) -> None:
    reserve = FileReserve(tmp_path / "no directory" / "reserve")
    assert reserve.keep()
    assert not reserve.give_up()
    assert RESERVE_BYTES > 4 * 1024 * 1024, "more than the WAL needs"
