"""Mail servers for tests: aiosmtpd, which takes mail, and a scripted one that misbehaves.

with mail_server(tls=context) as server:
    … server.port, server.letters
"""

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import trio
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "relayd", "a-password-for-tests"


@dataclass
class MailServer:
    """What came in, and what is answered instead of taking it: `refusals` by command, in turn."""

    port: int = 0
    letters: list[EmailMessage] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    logins: int = 0
    refusals: dict[str, list[str]] = field(default_factory=dict)

    async def handle_RCPT(  # noqa: N802 - as aiosmtpd has it
        self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]
    ) -> str:
        if refusals := self.refusals.get("RCPT"):
            return refusals.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:  # noqa: N802 - see above
        if refusals := self.refusals.get("DATA"):
            return refusals.pop(0)
        assert isinstance(envelope.content, bytes)
        self.raw.append(envelope.content)
        letter = message_from_bytes(envelope.content, policy=default)
        assert isinstance(letter, EmailMessage)
        self.letters.append(letter)
        return "250 2.0.0 kept"

    def authenticate(self, *arguments: Any) -> AuthResult:
        login = arguments[-1]
        assert isinstance(login, LoginPassword)
        self.logins += 1
        right = (login.login, login.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=right, handled=False)


@contextmanager
def mail_server(
    *,
    tls: ssl.SSLContext | None = None,
    implicit: bool = False,
    login: bool = False,
    only: str | None = None,
) -> Iterator[MailServer]:
    """Run aiosmtpd in a thread. `login` demands one, by `only` this scheme if it is given."""
    server = MailServer()
    options: dict[str, Any] = {}
    if login:
        options |= {
            "authenticator": server.authenticate,
            "auth_required": True,
            "auth_require_tls": tls is not None and not implicit,
            "auth_exclude_mechanism": [
                each for each in ("PLAIN", "LOGIN") if only not in {None, each}
            ],
        }
    if implicit:
        options["ssl_context"] = tls
    elif tls is not None:
        options |= {"tls_context": tls, "require_starttls": True}
    controller = Controller(server, hostname="127.0.0.1", port=_free_port(), **options)
    controller.start()
    server.port = controller.port
    try:
        yield server
    finally:
        controller.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


Script = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[int]:
    """Serve each connection by a script; yield the port."""

    async def serve(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await script(stream)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()
