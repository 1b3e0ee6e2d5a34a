"""Mail over SMTP, with a real server and with servers that misbehave in every way known."""

import re
import ssl
import threading
from base64 import b64encode
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

import httpx
import pytest
import trio
import trustme
from mail_server import PASSWORD, USER, Script, mail_server, scripted

from relayd.core.endpoint import Endpoint
from relayd.core.outcome import MAIL_CAUSES, Cause, Failure, Outcome
from relayd.core.secret import Secret, SourcedSecret
from relayd.core.smtp import Smtp, SmtpTls
from relayd.core.token_bucket import Rate
from relayd.transport.exchange import attempt
from relayd.transport.request import Request
from relayd.transport.smtp import own_name
from relayd.transport.tls_contexts import tls_context
from relayd.transport.transports import EndpointTransport, Transports

pytestmark = [
    pytest.mark.filterwarnings("ignore:Requiring AUTH:UserWarning"),
    pytest.mark.filterwarnings("ignore:Session.login_data:DeprecationWarning"),
]

URL = "mailto:ops@market.example"
MESSAGE = b"Subject: hello\r\n\r\n.one\r\n..two\r\n.\r\nlast\r\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


def certificate(authority: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def smtp(port: int, tls: SmtpTls = "none", *, password: str | None = None) -> Smtp:
    secret = None if password is None else SourcedSecret(Secret(password), "text")
    user = None if password is None else USER
    return Smtp("localhost", port, tls, "relayd@market.example", user, secret)


def made(server: Smtp, transports: Transports | None = None) -> EndpointTransport:
    endpoint = Endpoint(URL, Rate(100, 60.0), 1, smtp=server)
    return (transports or Transports()).make(endpoint, ())


async def sent(
    server: Smtp, *, timeout_s: float = 10.0, transport: EndpointTransport | None = None
) -> Outcome:
    request = Request(httpx.URL(URL), [], MESSAGE)
    transport = transport or made(server)
    return await attempt(transport, request, timeout_s=timeout_s, now=0.0)


def scripted_replies(*replies: bytes, rest: bytes = b"") -> Script:
    """Return a script that answers the connection, and then line by line."""

    async def script(stream: trio.SocketStream) -> None:
        for reply in replies:
            await stream.send_all(reply)
            if not await stream.receive_some():
                return
        await stream.send_all(rest)
        if rest:
            while await stream.receive_some():
                pass

    return script


async def outcome_of(*replies: bytes, tls: SmtpTls = "none", rest: bytes = b"") -> Outcome:
    async with scripted(scripted_replies(*replies, rest=rest)) as port:
        return await sent(smtp(port, tls))


async def test_a_message_arrives_with_its_dots() -> None:
    with mail_server() as server:
        outcome = await sent(smtp(server.port))
    assert (outcome.status, outcome.failure) == (250, None)
    assert outcome.answer == b"2.0.0 kept"
    assert server.raw[0].endswith(MESSAGE.partition(b"\r\n")[2])


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize("only", ["PLAIN", "LOGIN"])
async def test_a_login_over_tls(authority: trustme.CA, tls: SmtpTls, only: str) -> None:
    context = certificate(authority)
    implicit = tls == "implicit"
    with mail_server(tls=context, implicit=implicit, login=True, only=only) as server:
        outcome = await sent(smtp(server.port, tls, password=PASSWORD))
        assert outcome.succeeded, outcome.detail
        assert (len(server.letters), server.logins) == (1, 1)
        refused = await sent(smtp(server.port, tls, password="wrong-password"))
    assert refused.failure is Failure.SMTP
    assert refused.status is None
    assert "answered 535 to the login" in refused.detail
    assert "wrong-password" not in refused.detail


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_a_certificate_that_nobody_vouches_for(authority: trustme.CA, tls: SmtpTls) -> None:
    context = certificate(authority)
    implicit = tls == "implicit"
    with mail_server(tls=context, implicit=implicit) as server:
        outcome = await sent(smtp(server.port, tls))
        assert server.letters == []
    assert outcome.failure is Failure.TLS
    assert "SSL_CERT_FILE" in outcome.detail
    assert "tls: {" not in outcome.detail


@pytest.mark.usefixtures("trusted")
async def test_a_certificate_for_another_name(authority: trustme.CA) -> None:
    with mail_server(tls=certificate(authority, "other.example")) as server:
        outcome = await sent(smtp(server.port, "starttls"))
    assert outcome.failure is Failure.TLS
    assert "certificate is not for localhost, only for other.example" in outcome.detail


async def test_no_starttls_means_that_nothing_is_sent() -> None:
    with mail_server() as server:
        outcome = await sent(smtp(server.port, "starttls"))
        assert server.letters == []
    assert outcome.failure is Failure.TLS
    assert "does not offer STARTTLS" in outcome.detail


@pytest.mark.parametrize(
    ("step", "refusal"),
    [
        ("RCPT", "550 5.1.1 <OPS@market.example>: no such user"),
        ("RCPT", "410 gone"),
        ("DATA", "429 slow down"),
        ("DATA", "451 4.7.1 greylisted, try again"),
        ("DATA", "554 5.7.1 spam"),
    ],
)
async def test_a_refusal_is_in_the_server_s_words_and_no_status(step: str, refusal: str) -> None:
    with mail_server() as server:
        server.refusals[step] = [refusal]
        outcome = await sent(smtp(server.port))
        again = await sent(smtp(server.port))
    assert (outcome.status, outcome.failure, outcome.gone) == (None, Failure.SMTP, False)
    assert f"answered {refusal[:3]} to" in outcome.detail
    assert refusal.rsplit(maxsplit=1)[-1] in outcome.detail
    assert "ops@" not in outcome.detail.lower()
    assert again.succeeded


OPEN = (b"220 hi\r\n", b"250 hello\r\n", b"250 ok\r\n", b"250 ok\r\n")


@pytest.mark.parametrize(
    ("replies", "rest", "failure", "words"),
    [
        ((b"220 hi\r\n", b"250-a\r\n" * 101), b"", Failure.SMTP, "more than 100 lines"),
        ((b"220 " + b"x" * 5_000,), b"", Failure.SMTP, "more than 2,000 bytes"),
        ((b"220 " + b"x" * 5_000 + b"\r\n",), b"", Failure.SMTP, "more than 2,000 bytes"),
        ((b"HTTP/1.1 400 Bad\r\n",), b"", Failure.SMTP, "not SMTP"),
        ((b"220-a\r\n250 b\r\n",), b"", Failure.SMTP, "not SMTP"),
        ((b"554 no service\r\n",), b"", Failure.SMTP, "answered 554 when it was connected to"),
        ((b"220 hi\r\n250 early\r\n",), b"", Failure.SMTP, "more than one reply"),
        ((*OPEN, b"354 go\r\n250 taken\r\n"), b"", Failure.SMTP, "more than one reply"),
        ((*OPEN, b"354 go\r\n"), b"", Failure.RESET, "closed the connection"),
        ((*OPEN, b"250 go\r\n"), b"", Failure.SMTP, "answered 250 to DATA"),
        ((*OPEN, b"354 go\r\n"), b"251 x\x1b[2J\r\n", Failure.SMTP, "251 to the message: x?[2J"),
    ],
)
async def test_what_is_not_as_it_should_be(
    replies: Sequence[bytes], rest: bytes, failure: Failure, words: str
) -> None:
    outcome = await outcome_of(*replies, rest=rest)
    assert (outcome.failure, outcome.cause) == (failure, MAIL_CAUSES[failure])
    assert re.fullmatch(r"127\.0\.0\.1:\d+|localhost:\d+", outcome.subject)
    assert words in outcome.detail
    assert outcome.status is None
    assert len(outcome.detail) < 400


async def test_what_comes_before_the_handshake_of_starttls_is_not_the_server_s() -> None:
    injected = b"220 go ahead\r\n250-you\r\n250 AUTH PLAIN\r\n"
    outcome = await outcome_of(
        b"220 hi\r\n", b"250-hello\r\n250 STARTTLS\r\n", injected, tls="starttls"
    )
    assert outcome.failure is Failure.TLS
    assert "between STARTTLS and TLS" in outcome.detail


async def test_a_server_that_knows_no_ehlo() -> None:
    taken = (b"220 hi\r\n", b"502 what?\r\n", b"250 hello\r\n", b"250 ok\r\n", b"250 ok\r\n")
    outcome = await outcome_of(*taken, b"354 go\r\n", rest=b"250\r\n")
    assert outcome.succeeded, outcome.detail


@pytest.mark.parametrize(
    ("replies", "words"),
    [
        ((), "no greeting from the mail server"),
        ((b"220 hi\r\n",), "no reply to EHLO from the mail server"),
        ((*OPEN, b"354 go\r\n"), "no reply to the message from the mail server"),
    ],
)
async def test_a_server_that_hangs(replies: Sequence[bytes], words: str) -> None:
    async def script(stream: trio.SocketStream) -> None:
        for reply in replies:
            await stream.send_all(reply)
            await stream.receive_some()
        await trio.sleep_forever()

    async with scripted(script) as port:
        outcome = await sent(smtp(port), timeout_s=0.5)
    assert (outcome.failure, outcome.cause) == (Failure.TIMEOUT, Cause.MAIL_TIMEOUT)
    assert outcome.subject
    assert outcome.detail.startswith(words)


async def test_one_connection_at_a_time_for_all_mail() -> None:
    open_now = most = 0

    async def script(stream: trio.SocketStream) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await trio.sleep(0.02)
        for reply in (*OPEN, b"354 go\r\n"):
            await stream.send_all(reply)
            await stream.receive_some()
        await stream.send_all(b"250 ok\r\n")
        open_now -= 1

    transports = Transports()
    outcomes: list[Outcome] = []

    async def one(port: int) -> None:
        outcomes.append(await sent(smtp(port), transport=made(smtp(port), transports)))

    async with scripted(script) as port, trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(one, port)
        while len(outcomes) < 5:
            await trio.sleep(0.01)
    assert most == 1
    assert all(each.succeeded for each in outcomes)


async def test_waiting_for_the_turn_is_within_the_timeout() -> None:
    async def script(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    transports = Transports()
    outcomes: list[Outcome] = []
    async with scripted(script) as port, trio.open_nursery() as nursery:

        async def one(timeout_s: float) -> None:
            transport = made(smtp(port), transports)
            outcomes.append(await sent(smtp(port), timeout_s=timeout_s, transport=transport))

        nursery.start_soon(one, 1.0)
        await trio.sleep(0.1)
        nursery.start_soon(one, 0.2)
    words = f"no turn at the mail server localhost:{port}, which is busy with other mail,"
    assert outcomes[0].detail == f"{words} within 0.2 s"


async def test_another_server_is_followed() -> None:
    with mail_server() as first, mail_server() as second:
        transport = made(smtp(first.port))
        transport.follow(made(smtp(second.port)))
        assert (await sent(smtp(first.port), transport=transport)).succeeded
        assert (len(first.letters), len(second.letters)) == (0, 1)


async def test_nothing_listens() -> None:
    with mail_server() as server:
        port = server.port
    outcome = await sent(smtp(port))
    assert outcome.failure is Failure.CONNECT
    assert outcome.detail.startswith(f"mail server localhost:{port}: nothing is listening at ")
    # `localhost` may have an address of IPv6 as well.
    assert f"nothing is listening at 127.0.0.1:{port} (connection refused)" in outcome.detail


async def test_no_login_leaves_this_machine_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """`localhost` may be another machine in a hosts file: what counts is who was connected to."""
    monkeypatch.setattr("relayd.transport.mail.ip_address", lambda _: IPv4Address("192.0.2.1"))
    with mail_server(login=True) as server:
        outcome = await sent(smtp(server.port, password=PASSWORD))
        assert server.logins == 0
    assert outcome.failure is Failure.SMTP
    assert "no login is sent to it without TLS" in outcome.detail


async def test_a_server_that_repeats_a_login_gives_nothing_of_it_away() -> None:
    login = b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()

    async def script(stream: trio.SocketStream) -> None:
        for reply in (b"220 hi\r\n", b"250-hello\r\n250 AUTH PLAIN\r\n"):
            await stream.send_all(reply)
            await stream.receive_some()
        await stream.send_all(f"535 5.7.8 what is AUTH PLAIN {login}?\r\n".encode())

    async with scripted(script) as port:
        outcome = await sent(smtp(port, password=PASSWORD))
    assert outcome.detail.endswith("answered 535 to the login (5.7.8)")


@pytest.mark.parametrize("step", ["MAIL FROM", "the message", "250"])
async def test_no_later_reply_repeats_a_login_either(step: str) -> None:
    plain = b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
    lone = b64encode(PASSWORD.encode()).decode()
    said = f"{plain} {lone} {PASSWORD} {USER.upper()} x".encode() * 3
    replies = [b"220 hi\r\n", b"250-hello\r\n250 AUTH PLAIN\r\n", b"235 in\r\n"]
    ok = b"250 ok\r\n"
    replies += {
        "MAIL FROM": [b"550-5.7.8 " + said + b"\r\n550 " + said + b"\r\n"],
        "the message": [ok, ok, b"354 go\r\n", b"554 " + said + b"\r\n"],
        "250": [ok, ok, b"354 go\r\n", b"250 2.0.0 " + said + b"\r\n"],
    }[step]
    async with scripted(scripted_replies(*replies)) as port:
        outcome = await sent(smtp(port, password=PASSWORD))
    assert outcome.succeeded == (step == "250")
    shown = outcome.answer.decode() if outcome.succeeded else outcome.detail.replace("relayd@", "")
    assert "…" in shown
    for secret in (plain, lone, PASSWORD, USER):
        assert secret.lower() not in shown.lower()


async def test_the_loop_goes_on_while_a_tls_context_is_made(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, trusted: None
) -> None:
    del trusted
    here, made_in = threading.get_ident(), []

    def noted(protocols: Sequence[str]) -> ssl.SSLContext:
        made_in.append(threading.get_ident())
        return tls_context(protocols)

    transports = Transports()
    monkeypatch.setattr("relayd.transport.tls_contexts.tls_context", noted)
    with mail_server(tls=certificate(authority), implicit=True) as server:
        transport = made(smtp(server.port, "implicit"), transports)
        for _ in range(2):
            assert (await sent(smtp(server.port), transport=transport)).succeeded
    assert len(made_in) == 1
    assert made_in[0] != here


async def test_a_reply_ahead_of_the_message_is_not_the_reply_to_it() -> None:
    async def script(stream: trio.SocketStream) -> None:
        for reply in OPEN:
            await stream.send_all(reply)
            await stream.receive_some()
        await stream.send_all(b"354 go\r\n250 taken already\r\n")
        await stream.receive_some()

    async with scripted(script) as port:
        outcome = await sent(smtp(port))
    assert outcome.failure is Failure.SMTP
    assert not outcome.succeeded


def test_an_address_with_a_zone_is_named_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "no_name")
    assert own_name("fe80::1%eth0") == "[IPv6:fe80::1]"
    assert own_name("192.0.2.1") == "[192.0.2.1]"
