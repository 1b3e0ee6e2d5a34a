"""Serves an application on its sockets until SIGTERM or SIGINT: uvicorn, as relayd runs it."""

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from relayd.web.connection import Connection, close_expired, open_connections
from relayd.web.defects import kept_running

GRACE_S: Final = 5
"""How long answers in progress may go on after SIGTERM."""

HEAD_BYTES: Final = 16 * 1024


class Server(uvicorn.Server):
    """One server for all of its sockets. What stops it is `stop`, not a signal of uvicorn's own."""

    def __init__(self, app: ASGIApp, started: Callable[[], None]) -> None:
        self._started = started
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                loop="asyncio",
                lifespan="off",
                interface="asgi3",
                proxy_headers=False,
                server_header=False,
                access_log=False,
                log_config=None,
                h11_max_incomplete_event_size=HEAD_BYTES,
                timeout_graceful_shutdown=GRACE_S,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer requests, and say so."""
        await super().startup(sockets)
        self._started()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `serve`: uvicorn would end the process by the signal that stopped it."""
        yield


async def serve(
    served: Sequence[tuple[ASGIApp, socket.socket]],
    started: Callable[[], None],
    stopping: Callable[[], None] = lambda: None,
) -> None:
    """Serve each application on its socket until SIGTERM or SIGINT.

    `started` is called once each one answers, `stopping` when it is to stop.
    """
    waiting = len(served)

    def one_started() -> None:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            started()

    servers = [Server(app, one_started) for app, _ in served]
    loop = asyncio.get_running_loop()

    def stop() -> None:
        stopping()
        for server in servers:
            server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    async with asyncio.TaskGroup() as tasks:
        closing = [
            tasks.create_task(
                kept_running("connections", partial(close_expired, server.server_state.connections))
            )
            for server in servers
        ]
        serving = [
            tasks.create_task(server.serve([each]))
            for server, (_, each) in zip(servers, served, strict=True)
        ]
        await asyncio.wait(serving)
        for task in closing:
            task.cancel()
        for server in servers:
            for each in open_connections(server.server_state.connections):
                each.cut_off()  # what did not finish
