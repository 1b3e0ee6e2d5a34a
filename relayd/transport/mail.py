"""A transport to one mail address, by way of the operator's mail server.

All of them share one lock: there is one connection at a time for all mail. Each connection carries one
message. A refusal of the server is a failure in words, and never a status: 410 or 429 would mean
something else in HTTP.
"""

import ssl
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address, ip_network
from typing import Final

import httpx
import trio

from relayd.config.problem import ConfigError
from relayd.core.addresses import Network
from relayd.core.outcome import Cause, Failure
from relayd.core.smtp import MAIL_SERVER, MAILTO, Smtp, shown_mailto
from relayd.transport.dialer import AddressGuard, Resolve
from relayd.transport.errors import AttemptFailed, MailServerFailed
from relayd.transport.request import Request
from relayd.transport.response import Answer
from relayd.transport.smtp import SmtpSession, own_name
from relayd.transport.streams import SocketStream

ACCEPTED: Final = 250

_EVERYWHERE: Final[Sequence[Network]] = (ip_network("0.0.0.0/0"), ip_network("::/0"))
"""The operator names the mail server; no event and no receiver chooses it."""

_GOODBYE_S: Final = 1.0
_LEAST_HIDDEN: Final = 4
"""A shorter user or password is in too many words to be taken out of them."""


class MailTransport(httpx.AsyncBaseTransport):
    """Sends messages to the address of a mailto URL.

    `turn` is held while there is a connection. `context` returns a TLS context without ALPN; it raises
    ConfigError.
    """

    def __init__(
        self,
        url: str,
        smtp: Smtp,
        *,
        resolve: Resolve,
        turn: trio.Lock,
        context: Callable[[], Awaitable[ssl.SSLContext]],
    ) -> None:
        self._recipient = url.removeprefix(MAILTO)
        self._smtp = smtp
        self._guard = AddressGuard(_EVERYWHERE, resolve=resolve)
        self._turn = turn
        self._context = context
        self._hidden = _hidden(url, smtp)

    async def send(self, request: Request) -> Answer:
        """Send the request's body, a whole message; return 250 and the server's words.

        Raises AttemptFailed. There is no time limit of its own. Cancelling closes the connection.
        """
        place = request.mail_server = self._smtp.place
        request.waiting_for = f"turn at the {MAIL_SERVER} {place}, which is busy with other mail,"
        async with self._turn:
            if request.begins is not None:
                request.begins()
                request.begins = None
            words = await self._deliver(request)
        return Answer(ACCEPTED, [], words.encode())

    async def _deliver(self, request: Request) -> str:
        """Hand the message over; return the words with which the server took it, as they may be shown."""
        smtp = self._smtp
        try:
            return await self._converse(request)
        except MailServerFailed:
            raise
        except AttemptFailed as error:
            words = f"{MAIL_SERVER} {smtp.place}: {error.detail}"
            raise MailServerFailed(error.failure, words, smtp.place) from error

    async def _converse(self, request: Request) -> str:
        smtp, hidden = self._smtp, self._hidden  # others may come while this is under way
        request.waiting_for = f"address for the mail server {smtp.place}"
        addresses = await self._guard.addresses(smtp.host, smtp.port, scheme="smtp")
        request.waiting_for = f"connection to the mail server {smtp.place}"
        opened = await self._guard.dial(addresses, smtp.port)
        try:
            local = ip_address(opened.socket.getpeername()[0]).is_loopback
            name = own_name(opened.socket.getsockname()[0])
        except OSError as error:
            opened.socket.close()
            raise AttemptFailed(Failure.RESET, "the connection was reset at once") from error
        stream = SocketStream(opened)
        try:

            def progress(noun: str) -> None:
                request.waiting_for = noun

            session = SmtpSession(stream, smtp, progress=progress, hidden=hidden)
            await session.open(self._tls_context, name=name, local=local)
            words = session.shown(await session.send(request.body, self._recipient))
            # It has the message: what becomes of the goodbye changes nothing.
            with trio.move_on_after(_GOODBYE_S, shield=True):
                await session.quit()
        finally:
            stream.close()
        return words

    def allow(self, networks: Sequence[Network]) -> None:
        """Do nothing: only the operator's mail server is connected to."""

    def follow(self, other: httpx.AsyncBaseTransport) -> None:
        """Send by the mail server of `other`, which has the same URL, from now on."""
        assert isinstance(other, MailTransport)
        self._smtp, self._hidden = other.sends_with

    @property
    def sends_with(self) -> tuple[Smtp, list[tuple[str, str]]]:
        """The mail server, and what of its words is not shown."""
        return self._smtp, self._hidden

    def close_idle(self, now: float) -> int:  # noqa: ARG002 - as for other transports
        """Return 0: no connection is kept."""
        return 0

    async def _tls_context(self) -> ssl.SSLContext:
        try:
            return await self._context()
        except ConfigError as error:  # what SSL_CERT_FILE names has gone since the start
            raise AttemptFailed(Cause.TLS_FILES, str(error)) from error


def _hidden(url: str, smtp: Smtp) -> list[tuple[str, str]]:
    """Return what a server may repeat in its words and nobody must see, each with what is shown."""
    hidden = [(url.removeprefix(MAILTO), shown_mailto(url).removeprefix(MAILTO))]
    if smtp.user is not None and smtp.password is not None:
        user, password = smtp.user, smtp.password.secret.reveal()
        # As AUTH sends it, first: a server may repeat a command in any of its replies.
        encoded = [f"\0{user}\0{password}", password, user]
        login = [*(b64encode(each.encode()).decode() for each in encoded), password, user]
        hidden[:0] = [(text, "…") for text in login if len(text) >= _LEAST_HIDDEN]
    return hidden
