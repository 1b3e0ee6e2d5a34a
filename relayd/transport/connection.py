"""One HTTP/1.1 connection over a stream: one request and its whole answer at a time.

Time is bounded by the caller; what an answer may hold, by `response`.
"""

import re
import ssl
from functools import lru_cache

import httpx
import trio

from relayd.core.outcome import Failure
from relayd.core.tls import Tls
from relayd.transport.errors import AttemptFailed
from relayd.transport.request import Request
from relayd.transport.response import Answer, AnswerReader, Headers
from relayd.transport.streams import SocketStream, Stream, TlsStream

_AT_ONCE_BYTES = 16_384
"""A request up to this size goes out in one write, before the answer is read: it fits in the
socket's send buffer (Linux's smallest default, tcp_wmem, is 16 KiB). A longer one is sent while
the answer is read, since a receiver may answer without reading it, and keep the connection open."""

_HEADER_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Connection:
    """One connection, plain or over TLS, that carries exchanges one after the other.

    After an exchange, `reusable` says whether another may follow; after a failed one, `responded`
    says whether any byte of a response came. `expires_at` is its owner's: a moment of trio's
    clock. Whoever catches an exception from `exchange` must `close` it.
    """

    __slots__ = ("_host", "_socket", "_stream", "expires_at", "responded", "reusable")

    def __init__(self, stream: trio.SocketStream, host: str) -> None:
        self._socket = SocketStream(stream)
        self._stream: Stream = self._socket
        self._host = host
        self.reusable = False
        self.responded = False
        self.expires_at = 0.0

    async def start_tls(self, tls: ssl.SSLContext, setting: Tls | None = None) -> None:
        """Put TLS on the connection, with its host as SNI and as the name to verify.

        `setting` is what the context was made of, so that a failure names the key to change. Raises
        AttemptFailed (TLS).
        """
        # As in SNI (RFC 6066, section 3), a certificate's names have no trailing dot.
        name = self._host.removesuffix(".")
        stream = TlsStream(self._socket, tls, name=name, host=self._host, setting=setting)
        await stream.handshake()
        self._stream = stream

    async def exchange(self, request: Request) -> Answer:
        """Send one request and read its answer.

        Raises AttemptFailed (RESET, PROTOCOL or TLS), and httpx.LocalProtocolError for a request
        that is not valid HTTP. A receiver that answers before it has read the whole request, and
        closes, has answered.

        The request is sent before anything is awaited, so that what `is_quiet` said holds.
        """
        self.reusable = False
        self.responded = False
        data = serialised(request.url.raw_path, request.headers, request.body)
        reader = AnswerReader()
        request.waiting_for = "answer"
        sent = len(data) <= _AT_ONCE_BYTES
        if sent:
            await self._stream.send_all(data)
            answer = await self._read(reader, request)
        else:
            answer, sent = await self._send_and_read(data, reader, request)
        self.reusable = sent and reader.keep_alive and not self._socket.send_failed
        return answer

    def is_quiet(self) -> bool:
        """Whether a request may be sent now: not closed, and nothing has arrived unread."""
        return self._stream.is_quiet()

    def close(self) -> None:
        """Close the socket at once, without TLS's goodbye, which HTTP does without."""
        self._socket.close()

    async def _send_and_read(
        self, data: bytes, reader: AnswerReader, request: Request
    ) -> tuple[Answer, bool]:
        """Send and read at once; return the answer, and whether the request was sent whole."""
        answer: Answer | None = None
        failed: AttemptFailed | None = None
        sent = False

        async def send() -> None:
            nonlocal sent
            await self._stream.send_all(data)
            sent = True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            try:
                answer = await self._read(reader, request)
            except AttemptFailed as error:  # Kept, so that it leaves the nursery ungrouped.
                failed = error
            nursery.cancel_scope.cancel()
        if answer is None:
            assert failed is not None
            raise failed
        return answer, sent

    async def _read(self, reader: AnswerReader, request: Request) -> Answer:
        while reader.answer is None:
            try:
                data = await self._stream.receive()
            except trio.BrokenResourceError as error:
                if not reader.in_body:
                    when = (
                        "in the middle of its answer" if reader.received else "before it answered"
                    )
                    words = f"the receiver reset the connection {when}"
                    raise AttemptFailed(Failure.RESET, words) from error
                data = b""  # a body that breaks off ends there
            except AttemptFailed:
                if not reader.in_body:
                    raise
                data = b""
            if data:
                self.responded = True
                reader.feed(data)
            else:
                reader.end()
            if reader.in_body:
                request.response = reader
        return reader.answer


def serialised(target: bytes, headers: Headers, body: bytes) -> bytes:
    """Return a request's bytes. Raises httpx.LocalProtocolError for what is not valid HTTP.

    The error never quotes a header, which may be a secret.
    """
    head = b"\r\n".join([b"POST %b HTTP/1.1" % target, *map(b": ".join, headers)])
    breaks = len(headers)
    # A line break or a NUL inside a header would make another request of this one.
    if head.count(b"\r") != breaks or head.count(b"\n") != breaks or b"\0" in head:
        raise httpx.LocalProtocolError("the request is not valid HTTP")
    if not _are_header_names(tuple([name for name, _ in headers])) or b" " in target:
        raise httpx.LocalProtocolError("the request is not valid HTTP")
    return b"\r\n\r\n".join((head, body))


@lru_cache(maxsize=1024)  # a subscription's requests have the same ones
def _are_header_names(names: tuple[bytes, ...]) -> bool:
    return all(_HEADER_NAME.fullmatch(name) is not None for name in names)
