"""Answers and syncs, as the kernel saw them; SIGKILL and failures at a sync."""

import re
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trio
from faults.injection import failing_at, killed_at, long_form, needs_strace, traced
from faults.producing import Producer, all_delivered, insert, integrity, producer, states, until
from processes import make_spool, running, started, write_config
from receivers import Receiver, open_receiver

pytestmark = needs_strace

_CALL = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)(?:\(\d+<([^>]*)>| resumed>)(.*)$")


@dataclass(frozen=True, slots=True)
class Call:
    """A system call's beginning, its end, or both in one. `name` and `path` are its own."""

    thread: str
    name: str
    path: str
    text: str
    begins: bool
    ends: bool


def calls(trace: Path) -> Iterator[Call]:
    """Read strace's output; a call that another thread interrupted has two lines."""
    open_calls: dict[str, str] = {}
    for line in trace.read_text(errors="replace").splitlines():
        match = _CALL.match(line)
        if match is None:
            continue
        thread, name, path, rest = match.groups()
        begins = path is not None
        if begins:
            open_calls[thread] = path
        yield Call(
            thread=thread,
            name=name,
            path=path if begins else open_calls.get(thread, ""),
            text=rest,
            begins=begins,
            ends=not rest.endswith("<unfinished ...>"),
        )


def told_too_early(trace: Path, event_ids: list[str]) -> list[str]:
    """Return the events whose producer was told (by answer or deletion) before a sync held them."""
    written: set[str] = set()  # in the WAL, not synced
    syncing: dict[str, set[str]] = {}  # by thread: what a sync that has begun covers
    synced: set[str] = set()
    early: list[str] = []
    told: set[str] = set()
    for call in calls(trace):
        if call.name == "pwrite64" and call.path.endswith("queue.db-wal") and call.begins:
            written |= {each for each in event_ids if f'\\"{each}\\"' in call.text} - synced
        if call.name == "fdatasync" and call.path.endswith("queue.db-wal"):
            if call.begins:
                syncing[call.thread] = set(written)
            if call.ends:
                held = syncing.pop(call.thread, set())
                synced |= held
                written -= held
        about: set[str] = set()
        if call.name in ("sendto", "write", "writev") and '{\\"ok\\":true' in call.text:
            about = {each for each in event_ids if f'\\"{each}\\"' in call.text}
        if call.name == "pwrite64" and call.path.endswith("spool.db-wal") and call.begins:
            about = {each for each in event_ids if each.startswith("evt_spool")}
        told |= about
        early += sorted(about - synced)
    assert told == set(event_ids), f"the trace does not show {set(event_ids) - told}"
    return sorted(set(early))


def rows(spool: Path) -> int:
    with closing(sqlite3.connect(spool)) as db:
        [(count,)] = db.execute("SELECT count(*) FROM relayd_spool")
    return int(count)


async def one_after_the_other(tmp_path: Path, module: str) -> list[str]:
    """Run relayd, traced, with events one at a time, and return those told of too early."""
    make_spool(tmp_path / "spool.db")
    trace = tmp_path / "trace"
    watched = ["pwrite64", "fdatasync", "sendto", "write", "writev"]
    ids = [f"evt_socket_{number}" for number in range(10)]
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "rate_limit": "1000/s"}})
        under = traced(trace, calls=watched)
        async with running(config, under=under, module=module) as relayd:
            async with producer(tmp_path) as each:
                for event_id in ids:
                    assert (await each.hand_over(event_id))["ok"]
            insert(tmp_path / "spool.db", "evt_spool_1")
            with trio.fail_after(30):
                await relayd.logged("attempt_succeeded", event_id="evt_spool_1")
            # The spool's reader deletes when it is polite, which may be later.
            await until(lambda: rows(tmp_path / "spool.db") == 0)
    # What a sync began before the event was written does not hold it: see `told_too_early`.
    return told_too_early(trace, [*ids, "evt_spool_1"])


async def test_nothing_is_told_before_it_is_synced(tmp_path: Path) -> None:
    assert await one_after_the_other(tmp_path, "relayd") == []


async def test_the_trace_shows_what_is_told_too_early(tmp_path: Path) -> None:
    early = await one_after_the_other(tmp_path, "faults.answers_early")
    assert len(early) >= 5
    assert "evt_spool_1" in early


@dataclass(slots=True)
class Handed:
    """What a producer knows of its events."""

    acknowledged: set[str]
    in_doubt: set[str]


async def hand_over_until_it_ends(folder: Path, handed: Handed) -> None:
    try:
        async with producer(folder) as each:
            for number in range(10_000):
                event_id = f"evt_{len(handed.acknowledged) + len(handed.in_doubt)}_{number}"
                handed.in_doubt.add(event_id)
                answer = await each.hand_over(event_id)
                assert answer["ok"], answer
                handed.in_doubt.discard(event_id)
                handed.acknowledged.add(event_id)
    except (EOFError, OSError):
        return


async def killed_at_sync(folder: Path, count: int, receiver: Receiver) -> Handed:
    """Run relayd under load until its SQLite thread is killed at its `count`th sync."""
    config = folder / "config.yaml"
    handed = Handed(set(), set())
    async with (
        started(config, under=killed_at("fdatasync", count)) as relayd,
        trio.open_nursery() as nursery,
    ):

        async def produce() -> None:
            while relayd.process.returncode is None and not relayd.events("started"):
                await trio.sleep(0.01)
            await hand_over_until_it_ends(folder, handed)

        nursery.start_soon(produce)
        status = await relayd.wait(30)
        nursery.cancel_scope.deadline = trio.current_time() + 5
    assert status == -signal.SIGKILL, (status, relayd.errors)
    assert "Traceback" not in relayd.errors
    return handed


async def sweep(tmp_path: Path, counts: list[int]) -> int:
    """Kill relayd at each of these syncs, each on a queue of its own; return what was accepted."""
    accepted = 0
    for count in counts:
        folder = tmp_path / f"at_{count}"
        folder.mkdir()
        make_spool(folder / "spool.db")
        async with open_receiver() as receiver:
            config = write_config(
                folder,
                {"books": {"url": receiver.url, "rate_limit": "1000/s", "retry": ["1s"] * 9}},
            )
            handed = await killed_at_sync(folder, count, receiver)
            async with running(config):
                await until(partial(all_delivered, folder / "queue.db"))
            queue = states(folder / "queue.db")
            got = {request.header("X-LocallyGrown-Delivery") for request in receiver.requests}
        assert handed.acknowledged <= queue.keys(), f"sync {count}: lost"
        assert queue.keys() <= handed.acknowledged | handed.in_doubt, f"sync {count}: phantoms"
        assert len(got) >= len(handed.acknowledged)
        # One kill, with at most max_in_flight attempts at that moment.
        assert len(receiver.requests) - len(got) <= 8
        assert integrity(folder / "queue.db") == "ok"
        accepted += len(handed.acknowledged)
    return accepted


async def test_sigkill_at_a_sync_loses_nothing(tmp_path: Path) -> None:
    # From the making of the queue, over its start, to the load.
    accepted = await sweep(tmp_path, [2, 7, 12, 31])
    assert accepted > 10


@long_form
@pytest.mark.timeout(1200)
async def test_sigkill_at_each_sync_loses_nothing(tmp_path: Path) -> None:
    await sweep(tmp_path, [*range(1, 61), *range(65, 400, 23)])


async def fails_at_a_sync(tmp_path: Path, under: list[str]) -> Handed:
    make_spool(tmp_path / "spool.db")
    handed = Handed(set(), set())
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "rate_limit": "1000/s"}})
        async with started(config, under=under) as relayd:
            with trio.fail_after(30):
                await relayd.logged("started")
            await hand_over_until_it_ends(tmp_path, handed)
            assert await relayd.wait() == 1
            [line] = relayd.events("daemon_failed")
            assert str(tmp_path / "queue.db") in line["detail"]
            assert "IOERR" in line["detail"]
            assert relayd.errors.count("\n") == 1, "one line for a person, and no traceback"
        async with running(config):
            await until(partial(all_delivered, tmp_path / "queue.db"))
    assert handed.acknowledged <= states(tmp_path / "queue.db").keys()
    assert integrity(tmp_path / "queue.db") == "ok"
    return handed


async def test_a_failed_sync_ends_relayd_and_acknowledges_nothing(tmp_path: Path) -> None:
    handed = await fails_at_a_sync(tmp_path, failing_at("fdatasync", "EIO", "25+"))
    assert handed.acknowledged
    assert len(handed.in_doubt) == 1, "the event whose sync failed had no answer"


# EROFS: an ext4 file system turns read-only when its disk fails.
@pytest.mark.parametrize("error", ["EIO", "EROFS"])
async def test_a_failed_write_ends_relayd_and_acknowledges_nothing(
    tmp_path: Path, error: str
) -> None:
    handed = await fails_at_a_sync(tmp_path, failing_at("pwrite64", error, "300+"))
    assert handed.acknowledged
    assert len(handed.in_doubt) == 1


async def test_a_sync_that_failed_once_is_not_tried_again(tmp_path: Path) -> None:
    # The kernel reports a failure once: a second sync would succeed, and prove nothing.
    await fails_at_a_sync(tmp_path, failing_at("fdatasync", "EIO", "25"))


async def test_slow_syncs_delay_and_lose_nothing(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    trace = tmp_path / "trace"
    slow = traced(trace, "-e", "inject=fdatasync:delay_enter=200ms", calls=["fdatasync"])
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "rate_limit": "1000/s"}})
        async with running(config, under=slow) as relayd:
            async with trio.open_nursery() as nursery:

                async def produce(name: str) -> None:
                    async with producer(tmp_path) as each:
                        for number in range(3):
                            await answered(each, f"evt_{name}_{number}")

                for name in "abcdefgh":
                    nursery.start_soon(produce, name)
            await until(lambda: len(relayd.events("attempt_succeeded")) == 24)
    assert len(states(tmp_path / "queue.db")) == 24
    # Eight producers share each sync: there would be 24 for the events alone,
    # beside those of the start and of the attempts; 18 in all are usual.
    syncs = [each for each in calls(trace) if each.begins and each.path.endswith("queue.db-wal")]
    assert len(syncs) < 30


async def answered(each: Producer, event_id: str) -> None:
    assert (await each.hand_over(event_id))["ok"]


def test_a_trace_of_two_threads_is_read_rightly(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    wal = "14</x/queue.db-wal>"
    lines = [
        rf'7 pwrite64({wal}, "\"evt_1\"", 9, 0) = 9',
        f"7 fdatasync({wal} <unfinished ...>",
        rf'7 pwrite64({wal}, "\"evt_2\"", 9, 9) = 9',
        "7 <... fdatasync resumed>) = 0",
        r'8 sendto(9<socket:[1]>, "{\"ok\":true,\"id\":\"evt_1\"}", 9, 0, NULL, 0) = 9',
        r'8 sendto(9<socket:[1]>, "{\"ok\":true,\"id\":\"evt_2\"}", 9, 0, NULL, 0) = 9',
    ]
    trace.write_text("\n".join(lines))
    assert told_too_early(trace, ["evt_1", "evt_2"]) == ["evt_2"]
