"""The web process's server under clients that are slow, greedy, or do not read. Real sockets."""

import asyncio
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from relayd.core import connection_limits
from relayd.core.connection_limits import LIMITS_S, Phase
from relayd.web import connection, server
from relayd.web.server import serve

LARGE = b"x" * 5_000_000
HEAD = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


async def small(_: Request) -> PlainTextResponse:
    return PlainTextResponse("here")


async def large(_: Request) -> PlainTextResponse:
    return PlainTextResponse(LARGE)


async def length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


async def slow(_: Request) -> PlainTextResponse:
    await asyncio.sleep(0.3)
    return PlainTextResponse("at last")


APP = Starlette(
    routes=[
        Route("/", small),
        Route("/large", large),
        Route("/length", length, methods=["POST"]),
        Route("/slow", slow),
    ]
)

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Served:
    """A server that runs, and its clients."""

    def __init__(self, port: int, task: asyncio.Task[None]) -> None:
        self.port = port
        self.task = task
        self.clients: list[Client] = []

    async def connect(self) -> Client:
        client = await asyncio.open_connection("127.0.0.1", self.port)
        self.clients.append(client)
        return client

    async def ask(self, head: bytes = HEAD) -> bytes:
        """Return the answer to one request, on a connection of its own."""
        reader, writer = await self.connect()
        writer.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        return await asyncio.wait_for(reader.read(), 10.0)


@asynccontextmanager
async def serving() -> AsyncIterator[Served]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port = listener.getsockname()[1]
    started = asyncio.Event()
    task = asyncio.create_task(serve([(APP, listener)], started.set))
    await asyncio.wait_for(started.wait(), 10.0)
    served = Served(port, task)
    try:
        yield served
    finally:
        for _, writer in served.clients:
            writer.close()
        if not task.done():
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(task, 30.0)


def run(test: Callable[[Served], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with serving() as served:
            await test(served)

    asyncio.run(whole())


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the limits be short."""
    for phase in LIMITS_S:
        monkeypatch.setitem(LIMITS_S, phase, 0.5)
    monkeypatch.setattr(connection, "LOOK_S", 0.1)
    monkeypatch.setattr(server, "GRACE_S", 1)


async def ends(reader: asyncio.StreamReader) -> bool:
    """Return whether the server closes the connection."""
    try:
        while await asyncio.wait_for(reader.read(65536), 10.0):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


async def trickle(writer: asyncio.StreamWriter) -> None:
    while not writer.is_closing():
        writer.write(b"a")
        try:
            await writer.drain()
        except ConnectionError:
            return
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"GET / HTTP/1.1\r\nX-Slow: ",
        b"POST /length HTTP/1.1\r\nHost: here\r\nContent-Length: 100000\r\n\r\n",
        HEAD + b"GET / HTTP/1.1\r\nX-Slow: ",
    ],
    ids=["idle", "slow head", "slow body", "slow head after an answer"],
)
def test_who_is_slow_is_cut_off_whatever_trickles(beginning: bytes) -> None:
    async def test(served: Served) -> None:
        reader, writer = await served.connect()
        writer.write(beginning)
        trickling = asyncio.create_task(trickle(writer)) if beginning else None
        assert await ends(reader)
        if trickling is not None:
            await trickling
        assert (await served.ask()).endswith(b"here")

    run(test)


def test_an_answer_that_takes_its_time_is_not_cut_off() -> None:
    async def test(served: Served) -> None:
        LIMITS_S[Phase.HEAD] = 0.1  # undone with the fixture's
        assert (await served.ask(b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\n")).endswith(b"at last")

    run(test)


def test_who_does_not_read_is_cut_off() -> None:
    async def test(served: Served) -> None:
        raw = socket.create_connection(("127.0.0.1", served.port))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.sendall(b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n" * 3)
        await asyncio.sleep(1.5)
        raw.setblocking(False)
        received = 0
        with suppress(ConnectionError):
            while chunk := await asyncio.get_running_loop().sock_recv(raw, 65536):
                received += len(chunk)
        assert received < len(LARGE)
        raw.close()

    run(test)


def test_who_reads_gets_all_of_it() -> None:
    async def test(served: Served) -> None:
        answer = await served.ask(b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n")
        assert answer.endswith(LARGE)

    run(test)


def test_pipelined_requests_are_answered_in_turn_and_are_not_held_in_memory() -> None:
    async def test(served: Served) -> None:
        reader, writer = await served.connect()
        before = memory()
        for _ in range(2_000):
            writer.write(HEAD * 50)
            try:
                await asyncio.wait_for(writer.drain(), 0.2)
            except (TimeoutError, ConnectionError):
                break
        assert memory() - before < 60_000_000
        assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"

    run(test)


def test_a_large_body_is_not_held_by_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    # Or a busy machine, on which it takes longer, resets the connection before the answer is read.
    monkeypatch.setitem(LIMITS_S, Phase.BODY, 60.0)

    async def test(served: Served) -> None:
        before = memory()
        reader, writer = await served.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 100000000\r\n\r\n")
        with suppress(ConnectionError, TimeoutError):
            for _ in range(1_000):
                writer.write(b"a" * 100_000)
                await asyncio.wait_for(writer.drain(), 2.0)
        assert b"405" in await reader.readline()
        assert memory() - before < 40_000_000

    run(test)


def test_a_crowd_of_idle_connections_makes_room_for_one_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    monkeypatch.setitem(LIMITS_S, Phase.HEAD, 60.0)
    monkeypatch.setattr(connection, "CONNECTIONS", 100)

    async def test(served: Served) -> None:
        crowd = [await served.connect() for _ in range(1_000)]
        assert (await served.ask()).endswith(b"here")
        await asyncio.sleep(0.3)
        closed = sum(reader.at_eof() or reader.exception() is not None for reader, _ in crowd)
        assert closed >= 900

    run(test)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "beginning",
    [
        b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n" * 3,
        b"POST /length HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\na",
    ],
    ids=["nobody reads", "slow bodies"],
)
def test_a_crowd_that_holds_all_places_makes_room_for_one_more(
    monkeypatch: pytest.MonkeyPatch, beginning: bytes
) -> None:
    for phase in LIMITS_S:
        monkeypatch.setitem(LIMITS_S, phase, 60.0)
    monkeypatch.setattr(connection, "CONNECTIONS", 20)

    async def test(served: Served) -> None:
        crowd = []
        for _ in range(30):
            raw = socket.socket()
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.connect(("127.0.0.1", served.port))
            raw.sendall(beginning)
            crowd.append(raw)
        await asyncio.sleep(0.5)
        for _ in range(3):
            assert (await served.ask()).endswith(b"here")
        for raw in crowd:
            raw.close()

    run(test)


def test_it_stops_while_clients_do_all_of_this() -> None:
    for phase in LIMITS_S:
        LIMITS_S[phase] = 60.0

    async def test(served: Served) -> None:
        for beginning in (
            b"",
            b"GET / HTTP/1.1\r\nX: ",
            b"POST /length HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\na",
            HEAD * 500,
        ):
            _, writer = await served.connect()
            writer.write(beginning)
        raw = socket.create_connection(("127.0.0.1", served.port))
        raw.sendall(b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n")
        answered = asyncio.create_task(served.ask(b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\n"))
        await asyncio.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(served.task, 20.0)
        assert (await answered).endswith(b"at last")
        raw.close()

    run(test)


def test_the_limits_say_what_each_phase_may_take() -> None:
    assert not connection_limits.has_expired(Phase.ANSWER, 1e9)
    assert connection_limits.has_expired(Phase.HEAD, 0.5)
    assert not connection_limits.has_expired(Phase.HEAD, 0.4)


def memory() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123 - not a path of ours
        return int(file.read().split()[1]) * resource.getpagesize()
