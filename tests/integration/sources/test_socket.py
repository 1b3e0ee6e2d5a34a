"""The producers' socket, as raw clients use it."""

import json
import socket
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from events import CREATED, DEFAULTS
from structlog.testing import capture_logs
from trio.testing import MockClock

from relayd.core.acceptance import Acceptance, Rejected, RejectedRow
from relayd.core.event import Event
from relayd.core.quarantine import line_key
from relayd.core.webhook import Webhook
from relayd.crash_journal import AtWork
from relayd.queue.interface import QueueBroken, QueueUnavailable
from relayd.sources.event_lines import LINE_BYTES, EventLines, Origin
from relayd.unix_socket.line_server import HELD_BY_ONE_USER, LINE_S, LineServer
from relayd.unix_socket.listener import BACKLOG, SocketPathError, bind_unix

EVENT = b'{"type":"order.created","data":{"object":{}}}\n'


@dataclass
class Intake:
    """Accepts everything, and remembers the batches that came together."""

    batches: list[list[Event]] = field(default_factory=list)
    result: Acceptance = Acceptance.ACCEPTED
    error: Exception | None = None
    paths: tuple[str, ...] = ()

    async def accept(
        self, events: Sequence[Event], source: str, webhooks: Sequence[Webhook] = ()
    ) -> list[Acceptance]:
        assert not webhooks
        assert source == "socket"
        if self.error is not None:
            raise self.error
        self.batches.append(list(events))
        await trio.lowlevel.checkpoint()
        return [self.result] * len(events)

    async def reject(self, rejected: Sequence[RejectedRow]) -> Rejected:
        raise AssertionError(f"the socket answers what it rejects, {rejected} too")

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
    origin = Origin("socket", DEFAULTS)
    lines = EventLines(
        intake, lambda line: (origin, line), lambda: CREATED, at_work or AtWork.unrecorded()
    )
    server = LineServer(
        lines.answer,
        name="socket",
        line_bytes=LINE_BYTES,
        connections=connections,
        idle_s=idle_s,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lines.run)
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
        intake.error = QueueUnavailable(path, "the disk is full")
        await stream.send_all(line + b"{}\n")
        full, bad = await answers(stream, 2)
        assert (full["ok"], full["code"]) == (False, "unavailable")
        assert "disk is full" in str(full["error"])
        assert bad["code"] == "missing_key"


async def test_a_defect_ends_the_connection_that_met_it_alone(tmp_path: Path) -> None:
    path, intake = tmp_path / "s", Intake(error=ZeroDivisionError())
    with capture_logs() as lines:
        async with (
            serving(path, intake),
            await trio.open_unix_socket(path) as other,
            await trio.open_unix_socket(path) as stream,
        ):
            await stream.send_all(EVENT)
            assert await closed(stream)
            intake.error = None
            await other.send_all(EVENT)
            assert (await answers(other, 1))[0]["ok"]
    assert [line["event"] for line in lines] == ["connection_internal_error"]


async def test_a_broken_queue_is_not_contained(tmp_path: Path) -> None:
    path, intake = tmp_path / "s", Intake(error=QueueBroken(tmp_path / "queue.db", "it is broken"))
    with pytest.RaisesGroup(QueueBroken, flatten_subgroups=True):
        async with serving(path, intake), await trio.open_unix_socket(path) as stream:
            await stream.send_all(EVENT)
            await trio.sleep(10)


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


async def test_a_line_has_a_time_from_its_first_byte_on(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.01
    path, intake = tmp_path / "s", Intake()
    async with serving(path, intake), await trio.open_unix_socket(path) as stream:
        began = trio.current_time()
        told: list[dict[str, object]] = []

        async def drip() -> None:
            while True:
                await stream.send_all(b"x")
                await trio.sleep(1.0)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            told = [json.loads(await stream.receive_some())]
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began == pytest.approx(LINE_S, abs=2.0)
        assert (told[0]["ok"], told[0]["code"]) == (False, "busy")
        assert "not finished" in str(told[0]["error"])


async def test_parts_of_lines_have_one_budget_and_whoever_goes_is_told(tmp_path: Path) -> None:
    path, intake = tmp_path / "s", Intake()
    async with serving(path, intake), AsyncExitStack() as stack:
        count = 500
        streams = [
            await stack.enter_async_context(await trio.open_unix_socket(path)) for _ in range(count)
        ]
        part = b"x" * 40_000
        for stream in streams:
            with trio.move_on_after(0.05):
                await stream.send_all(part)
        told = 0
        for stream in streams:
            with trio.move_on_after(0.01):
                data = await stream.receive_some()
                assert json.loads(data)["code"] == "busy"
                assert "unfinished lines" in json.loads(data)["error"]
                told += 1
        assert told >= count - HELD_BY_ONE_USER // len(part) * 3
        async with await trio.open_unix_socket(path) as other:
            await other.send_all(EVENT)
            assert (await answers(other, 1))[0]["ok"]


async def test_a_burst_of_large_lines_is_slowed_and_all_of_it_accepted(tmp_path: Path) -> None:
    path, intake = tmp_path / "s", Intake()

    async def hand_over(number: int) -> None:
        event = {"id": f"evt_{number}", "type": "a.b", "data": {"x": "y" * 900_000}}
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(json.dumps(event).encode() + b"\n")
            with trio.fail_after(60):
                assert json.loads(await stream.receive_some())["ok"]

    async with serving(path, intake), trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(hand_over, number)
        # Whoever has come meanwhile is not behind them.
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(EVENT)
            assert (await answers(stream, 1))[0]["ok"]
    assert len(intake.events) == 31


async def test_lines_of_one_user_in_one_transaction_are_bounded(tmp_path: Path) -> None:
    path, intake = tmp_path / "s", Intake()
    async with (
        serving(path, intake),
        await trio.open_unix_socket(path) as stream,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(stream.send_all, EVENT * 3_000)
        assert len(await answers(stream, 3_000)) == 3_000
    assert max(len(batch) for batch in intake.batches) <= 512
    assert len(intake.events) == 3_000


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
    with pytest.raises(SocketPathError, match="is not a socket"):
        bind_unix(path, 0o660)
    assert path.read_text() == "data"
    with pytest.raises(SocketPathError, match="cannot listen"):
        bind_unix(tmp_path / "missing" / "s", 0o660)


async def test_a_burst_of_producers_is_not_refused(tmp_path: Path) -> None:
    allowed = int(Path("/proc/sys/net/core/somaxconn").read_text())
    burst = min(allowed, BACKLOG, 600)
    path = tmp_path / "s"
    waiting: list[socket.socket] = []
    try:
        # Nobody accepts yet, as while the loop is busy.
        async with bind_unix(path, 0o660):
            for _ in range(burst):
                waiting.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                waiting[-1].setblocking(False)
                waiting[-1].connect(str(path))  # at once, or EAGAIN
    finally:
        for each in waiting:
            each.close()
    assert burst > 128 or allowed <= 128
