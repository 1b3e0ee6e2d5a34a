"""What all of the API has in common: who may ask, how much at a time, and how the queue and the daemon are asked.

Requests, and the answers that are in memory since clients still read them, are bounded for all together and
for each token. Logs `api_without_queue` when the queue cannot be read: see `web.queue_trouble`.
"""

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import Any, Final, TypeVar

import anyio
import structlog
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from relayd.control import NoDaemonError, RefusedByDaemonError
from relayd.core.budget import Budget
from relayd.core.web_access import Holder, Role
from relayd.queue.snapshot import QueueReader, Snapshot
from relayd.queue.snapshot_values import QueueUnreadableError
from relayd.web.access import holder_of, looker_of
from relayd.web.answer_parts import parts_of, send_parts
from relayd.web.api.refusals import no_answer, not_done
from relayd.web.daemon_link import DaemonLink
from relayd.web.operation import JSON
from relayd.web.problem import ProblemError
from relayd.web.queue_trouble import QueueTrouble

T = TypeVar("T")
_log = structlog.get_logger()

REQUESTS: Final = 32
REQUESTS_EACH: Final = 16
"""At a time, those whose answer is being read included, of all and of one token."""
LONG_REQUESTS: Final = 3
"""Of these, so many may wait for a receiver or a reload: the daemon's other places are for quick ones."""
SENT_BYTES: Final = 64 * 1024 * 1024
SENT_BYTES_EACH: Final = 32 * 1024 * 1024
"""Of the answers that are in memory."""
SNAPSHOTS: Final = 2
SNAPSHOT_S: Final = 2.0
QUICK_S: Final = 30.0
"""How long the daemon may take for what is only a transaction."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is to be answered: a document, or what is JSON already."""

    document: Mapping[str, Any] | bytes
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] | None = None


Answering = Callable[[Request], Awaitable[Answer]]


class Service:
    """Answers requests by asking the queue and the daemon."""

    def __init__(self, daemon: DaemonLink, queue: QueueReader) -> None:
        self.daemon = daemon
        self._queue = queue
        self._requests = Budget(REQUESTS, REQUESTS_EACH)
        self._long = Budget(LONG_REQUESTS, LONG_REQUESTS)
        self._bytes = Budget(SENT_BYTES, SENT_BYTES_EACH)
        self._limiter = anyio.CapacityLimiter(SNAPSHOTS)
        self._trouble = QueueTrouble()

    def looks(self, answer: Answering) -> ASGIApp:
        """Return what answers those who may look."""
        return _Answered(self, answer, acts=False)

    def acts(self, answer: Answering) -> ASGIApp:
        """Return what answers those who may do everything."""
        return _Answered(self, answer, acts=True)

    async def look(self, look: Callable[[Snapshot], T]) -> T:
        """Return what `look` finds in a snapshot of the queue. Raises `ProblemError`."""

        def read() -> T:
            with self._queue.snapshot(limit_s=SNAPSHOT_S) as snapshot:
                return look(snapshot)

        try:
            found = await self.run(read)
        except QueueUnreadableError as error:
            if self._trouble.is_news(error):
                _log.warning("api_without_queue", detail=str(error))
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "queue_unreadable",
                f"the queue cannot be read now (a request has {SNAPSHOT_S:g} s): {error.reason}",
                {"Retry-After": "5"},
            ) from error
        self._trouble.ends()
        return found

    async def run(self, work: Callable[[], T]) -> T:
        """Return what takes long to compute, from a thread."""
        return await run_sync(work, limiter=self._limiter)

    async def ask(
        self, request: Mapping[str, object], *, timeout_s: float = QUICK_S
    ) -> dict[str, Any]:
        """Return what the daemon answers. Raises `ProblemError` where it refuses, or does not answer."""
        try:
            return await self.daemon.ask(request, timeout_s=timeout_s)
        except RefusedByDaemonError as refused:
            raise not_done(refused) from refused
        except (NoDaemonError, TimeoutError) as error:
            raise no_answer(error, timeout_s) from error

    @contextmanager
    def long_request(self) -> Iterator[None]:
        """Take one of the few places for what waits long."""
        with _taken(self._long, None, 1):
            yield

    @contextmanager
    def one_of_all(self, holder: Holder) -> Iterator[None]:
        """Take one of the places for requests."""
        with _taken(self._requests, holder, 1):
            yield

    @contextmanager
    def in_memory(self, holder: Holder, size: int) -> Iterator[None]:
        """Take so many bytes of those for answers."""
        with _taken(self._bytes, holder, size):
            yield


@contextmanager
def _taken(budget: Budget, user: Holder | None, amount: int) -> Iterator[None]:
    if not budget.take(user, amount):
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "busy",
            "too many requests at a time; try again",
            {"Retry-After": "1"},
        )
    try:
        yield
    finally:
        budget.give_back(user, amount)


class _Answered:
    """One operation, as an ASGI application."""

    def __init__(self, service: Service, answer: Answering, *, acts: bool) -> None:
        self._service = service
        self._answer = answer
        self._acts = acts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        holder = _allowed(request, acts=self._acts)
        with self._service.one_of_all(holder):
            head, body = await self._made(request)
            with self._service.in_memory(holder, len(body)):
                await _send(send, head, body)

    async def _made(self, request: Request) -> tuple[Answer, bytes]:
        """Return an answer without its document, and its body.

        The document takes several times as much memory, and must not be there as long as the client reads.
        """
        answer = await self._answer(request)
        body = await self._service.run(partial(_json, answer.document))
        return replace(answer, document=b""), body


def _allowed(request: Request, *, acts: bool) -> Holder:
    """Return who asks. Raises `ProblemError` for who may not."""
    if not acts:
        return looker_of(request)
    holder = holder_of(request)
    if holder is None:
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED,
            "no_token",
            "send http.token as Authorization: Bearer TOKEN",
            {"WWW-Authenticate": "Bearer"},
        )
    if holder.role is Role.EVERYTHING:
        return holder
    code = "read_only" if holder.role is Role.READ else "wrong_token"
    what = "may only look" if holder.role is Role.READ else "may not do this"
    raise ProblemError(HTTPStatus.FORBIDDEN, code, f"this token {what}")


def _json(document: Mapping[str, Any] | bytes) -> bytes:
    return document if isinstance(document, bytes) else json.dumps(document).encode()


async def _send(send: Send, head: Answer, body: bytes) -> None:
    headers = {
        "content-type": JSON,
        "content-length": str(len(body)),
        "cache-control": "no-store",
        **{name.lower(): value for name, value in (head.headers or {}).items()},
    }
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send_parts(send, head.status, raw, parts_of(body))
