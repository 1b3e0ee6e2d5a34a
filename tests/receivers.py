"""Receivers that do as a script says: real TCP and TLS servers on 127.0.0.1 that misbehave at will.

A script is a row of acts. Each request, on whichever connection, takes the next act; the last act
is for all that follow. An act is an async function of a `Conversation`; those below cover what
receivers are known to do wrong, and a test may bring its own.

    async with open_receiver(answer(503), answer(200)) as receiver:
        ...  # receiver.url, receiver.requests, receiver.accepted
"""

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import trio
import trustme

LOOPBACK = "127.0.0.1"
_MAX_HEAD_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Received:
    """One whole request. `connection` counts the receiver's connections from 1."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)
    connection: int
    at: float

    def header(self, name: str) -> str | None:
        """Return the one header of this name (any case), or None. Two of them are an error."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) < 2, f"{name} was sent {len(values)} times"
        return values[0] if values else None


class Conversation:
    """A receiver's side of one connection."""

    def __init__(
        self, receiver: "Receiver", stream: trio.abc.Stream, raw: trio.SocketStream, number: int
    ) -> None:
        self.receiver = receiver
        self.stream = stream
        self.raw = raw
        self.number = number
        self.closed = False
        self._buffer = bytearray()

    async def begun(self) -> bool:
        """Wait for the first bytes of a request; False when the client closed instead."""
        return bool(self._buffer) or await self._fill()

    async def gone(self) -> None:
        """Wait until the client has closed its side."""
        while await self._fill():
            pass

    async def read_request(self) -> Received:
        """Read one whole request and record it."""
        while b"\r\n\r\n" not in self._buffer:
            assert len(self._buffer) < _MAX_HEAD_BYTES
            if not await self._fill():
                raise trio.BrokenResourceError("the client closed within a request's head")
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        request_line, *lines = head.decode("latin-1").split("\r\n")
        method, target, version = request_line.split(" ")
        assert version == "HTTP/1.1"
        pairs = [line.split(":", 1) for line in lines]
        headers = tuple((name, value.strip()) for name, value in pairs)
        length = int({name.lower(): value for name, value in headers}.get("content-length", 0))
        self._buffer = bytearray(rest)
        while len(self._buffer) < length:
            if not await self._fill():
                raise trio.BrokenResourceError("the client closed within a request's body")
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        received = Received(method, target, headers, body, self.number, trio.current_time())
        self.receiver.requests.append(received)
        return received

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def close(self) -> None:
        self.closed = True
        await self.raw.aclose()

    async def reset(self) -> None:
        """End the connection with an RST."""
        linger = struct.pack("ii", 1, 0)
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await self.close()

    async def _fill(self) -> bool:
        data = await self.stream.receive_some(65_536)
        self._buffer += data
        return bool(data)


Act = Callable[[Conversation], Awaitable[None]]


@dataclass(slots=True)
class Receiver:
    """What a receiver saw. `accepted` counts connections, `open` those that stand now."""

    url: str
    port: int
    requests: list[Received] = field(default_factory=list)
    accepted: int = 0
    open: int = 0
    server_names: list[str | None] = field(default_factory=list)
    acts_begun: int = 0
    failed_handshakes: int = 0


@asynccontextmanager
async def open_receiver(
    *script: Act,
    tls: ssl.SSLContext | None = None,
    on_connect: Act | None = None,
    host: str = LOOPBACK,
    port: int = 0,
    name: str | None = None,
    backlog: int | None = None,
) -> AsyncIterator[Receiver]:
    """Serve the script (200 to everything, without one) until the block ends.

    `on_connect` takes each new connection before anything is read from it. `name` stands in the URL
    in place of the host, for clients with a resolver of their own.
    """
    acts: Sequence[Act] = script or (answer(200),)
    (listener,) = await trio.open_tcp_listeners(port, host=host, backlog=backlog)
    bound = listener.socket.getsockname()[1]
    scheme = "http" if tls is None else "https"
    receiver = Receiver(f"{scheme}://{name or host}:{bound}/hook", bound)
    if tls is not None:
        tls.sni_callback = lambda _, server_name, __: receiver.server_names.append(server_name)
    converse = partial(_converse, receiver, acts, tls, on_connect)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, converse, [listener]))
        try:
            yield receiver
        finally:
            nursery.cancel_scope.cancel()


async def _converse(
    receiver: Receiver,
    acts: Sequence[Act],
    tls: ssl.SSLContext | None,
    on_connect: Act | None,
    raw: trio.SocketStream,
) -> None:
    receiver.accepted += 1
    receiver.open += 1
    stream: trio.abc.Stream = raw
    if tls is not None:
        stream = trio.SSLStream(raw, tls, server_side=True, https_compatible=True)
    conversation = Conversation(receiver, stream, raw, receiver.accepted)
    try:
        # The client went away, or a test's act broke the connection itself.
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if on_connect is not None:
                await on_connect(conversation)
            if isinstance(stream, trio.SSLStream) and not conversation.closed:
                try:
                    await stream.do_handshake()
                except trio.BrokenResourceError:
                    receiver.failed_handshakes += 1
                    # trio keeps the alert that OpenSSL made; other servers send theirs.
                    await raw.send_all(stream._outgoing.read())
                    raise
            while not conversation.closed and await conversation.begun():
                act = acts[min(receiver.acts_begun, len(acts) - 1)]
                receiver.acts_begun += 1
                await act(conversation)
    finally:
        receiver.open -= 1
        raw.socket.close()


def head(status: int, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """Return an answer's status line and headers."""
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def answer(
    status: int = 200,
    body: bytes = b"ok",
    headers: Sequence[tuple[str, str]] = (),
    *,
    close: bool = False,
) -> Act:
    """Answer as one should. With `close`, close afterwards without having said so."""
    whole = head(status, [("Content-Length", str(len(body))), *headers]) + body
    return raw_answer(whole, close=close)


def raw_answer(data: bytes, *, close: bool = False) -> Act:
    """Read the request, then send these bytes."""

    async def act(conversation: Conversation) -> None:
        await conversation.read_request()
        await conversation.send(data)
        if close:
            await conversation.close()

    return act


def chunked(*parts: bytes, status: int = 200) -> Act:
    """Answer with a chunked body."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))
    return raw_answer(head(status, [("Transfer-Encoding", "chunked")]) + chunks)


def never(*, read: bool = True) -> Act:
    """Take the request (or not even that), and never answer."""

    async def act(conversation: Conversation) -> None:
        if not read:
            await trio.sleep_forever()
        await conversation.read_request()
        await conversation.gone()

    return act


def drip(data: bytes, *, interval_s: float = 1.0, after: bytes = b"") -> Act:
    """Send `after` at once, then `data` one byte at a time."""

    async def act(conversation: Conversation) -> None:
        await conversation.read_request()
        await conversation.send(after)
        for index in range(len(data)):
            await trio.sleep(interval_s)
            await conversation.send(data[index : index + 1])

    return act


def endless(piece: bytes, *, after: bytes = b"", interval_s: float = 0.0) -> Act:
    """Send `after`, then the same piece until the client closes: bodies, headers, 1xx answers."""

    async def act(conversation: Conversation) -> None:
        await conversation.read_request()
        await conversation.send(after)
        while True:
            await conversation.send(piece)
            await trio.sleep(interval_s)

    return act


def informational(count: int, then: bytes, status: int = 102) -> Act:
    """Send so many 1xx answers before the real one."""
    return raw_answer(head(status) * count + then)


def huge_headers(size: int) -> Act:
    """Answer with so many bytes of headers."""
    line = ("X-Filler", "f" * 984)
    return answer(200, headers=[line] * (size // 996 + 1))


def reset(*, after: bytes = b"", read: bool = True) -> Act:
    """Send `after`, then end the connection with an RST."""

    async def act(conversation: Conversation) -> None:
        if read:
            await conversation.read_request()
        if after:
            await conversation.send(after)
        await conversation.reset()

    return act


def close_early(data: bytes = b"") -> Act:
    """Send `data` before the request was read whole, and close."""

    async def act(conversation: Conversation) -> None:
        if data:
            await conversation.send(data)
        await conversation.close()

    return act


def answer_early(data: bytes) -> Act:
    """Send `data` before the request was read whole; read no more, and leave the connection open."""

    async def act(conversation: Conversation) -> None:
        await conversation.send(data)
        await trio.sleep_forever()

    return act


def half_close(data: bytes) -> Act:
    """Send `data`, close the sending side only, and go on reading."""

    async def act(conversation: Conversation) -> None:
        await conversation.read_request()
        await conversation.send(data)
        await conversation.raw.send_eof()
        await conversation.gone()

    return act


def server_tls(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """Return a server's context with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    context.set_alpn_protocols(["http/1.1"])
    return context


def client_tls(authority: trustme.CA, base: ssl.SSLContext) -> ssl.SSLContext:
    """Make a client's context trust this authority, too."""
    authority.configure_trust(base)
    return base


def unused_port(host: str = LOOPBACK) -> int:
    """Return a port on which nothing listens (nor will, unless the system hands it out again)."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
