"""Requests' bodies, whole: each within its limit, and all that are in memory within one for all."""

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from starlette.requests import ClientDisconnect, Request

from relayd.core.budget import Budget
from relayd.web.problem import ProblemError

BODY_BYTES: Final = 64 * 1024 * 1024
BODY_BYTES_EACH: Final = 16 * 1024 * 1024
"""Of the bodies that are read or handed over at a time, of all and of one token."""

WEBHOOK_BYTES: Final = 16 * 1024 * 1024
WEBHOOK_BYTES_EACH: Final = 8 * 1024 * 1024
"""The same of inbound webhooks: of all, and of one client's address."""

STRANGER_BYTES: Final = 8 * 1024 * 1024
STRANGER_BYTES_EACH: Final = 4 * 1024 * 1024
"""The same of those from addresses that have sent no right signature yet: anybody may send these."""

DROPPED_BYTES: Final = 32 * 1024 * 1024
"""Of a body that is too large, so much is still read: a client that sends has no eye for the answer,
and a connection that is closed with unread bytes is reset, answer and all (RFC 9112, 9.6)."""


class Bodies:
    """The bodies that are in memory: all of the process, or a part of them, of one kind of request."""

    def __init__(
        self,
        most: int = BODY_BYTES,
        most_each: int = BODY_BYTES_EACH,
        whole: "Bodies | None" = None,
    ) -> None:
        self._budget = Budget(most, most_each)
        self._parent = whole

    def of_webhooks(self) -> "Bodies":
        """Return a part of these, which takes no more of them than one user may."""
        return Bodies(WEBHOOK_BYTES, WEBHOOK_BYTES_EACH, self)

    def of_strangers(self) -> "Bodies":
        """Return a part of those of webhooks, which always leaves room for the others."""
        return Bodies(STRANGER_BYTES, STRANGER_BYTES_EACH, self)

    @asynccontextmanager
    async def whole(self, request: Request, limit: int, user: Hashable) -> AsyncIterator[bytes]:
        """Give the body, which is in memory until the block ends.

        Raises `ProblemError`, also where it is larger than `limit`, or where all bodies, or those of
        this user, would be too large together.
        """
        body = bytearray()
        size = 0
        problem: ProblemError | None = None
        try:
            try:
                async for chunk in request.stream():
                    size += len(chunk)
                    if problem is None:
                        problem = self._take(body, chunk, limit, user)
                    elif size > DROPPED_BYTES:
                        break
            except ClientDisconnect as error:
                raise ProblemError(
                    HTTPStatus.BAD_REQUEST, "incomplete", "the body ended too early"
                ) from error
            if problem is not None:
                raise problem
            yield bytes(body)
        finally:
            self._give_back(user, len(body))

    def _may_take(self, user: Hashable, amount: int) -> bool:
        if not self._budget.take(user, amount):
            return False
        if self._parent is None or self._parent._may_take(self, amount):  # noqa: SLF001 - of its own kind
            return True
        self._budget.give_back(user, amount)
        return False

    def _give_back(self, user: Hashable, amount: int) -> None:
        self._budget.give_back(user, amount)
        if self._parent is not None:
            self._parent._give_back(self, amount)  # noqa: SLF001 - of its own kind

    def _take(
        self, body: bytearray, chunk: bytes, limit: int, user: Hashable
    ) -> ProblemError | None:
        """Add a part to a body; where it may not be, return why, and let go of the body."""
        if len(body) + len(chunk) > limit:
            problem = ProblemError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "too_large",
                f"the body is larger than {limit:,} bytes",
                {"Connection": "close"},
            )
        elif not self._may_take(user, len(chunk)):
            problem = ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "busy",
                "too much is being handed over now; try again",
                {"Retry-After": "1", "Connection": "close"},
            )
        else:
            body += chunk
            return None
        self._give_back(user, len(body))
        body.clear()
        return problem
