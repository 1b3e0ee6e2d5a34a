"""relayd is a guest in the market's database: the market's transactions go on as if alone."""

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import trio
from faults.producing import insert, until
from processes import make_spool, running, write_config
from receivers import open_receiver

TESTS = Path(__file__).parents[1]


def count(spool: Path) -> int:
    with closing(sqlite3.connect(spool, timeout=10)) as db:
        [(found,)] = db.execute("SELECT count(*) FROM relayd_spool").fetchall()
    return int(found)


def has_accepted(queue: Path, wanted: int) -> bool:
    with closing(sqlite3.connect(f"file:{queue}?mode=ro", uri=True, timeout=10)) as db:
        [(found,)] = db.execute("SELECT count(*) FROM events").fetchall()
    return int(found) >= wanted


async def market(spool: Path, begin: str) -> dict[str, int]:
    """Run a market's transactions for some seconds; see `market.py`."""
    arguments = ["-m", "faults.market", str(spool), "8", begin, "0.01"]
    ended = await trio.run_process(
        [sys.executable, *arguments], cwd=TESTS, capture_stdout=True, stderr=subprocess.STDOUT
    )
    done: dict[str, int] = json.loads(ended.stdout)
    return done


@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN IMMEDIATE"])
async def test_transactions_that_read_and_then_write_hardly_ever_fail(
    tmp_path: Path, begin: str
) -> None:
    spool = make_spool(tmp_path / "spool.db")
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "rate_limit": "1000/s"}})
        async with running(config) as relayd:
            done = await market(spool, begin)
            assert done["committed"] > 50
            # 16 to 45 % before; 0.0 to 0.3 % on a quiet machine.
            allowed = 0 if begin == "BEGIN IMMEDIATE" else 0.02 * done["committed"]
            assert done["failed"] <= allowed
            await until(lambda: count(spool) == 0)
            await until(lambda: len(receiver.requests) == done["committed"])
            assert await relayd.stop() == 0


async def test_with_a_rollback_journal_a_long_reader_keeps_no_other_reader_waiting(
    tmp_path: Path,
) -> None:
    spool = make_spool(tmp_path / "spool.db")
    # Shows how long the same takes on this machine where relayd is not.
    twin = make_spool(tmp_path / "twin.db")
    for path in (spool, twin):
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = DELETE")
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url}})
        async with running(config) as relayd:
            insert(spool, "evt_1")
            with closing(sqlite3.connect(spool, isolation_level=None, timeout=10)) as reader:
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM relayd_spool").fetchall()
                await relayd.logged("attempt_succeeded", event_id="evt_1")
                waits: dict[Path, list[float]] = {spool: [], twin: []}
                end = time.monotonic() + 8
                while time.monotonic() < end:
                    for path, taken in waits.items():
                        began = time.monotonic()
                        await trio.to_thread.run_sync(partial(count, path))
                        taken.append(time.monotonic() - began)
                    await trio.sleep(0.005)
                # Half of them took up to a second before.
                long = {path: sum(wait > 0.1 for wait in taken) for path, taken in waits.items()}
                assert long[spool] < len(waits[spool]) / 20 + long[twin]
                assert max(waits[spool]) < 1.0 + max(waits[twin])
                reader.execute("COMMIT")
            await until(lambda: count(spool) == 0)


async def test_a_spool_that_is_reached_by_a_link_is_as_fast_as_others(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "links").mkdir()
    spool = make_spool(tmp_path / "real" / "spool.db")
    (tmp_path / "links" / "spool.db").symlink_to(spool)
    spools = {"market": {"path": "links/spool.db"}}
    async with open_receiver() as receiver:
        config = write_config(
            tmp_path, {"books": {"url": receiver.url, "rate_limit": "1000/s"}}, spools=spools
        )
        async with running(config) as relayd:
            waits = list[float]()
            for number in range(20):
                insert(spool, f"evt_{number}")
                began = trio.current_time()
                await relayd.logged("attempt_succeeded", event_id=f"evt_{number}")
                waits.append(trio.current_time() - began)
            # 0.85 s in the median before, as nothing said that there was something to read.
            assert sorted(waits)[10] < 0.3


async def test_beside_a_producer_at_full_speed_rows_are_seen_and_deleted(tmp_path: Path) -> None:
    spool = make_spool(tmp_path / "spool.db")
    inserts = (
        "import sqlite3, sys, time\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)\n"
        "db.execute('PRAGMA synchronous = OFF')\n"
        "end = time.monotonic() + 6\n"
        "while time.monotonic() < end:\n"
        "    db.execute(\"INSERT INTO relayd_spool (type, data) VALUES ('other.event', '{}')\")\n"
    )
    async with open_receiver() as receiver:
        config = write_config(
            tmp_path,
            {"books": {"url": receiver.url, "events": "order.created"}},
            event_types=["other.event"],
        )
        async with running(config) as relayd, trio.open_nursery() as nursery:
            nursery.start_soon(
                partial(trio.run_process, [sys.executable, "-c", inserts, str(spool)])
            )
            await until(partial(has_accepted, tmp_path / "queue.db", 1))  # the producer runs
            # It was almost nothing for seconds: relayd waited for the lock before it read on.
            for wanted in (300, 600, 900):
                await until(partial(has_accepted, tmp_path / "queue.db", wanted), timeout_s=4)
                await trio.sleep(0.5)
            await trio.sleep(4.0)
            await until(lambda: count(spool) == 0, timeout_s=60)
            assert await relayd.stop() == 0
