"""`GET /v1/events`, the feed: the kept events that a subscription wants, a page at a time.

A page is one snapshot, read in a thread, one at a time. Requests and the pages that are being sent are
bounded for all together and for each token. Logs `feed_without_queue` when the queue cannot be read: see
`web.queue_trouble`.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

import structlog
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from relayd.core.budget import Budget
from relayd.core.feed import (
    PAGE_BYTES,
    Entitlement,
    FeedCursor,
    FeedGapError,
    FeedPage,
    FeedWish,
    matcher_of,
)
from relayd.core.matching import Matcher
from relayd.core.web_access import Holder, Role
from relayd.queue.snapshot import QueueReader
from relayd.queue.snapshot_values import QueueUnreadableError
from relayd.views.web_document import WebDocument
from relayd.web.access import holder_of
from relayd.web.answer_parts import PART_BYTES, send_parts
from relayd.web.feed_news import News
from relayd.web.feed_request import FeedRequest, read_request
from relayd.web.followed_document import document_of
from relayd.web.problem import ProblemError
from relayd.web.queue_trouble import QueueTrouble

_log = structlog.get_logger()

REQUESTS: Final = 256
REQUESTS_EACH: Final = 16
"""At a time, waiting ones and those that are being sent included, of all and of one token."""
SENT_BYTES: Final = 64 * 1024 * 1024
SENT_BYTES_EACH: Final = 16 * 1024 * 1024
"""Of the pages that are in memory, since clients still read them."""
SNAPSHOT_S: Final = 2.0
WORK_S: Final = 0.05
"""After so long a page ends, whatever it has: what does not match is looked at too."""
AGAIN_S: Final = 1.0
"""Who waits looks at what came at most as often as this."""


class Feed:
    """The feed, as an ASGI application."""

    def __init__(self, queue: QueueReader, news: News) -> None:
        self._queue = queue
        self._news = news
        self._reading = asyncio.Lock()
        self._requests = Budget(REQUESTS, REQUESTS_EACH)
        self._bytes = Budget(SENT_BYTES, SENT_BYTES_EACH)
        self._matchers: dict[str, Matcher] = {}
        self._matched: WebDocument | None = None
        self._trouble = QueueTrouble()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. Raises `ProblemError`."""
        request = Request(scope, receive)
        holder = _reader(request)
        asked = read_request(request.query_params)
        with self._one_of_all(holder):
            gone = asyncio.create_task(_gone(receive))
            try:
                page = await self._page(request, asked, holder, gone)
                try:
                    await _send_page(page, send)
                finally:
                    self._bytes.give_back(holder, _size(page))
            finally:
                gone.cancel()

    @contextmanager
    def _one_of_all(self, holder: Holder) -> Iterator[None]:
        if not self._requests.take(holder, 1):
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "busy",
                f"too many requests for the feed at a time; one token has {REQUESTS_EACH}",
                {"Retry-After": "5"},
            )
        try:
            yield
        finally:
            self._requests.give_back(holder, 1)

    async def _page(
        self, request: Request, asked: FeedRequest, holder: Holder, gone: asyncio.Task[None]
    ) -> FeedPage:
        """Return the page, whose size is taken from the budget of bytes."""
        loop = asyncio.get_running_loop()
        until = loop.time() + asked.wait_s
        cursor = asked.after
        while True:
            if _reader(request) != holder:  # since a reload, while it waited
                raise _no_token()
            seen, began = self._news.newest, loop.time()
            page = await self._read(
                cursor, self._entitlement(request, asked, holder), asked, holder
            )
            found = page.events or page.more
            if found or gone.done() or self._news.stopped or loop.time() >= until:
                return page
            self._bytes.give_back(holder, _size(page))
            cursor = page.next
            waiting = asyncio.create_task(self._news.wait(cursor.sequence, seen))
            try:
                await asyncio.wait(
                    {waiting, gone},
                    timeout=until - loop.time(),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                pause = min(began + AGAIN_S, until) - loop.time()
                if waiting.done() and pause > 0:
                    await asyncio.wait({gone}, timeout=pause)
            finally:
                waiting.cancel()

    def _entitlement(self, request: Request, asked: FeedRequest, holder: Holder) -> Entitlement:
        matcher = None
        if holder.role is Role.FEED:
            matcher = self._matcher(document_of(request), holder.name)
        return Entitlement(matcher, asked.types)

    def _matcher(self, document: WebDocument, name: str) -> Matcher:
        if self._matched is not document:
            # All of them: one whose reader is gone would keep its old document for good.
            self._matched = document
            self._matchers.clear()
        if name not in self._matchers:
            self._matchers[name] = matcher_of(name, document.subscriptions[name].selection)
        return self._matchers[name]

    async def _read(
        self,
        after: FeedCursor | None,
        entitlement: Entitlement,
        asked: FeedRequest,
        holder: Holder,
    ) -> FeedPage:
        async with self._reading:
            if not self._bytes.take(holder, PAGE_BYTES):
                raise ProblemError(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "busy",
                    "too much of the feed is being sent; try again",
                    {"Retry-After": "1"},
                )
            left = PAGE_BYTES
            try:
                page = await run_sync(self._read_page, after, entitlement, asked.limit)
                left -= _size(page)
                self._trouble.ends()
            except FeedGapError as error:
                raise _gap(error) from error
            except QueueUnreadableError as error:
                if self._trouble.is_news(error):
                    _log.warning("feed_without_queue", detail=str(error))
                raise ProblemError(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "unavailable",
                    "the queue cannot be read now; try again",
                    {"Retry-After": "5"},
                ) from error
            finally:
                self._bytes.give_back(holder, left)
            return page

    def _read_page(
        self, after: FeedCursor | None, entitlement: Entitlement, limit: int
    ) -> FeedPage:
        with self._queue.snapshot(limit_s=SNAPSHOT_S) as snapshot:
            # From here on: requests before this one may have taken long.
            until = time.monotonic() + WORK_S
            wish = FeedWish(entitlement, limit, lambda: time.monotonic() >= until)
            return snapshot.feed(after, wish)


def _reader(request: Request) -> Holder:
    """Return who reads. Raises `ProblemError` for who may not."""
    holder = holder_of(request)
    if holder is None:
        raise _no_token()
    if holder.role not in {Role.EVERYTHING, Role.FEED}:
        raise ProblemError(HTTPStatus.FORBIDDEN, "wrong_token", "this token may not read the feed")
    return holder


def _no_token() -> ProblemError:
    return ProblemError(
        HTTPStatus.UNAUTHORIZED,
        "no_token",
        "send the feed_token of a subscription, as Authorization: Bearer TOKEN",
        {"WWW-Authenticate": "Bearer"},
    )


def _gap(error: FeedGapError) -> ProblemError:
    return ProblemError(
        HTTPStatus.GONE,
        "gap",
        "events after this cursor are no longer kept, or it is of another queue; go on from `oldest`",
        more={"oldest": str(error.oldest)},
    )


async def _gone(receive: Receive) -> None:
    """Wait until the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _size(page: FeedPage) -> int:
    return sum(map(len, page.events))


def _chunks(page: FeedPage) -> Iterator[bytes]:
    """Yield the answer in parts, without making it whole."""
    yield b'{"events":['
    chunk = bytearray()
    for number, event in enumerate(page.events):
        if number:
            chunk += b","
        chunk += event
        if len(chunk) >= PART_BYTES:
            yield bytes(chunk)
            chunk.clear()
    more = "true" if page.more else "false"
    yield bytes(chunk) + f'],"next":"{page.next}","more":{more}}}'.encode()


async def _send_page(page: FeedPage, send: Send) -> None:
    length = sum(map(len, _chunks(page)))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(length).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send_parts(send, HTTPStatus.OK, headers, _chunks(page))
