"""An httpx transport to one origin, with its idle connections.

It uses the latest idle connection first, so that those beyond what the load needs grow old and are
closed.

A receiver may close an idle connection while a request is on its way. So a reused connection that
ends before the first byte of an answer is not a failure: the request is sent once more, on a new
connection. It takes a token of its own, and the receiver may have handled the first one.

It reads no proxy variable and no .netrc: only what is named here decides where a request goes.
"""

import re
import ssl
from collections.abc import Sequence

import httpx
import trio

from relayd.core.addresses import Network
from relayd.core.tls import Tls
from relayd.transport.connection import Connection
from relayd.transport.dialer import AddressGuard
from relayd.transport.errors import AttemptFailed
from relayd.transport.request import Request
from relayd.transport.response import Answer, Headers
from relayd.transport.tls_contexts import EndpointTls

IDLE_S = 4.0
"""How long a connection is kept idle when the receiver does not say how long it keeps it: less
than the 5 s after which Node's and Apache's servers close theirs."""

MAX_IDLE_S = 60.0
"""How long a connection is kept idle at most, whatever the receiver says."""

_KEEP_ALIVE_MARGIN_S = 1.0
"""A connection is given up this long before the receiver would close it, so that a request does
not cross the closing on its way."""

_KEEP_ALIVE_TIMEOUT = re.compile(rb"\btimeout\s*=\s*\"?([0-9]{1,9})")


class Transport(httpx.AsyncBaseTransport):
    """Sends requests to one origin, that of the URL it is made with, over HTTP/1.1.

    The caller bounds the requests under way, and so the connections: there is one for each, and
    never more idle ones than there were requests at a time.
    """

    def __init__(
        self, url: httpx.URL, *, guard: AddressGuard, tls: ssl.SSLContext | EndpointTls
    ) -> None:
        if url.scheme not in ("http", "https") or not url.raw_host:
            raise ValueError("a transport needs an http or https URL with a host")
        self._scheme = url.scheme
        self._host = url.raw_host.decode("ascii")
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._netloc = url.netloc
        self._last_url = url
        self._guard = guard
        self._tls = tls
        self._idle: list[Connection] = []
        self._allowed_count = 0
        self._closed = False

    async def send(self, request: Request) -> Answer:
        """Send the request and return its answer, of which all has been read.

        The body is raw, not decompressed, and has at most MAX_ANSWER_BYTES. Raises AttemptFailed,
        an httpx.TransportError. There is no time limit of its own. Cancelling closes the
        connection.
        """
        if request.url is not self._last_url:  # nearly always it is
            self._check_origin(request.url)
        allowed_count = self._allowed_count
        connection = self._take_idle()
        while True:
            reused = connection is not None
            if connection is None:
                connection = await self._connect(request)
            try:
                answer = await connection.exchange(request)
                break
            except AttemptFailed:
                connection.close()
                if not reused or connection.responded or not await _another_token(request):
                    raise
                connection = None
            except BaseException:
                connection.close()
                raise
        if allowed_count != self._allowed_count:
            connection.close()
        else:
            self._give_back(connection, answer.headers)
        return answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Do what `send` does, for a client of httpx's own."""
        raw = Request(request.url, request.headers.raw, await request.aread())
        answer = await self.send(raw)
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=httpx.ByteStream(answer.body),
            extensions={"http_version": b"HTTP/1.1"},
        )

    def allow(self, networks: Sequence[Network]) -> None:
        """Allow these networks beyond the public ones from now on, and no others.

        Where that is new, idle connections are closed, since they may lead elsewhere; those in use
        are closed when their requests end.
        """
        if self._guard.allow(networks):
            self._connect_anew()

    def follow(self, other: httpx.AsyncBaseTransport) -> None:
        """Connect as `other`, which has the same URL, would, from now on.

        Idle connections and those in use are closed as `allow` says.
        """
        assert isinstance(other, Transport)
        self._guard, self._tls = other.connects_with
        self._connect_anew()

    @property
    def connects_with(self) -> tuple[AddressGuard, ssl.SSLContext | EndpointTls]:
        """Which addresses it dials, and its TLS."""
        return self._guard, self._tls

    def close_idle(self, now: float) -> int:
        """Close the idle connections that are too old or that the receiver closed.

        Returns how many are left. `now` is a moment of trio's clock.
        """
        kept = []
        for connection in self._idle:
            if now < connection.expires_at and connection.is_quiet():
                kept.append(connection)
            else:
                connection.close()
        self._idle = kept
        return len(kept)

    async def aclose(self) -> None:
        """Close all idle connections, and those in use as soon as their requests end."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _check_origin(self, url: httpx.URL) -> None:
        if url.netloc != self._netloc or url.scheme != self._scheme:
            raise ValueError("a transport sends to its own origin only")
        self._last_url = url

    def _connect_anew(self) -> None:
        self._allowed_count += 1
        while self._idle:
            self._idle.pop().close()

    def _take_idle(self) -> Connection | None:
        now = trio.current_time()
        while self._idle:
            connection = self._idle.pop()
            if now < connection.expires_at and connection.is_quiet():
                return connection
            connection.close()
        return None

    def _give_back(self, connection: Connection, headers: Headers) -> None:
        idle_s = _idle_s(headers)
        if self._closed or not connection.reusable or idle_s <= 0:
            connection.close()
            return
        connection.expires_at = trio.current_time() + idle_s
        self._idle.append(connection)

    async def _connect(self, request: Request) -> Connection:
        request.waiting_for = f"address for {self._host}"
        guard, tls = self._guard, self._tls  # another may come while this one waits
        addresses = await guard.addresses(self._host, self._port, scheme=self._scheme)
        context, setting = await self._context_of(tls)
        request.waiting_for = "connection"
        connection = Connection(await guard.dial(addresses, self._port), self._host)
        if self._scheme == "https":
            request.waiting_for = "TLS connection"
            try:
                await connection.start_tls(context, setting)
            except BaseException:
                connection.close()
                raise
        return connection

    async def _context_of(
        self, tls: ssl.SSLContext | EndpointTls
    ) -> tuple[ssl.SSLContext, Tls | None]:
        if isinstance(tls, EndpointTls):
            return await tls.context(self._host), tls.setting
        return tls, None


async def _another_token(request: Request) -> bool:
    if request.another_token is None:
        return True
    request.waiting_for = "token to send it again, after an idle connection was closed,"
    return await request.another_token()


def _idle_s(headers: Headers) -> float:
    """Return how long a connection may be idle after a response with these headers; 0: not at all.

    `Keep-Alive: timeout=N` (RFC 2068, 19.7.1) says it. Where a body was coded in more than chunks,
    others may see its end elsewhere.
    """
    idle_s, chunked = IDLE_S, False
    for name, value in headers:
        lower = name.lower()
        if lower == b"keep-alive":
            match = _KEEP_ALIVE_TIMEOUT.search(value)
            if match is not None:
                idle_s = min(int(match[1]) - _KEEP_ALIVE_MARGIN_S, MAX_IDLE_S)
        elif lower == b"transfer-encoding":
            if chunked or value.lower() != b"chunked":
                return 0.0
            chunked = True
    return idle_s
