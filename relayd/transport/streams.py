"""The byte streams below a connection: a bare socket, and TLS over it.

Both answer at any moment, without waiting, whether anything has arrived that nobody has read:
`is_quiet` looks at every layer, the kernel's buffer, undecrypted records and decrypted bytes. A
connection may carry another request only while it is. trio's own SSLStream cannot say it.
"""

import select
import socket
import ssl
from typing import Protocol

import trio

from relayd.core.tls import Tls
from relayd.transport.errors import TRUST_IT, AttemptFailed, tls_failed
from relayd.transport.refused_certificate import refused_certificate

RECEIVE_BYTES = 65_536

_QUIET_READS = 4
"""How often `TlsStream.is_quiet` reads: a receiver that always has more to say is not quiet."""


class Stream(Protocol):
    """What a connection needs of a stream. Only one task may send, and one receive, at a time."""

    async def send_all(self, data: bytes) -> None:
        """Send all of it. A failure is not raised: reading finds out what it means."""

    async def receive(self) -> bytes:
        """Return what arrived next, or nothing at the end.

        Raises trio.BrokenResourceError after a reset, and AttemptFailed (TLS).
        """

    def is_quiet(self) -> bool:
        """Whether the stream is open and nothing has arrived that was not read.

        What is not quiet can only be closed.
        """


class SocketStream:
    """A socket on which a failed send is noted instead of raised.

    A receiver may respond and close before it has read the whole request. Sending then fails while
    the response waits to be read. What the failure means is found out by reading: there is a
    response, an end, or a reset.
    """

    __slots__ = ("_readable", "_socket", "send_failed")

    def __init__(self, stream: trio.SocketStream) -> None:
        # The bare socket: trio's own wrapping costs a third of an exchange, for a checkpoint at
        # each call, and for checks against two tasks at one end, which the exchange rules out.
        self._socket = socket.socket(fileno=stream.socket.detach())
        self._socket.setblocking(False)
        self._readable = select.poll()  # select() itself ends at file descriptor 1023.
        self._readable.register(self._socket.fileno(), select.POLLIN)
        self.send_failed = False

    async def send_all(self, data: bytes) -> None:
        """See `Stream`."""
        rest = memoryview(data)
        try:
            while rest:
                try:
                    rest = rest[self._socket.send(rest) :]
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self._socket)
        except OSError:
            self.send_failed = True

    async def receive(self) -> bytes:
        """See `Stream`."""
        # A response takes its time: to wait first spares a call that would find nothing.
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            data = self.receive_nowait()
            if data is not None:
                return data

    def receive_nowait(self) -> bytes | None:
        """Return what has arrived, nothing at the end, or None when nothing has arrived."""
        try:
            return self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise trio.BrokenResourceError from error

    def is_quiet(self) -> bool:
        """See `Stream`."""
        return not self._readable.poll(0)

    def close(self) -> None:
        """Close the socket. Whoever waits for it gets trio.ClosedResourceError."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class TlsStream:
    """TLS over a socket. `host` is the name that errors mention, `name` the one that is verified.

    `setting` is what the context was made of, beside the public authorities; `trust` says how to trust
    another one.

    The end of the connection counts as the end of what is received, with TLS's goodbye or without:
    HTTP knows by itself whether a response is complete.
    """

    __slots__ = (
        "_host",
        "_incoming",
        "_outgoing",
        "_sending",
        "_setting",
        "_socket",
        "_tls",
        "_trust",
    )

    def __init__(
        self,
        under: SocketStream,
        context: ssl.SSLContext,
        *,
        name: str,
        host: str,
        setting: Tls | None = None,
        trust: str = TRUST_IT,
    ) -> None:
        self._socket = under
        self._host = host
        self._setting = setting
        self._trust = trust
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._sending = False

    async def handshake(self) -> None:
        """Make the connection a TLS one, and verify the certificate. Raises AttemptFailed (TLS)."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
            except ssl.SSLError as error:
                await self._flush()  # the alert that tells the receiver what was wrong
                raise self._failed(error) from error
            else:
                await self._flush()
                return
            try:
                self._put(await self._socket.receive())
            except trio.BrokenResourceError as error:
                raise self._failed(error) from error

    async def send_all(self, data: bytes) -> None:
        """See `Stream`."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._tls.write(rest) :]  # one record each; memory takes all of them
        except ssl.SSLError:  # The receiver has ended TLS, say: reading finds out.
            self._socket.send_failed = True
        await self._flush()

    async def receive(self) -> bytes:
        """See `Stream`."""
        while (data := self._decrypted()) is None:
            # Reading can make something to send (a renegotiation of TLS 1.2).
            await self._flush()
            self._put(await self._socket.receive())
        return data

    def is_quiet(self) -> bool:
        """See `Stream`. Takes in what TLS sends unasked, as session tickets and new keys."""
        for _ in range(_QUIET_READS):
            try:
                if self._decrypted(1) is not None or self._outgoing.pending:
                    return False  # What is to be sent unasked is the start of a renegotiation.
                data = None if self._socket.is_quiet() else self._socket.receive_nowait()
            except (AttemptFailed, trio.BrokenResourceError):
                return False
            if data is None:
                return True
            self._put(data)
        return False

    def _decrypted(self, most: int = RECEIVE_BYTES) -> bytes | None:
        """Return bytes, nothing at the end, or None when more must be received first."""
        try:
            return self._tls.read(most)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError, ssl.SSLSyscallError):
            return b""
        except ssl.SSLError as error:
            raise self._failed(error) from error

    def _put(self, data: bytes) -> None:
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _flush(self) -> None:
        """Send what TLS has made, unless another task is at it, which then sends this, too."""
        if self._sending or not self._outgoing.pending:
            return
        self._sending = True
        try:
            while self._outgoing.pending:
                await self._socket.send_all(self._outgoing.read())
        finally:
            self._sending = False

    def _failed(self, error: Exception) -> AttemptFailed:
        came = None
        if isinstance(error, ssl.SSLCertVerificationError):
            came = refused_certificate(self._tls)
        return tls_failed(error, self._host, self._setting, came, self._trust)
