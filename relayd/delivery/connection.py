"""One HTTP/1.1 connection over a trio stream: one request and its whole answer at a time.

Time is bounded by the caller; what an answer may hold, by `answer`.
"""

import re
import select
import socket
import ssl
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any

import certifi
import httpx
import trio

from relayd.core.outcome import Failure
from relayd.delivery.answer import Answer, AnswerReader, Headers
from relayd.delivery.failures import WAITING_FOR, AttemptFailed, tls_words

_RECEIVE_BYTES = 65_536

_AT_ONCE_BYTES = 16_384
"""A request up to this size goes out in one write, before the answer is read: it fits in the
socket's send buffer (Linux's smallest default, tcp_wmem, is 16 KiB). A longer one is sent while
the answer is read, since a receiver may answer without reading it, and keep the connection open."""

_HEADER_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


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


class Connection:
    """One connection, plain or over TLS, that carries exchanges one after the other.

    `reusable` tells, after an exchange, whether another may follow. `expires_at` is its owner's: a
    moment of trio's clock. Whoever catches an exception from `exchange` must `close` it.
    """

    __slots__ = (
        "_host",
        "_readable",
        "_socket",
        "_stream",
        "expires_at",
        "reusable",
    )

    def __init__(self, stream: trio.SocketStream, host: str) -> None:
        self._socket = _Socket(stream)
        self._stream: trio.abc.Stream = self._socket
        self._host = host
        self._readable = select.poll()  # select() itself ends at file descriptor 1023.
        self._readable.register(self._socket.fileno(), select.POLLIN)
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
        headers: Headers,
        body: bytes,
        progress: MutableMapping[str, Any],
    ) -> Answer:
        """Send one request and read its answer. `progress` is told what is waited for.

        Raises AttemptFailed (RESET, PROTOCOL or TLS), and httpx.LocalProtocolError for a request
        that is not valid HTTP. A receiver that answers before it has read the whole request, and
        closes, has answered.
        """
        self.reusable = False
        data = serialised(method, target, headers, body)
        reader = AnswerReader()
        progress[WAITING_FOR] = "answer"
        sent = len(data) <= _AT_ONCE_BYTES
        if sent:
            await self._stream.send_all(data)
            answer = await self._read(reader, progress)
        else:
            answer, sent = await self._send_and_read(data, reader, progress)
        self.reusable = sent and reader.keep_alive and not self._socket.send_failed
        return answer

    def is_quiet(self) -> bool:
        """Tell whether an idle connection may be used: not closed, and nothing came unasked."""
        return not self._readable.poll(0)

    def close(self) -> None:
        """Close the socket at once, without TLS's goodbye, which HTTP does without."""
        self._socket.close()

    async def _send_and_read(
        self, data: bytes, reader: AnswerReader, progress: MutableMapping[str, Any]
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
                answer = await self._read(reader, progress)
            except AttemptFailed as error:  # Kept, so that it leaves the nursery ungrouped.
                failed = error
            nursery.cancel_scope.cancel()
        if answer is None:
            assert failed is not None
            raise failed
        return answer, sent

    async def _read(self, reader: AnswerReader, progress: MutableMapping[str, Any]) -> Answer:
        while reader.answer is None:
            data = await self._receive(reader.received)
            if data:
                reader.feed(data)
            else:
                reader.end()
            if reader.in_body:
                progress[WAITING_FOR] = "end of the answer"
        return reader.answer

    async def _receive(self, received: int) -> bytes:
        try:
            return bytes(await self._stream.receive_some(_RECEIVE_BYTES))
        except trio.BrokenResourceError as error:
            if isinstance(error.__cause__, ssl.SSLError):
                words = tls_words(error.__cause__, self._host)
                raise AttemptFailed(Failure.TLS, words) from error
            when = "in the middle of its answer" if received else "before it answered"
            words = f"the receiver reset the connection {when}"
            raise AttemptFailed(Failure.RESET, words) from error


def serialised(method: str, target: bytes, headers: Headers, body: bytes) -> bytes:
    """Return a request's bytes. Raises httpx.LocalProtocolError for what is not valid HTTP.

    The error never quotes a header, which may be a secret.
    """
    parts = [b"%b %b HTTP/1.1" % (method.encode("ascii"), target)]
    parts += [b"%b: %b" % header for header in headers]
    head = b"\r\n".join(parts)
    breaks = len(headers)
    # A line break or a NUL inside a header would make another request of this one.
    if head.count(b"\r") != breaks or head.count(b"\n") != breaks or b"\0" in head:
        raise httpx.LocalProtocolError("the request is not valid HTTP")
    if not all(_is_header_name(name) for name, _ in headers) or b" " in target:
        raise httpx.LocalProtocolError("the request is not valid HTTP")
    return b"%b\r\n\r\n%b" % (head, body)


@lru_cache(maxsize=1024)  # the names are the configuration's, and few
def _is_header_name(name: bytes) -> bool:
    return _HEADER_NAME.fullmatch(name) is not None


class _Socket(trio.abc.Stream):
    """A socket on which a failed send is noted instead of raised.

    A receiver may answer and close before it has read the whole request. Sending then fails while
    the answer waits to be read, and trio's SSLStream reads no more once a send has failed. What the
    failure means is found out by reading: there is an answer, an end, or a reset.
    """

    __slots__ = ("_socket", "send_failed")

    def __init__(self, stream: trio.SocketStream) -> None:
        # The bare socket: trio's own wrapping costs a third of an exchange, for a checkpoint at
        # each call, and for checks against two tasks at one end, which the exchange rules out.
        self._socket = socket.socket(fileno=stream.socket.detach())
        self._socket.setblocking(False)
        self.send_failed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        try:
            while rest:
                try:
                    rest = rest[self._socket.send(rest) :]
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self._socket)
        except OSError:
            self.send_failed = True

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.wait_writable(self._socket)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        # An answer takes its time: to wait first spares a call that would find nothing.
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return self._socket.recv(max_bytes or _RECEIVE_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError from error

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()
