"""What each token has of the work on pages: places, turns, and memory for what its browsers are still reading.

Pages are bounded for all together and for each token. The pages of one token are made one after the other, so
that one which asks for slow ones without end never keeps the other one waiting.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from http import HTTPStatus
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from relayd.core.budget import Budget
from relayd.core.web_access import Role
from relayd.web.answer_parts import parts_of, send_parts
from relayd.web.problem import ProblemError

PAGES: Final = 64
PAGES_EACH: Final = 32
"""At a time, of all and of one token."""
SENT_BYTES: Final = 64 * 1024 * 1024
SENT_BYTES_EACH: Final = 32 * 1024 * 1024
"""Of the pages that are in memory, since browsers still read them."""


class Shares:
    """Who has what."""

    def __init__(self) -> None:
        self._pages = Budget(PAGES, PAGES_EACH)
        self._bytes = Budget(SENT_BYTES, SENT_BYTES_EACH)
        self._turns = {role: asyncio.Lock() for role in Role}
        self._role = ContextVar[Role]("role")

    @contextmanager
    def page_of(self, role: Role) -> Iterator[None]:
        """Take a place for a page. Raises `ProblemError` where there is none."""
        if not self._pages.take(role, 1):
            raise _busy("too many pages are asked for at a time; try again")
        token = self._role.set(role)
        try:
            yield
        finally:
            self._role.reset(token)
            self._pages.give_back(role, 1)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until it is this page's turn to be worked on."""
        async with self._turns[self._role.get()]:
            yield

    def sent(self, response: Response, role: Role) -> "Sent":
        """Return what sends a page."""
        return Sent(response, self._bytes, role)


class Sent:
    """Sends a page, which is counted until its client has read it."""

    def __init__(self, response: Response, budget: Budget, role: Role) -> None:
        self._response = response
        self._budget = budget
        self._role = role

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, as an ASGI application."""
        body = bytes(self._response.body)
        if not self._budget.take(self._role, len(body)):
            problem = _busy("too many pages are still being read; try again")
            await problem.response()(scope, receive, send)
            return
        try:
            status, headers = self._response.status_code, self._response.raw_headers
            await send_parts(send, status, headers, parts_of(body))
        finally:
            self._budget.give_back(self._role, len(body))


def _busy(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.TOO_MANY_REQUESTS, "busy", detail, {"Retry-After": "1"})
