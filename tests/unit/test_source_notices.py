"""Sources that wait are reported after a minute, whatever the queue and the configuration do meanwhile."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from memory_writer import MemoryWriter
from trio.testing import MockClock

from relayd.core.catalogue import RELAYD_TYPES
from relayd.core.operating_events import Refusals, Refused
from relayd.core.own_events import OwnEvent
from relayd.notices import Notices
from relayd.queue.interface import QueueUnavailable
from relayd.sources.source import SourceStanding

START = 1_700_000_000.0


class Bench:
    """A queue, and sources that wait for what `waits` says."""

    def __init__(self) -> None:
        self.began = trio.current_time()
        self.queue = MemoryWriter(clock=self.now)
        self.queue.own_types = frozenset(RELAYD_TYPES)
        self.refusals = Refusals()
        self.waits: dict[str, str | None] = {"spool market": None, "socket": None}

    def now(self) -> float:
        return START + trio.current_time() - self.began

    def standing(self) -> dict[str, SourceStanding]:
        return {name: SourceStanding("path", why) for name, why in self.waits.items()}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Notices(self.queue, self.standing, self.now, self.refusals).run)
            yield
            nursery.cancel_scope.cancel()

    def told(self) -> list[tuple[str, object]]:
        return [
            (each.type, each.data["object"])
            for each in self.queue.told
            if isinstance(each, OwnEvent)
        ]


async def test_a_source_that_waits_is_reported_and_its_recovery(
    autojump_clock: MockClock,
) -> None:
    bench = Bench()
    async with bench.running():
        await trio.sleep(101)
        bench.waits["spool market"] = "the spool is missing"
        await trio.sleep(59)
        assert bench.told() == []
        await trio.sleep(1_000)
        bench.waits["spool market"] = None
        await trio.sleep(59)
        assert len(bench.told()) == 1
        await trio.sleep(1_000)
    (unavailable, thing), (recovered, later) = bench.told()
    assert (unavailable, recovered) == ("relayd.source.unavailable", "relayd.source.recovered")
    assert thing == {
        "source": "spool market",
        "reason": "the spool is missing",
        "since": int(START) + 105,
        "next": "relayd status",
    }
    assert isinstance(later, dict)
    assert later["since"] == int(START) + 105
    assert int(START) + 1_220 <= later["recovered_at"] <= int(START) + 1_230


async def test_a_restart_neither_repeats_nor_loses_it(
    autojump_clock: MockClock,
) -> None:
    bench = Bench()
    bench.waits["spool market"] = "the spool is missing"
    for _ in range(3):
        async with bench.running():
            await trio.sleep(200)
    assert [kind for kind, _ in bench.told()] == ["relayd.source.unavailable"]
    bench.waits["spool market"] = None
    async with bench.running():
        await trio.sleep(200)
    assert [kind for kind, _ in bench.told()][1:] == ["relayd.source.recovered"]
    assert bench.queue.outages == {}


async def test_a_removed_source_is_forgotten(
    autojump_clock: MockClock,
) -> None:
    bench = Bench()
    bench.waits["spool market"] = "the spool is missing"
    async with bench.running():
        await trio.sleep(100)
        del bench.waits["spool market"]
        await trio.sleep(100)
        bench.waits["spool market"] = None
        await trio.sleep(100)
    assert [kind for kind, _ in bench.told()] == ["relayd.source.unavailable"]
    assert bench.queue.outages == {}


async def test_nothing_is_written_until_somebody_wants_it(
    autojump_clock: MockClock,
) -> None:
    bench = Bench()
    bench.queue.own_types = frozenset()
    bench.waits["spool market"] = "the spool is missing"
    async with bench.running():
        await trio.sleep(100)
        assert bench.queue.outages == {}
        bench.queue.own_types = frozenset(RELAYD_TYPES)
        await trio.sleep(10)
    assert [kind for kind, _ in bench.told()] == ["relayd.source.unavailable"]


async def test_a_queue_that_is_unavailable_is_asked_again(
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    bench.waits["spool market"] = "the queue: it is locked"

    async def unavailable(*_: object) -> bool:
        raise QueueUnavailable(Path("queue.db"), "it is locked")

    with monkeypatch.context() as patch:
        patch.setattr(bench.queue, "begin_source_outage", unavailable)
        patch.setattr(bench.queue, "report_due", unavailable)
        async with bench.running():
            await trio.sleep(100)
            patch.undo()
            await trio.sleep(10)
    assert [kind for kind, _ in bench.told()] == ["relayd.source.unavailable"]


async def test_refused_reloads_that_were_counted_are_reported(
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()

    async def unavailable(*_: object) -> None:
        raise QueueUnavailable(Path("queue.db"), "it is locked")

    async with bench.running():
        await trio.sleep(1)
        for number in range(50):
            refused = Refused("configuration", (f"reason {number % 2}",), 1, bench.now())
            found = bench.refusals.refused(refused, trio.current_time())
            assert (found is not None) == (number == 0)
            await trio.sleep(2)
        await trio.sleep(490)
        assert bench.told() == []
        with monkeypatch.context() as patch:
            patch.setattr(bench.queue, "report", unavailable)
            await trio.sleep(30)
        await trio.sleep(10)
        [(kind, thing)] = bench.told()
        assert kind == "relayd.reload.refused"
        assert isinstance(thing, dict)
        assert (thing["reason"], thing["refusals"]) == ("reason 1", 49)
        assert thing["since"] == int(START + 3)
        await trio.sleep(5_000)
        assert len(bench.told()) == 1
