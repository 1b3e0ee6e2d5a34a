"""An SMTP client's side of one session: greeting, TLS, login, and one message (RFC 5321).

Every reply is bounded, and nothing that came before a command counts as the reply to it: what a
server sends ahead of STARTTLS's handshake, or of the end of the data, ends the session. The stream
is bare; time is bounded by the caller.
"""

import base64
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

import trio

from relayd.core.outcome import Failure
from relayd.core.smtp import MAIL_SERVER, Smtp
from relayd.transport.errors import AttemptFailed, MailServerFailed
from relayd.transport.streams import SocketStream, Stream, TlsStream

MAX_LINE_BYTES: Final = 2_000
"""RFC 5321 allows 512 for a line of a reply; some servers have longer ones."""
MAX_LINES: Final = 100

WORDS_CHARACTERS: Final = 200
"""So much of a server's own words is kept in a failure's detail."""

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_LINE_START = re.compile(rb"^\.", re.MULTILINE)
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")  # RFC 3463
_NAME = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")

_TRUST_IT: Final = (
    "; to trust a private authority, name its certificate's file in the environment variable"
    " SSL_CERT_FILE"
)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply: its code, and the text of its lines."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def words(self) -> str:
        """Return the text on one line: printable ASCII alone."""
        text = b" ".join(self.lines).decode("ascii", "replace")
        return "".join(char if " " <= char <= "~" else "?" for char in text).strip()


class SmtpSession:
    """One session with a mail server, over an open connection.

    `progress` is told what is waited for, as a noun. `hidden` are texts of which no failure may hold a
    trace, though the server repeats them. Every method raises AttemptFailed.
    """

    def __init__(
        self,
        stream: SocketStream,
        smtp: Smtp,
        *,
        progress: Callable[[str], object],
        hidden: Iterable[tuple[str, str]] = (),
    ) -> None:
        self._socket = stream
        self._stream: Stream = stream
        self._smtp = smtp
        self._progress = progress
        self._hidden = tuple(hidden)
        self._received = b""
        self._able: dict[str, Collection[str]] = {}

    async def open(
        self, context: Callable[[], Awaitable[ssl.SSLContext]], *, name: str, local: bool
    ) -> None:
        """Get as far as mail can be handed over. `name` is what this machine calls itself.

        `local` says that the connection does not leave this machine: without TLS there is no login
        otherwise.
        """
        smtp = self._smtp
        if smtp.tls == "implicit":
            await self._start_tls(await context())
        self._expect(await self._reply("greeting"), 220, "when it was connected to")
        await self._hello(name)
        if smtp.tls == "starttls":
            if "STARTTLS" not in self._able:
                raise self._failed("does not offer STARTTLS, so nothing was sent", Failure.TLS)
            self._expect(await self._command("STARTTLS"), 220, "to STARTTLS")
            if self._received or not self._stream.is_quiet():
                # Who is in between could have put it there: it is not the server's.
                raise self._failed("sent something between STARTTLS and TLS", Failure.TLS)
            await self._start_tls(await context())
            await self._hello(name)
        if smtp.user is not None and smtp.password is not None:
            if smtp.tls == "none" and not local:
                raise self._failed("is another machine: no login is sent to it without TLS")
            await self._login(smtp.user.encode(), smtp.password.secret.key)

    async def send(self, message: bytes, recipient: str) -> Reply:
        """Hand over one message, whose lines end with CRLF; return the reply that took it (250)."""
        self._expect(await self._command(f"MAIL FROM:<{self._smtp.sender}>"), 250, "to MAIL FROM")
        reply = await self._command(f"RCPT TO:<{recipient}>")
        if reply.code != 251:  # it forwards: it has taken it all the same
            self._expect(reply, 250, "to RCPT TO")
        self._expect(await self._command("DATA"), 354, "to DATA")
        self._check_quiet()
        if not self._stream.is_quiet():
            # What is read next must be the reply to the message.
            raise self._failed("sent more than it was asked for, ahead of the message")
        await self._stream.send_all(_LINE_START.sub(b"..", message) + b".\r\n")
        reply = await self._reply("reply to the message")
        self._expect(reply, 250, "to the message")
        return reply

    async def quit(self) -> None:
        """Say goodbye, without waiting for the answer."""
        await self._stream.send_all(b"QUIT\r\n")

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        self._progress(f"TLS connection to the mail server {self._smtp.place}")
        host = self._smtp.host
        stream = TlsStream(
            self._socket, context, name=host.removesuffix("."), host=host, trust=_TRUST_IT
        )
        await stream.handshake()
        self._stream = stream

    async def _hello(self, name: str) -> None:
        reply = await self._command(f"EHLO {name}")
        self._able = {}
        if 500 <= reply.code < 510:  # it knows no EHLO (RFC 5321, section 3.2)
            self._expect(await self._command(f"HELO {name}"), 250, "to HELO")
            return
        self._expect(reply, 250, "to EHLO")
        for line in reply.lines[1:]:
            # Some write `AUTH=LOGIN` beside or instead of `AUTH LOGIN`.
            word, *rest = line.decode("ascii", "replace").upper().replace("=", " ").split()[
                :50
            ] or [""]
            self._able[word] = (*self._able.get(word, ()), *rest)

    async def _login(self, user: bytes, password: bytes) -> None:
        schemes = self._able.get("AUTH", ())
        if "PLAIN" in schemes:
            login = _base64(b"\0".join((b"", user, password)))
            reply = await self._command(f"AUTH PLAIN {login}", "AUTH")
        elif "LOGIN" in schemes:
            self._expect_of_login(await self._command("AUTH LOGIN", "AUTH"), 334, "to AUTH LOGIN")
            self._expect_of_login(await self._command(_base64(user), "AUTH"), 334, "to the user")
            reply = await self._command(_base64(password), "AUTH")
        else:
            offered = ", ".join(sorted(schemes)[:5]) or "none"
            raise self._failed(f"offers no login by PLAIN or LOGIN ({self._shown(offered)})")
        self._expect_of_login(reply, 235, "to the login")

    async def _command(self, command: str, shown: str | None = None) -> Reply:
        if not command.isascii() or "\r" in command or "\n" in command:
            raise ValueError("a command is one line of ASCII")
        self._check_quiet()
        await self._stream.send_all(command.encode() + b"\r\n")
        return await self._reply(
            f"reply to {shown or command.split(':', maxsplit=1)[0].split(maxsplit=1)[0]}"
        )

    def _check_quiet(self) -> None:
        """See to it that what is read next is the reply to what is sent next."""
        if self._received:
            raise self._failed("sent more than one reply to a command")

    async def _reply(self, noun: str) -> Reply:
        self._progress(f"{noun} from the mail server {self._smtp.place}")
        lines: list[bytes] = []
        code = b""
        while True:
            match = _LINE.fullmatch(await self._line())
            if match is None or (code and match[1] != code):
                raise self._failed("sent something that is not SMTP")
            code = match[1]
            lines.append(match[3] or b"")
            if match[2] != b"-":
                return Reply(int(code), tuple(lines))
            if len(lines) == MAX_LINES:
                raise self._failed(f"sent a reply of more than {MAX_LINES} lines")

    async def _line(self) -> bytes:
        while b"\n" not in self._received:
            if len(self._received) > MAX_LINE_BYTES:
                raise self._failed(f"sent a line of more than {MAX_LINE_BYTES:,} bytes")
            try:
                data = await self._stream.receive()
            except trio.BrokenResourceError as error:
                raise self._failed("reset the connection", Failure.RESET) from error
            if not data:
                raise self._failed("closed the connection", Failure.RESET)
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        if len(line) > MAX_LINE_BYTES:
            raise self._failed(f"sent a line of more than {MAX_LINE_BYTES:,} bytes")
        return line.removesuffix(b"\r")

    def _expect(self, reply: Reply, code: int, when: str) -> None:
        if reply.code != code:
            words = self.shown(reply)
            raise self._failed(f"answered {reply.code} {when}" + (f": {words}" if words else ""))

    def _expect_of_login(self, reply: Reply, code: int, when: str) -> None:
        # Without its words: a server may repeat the command, with the login in base64.
        if reply.code != code:
            status = _STATUS.match(reply.words)
            more = "" if status is None else f" ({status[0]})"
            raise self._failed(f"answered {reply.code} {when}{more}")

    def shown(self, reply: Reply) -> str:
        """Return a reply's words as people may see them: nothing that is hidden, and cut to a length."""
        return self._shown(reply.words)

    def _shown(self, words: str) -> str:
        for text, instead in self._hidden:
            parts = re.split(re.escape(text), words, flags=re.IGNORECASE)
            words = instead.join(parts)
        return words if len(words) <= WORDS_CHARACTERS else f"{words[: WORDS_CHARACTERS - 1]}…"

    def _failed(self, words: str, failure: Failure = Failure.SMTP) -> AttemptFailed:
        place = self._smtp.place
        return MailServerFailed(failure, f"the {MAIL_SERVER} {place} {words}", place)


def own_name(local_address: str) -> str:
    """Return what this machine calls itself in EHLO: its full name, or an address in brackets."""
    name = socket.gethostname()
    local_address, _, _ = local_address.partition("%")  # the zone, which no literal has
    if _NAME.fullmatch(name):
        return name
    return f"[IPv6:{local_address}]" if ":" in local_address else f"[{local_address}]"


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
