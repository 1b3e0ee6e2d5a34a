"""Keeps what goes wrong in the web process where it is, and logs it like all else: in lines that are bounded.

uvicorn and asyncio would write what they have to say to stderr, with a traceback for each request of a
client that sends nonsense: they are silenced. What is relayd's own fault comes by here.

Logs `web_defect`: a request, a task or a callback ended with an unexpected exception. Logs `web_out_of_files`,
once a minute at most: no file descriptor was left for a connection.
"""

import asyncio
import errno
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relayd.web.problem import ProblemError

_log = structlog.get_logger()

PAUSE_S: Final = 1.0
OUT_OF_FILES_S: Final = 60.0
_LOUD: Final = ("uvicorn.error", "asyncio")
_OUT_OF_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


async def kept_running(part: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run a part that never returns, again after each defect, until cancelled."""
    while True:
        try:
            await run()
        except Exception:  # noqa: BLE001 - a defect, logged with its traceback
            _log.exception("web_defect", part=part)
        await asyncio.sleep(PAUSE_S)


class Contained:
    """An application whose defects end one request each, with a problem document."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or that it cannot be answered."""
        began = False

        async def note(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app(scope, receive, note)
        except Exception:  # noqa: BLE001 - a defect, logged with its traceback
            # Not the path, which has ids in it: the traceback says what was asked for.
            _log.exception("web_defect", part="request")
            if not began:
                await _PROBLEM.response()(scope, receive, send)
            # Otherwise the server closes the connection: the answer is not complete.


_PROBLEM: Final = ProblemError(
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "defect",
    "a defect of relayd; its log has the details",
    {"Connection": "close"},
)


@contextmanager
def libraries_quiet() -> Iterator[None]:
    """Have the libraries log nothing until the block ends."""
    loggers = [logging.getLogger(name) for name in _LOUD]
    before = [each.disabled for each in loggers]
    for each in loggers:
        each.disabled = True
    try:
        yield
    finally:
        for each, disabled in zip(loggers, before, strict=True):
            each.disabled = disabled


class LogOfLoop:
    """Logs what nobody waits for: an exception in a callback, or in a task whose result is never asked for."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next_at = clock()

    def __call__(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log one, as the loop's exception handler."""
        error = context.get("exception")
        if isinstance(error, ConnectionError):
            return  # a client that is gone
        if isinstance(error, OSError) and error.errno in _OUT_OF_FILES:
            # asyncio tries to accept two thousand connections, and reports each that it cannot.
            if self._clock() >= self._next_at:
                self._next_at = self._clock() + OUT_OF_FILES_S
                _log.error("web_out_of_files", detail=error.strerror)
            return
        _log.error(
            "web_defect", part="loop", detail=str(context.get("message", "")), exc_info=error
        )
