"""A receiver for development: an HTTP server that answers each request as it is told.

It is as robust as a program on one's own machine needs to be: what it reads is bounded in size
and time, and a client that misbehaves ends its own connection, nothing else.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count

import h11
import trio

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Four times what relayd sends at most: a larger request is refused with 413."""

MAX_CONNECTIONS = 1_000

_READ_TIMEOUT_S = 65.0  # longer than relayd keeps an idle connection
_LINGER_S = 1.0
_CHUNK_BYTES = 65_536
_WITHOUT_BODY = {204, 304}  # RFC 9110, 15.3.5 and 15.4.5


@dataclass(frozen=True, slots=True)
class Request:
    """One whole request. `number` counts the receiver's requests from 1."""

    number: int
    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)

    def header(self, name: str) -> str | None:
        """Return the first header of this name, in any case, or None."""
        return next((value for key, value in self.headers if key == name.lower()), None)


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


Respond = Callable[[Request], Awaitable[Answer]]
Answered = Callable[[Request, Answer | None], None]
"""Told of a request with its answer, or with None where the client was gone before."""


class Receiver:
    """Answers requests on open listeners with what `respond` returns for each.

    `answered` is told of each once its answer was sent, or could not be.
    """

    def __init__(self, respond: Respond, answered: Answered) -> None:
        self._respond = respond
        self._answered = answered
        self._numbers = count(1)
        self._places = trio.CapacityLimiter(MAX_CONNECTIONS)

    async def serve(self, listeners: Sequence[trio.SocketListener]) -> None:
        """Serve until cancelled."""
        await trio.serve_listeners(self._converse, list(listeners))

    async def _converse(self, stream: trio.SocketStream) -> None:
        async with self._places:
            try:
                await _Conversation(stream, self._numbers, self._respond, self._answered).run()
            except (trio.BrokenResourceError, trio.TooSlowError):
                return  # the client is gone, or says nothing
            finally:
                with trio.CancelScope(shield=True), trio.move_on_after(1):
                    await stream.aclose()


class _TooLargeError(Exception):
    """A request whose body is over the limit."""


class _Conversation:
    """One connection, request after request."""

    def __init__(
        self,
        stream: trio.SocketStream,
        numbers: Iterable[int],
        respond: Respond,
        answered: Answered,
    ) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER)
        self._numbers = iter(numbers)
        self._respond = respond
        self._answered = answered

    async def run(self) -> None:
        """Answer requests until one side closes."""
        while True:
            try:
                request = await self._read()
            except h11.RemoteProtocolError as error:
                await self._refuse(error.error_status_hint)
                return
            except _TooLargeError:
                await self._refuse(413)
                return
            if request is None:
                return
            answer = await self._respond(request)
            try:
                await self._send(answer, with_body=request.method != "HEAD")
            except (trio.BrokenResourceError, trio.TooSlowError):
                self._answered(request, None)
                raise
            self._answered(request, answer)
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _read(self) -> Request | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            match await self._next_event():
                case h11.Request() as head:
                    pass
                case h11.Data(data=data):
                    body += data
                    if len(body) > MAX_BODY_BYTES:
                        raise _TooLargeError
                case h11.EndOfMessage() if head is not None:
                    return Request(
                        next(self._numbers),
                        head.method.decode("ascii"),
                        head.target.decode("ascii"),
                        tuple((n.decode("ascii"), v.decode("latin-1")) for n, v in head.headers),
                        bytes(body),
                    )
                case _:
                    return None

    async def _next_event(self) -> object:
        while True:
            event = self._http.next_event()
            if event is h11.PAUSED:
                return None
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                await self._send_event(h11.InformationalResponse(status_code=100, headers=[]))
            with trio.fail_after(_READ_TIMEOUT_S):
                self._http.receive_data(await self._stream.receive_some(_CHUNK_BYTES))

    async def _refuse(self, status: int) -> None:
        if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            await self._send(Answer(status, headers=(("Connection", "close"),)))
            # Closing on what was not read would reset the connection, and take the answer with it.
            await self._stream.send_eof()
            with trio.move_on_after(_LINGER_S):
                while await self._stream.receive_some(_CHUNK_BYTES):
                    pass

    async def _send(self, answer: Answer, *, with_body: bool = True) -> None:
        headers = list(answer.headers)
        bare = answer.status in _WITHOUT_BODY
        if not bare:
            headers.append(("Content-Length", str(len(answer.body))))
        await self._send_event(
            h11.Response(
                status_code=answer.status,
                reason=_phrase(answer.status).encode(),
                headers=[(name.encode(), value.encode("latin-1")) for name, value in headers],
            )
        )
        if with_body and answer.body and not bare:
            await self._send_event(h11.Data(data=answer.body))
        await self._send_event(h11.EndOfMessage())

    async def _send_event(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            with trio.fail_after(_READ_TIMEOUT_S):
                await self._stream.send_all(data)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
