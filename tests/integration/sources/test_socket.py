"""The producers' socket, as raw clients use it."""

import json
import socket
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from events import CREATED, DEFAULTS

from relayd.at_work import AtWork
from relayd.core.acceptance import Acceptance
from relayd.core.event import Event
from relayd.core.poison import line_key
from relayd.database import DatabaseFullError
from relayd.sources.line_server import LineServer
from relayd.sources.socket import LINE_BYTES, EventLines
from relayd.sources.unix_socket import SocketPathError, bind_unix

EVENT = b'{"type":"order.created","data":{"object":{}}}\n'


@dataclass
class Intake:
    """Accepts everything, and remembers the batches that came together."""

    batches: list[list[Event]] = field(default_factory=list)
    result: Acceptance = Acceptance.ACCEPTED
    error: Exception | None = None

    async def accept(self, events: Sequence[Event], source: str) -> list[Acceptance]:
        assert source == "socket"
        if self.error is not None:
            raise self.error
        self.batches.append(list(events))
        await trio.lowlevel.checkpoint()
        return [self.result] * len(events)

    @property
    def events(self) -> list[Event]:
        return [event for batch in self.batches for event in batch]


@asynccontextmanager
async def serving(
    path: Path,
    intake: Intake,
    *,
    connections: int = 500,
    idle_s: float = 600.0,
    at_work: AtWork | None = None,
) -> AsyncIterator[None]:
    lines = EventLines(intake, DEFAULTS, lambda: CREATED, at_work or AtWork.unrecorded())
    server = LineServer(
        lines.answer,
        name="socket",
        line_bytes=LINE_BYTES,
        connections=connections,
        idle_s=idle_s,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, bind_unix(path, 0o660))
        yield
        nursery.cancel_scope.cancel()


async def answers(stream: trio.SocketStream, count: int) -> list[dict[str, object]]:
    data = b""
    with trio.fail_after(10):
        while data.count(b"\n") < count:
            piece = await stream.receive_some()
            assert piece, f"closed after {data!r}"
            data += piece
    lines = data.splitlines()
    assert len(lines) == count
    return [json.loads(line) for line in lines]


async def closed(stream: trio.SocketStream) -> bool:
    with trio.fail_after(10):
        return await stream.receive_some() == b""


async def test_each_line_is_answered_in_order_and_a_bad_one_costs_one_answer(
    tmp_path: Path,
) -> None:
    path, intake = tmp_path / "s", Intake()
    async with serving(path, intake), await trio.open_unix_socket(path) as stream:
        await stream.send_all(EVENT + b"nonsense\n" + b'{"id":"evt_x",' + EVENT[1:] + b"\r\n")
        first, bad, third, empty = await answers(stream, 4)
    assert first == {"ok": True, "id": intake.events[0].id}
    assert (bad["ok"], bad["code"]) == (False, "invalid_json")
    assert third == {"ok": True, "id": "evt_x"}
    assert empty["ok"] is False
    assert len(intake.batches) == 1, "lines that came together share one transaction"
    assert intake.events[0].id.startswith("evt_")
    assert intake.events[0].created == CREATED


async def test_duplicates_conflicts_and_a_full_disk_are_told(tmp_path: Path) -> None:
    path, intake = tmp_path / "s", Intake()
    line = b'{"id":"evt_x",' + EVENT[1:]
    async with serving(path, intake), await trio.open_unix_socket(path) as stream:
        intake.result = Acceptance.DUPLICATE
        await stream.send_all(line)
        assert await answers(stream, 1) == [{"ok": True, "id": "evt_x", "duplicate": True}]
        intake.result = Acceptance.CONFLICT
        await stream.send_all(line)
        [conflict] = await answers(stream, 1)
        assert (conflict["ok"], conflict["code"]) == (False, "id_conflict")
        intake.error = DatabaseFullError(path, "the disk is full")
        await stream.send_all(line + b"{}\n")
        full, bad = await answers(stream, 2)
        assert (full["ok"], full["code"]) == (False, "unavailable")
        assert "disk is full" in str(full["error"])
        assert bad["code"] == "missing_key"


async def test_a_line_or_an_event_that_relayd_died_at_three_times_is_refused(
    tmp_path: Path,
) -> None:
    path, intake = tmp_path / "s", Intake(result=Acceptance.POISON)
    at_work = AtWork.unrecorded(deaths=[line_key(EVENT[:-1])] * 3)
    other = EVENT.replace(b"{", b"{ ", 1)
    async with (
        serving(path, intake, at_work=at_work),
        await trio.open_unix_socket(path) as stream,
    ):
        await stream.send_all(EVENT + other)
        unread, refused = await answers(stream, 2)
        assert len(intake.events) == 1
        assert unread == refused
        assert (unread["ok"], unread["code"]) == (False, "quarantined")


async def test_a_part_of_a_line_is_dropped_with_its_connection(tmp_path: Path) -> None:
    path, intake = tmp_path / "s", Intake()
    async with serving(path, intake), await trio.open_unix_socket(path) as stream:
        await stream.send_all(EVENT + EVENT[:-1])
        await stream.send_eof()
        assert len(await answers(stream, 1)) == 1
        assert await closed(stream)
    assert len(intake.events) == 1


async def test_a_line_without_end_is_answered_once_and_does_not_fill_memory(
    tmp_path: Path,
) -> None:
    path, intake = tmp_path / "s", Intake()
    async with serving(path, intake), await trio.open_unix_socket(path) as stream:
        for _ in range(20):
            await stream.send_all(b"x" * (LINE_BYTES // 2))
        await stream.send_all(b"\n" + EVENT)
        long, good = await answers(stream, 2)
    assert long["code"] == "too_large"
    assert good["ok"] is True


async def test_an_event_at_the_limit_passes_and_one_byte_more_does_not(tmp_path: Path) -> None:
    path, intake = tmp_path / "s", Intake()
    async with serving(path, intake), await trio.open_unix_socket(path) as stream:

        def line(size: int) -> bytes:
            event = {"id": "evt_x", "type": "a.b", "data": {"x": "y" * size}}
            return json.dumps(event).encode() + b"\n"

        await stream.send_all(line(1000))
        await answers(stream, 1)
        overhead = len(intake.events[0].body) - 1000
        await stream.send_all(line(1_048_576 - overhead) + line(1_048_577 - overhead))
        fits, too_large = await answers(stream, 2)
    assert fits["ok"] is True
    assert len(intake.events[1].body) == 1_048_576
    assert (too_large["ok"], too_large["code"]) == (False, "too_large")


async def test_a_producer_that_never_reads_is_slowed(tmp_path: Path) -> None:
    path, intake = tmp_path / "s", Intake()
    async with serving(path, intake), await trio.open_unix_socket(path) as stream:
        sent = 0
        with trio.move_on_after(1.0) as writing:
            while sent < 1_000_000:
                await stream.send_all(EVENT * 100)
                sent += 100
        assert writing.cancelled_caught, "a million lines were taken without reading an answer"


async def test_a_producer_that_leaves_before_its_answer_harms_nobody(tmp_path: Path) -> None:
    path, intake = tmp_path / "s", Intake()
    async with serving(path, intake):
        for _ in range(50):
            stream = await trio.open_unix_socket(path)
            await stream.send_all(EVENT * 10)
            await stream.aclose()
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(EVENT)
            assert len(await answers(stream, 1)) == 1


async def test_connections_are_limited_and_idle_ones_let_go(tmp_path: Path) -> None:
    path, intake = tmp_path / "s", Intake()
    async with serving(path, intake, connections=2, idle_s=0.3):
        idle = [await trio.open_unix_socket(path) for _ in range(2)]
        await trio.testing.wait_all_tasks_blocked(0.05)
        refused = await trio.open_unix_socket(path)
        [answer] = await answers(refused, 1)
        assert (answer["ok"], answer["code"]) == (False, "busy")
        assert await closed(refused)
        await refused.aclose()
        for stream in idle:
            assert await closed(stream)
            await stream.aclose()
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(EVENT)
            assert len(await answers(stream, 1)) == 1


async def test_the_socket_has_its_mode_and_a_stale_one_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    listener = bind_unix(path, 0o660)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    with pytest.raises(SocketPathError, match="another program listens"):
        bind_unix(path, 0o660)
    await listener.aclose()


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(SocketPathError, match="no socket"):
        bind_unix(path, 0o660)
    assert path.read_text() == "data"
    with pytest.raises(SocketPathError, match="cannot listen"):
        bind_unix(tmp_path / "missing" / "s", 0o660)
