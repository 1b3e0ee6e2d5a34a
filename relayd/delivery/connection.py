"""One HTTP/1.1 connection: h11 over a trio stream, one request and its whole answer at a time.

What a receiver can make it hold or do is bounded: the header block, the number of 1xx answers, the
body's length, and the bytes read for one answer in all. Time is bounded by the caller.
"""

import select
import ssl
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

import certifi
import h11
import httpx
import trio

from relayd.core.outcome import Failure
from relayd.delivery.failures import WAITING_FOR, AttemptFailed, tls_words

MAX_ANSWER_BYTES = 16_384
"""So much of an answer's body is read; the connection is closed when there is more."""

MAX_HEADER_BYTES = 65_536
"""A header block that is not complete after so many bytes is refused."""

MAX_RECEIVED_BYTES = 262_144
"""All that is read for one answer, 1xx answers and chunk headers included: without it, one byte of
body in each long chunk header would keep relayd parsing until the deadline."""

MAX_INFORMATIONAL = 8
"""So many 1xx answers may come before the real one."""

_RECEIVE_BYTES = 65_536

_AT_ONCE_BYTES = 16_384
"""A request up to this size goes out in one write, before the answer is read: it fits in the
socket's send buffer (Linux's smallest default, tcp_wmem, is 16 KiB). A longer one is sent while
the answer is read, since a receiver may answer without reading it, and keep the connection open."""

_Headers = list[tuple[bytes, bytes]]


def tls_context() -> ssl.SSLContext:
    """Return a client context, TLS 1.2 or newer, that trusts certifi's bundle and the system's.

    `SSL_CERT_FILE` and `SSL_CERT_DIR` name more to trust. It takes 20 ms and 1 MB: one serves the
    whole process.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # Verifies the certificate and the name.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(certifi.where())
    context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])
    return context


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, or its beginning where the body is longer than MAX_ANSWER_BYTES."""

    status: int
    headers: _Headers
    reason: bytes
    body: bytes


class Connection:
    """One connection, plain or over TLS, that carries exchanges one after the other.

    `reusable` tells, after an exchange, whether another may follow. `expires_at` is its owner's: a
    moment of trio's clock. Whoever catches an exception from `exchange` must `close` it.
    """

    __slots__ = (
        "_h11",
        "_host",
        "_readable",
        "_received",
        "_socket",
        "_stream",
        "expires_at",
        "reusable",
    )

    def __init__(self, socket: trio.SocketStream, host: str) -> None:
        self._socket = _Socket(socket)
        self._stream: trio.abc.Stream = self._socket
        self._host = host
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER_BYTES)
        self._readable = select.poll()  # select() itself ends at file descriptor 1023.
        self._readable.register(socket.socket.fileno(), select.POLLIN)
        self._received = 0
        self.reusable = False
        self.expires_at = 0.0

    async def start_tls(self, tls: ssl.SSLContext) -> None:
        """Put TLS on the connection, with its host as SNI and as the name to verify.

        Raises AttemptFailed (TLS).
        """
        # As in SNI (RFC 6066, section 3), a certificate's names have no trailing dot.
        name = self._host.removesuffix(".")
        stream = trio.SSLStream(self._socket, tls, server_hostname=name, https_compatible=True)
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError as error:
            words = tls_words(error.__cause__, self._host)
            raise AttemptFailed(Failure.TLS, words) from error
        self._stream = stream

    async def exchange(
        self,
        method: str,
        target: bytes,
        headers: _Headers,
        body: bytes,
        progress: MutableMapping[str, Any],
    ) -> Answer:
        """Send one request and read its answer. `progress` is told what is waited for.

        Raises AttemptFailed (RESET, PROTOCOL or TLS), and httpx.LocalProtocolError for a request
        that is not valid HTTP. A receiver that answers before it has read the whole request, and
        closes, has answered.
        """
        self.reusable = False
        data = self._serialised(method, target, headers, body)
        progress[WAITING_FOR] = "answer"
        if len(data) <= _AT_ONCE_BYTES:
            await self._stream.send_all(data)
            answer = await self._read(progress)
            sent = True
        else:
            answer, sent = await self._send_and_read(data, progress)
        if (
            sent
            and not self._socket.send_failed
            and self._h11.our_state is h11.DONE
            and self._h11.their_state is h11.DONE
            and not self._h11.trailing_data[0]
        ):
            self._h11.start_next_cycle()
            self.reusable = True
        return answer

    def is_quiet(self) -> bool:
        """Tell whether an idle connection may be used: not closed, and nothing came unasked."""
        return not self._readable.poll(0)

    def close(self) -> None:
        """Close the socket at once, without TLS's goodbye, which HTTP does without."""
        self._socket.close()

    def _serialised(self, method: str, target: bytes, headers: _Headers, body: bytes) -> bytes:
        try:
            head = h11.Request(method=method, headers=headers, target=target)
            parts = (
                self._h11.send(head),
                self._h11.send(h11.Data(data=body)),
                self._h11.send(h11.EndOfMessage()),
            )
        except h11.LocalProtocolError:
            # h11's message quotes the header, which may be a secret.
            raise httpx.LocalProtocolError("the request is not valid HTTP") from None
        return b"".join(part for part in parts if part)

    async def _send_and_read(
        self, data: bytes, progress: MutableMapping[str, Any]
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
                answer = await self._read(progress)
            except AttemptFailed as error:  # Kept, so that it leaves the nursery ungrouped.
                failed = error
            nursery.cancel_scope.cancel()
        if answer is None:
            assert failed is not None
            raise failed
        return answer, sent

    async def _read(self, progress: MutableMapping[str, Any]) -> Answer:
        head: h11.Response | None = None
        body = bytearray()
        informational = 0
        self._received = 0
        while len(body) <= MAX_ANSWER_BYTES:
            event = await self._next_event()
            if isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            elif isinstance(event, h11.Response):
                head = event
                progress[WAITING_FOR] = "end of the answer"
            else:  # All that is left for a client that proposed no upgrade: an informational one.
                informational += 1
                if informational > MAX_INFORMATIONAL:
                    words = f"more than {MAX_INFORMATIONAL} answers of 1xx, and no other"
                    raise AttemptFailed(Failure.PROTOCOL, words)
        assert head is not None
        return Answer(
            head.status_code,
            head.headers.raw_items(),
            head.reason,
            bytes(body[:MAX_ANSWER_BYTES]),
        )

    async def _next_event(self) -> h11.Event:
        """Return h11's next event, reading what it needs for it."""
        at_end = False
        while True:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                raise _unreadable(error, at_end=at_end, received=self._received) from None
            if isinstance(event, h11.Event):
                return event
            if self._received > MAX_RECEIVED_BYTES:
                words = f"more than {MAX_RECEIVED_BYTES // 1024} KiB came, and no whole answer"
                raise AttemptFailed(Failure.PROTOCOL, words)
            data = await self._receive()
            self._received += len(data)
            at_end = not data
            self._h11.receive_data(data)

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(_RECEIVE_BYTES))
        except trio.BrokenResourceError as error:
            if isinstance(error.__cause__, ssl.SSLError):
                words = tls_words(error.__cause__, self._host)
                raise AttemptFailed(Failure.TLS, words) from error
            words = f"the receiver reset the connection {_when(self._received)}"
            raise AttemptFailed(Failure.RESET, words) from error


class _Socket(trio.abc.Stream):
    """A socket on which a failed send is noted instead of raised.

    A receiver may answer and close before it has read the whole request. Sending then fails while
    the answer waits to be read, and trio's SSLStream reads no more once a send has failed. What the
    failure means is found out by reading: there is an answer, an end, or a reset.
    """

    __slots__ = ("_stream", "send_failed")

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.send_failed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            self.send_failed = True

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def close(self) -> None:
        self._stream.socket.close()


def _unreadable(error: h11.RemoteProtocolError, *, at_end: bool, received: int) -> AttemptFailed:
    """Name what h11 could not read. Its own words may quote the answer, and are not passed on."""
    if at_end:
        words = f"the receiver closed the connection {_when(received)}"
        return AttemptFailed(Failure.RESET, words)
    if error.error_status_hint == 431:  # h11's hint that its buffer's limit was passed.
        words = f"the answer's headers are longer than {MAX_HEADER_BYTES // 1024} KiB"
        return AttemptFailed(Failure.PROTOCOL, words)
    what = str(error).partition(":")[0].partition("(")[0].strip()
    return AttemptFailed(Failure.PROTOCOL, f"the answer is not valid HTTP/1.1: {what}")


def _when(received: int) -> str:
    return "in the middle of its answer" if received else "before it answered"
