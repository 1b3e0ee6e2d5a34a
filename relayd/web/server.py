"""Serves an application on its sockets until SIGTERM or SIGINT: uvicorn, as relayd runs it."""

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from relayd.web.connection import Connection, close_expired

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

    def stop(self) -> None:
        """Take no more requests; answers in progress get `GRACE_S`."""
        self.should_exit = True


async def serve(
    app: ASGIApp, sockets: Sequence[socket.socket], started: Callable[[], None]
) -> None:
    """Serve until SIGTERM or SIGINT. `started` is called once requests are answered."""
    server = Server(app, started)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    closing = asyncio.create_task(close_expired(server.server_state.connections))
    try:
        await server.serve(list(sockets))
    finally:
        closing.cancel()
        for each in list(server.server_state.connections):
            each.transport.abort()  # what did not finish
