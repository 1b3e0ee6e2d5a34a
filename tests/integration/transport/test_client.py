"""The transport and its attempts, against receivers that misbehave in every way known."""

import gzip
import os
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Self

import httpx
import pytest
import receivers
import trio
import trustme
from receivers import LOOPBACK, Act, Receiver, answer, head, open_receiver
from trio.testing import MockClock

from relayd import __version__
from relayd.config.problem import ConfigError
from relayd.core.addresses import Address
from relayd.core.outcome import Failure, Outcome
from relayd.transport.client import Transport
from relayd.transport.dialer import AddressGuard
from relayd.transport.exchange import attempt, exchange, timed_out
from relayd.transport.request import build_request
from relayd.transport.response import MAX_ANSWER_BYTES, MAX_INFORMATIONAL, MAX_RECEIVED_BYTES
from relayd.transport.streams import SocketStream
from relayd.transport.tls_contexts import tls_context

THIS_MACHINE = [ip_network("127.0.0.0/8")]
NOW = 1_640_995_200.0
BODY = b'{"id":"evt_1","type":"order.created"}'
LARGE_BODY = b"x" * 1_048_576
HEADERS = [("X-LocallyGrown-Event", "order.created"), ("X-Own", "grüße")]
NAME = "receiver.example"
TCP_CORK = 3  # Linux's: what is sent waits until it is taken away, and goes out together.


async def loopback(host: str, port: int) -> list[Address]:
    await trio.lowlevel.checkpoint()
    return [ip_address(LOOPBACK)]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    return receivers.server_tls(authority.issue_cert(NAME))


@pytest.fixture
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    return receivers.client_tls(authority, tls_context())


@pytest.fixture
def hasty_clock(mock_clock: MockClock) -> MockClock:
    """Return a clock that jumps when nothing has happened for 50 ms, which loopback never takes."""
    mock_clock.autojump_threshold = 0.05
    return mock_clock


@pytest.fixture
def received_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the size of each piece that a transport reads from its socket."""
    sizes: list[int] = []
    original = SocketStream.receive_nowait

    def counted(self: SocketStream) -> bytes | None:
        data = original(self)
        sizes.append(len(data or b""))
        return data

    monkeypatch.setattr(SocketStream, "receive_nowait", counted)
    return sizes


@asynccontextmanager
async def open_transport(
    receiver: Receiver, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Transport]:
    guard = AddressGuard(THIS_MACHINE, resolve=loopback)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if tls is None else tls
    async with Transport(httpx.URL(receiver.url), guard=guard, tls=context) as transport:
        yield transport


async def send(
    transport: httpx.AsyncBaseTransport,
    receiver: Receiver,
    *,
    body: bytes = BODY,
    timeout_s: float = 10.0,
) -> Outcome:
    request = build_request(httpx.URL(receiver.url), HEADERS, body)
    return await attempt(transport, request, timeout_s=timeout_s, now=NOW)


async def outcome_of(*script: Act, body: bytes = BODY, timeout_s: float = 10.0) -> Outcome:
    async with open_receiver(*script) as receiver, open_transport(receiver) as transport:
        return await send(transport, receiver, body=body, timeout_s=timeout_s)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(2):  # Sooner than an idle connection grows too old.
        while not condition():
            await trio.lowlevel.checkpoint()


def has_begun(receiver: Receiver, acts: int) -> bool:
    return receiver.acts_begun == acts


def is_idle(transport: Transport, connections: int) -> bool:
    return transport.close_idle(trio.current_time()) == connections


# What is sent


async def test_a_request_has_each_header_once_and_the_body_as_it_is() -> None:
    async with open_receiver() as receiver, open_transport(receiver) as transport:
        outcome = await send(transport, receiver)

    assert outcome.succeeded
    (request,) = receiver.requests
    assert (request.method, request.target, request.body) == ("POST", "/hook", BODY)
    assert {name: request.header(name) for name, _ in request.headers} == {
        "Host": f"{LOOPBACK}:{receiver.port}",
        "User-Agent": f"relayd/{__version__}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "Connection": "keep-alive",
        "Content-Length": str(len(BODY)),
        "X-LocallyGrown-Event": "order.created",
        "X-Own": "grüße".encode().decode("latin-1"),
    }


async def test_the_operators_own_stand_for_ours_of_the_same_name() -> None:
    own = [("user-agent", "market/1"), ("Content-Type", "application/vnd.market+json")]
    async with open_receiver() as receiver, open_transport(receiver) as transport:
        request = build_request(httpx.URL(receiver.url), [*HEADERS, *own], BODY, own=own)
        outcome = await attempt(transport, request, timeout_s=10.0, now=NOW)

    assert outcome.succeeded
    (received,) = receiver.requests
    assert received.header("User-Agent") == "market/1"
    assert received.header("Content-Type") == "application/vnd.market+json"
    assert received.header("Accept") == "*/*"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://example.com/hook", b"example.com"),
        ("https://example.com:443/hook", b"example.com"),
        ("https://example.com:8443/hook", b"example.com:8443"),
        ("http://[2001:db8::7]:80/", b"[2001:db8::7]"),
        ("https://user:word@bücher.example/", b"xn--bcher-kva.example"),
    ],
)
def test_host_names_the_origin_only(url: str, host: bytes) -> None:
    request = build_request(httpx.URL(url), [], b"")

    assert dict(request.headers)[b"Host"] == host
    assert url not in repr(request)


async def test_a_query_is_sent_and_shown_nowhere() -> None:
    async with open_receiver(answer(500)) as receiver:
        receiver.url += "?token=hidden"
        async with open_transport(receiver) as transport:
            outcome = await send(transport, receiver)

    assert receiver.requests[0].target == "/hook?token=hidden"
    assert "hidden" not in repr(outcome)


async def test_a_request_to_another_origin_is_a_defect() -> None:
    async with open_receiver() as receiver, open_transport(receiver) as transport:
        request = build_request(httpx.URL("http://127.0.0.1:1/"), [], BODY)
        with pytest.raises(ValueError, match="own origin"):
            await attempt(transport, request, timeout_s=10, now=NOW)
    assert receiver.accepted == 0


async def test_an_invalid_header_is_a_defect_that_does_not_show_it() -> None:
    async with open_receiver() as receiver, open_transport(receiver) as transport:
        request = build_request(httpx.URL(receiver.url), [("X-Key", "secret\r\nX: y")], BODY)
        with pytest.raises(httpx.LocalProtocolError) as caught:
            await attempt(transport, request, timeout_s=10, now=NOW)
        await until(lambda: receiver.accepted == 1 and receiver.open == 0)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert receiver.requests == []


async def test_proxy_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_receiver() as proxy, open_receiver() as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        async with open_transport(receiver) as transport:
            assert (await send(transport, receiver)).succeeded

    assert (proxy.accepted, receiver.accepted) == (0, 1)


# What is answered


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_is_a_success(status: int) -> None:
    outcome = await outcome_of(answer(status, b"" if status == 204 else b"thanks"))

    assert outcome.succeeded
    assert (outcome.status, outcome.detail) == (status, "")
    assert outcome.answer == (b"" if status == 204 else b"thanks")
    assert 0 < outcome.duration_s < 5


async def test_the_beginning_of_an_answer_is_kept() -> None:
    outcome = await outcome_of(answer(500, b"x" * 2_000))
    assert outcome.answer == b"x" * 1_024


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (400, "answered 400 Bad Request"),
        (410, "answered 410 Gone"),
        (503, "answered 503 Service Unavailable"),
        (599, "answered 599"),
        (999, "answered 999"),
    ],
)
async def test_other_statuses_fail(status: int, detail: str) -> None:
    outcome = await outcome_of(answer(status, b"why"))

    assert outcome.failure is Failure.STATUS
    assert (outcome.status, outcome.detail, outcome.answer) == (status, detail, b"why")
    assert outcome.gone is (status == 410)


@pytest.mark.parametrize(
    ("location", "detail"),
    [
        ("https://other.example/in?t=1", "redirected to https://other.example/… (not followed)"),
        ("https://other.example/", "redirected to https://other.example/ (not followed)"),
        (
            "https://me:pw@other.example/?t=1",
            "redirected to https://other.example/… (not followed)",
        ),
        ("//me@other.example", "redirected to https://other.example/ (not followed)"),
        ("http://a.example/hook", "redirected to http://a.example/… (not followed)"),
        ("/login?next=x#y", "redirected to another path on the same host (not followed)"),
        ("/hook/", "redirected to its own path with a / behind it (not followed)"),
        ("https://a.example/hook/", "redirected to its own path with a / behind it (not followed)"),
        ("/hook?again=1", "redirected to its own path with another query (not followed)"),
        ("", "redirected to itself (not followed)"),
        ("/a\x1b[31m\u00e9", "redirected to another path on the same host (not followed)"),
        (
            "https://a\x1b[31m\u00e9.example/x",
            "redirected to something that is not a URL (not followed)",
        ),
        ("https://\xe9\x9b.example/x", "redirected to https://\\xe9\\x9b.example/… (not followed)"),
        ("https://" + "a" * 900 + "/x", "redirected to https://" + "a" * 191 + "… (not followed)"),
        ("https://[::1/x", "redirected to something that is not a URL (not followed)"),
        (
            "mailto:me@example.com",
            "redirected to something that is not a web address (mailto:…) (not followed)",
        ),
    ],
)
async def test_a_redirect_fails_and_says_where_it_pointed(location: str, detail: str) -> None:
    def redirect(request: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers=[(b"Location", location.encode("latin-1"))])

    request = build_request(httpx.URL("https://a.example/hook"), [], BODY)
    outcome = await attempt(httpx.MockTransport(redirect), request, timeout_s=10, now=NOW)

    assert outcome.failure is Failure.REDIRECT
    assert (outcome.status, outcome.detail) == (302, detail)


async def test_a_redirect_is_not_followed() -> None:
    async with open_receiver() as target:
        outcome = await outcome_of(answer(307, headers=[("Location", target.url)]))

    assert outcome.failure is Failure.REDIRECT
    assert outcome.detail == f"redirected to {target.url.removesuffix('hook')}… (not followed)"
    assert target.accepted == 0


async def test_a_3xx_without_a_location_is_a_redirect_too() -> None:
    outcome = await outcome_of(answer(304, b""))

    assert (outcome.failure, outcome.detail) == (Failure.REDIRECT, "answered 304 Not Modified")


@pytest.mark.parametrize(
    ("status", "value", "wait_s"),
    [
        (429, "120", 120.0),
        (503, "120", 120.0),
        (503, "1000000000", 86_400.0),
        (503, "Sat, 01 Jan 2022 00:01:40 GMT", 100.0),
        (503, "soon", None),
        (500, "120", None),
        (200, "120", None),
    ],
)
async def test_retry_after_counts_on_429_and_503(
    status: int, value: str, wait_s: float | None
) -> None:
    outcome = await outcome_of(answer(status, headers=[("Retry-After", value)]))

    assert outcome.retry_after_s == wait_s


@pytest.mark.parametrize(
    "act",
    [
        receivers.chunked(b"o", b"k"),
        receivers.raw_answer(b"HTTP/1.0 200 OK\r\n\r\nok", close=True),
        receivers.half_close(head(200, [("Content-Length", "2")]) + b"ok"),
        receivers.informational(MAX_INFORMATIONAL, head(200, [("Content-Length", "2")]) + b"ok"),
        receivers.informational(1, head(200, [("Content-Length", "2")]) + b"ok", status=103),
        receivers.reset(after=head(200, [("Content-Length", "2")]) + b"ok"),
        receivers.raw_answer(head(200, [("Content-Length", "2")]) + b"ok and more than was said"),
    ],
)
async def test_a_whole_answer_in_any_form_is_a_success(act: Act) -> None:
    outcome = await outcome_of(act)

    assert outcome == Outcome(outcome.duration_s, 200, answer=b"ok")


async def test_the_first_kib_of_an_answer_is_kept() -> None:
    body = bytes(range(256)) * 64

    outcome = await outcome_of(answer(200, body))

    assert outcome.answer == body[:1024]


async def test_a_compressed_answer_stays_compressed(received_bytes: list[int]) -> None:
    bomb = gzip.compress(bytes(30_000_000))

    outcome = await outcome_of(answer(200, bomb, [("Content-Encoding", "gzip")]))

    assert outcome.succeeded
    assert outcome.answer == bomb[:1024]
    assert sum(received_bytes) <= MAX_ANSWER_BYTES + 65_536


async def test_an_endless_body_is_read_up_to_the_limit(received_bytes: list[int]) -> None:
    endless = receivers.endless(b"e" * 4096, after=head(200))
    async with open_receiver(endless) as receiver, open_transport(receiver) as transport:
        outcome = await send(transport, receiver)
        assert outcome.succeeded
        assert outcome.answer == b"e" * 1024
        assert sum(received_bytes) <= MAX_ANSWER_BYTES + 65_536
        assert transport.close_idle(trio.current_time()) == 0
        await until(lambda: receiver.accepted == 1 and receiver.open == 0)


async def test_the_transport_gives_16_kib_of_a_longer_answer() -> None:
    async with (
        open_receiver(answer(200, b"l" * 20_000)) as receiver,
        open_transport(receiver) as transport,
    ):
        request = httpx.Request("POST", receiver.url, content=BODY)
        response = await transport.handle_async_request(request)
        assert len(await response.aread()) == MAX_ANSWER_BYTES
        assert transport.close_idle(trio.current_time()) == 0


EARLY_ANSWER = head(200, [("Content-Length", "5")]) + b"early"


@pytest.mark.parametrize("over_tls", [False, True])
@pytest.mark.parametrize("body", [BODY, LARGE_BODY], ids=["small", "large"])
@pytest.mark.parametrize("act", [receivers.close_early, receivers.answer_early])
async def test_an_answer_before_the_body_was_read_counts(
    act: Callable[[bytes], Act],
    body: bytes,
    over_tls: bool,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
) -> None:
    tls = server_tls if over_tls else None
    async with open_receiver(act(EARLY_ANSWER), tls=tls, name=NAME) as receiver:
        for _ in range(5):
            async with open_transport(receiver, client_tls) as transport:
                outcome = await send(transport, receiver, body=body)
                assert outcome == Outcome(outcome.duration_s, 200, answer=b"early")
                if body is LARGE_BODY:
                    assert transport.close_idle(trio.current_time()) == 0


async def test_a_large_body_arrives_whole_and_the_connection_is_kept() -> None:
    async with open_receiver() as receiver, open_transport(receiver) as transport:
        for _ in range(3):
            assert (await send(transport, receiver, body=LARGE_BODY)).succeeded

    assert [request.body for request in receiver.requests] == [LARGE_BODY] * 3
    assert receiver.accepted == 1


# What goes wrong


@pytest.mark.parametrize(
    ("act", "failure", "detail"),
    [
        (
            receivers.reset(),
            Failure.RESET,
            "the receiver reset the connection before it answered",
        ),
        (
            receivers.reset(after=b"HTTP/1.1 200 OK\r\nContent-"),
            Failure.RESET,
            "the receiver reset the connection in the middle of its answer",
        ),
        (
            receivers.raw_answer(b"", close=True),
            Failure.RESET,
            "the receiver closed the connection before it answered",
        ),
        (
            receivers.raw_answer(b"HTTP/1.1 200 OK\r\nContent-", close=True),
            Failure.RESET,
            "the receiver closed the connection in the middle of its answer",
        ),
        (
            receivers.half_close(head(102)),
            Failure.RESET,
            "the receiver closed the connection in the middle of its answer",
        ),
        (
            receivers.huge_headers(300_000),
            Failure.PROTOCOL,
            "the answer's headers are longer than 64 KiB",
        ),
        (
            receivers.endless(b"X-Filler: filler\r\n" * 16, after=b"HTTP/1.1 200 OK\r\n"),
            Failure.PROTOCOL,
            "the answer's headers are longer than 64 KiB",
        ),
        (
            receivers.endless(head(102)),
            Failure.PROTOCOL,
            "more than 8 answers of 1xx, and no other",
        ),
        (
            receivers.raw_answer(head(101, [("Upgrade", "websocket"), ("Connection", "upgrade")])),
            Failure.PROTOCOL,
            None,
        ),
        (
            receivers.raw_answer(b"secret echoed\r\n\r\n"),
            Failure.PROTOCOL,
            "the answer is not valid HTTP/1.1: expected http/, rtsp/ or ice/",
        ),
        (
            receivers.raw_answer(b"HTTP/1.1 200 OK\r\nsecret echoed\r\n\r\n"),
            Failure.PROTOCOL,
            "the answer is not valid HTTP/1.1: invalid header token",
        ),
        (
            receivers.raw_answer(head(200, [("Content-Length", "1"), ("Content-Length", "2")])),
            Failure.PROTOCOL,
            "the answer is not valid HTTP/1.1: duplicate content-length",
        ),
        (
            receivers.raw_answer(b"\x00\xff" * 50_000),
            Failure.PROTOCOL,
            None,
        ),
        (
            receivers.raw_answer(b"SSH-2.0-OpenSSH_9.2\r\n"),
            Failure.PROTOCOL,
            "the answer is not valid HTTP/1.1: expected http/, rtsp/ or ice/",
        ),
        (
            receivers.raw_answer(b"HTTP/1.1 200 OK\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n"),
            Failure.PROTOCOL,
            None,
        ),
        (
            receivers.raw_answer(b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n"),
            Failure.PROTOCOL,
            None,
        ),
        (
            receivers.raw_answer(head(200, [("Content-Length", "2, 3")]) + b"ok"),
            Failure.PROTOCOL,
            None,
        ),
        (
            receivers.endless(b" folded\n" * 64, after=b"HTTP/1.1 200 OK\nX: y\n"),
            Failure.PROTOCOL,
            None,
        ),
        (
            receivers.raw_answer(b"HTTP/1.1 100 Continue\n\n" * (MAX_INFORMATIONAL + 1)),
            Failure.PROTOCOL,
            "more than 8 answers of 1xx, and no other",
        ),
    ],
)
async def test_a_broken_answer_fails_with_words(
    act: Act, failure: Failure, detail: str | None, received_bytes: list[int]
) -> None:
    async with open_receiver(act) as receiver, open_transport(receiver) as transport:
        with trio.fail_after(5):
            outcome = await send(transport, receiver)
        assert outcome.failure is failure
        assert outcome.status is None
        if detail is not None:
            assert outcome.detail == detail
        assert outcome.detail
        assert "secret" not in repr(outcome)
        assert sum(received_bytes) <= MAX_RECEIVED_BYTES + 65_536
        await until(lambda: receiver.accepted == 1 and receiver.open == 0)
        assert receiver.acts_begun == 1


@pytest.mark.parametrize(
    ("act", "detail"),
    [
        (receivers.never(), "no answer within 10 s"),
        (receivers.never(read=False), "no answer within 10 s"),
        (receivers.drip(EARLY_ANSWER), "no answer within 10 s"),
        (receivers.endless(head(102), interval_s=5.0), "no answer within 10 s"),
    ],
)
@pytest.mark.parametrize("body", [BODY, LARGE_BODY], ids=["small", "large"])
async def test_no_whole_answer_within_the_timeout_fails(
    act: Act, detail: str, body: bytes, hasty_clock: MockClock
) -> None:
    async with open_receiver(act) as receiver, open_transport(receiver) as transport:
        outcome = await send(transport, receiver, body=body, timeout_s=10.0)
        assert outcome == Outcome(
            outcome.duration_s, failure=Failure.TIMEOUT, detail=detail, subject="127.0.0.1"
        )
        assert outcome.duration_s == pytest.approx(10.0)
        assert transport.close_idle(trio.current_time()) == 0


CHUNKED = {"Transfer-Encoding": "chunked"}
BROKEN_BODIES: dict[str, tuple[dict[str, str], Callable[[bytes], Act]]] = {
    "reset": ({"Content-Length": "9"}, lambda top: receivers.reset(after=top + b"half")),
    "closed too early": (
        {"Content-Length": "9"},
        lambda top: receivers.raw_answer(top + b"half", close=True),
    ),
    "bad chunk size": (
        CHUNKED,
        lambda top: receivers.raw_answer(top + b"4\r\nhalf\r\nsecret\r\n"),
    ),
    "bad chunk end": (CHUNKED, lambda top: receivers.raw_answer(top + b"4\r\nhalfway\r\n")),
    "no last chunk": (
        CHUNKED,
        lambda top: receivers.raw_answer(top + b"4\r\nhalf\r\n", close=True),
    ),
    "reset without a length": ({}, lambda top: receivers.reset(after=top + b"half")),
    "long chunk headers": (
        CHUNKED,
        lambda top: receivers.endless(
            b"1;" + b"e" * 8190 + b"\r\nf\r\n", after=top + b"3\r\nhal\r\n"
        ),
    ),
    "endless trailers": (
        CHUNKED,
        lambda top: receivers.endless(
            b"X: %b\r\n" % (b"y" * 4096), after=top + b"4\r\nhalf\r\n0\r\n"
        ),
    ),
    "timeout": (
        {"Content-Length": "90"},
        lambda top: receivers.endless(b"", after=top + b"half", interval_s=60.0),
    ),
    "timeout in a chunk": (
        CHUNKED,
        lambda top: receivers.drip(b"half", after=top + b"9\r\n", interval_s=1.0),
    ),
    "timeout without a length": ({}, lambda top: receivers.drip(b"half", after=top)),
    "timeout before the body": (
        {"Content-Length": "9"},
        lambda top: receivers.drip(b"", after=top),
    ),
}
"""Bodies that go wrong behind a complete head, by what goes wrong."""


@pytest.mark.parametrize("over_tls", [False, True])
@pytest.mark.parametrize(
    ("status", "body"),
    [(200, BODY), (200, LARGE_BODY), (503, BODY)],
    ids=["200", "200 to a large one", "503"],
)
@pytest.mark.parametrize("broken", list(BROKEN_BODIES))
async def test_a_complete_head_decides_whatever_happens_to_the_body(
    *,
    broken: str,
    status: int,
    body: bytes,
    over_tls: bool,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
    hasty_clock: MockClock,
) -> None:
    headers, act = BROKEN_BODIES[broken]
    top = head(status, [*headers.items(), ("Retry-After", "30")])
    tls = server_tls if over_tls else None
    async with (
        open_receiver(act(top), answer(200), tls=tls, name=NAME) as receiver,
        open_transport(receiver, client_tls) as transport,
    ):
        outcome = await send(transport, receiver, body=body)
        assert outcome.status == status
        assert outcome.succeeded is (status == 200)
        assert outcome.failure is (None if status == 200 else Failure.STATUS)
        assert outcome.retry_after_s == (None if status == 200 else 30.0)
        assert b"half".startswith(outcome.answer[:4])
        assert outcome.duration_s <= 10.1
        assert transport.close_idle(trio.current_time()) == 0
        assert (await send(transport, receiver)).succeeded
        assert receiver.accepted == 2


LENIENT_HEADS = {
    "folded": b"HTTP/1.1 200 OK\r\nX: one\r\n two\r\n\tthree\r\nContent-Length: 2\r\n\r\n",
    "folded length": b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n\r\n",
    "equal lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n",
    "equal lengths in one line": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 2\nX: y\n\n",
    "bare LF after the status": b"HTTP/1.1 200\nContent-Length: 2\r\nX: y\r\n\r\n",
    "bare LF after 1xx": b"HTTP/1.1 102 P\n\nHTTP/1.1 200 OK\nContent-Length: 2\n\n",
    "folded after 1xx": (
        b"HTTP/1.1 102 P\r\n\r\nHTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\n"
    ),
}
LENIENT_ANSWERS = {name: top + b"ok" for name, top in LENIENT_HEADS.items()} | {
    "length, then chunks": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nok\r\n0\r\n\r\n"
    ),
    "chunks, then length": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"
        b"2\r\nok\r\n0\r\n\r\n"
    ),
}
"""Answers that are not as they should be, and that curl, Go and httpx accept."""


@pytest.mark.parametrize("pieces", ["whole", "bytes"])
@pytest.mark.parametrize("name", list(LENIENT_ANSWERS))
async def test_a_lenient_answer_is_a_success_and_ends_the_connection(
    name: str, pieces: str
) -> None:
    data = LENIENT_ANSWERS[name]
    act = (
        receivers.raw_answer(data) if pieces == "whole" else receivers.drip(data, interval_s=0.0005)
    )
    async with open_receiver(act, answer(200)) as receiver, open_transport(receiver) as transport:
        outcome = await send(transport, receiver)
        assert outcome == Outcome(outcome.duration_s, 200, answer=b"ok")
        assert transport.close_idle(trio.current_time()) == 0
        assert (await send(transport, receiver)).succeeded
        assert receiver.accepted == 2


async def test_what_stands_behind_a_lenient_answer_is_nobodys() -> None:
    # Read by its length, a second answer follows; read by its chunks, it is the first one's body.
    inner = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    data = (
        b"HTTP/1.1 500 Whatever\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\n" + inner
    )
    async with (
        open_receiver(receivers.raw_answer(data), answer(503)) as receiver,
        open_transport(receiver) as transport,
    ):
        assert (await send(transport, receiver)).status == 500
        assert (await send(transport, receiver)).status == 503

    assert receiver.accepted == 2


async def test_trailers_are_not_headers() -> None:
    data = head(503, [("Transfer-Encoding", "chunked")]) + b"0\r\nRetry-After: 86400\r\n\r\n"

    outcome = await outcome_of(receivers.raw_answer(data))

    assert (outcome.status, outcome.retry_after_s) == (503, None)


async def test_a_slow_whole_answer_within_the_timeout_succeeds(hasty_clock: MockClock) -> None:
    outcome = await outcome_of(
        receivers.drip(b"dripped", after=head(200, [("Content-Length", "7")]))
    )

    assert outcome.answer == b"dripped"
    assert outcome.duration_s == pytest.approx(7.0)


async def test_a_hanging_look_up_ends_at_the_deadline(hasty_clock: MockClock) -> None:
    async def hang(host: str, port: int) -> list[Address]:
        await trio.sleep_forever()
        raise AssertionError

    url = httpx.URL("https://hangs.example/hook?token=hidden")
    transport = Transport(url, guard=AddressGuard(resolve=hang), tls=tls_context())

    outcome = await attempt(transport, build_request(url, [], BODY), timeout_s=2.5, now=NOW)

    assert outcome.failure is Failure.TIMEOUT
    assert outcome.detail == "no address for hangs.example within 2.5 s"
    assert outcome.duration_s == pytest.approx(2.5)


async def test_a_hanging_handshake_ends_at_the_deadline(
    hasty_clock: MockClock, client_tls: ssl.SSLContext
) -> None:
    async with open_receiver(receivers.never(read=False)) as receiver:
        receiver.url = receiver.url.replace("http:", "https:")
        async with open_transport(receiver, client_tls) as transport:
            outcome = await send(transport, receiver)
            assert (outcome.failure, outcome.detail) == (
                Failure.TIMEOUT,
                "no TLS connection within 10 s",
            )


async def test_an_address_that_may_not_be_dialled_fails() -> None:
    async with open_receiver() as receiver:
        url = httpx.URL(receiver.url.replace("http:", "https:"))
        transport = Transport(url, guard=AddressGuard(resolve=loopback), tls=tls_context())
        outcome = await attempt(transport, build_request(url, [], BODY), timeout_s=10, now=NOW)

    assert outcome.failure is Failure.ADDRESS
    assert "127.0.0.1 is not public" in outcome.detail
    assert receiver.accepted == 0


async def test_a_refused_connection_fails() -> None:
    port = receivers.unused_port()
    url = httpx.URL(f"http://{LOOPBACK}:{port}/")
    transport = Transport(url, guard=AddressGuard(THIS_MACHINE), tls=tls_context())

    outcome = await attempt(transport, build_request(url, [], BODY), timeout_s=10, now=NOW)

    assert (outcome.failure, outcome.detail) == (
        Failure.CONNECT,
        f"nothing is listening at 127.0.0.1:{port} (connection refused)",
    )


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (httpx.ConnectTimeout("x"), Failure.TIMEOUT),
        (httpx.ReadTimeout("x"), Failure.TIMEOUT),
        (httpx.ConnectError("x"), Failure.CONNECT),
        (httpx.ReadError("x"), Failure.RESET),
        (httpx.WriteError("x"), Failure.RESET),
        (httpx.RemoteProtocolError("x"), Failure.PROTOCOL),
    ],
)
async def test_any_transports_errors_are_values(
    error: httpx.TransportError, failure: Failure
) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    request = build_request(httpx.URL("https://a.example"), [], BODY)
    outcome = await attempt(httpx.MockTransport(fail), request, timeout_s=10, now=NOW)

    assert outcome.failure is failure
    assert outcome.detail


async def test_any_transports_streams_are_read_up_to_the_limit() -> None:
    given = 0

    class Endless(httpx.AsyncByteStream):
        closed = False

        def __aiter__(self) -> Self:
            return self

        async def __anext__(self) -> bytes:
            nonlocal given
            await trio.lowlevel.checkpoint()
            given += 1000
            return b"s" * 1000

        async def aclose(self) -> None:
            self.closed = True

    stream = Endless()
    request = build_request(httpx.URL("https://a.example"), [], BODY)
    mock = httpx.MockTransport(lambda _: httpx.Response(200, stream=stream))

    outcome = await attempt(mock, request, timeout_s=10, now=NOW)

    assert outcome.answer == b"s" * 1024
    assert given <= MAX_ANSWER_BYTES + 1000
    assert stream.closed


async def test_a_defect_passes_through() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError

    request = build_request(httpx.URL("https://a.example"), [], BODY)
    with pytest.raises(ZeroDivisionError):
        await attempt(httpx.MockTransport(fail), request, timeout_s=10, now=NOW)


# Connections


async def test_one_connection_serves_many_requests() -> None:
    script = [
        answer(200),
        answer(500),
        receivers.chunked(b"a", b"b"),
        answer(204, b""),
        answer(200),
    ]
    async with open_receiver(*script) as receiver, open_transport(receiver) as transport:
        for _ in range(20):
            await send(transport, receiver)
        assert transport.close_idle(trio.current_time()) == 1

    assert len(receiver.requests) == 20
    assert receiver.accepted == 1


async def test_the_latest_idle_connection_is_used_first() -> None:
    gates = [trio.Event() for _ in range(3)]

    def gated(number: int) -> Act:
        async def act(conversation: receivers.Conversation) -> None:
            await gates[number].wait()
            await answer(200)(conversation)

        return act

    async with (
        open_receiver(gated(0), gated(1), gated(2), answer(200)) as receiver,
        open_transport(receiver) as transport,
        trio.open_nursery() as nursery,
    ):
        for number in range(3):
            nursery.start_soon(send, transport, receiver)
            await until(partial(has_begun, receiver, number + 1))
        for idle, number in enumerate((2, 0, 1), start=1):
            gates[number].set()
            await until(partial(is_idle, transport, idle))
        for _ in range(4):
            await send(transport, receiver)

    assert receiver.accepted == 3
    given_back_last = receiver.requests[2].connection
    assert [request.connection for request in receiver.requests[3:]] == [given_back_last] * 4


@pytest.mark.parametrize(
    ("headers", "kept_s"),
    [
        ([], 4.0),
        ([("Keep-Alive", "timeout=5")], 4.0),
        ([("Keep-Alive", "timeout=30, max=100")], 29.0),
        ([("Keep-Alive", "max=100, timeout=20")], 19.0),
        ([("Keep-Alive", "timeout=600")], 60.0),
        ([("Keep-Alive", "timeout=2")], 1.0),
        ([("Keep-Alive", "max=3")], 4.0),
        ([("Keep-Alive", "timeout=junk")], 4.0),
        ([("Keep-Alive", "timeout=1")], 0.0),
        ([("Keep-Alive", "timeout=0")], 0.0),
        ([("Connection", "close")], 0.0),
    ],
)
async def test_an_idle_connection_is_kept_for_so_long(
    headers: list[tuple[str, str]], kept_s: float, mock_clock: MockClock
) -> None:
    async with (
        open_receiver(answer(200, headers=headers)) as receiver,
        open_transport(receiver) as transport,
    ):
        await send(transport, receiver)
        if kept_s:
            mock_clock.jump(kept_s - 0.01)
            assert transport.close_idle(trio.current_time()) == 1
            await send(transport, receiver)
            assert receiver.accepted == 1
            mock_clock.jump(kept_s)
        await send(transport, receiver)
        assert receiver.accepted == 2
        mock_clock.jump(kept_s)
        assert transport.close_idle(trio.current_time()) == 0
        await until(lambda: receiver.open == 0)


@pytest.mark.parametrize("over_tls", [False, True])
@pytest.mark.parametrize(
    "ending",
    [
        receivers.Conversation.close,
        receivers.Conversation.reset,
        lambda conversation: conversation.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n"),
    ],
    ids=["closed", "reset", "unasked"],
)
async def test_an_idle_connection_that_ended_is_noticed(
    ending: Callable[[receivers.Conversation], Awaitable[None]],
    over_tls: bool,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
) -> None:
    end, ended = trio.Event(), trio.Event()

    async def answer_and_end(conversation: receivers.Conversation) -> None:
        await answer(200)(conversation)
        await end.wait()
        await ending(conversation)
        ended.set()

    tls = server_tls if over_tls else None
    async with (
        open_receiver(answer_and_end, answer(200), tls=tls, name=NAME) as receiver,
        open_transport(receiver, client_tls) as transport,
    ):
        assert (await send(transport, receiver)).succeeded
        assert transport.close_idle(trio.current_time()) == 1
        end.set()
        await ended.wait()
        assert (await send(transport, receiver)).succeeded

    assert len(receiver.requests) == 2
    assert receiver.accepted == 2


WHOLE = head(200, [("Content-Length", "2")]) + b"ok"


def in_pieces(*pieces: bytes) -> Act:
    """Send the pieces one after the other, each as TLS records of its own, in one segment."""

    async def act(conversation: receivers.Conversation) -> None:
        await conversation.read_request()
        conversation.raw.setsockopt(socket.IPPROTO_TCP, TCP_CORK, 1)
        for piece in pieces:
            await conversation.send(piece)
        conversation.raw.setsockopt(socket.IPPROTO_TCP, TCP_CORK, 0)

    return act


@pytest.mark.parametrize("over_tls", [False, True])
@pytest.mark.parametrize(
    "pieces",
    [
        (WHOLE, WHOLE),
        (WHOLE + WHOLE,),
        (WHOLE, WHOLE[:1], WHOLE[1:]),
        (WHOLE, b" and more"),
        (WHOLE, b"\r\n"),
        (WHOLE, b"x" * 70_000),
    ],
    ids=["a second answer", "in one record", "byte by byte", "more body", "a line", "a lot"],
)
async def test_what_came_unasked_is_never_the_next_requests_answer(
    pieces: tuple[bytes, ...],
    over_tls: bool,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
) -> None:
    tls = server_tls if over_tls else None
    script = (in_pieces(*pieces), answer(503), in_pieces(*pieces), answer(500))
    async with (
        open_receiver(*script, tls=tls, name=NAME) as receiver,
        open_transport(receiver, client_tls) as transport,
    ):
        outcomes = [await send(transport, receiver) for _ in script]

    assert [outcome.status for outcome in outcomes] == [200, 503, 200, 500]
    assert len(receiver.requests) == 4


@pytest.mark.parametrize("over_tls", [False, True])
async def test_what_comes_later_unasked_is_not_the_next_requests_answer(
    over_tls: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    go, sent = trio.Event(), trio.Event()

    async def answer_and_more(conversation: receivers.Conversation) -> None:
        await answer(200)(conversation)
        await go.wait()
        await conversation.send(WHOLE)
        sent.set()

    tls = server_tls if over_tls else None
    async with (
        open_receiver(answer_and_more, answer(503), tls=tls, name=NAME) as receiver,
        open_transport(receiver, client_tls) as transport,
    ):
        assert (await send(transport, receiver)).status == 200
        assert transport.close_idle(trio.current_time()) == 1
        go.set()
        await sent.wait()
        assert (await send(transport, receiver)).status == 503
        assert receiver.accepted == 2


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_session_tickets_cost_no_connection(
    version: ssl.TLSVersion, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    server_tls.minimum_version = server_tls.maximum_version = version
    server_tls.num_tickets = 4
    async with (
        open_receiver(tls=server_tls, name=NAME) as receiver,
        open_transport(receiver, client_tls) as transport,
    ):
        for _ in range(5):
            assert (await send(transport, receiver)).succeeded
            assert transport.close_idle(trio.current_time()) == 1

    assert receiver.accepted == 1


ENDINGS = {
    "closed": receivers.Conversation.close,
    "reset": receivers.Conversation.reset,
}


@pytest.mark.parametrize("over_tls", [False, True])
@pytest.mark.parametrize("body", [BODY, LARGE_BODY], ids=["small", "large"])
@pytest.mark.parametrize("ending", list(ENDINGS))
async def test_a_reused_connection_that_ends_without_a_byte_is_no_failure(
    ending: str,
    body: bytes,
    over_tls: bool,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
) -> None:
    async def end(conversation: receivers.Conversation) -> None:
        # What an idle connection's closing looks like when it crosses a request on its way.
        await ENDINGS[ending](conversation)

    tls = server_tls if over_tls else None
    tokens = 0

    async def another_token() -> bool:
        nonlocal tokens
        tokens += 1
        await trio.lowlevel.checkpoint()
        return True

    async with (
        open_receiver(answer(200), end, answer(202), tls=tls, name=NAME) as receiver,
        open_transport(receiver, client_tls) as transport,
    ):
        assert (await send(transport, receiver)).status == 200
        request = build_request(httpx.URL(receiver.url), HEADERS, body, another_token)
        outcome = await exchange(transport, request, now=NOW)
        assert outcome.status == 202
        assert (await send(transport, receiver)).status == 202
        await until(lambda: receiver.open == 1)

    assert tokens == 1
    assert receiver.accepted == 2
    sent_again = receiver.requests[1]
    assert (sent_again.connection, sent_again.body) == (2, body)


@pytest.mark.parametrize(
    ("ending", "detail"),
    [
        (receivers.reset(), "the receiver reset the connection before it answered"),
        (
            receivers.raw_answer(b"", close=True),
            "the receiver closed the connection before it answered",
        ),
    ],
)
async def test_a_new_connection_that_ends_without_a_byte_is_a_failure(
    ending: Act, detail: str
) -> None:
    # The first for each; the second is the one on which the request was sent once more.
    async with (
        open_receiver(ending, answer(200), ending, ending, answer(200)) as receiver,
        open_transport(receiver) as transport,
    ):
        outcomes = [await send(transport, receiver) for _ in range(4)]

    assert [outcome.status for outcome in outcomes] == [None, 200, None, 200]
    assert [outcomes[0].detail, outcomes[2].detail] == [detail] * 2
    assert [request.connection for request in receiver.requests] == [1, 2, 2, 3, 4]


@pytest.mark.parametrize(
    "ending",
    [
        receivers.reset(after=b"H"),
        receivers.raw_answer(b"HTTP/1.1 200 OK\r\nContent-", close=True),
        receivers.raw_answer(b"nonsense"),
        receivers.raw_answer(head(102), close=True),
    ],
)
async def test_a_request_is_not_sent_again_once_a_byte_came_back(ending: Act) -> None:
    async with (
        open_receiver(answer(200), ending, answer(200)) as receiver,
        open_transport(receiver) as transport,
    ):
        assert (await send(transport, receiver)).succeeded
        outcome = await send(transport, receiver)

    assert outcome.failure in {Failure.RESET, Failure.PROTOCOL}
    assert [request.connection for request in receiver.requests] == [1, 1]


async def test_without_another_token_in_time_the_attempt_fails(hasty_clock: MockClock) -> None:
    async def never() -> bool:
        await trio.sleep_forever()
        raise AssertionError

    async with (
        open_receiver(answer(200), receivers.reset(), answer(200)) as receiver,
        open_transport(receiver) as transport,
    ):
        assert (await send(transport, receiver)).succeeded
        request = build_request(httpx.URL(receiver.url), HEADERS, BODY, never)
        with trio.move_on_after(10):
            await exchange(transport, request, now=NOW)
        outcome = timed_out(request, 10, now=NOW)
        await until(lambda: receiver.open == 0)

    assert outcome.failure is Failure.TIMEOUT
    assert "token" in outcome.detail
    assert [request.connection for request in receiver.requests] == [1, 1]


async def test_an_endpoint_that_starts_nothing_sends_nothing_again() -> None:
    async def none_any_more() -> bool:
        await trio.lowlevel.checkpoint()
        return False

    async with (
        open_receiver(answer(200), receivers.reset(), answer(200)) as receiver,
        open_transport(receiver) as transport,
    ):
        assert (await send(transport, receiver)).succeeded
        request = build_request(httpx.URL(receiver.url), HEADERS, BODY, none_any_more)
        outcome = await exchange(transport, request, now=NOW)

    assert outcome.detail == "the receiver reset the connection before it answered"
    assert len(receiver.requests) == 2


async def test_other_networks_end_connections_in_use_after_their_request() -> None:
    go = trio.Event()

    async def wait_and_answer(conversation: receivers.Conversation) -> None:
        await go.wait()
        await answer(200)(conversation)

    async with (
        open_receiver(wait_and_answer, answer(200)) as receiver,
        open_transport(receiver) as transport,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, transport, receiver)
            await until(lambda: receiver.acts_begun == 1)
            transport.allow([])
            go.set()
        assert len(receiver.requests) == 1
        assert transport.close_idle(trio.current_time()) == 0
        assert (await send(transport, receiver)).failure is Failure.ADDRESS


@pytest.mark.parametrize(
    "act",
    [
        receivers.half_close(head(200, [("Content-Length", "2")]) + b"ok"),
        receivers.raw_answer(head(200, [("Content-Length", "2")]) + b"ok and more"),
        receivers.raw_answer(head(200, [("Content-Length", "2")]) + b"ok", close=True),
        answer(200, headers=[("Connection", "close")]),
        receivers.raw_answer(head(200, [("Transfer-Encoding", "chunked")] * 2) + b"0\r\n\r\n"),
        receivers.raw_answer(head(200, [("Transfer-Encoding", "gzip, chunked")]) + b"0\r\n\r\n"),
    ],
)
async def test_a_connection_that_cannot_go_on_is_not_used_again(act: Act) -> None:
    async with (
        open_receiver(act, answer(200)) as receiver,
        open_transport(receiver) as transport,
    ):
        assert (await send(transport, receiver)).succeeded
        await until(lambda: transport.close_idle(trio.current_time()) == 0)
        assert (await send(transport, receiver)).succeeded

    assert [request.connection for request in receiver.requests] == [1, 2]


async def test_closing_ends_idle_connections_and_then_those_in_use() -> None:
    go = trio.Event()

    async def wait_and_answer(conversation: receivers.Conversation) -> None:
        await go.wait()
        await answer(200)(conversation)

    async with (
        open_receiver(answer(200), wait_and_answer) as receiver,
        open_transport(receiver) as transport,
        trio.open_nursery() as nursery,
    ):
        await send(transport, receiver)
        nursery.start_soon(send, transport, receiver)
        await until(lambda: receiver.acts_begun == 2)
        await transport.aclose()
        assert receiver.open == 1
        go.set()
        await until(lambda: receiver.open == 0)

    assert len(receiver.requests) == 2


class CancelAtStep(trio.abc.Instrument):
    """Cancel a scope just before a task's n-th step."""

    def __init__(self, task: trio.lowlevel.Task, step: int, scope: trio.CancelScope) -> None:
        self.task, self.step, self.scope = task, step, scope

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.step -= 1
            if self.step == 0:
                self.scope.cancel()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("over_tls", [False, True])
@pytest.mark.parametrize("body", [BODY, LARGE_BODY], ids=["small", "large"])
async def test_cancelling_at_any_step_leaks_nothing(
    body: bytes,
    over_tls: bool,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
) -> None:
    async def two_addresses(host: str, port: int) -> list[Address]:
        await trio.lowlevel.checkpoint()
        return [ip_address("127.0.0.2"), ip_address(LOOPBACK)]  # The first refuses.

    async def cancelled_at(step: int) -> bool:
        before = open_files()
        tls = server_tls if over_tls else None
        async with open_receiver(tls=tls, name=NAME) as receiver:
            url = httpx.URL(receiver.url)
            guard = AddressGuard(THIS_MACHINE, resolve=two_addresses)
            async with Transport(url, guard=guard, tls=client_tls) as transport:
                with trio.CancelScope() as scope:
                    task = trio.lowlevel.current_task()
                    instrument = CancelAtStep(task, step, scope)
                    trio.lowlevel.add_instrument(instrument)
                    try:
                        await send(transport, receiver, body=body)
                    finally:
                        trio.lowlevel.remove_instrument(instrument)
                if scope.cancelled_caught:
                    assert transport.close_idle(trio.current_time()) == 0
                    await until(lambda: receiver.open == 0)
        assert open_files() == before
        return scope.cancelled_caught

    steps = 1
    while await cancelled_at(steps):
        steps += 1
        assert steps < 500
    assert steps > 4


async def test_a_cancelled_attempt_is_no_outcome() -> None:
    async with open_receiver(receivers.never()) as receiver, open_transport(receiver) as transport:
        with trio.move_on_after(0.05) as scope:
            await send(transport, receiver)
        assert scope.cancelled_caught
        await until(lambda: receiver.open == 0)


# TLS


async def test_tls_names_and_verifies_the_host(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async with (
        open_receiver(tls=server_tls, name=NAME) as receiver,
        open_transport(receiver, client_tls) as transport,
    ):
        for _ in range(3):
            assert (await send(transport, receiver)).succeeded

    assert receiver.server_names == [NAME]
    assert receiver.requests[0].header("Host") == f"{NAME}:{receiver.port}"
    assert receiver.accepted == 1


async def test_an_international_name_goes_out_in_its_ascii_form(
    authority: trustme.CA, client_tls: ssl.SSLContext
) -> None:
    server = receivers.server_tls(authority.issue_cert("xn--bcher-kva.example"))
    async with (
        open_receiver(tls=server, name="bücher.example") as receiver,
        open_transport(receiver, client_tls) as transport,
    ):
        outcome = await send(transport, receiver)

    assert outcome.succeeded, outcome.detail
    assert receiver.server_names == ["xn--bcher-kva.example"]


@pytest.mark.parametrize("host", [f"{NAME}.", LOOPBACK])
async def test_a_root_dot_and_an_address_are_verified_too(
    host: str, authority: trustme.CA, client_tls: ssl.SSLContext
) -> None:
    server = receivers.server_tls(authority.issue_cert(NAME, LOOPBACK))
    async with (
        open_receiver(tls=server, name=host) as receiver,
        open_transport(receiver, client_tls) as transport,
    ):
        outcome = await send(transport, receiver)

    assert outcome.succeeded, outcome.detail
    # As curl and browsers do: SNI without the dot (and none for an address), Host with it.
    assert receiver.server_names == [NAME if host == f"{NAME}." else None]
    assert receiver.requests[0].header("Host") == f"{host}:{receiver.port}"


def expired(authority: trustme.CA) -> trustme.LeafCert:
    past = datetime.now(UTC) - timedelta(days=2)
    return authority.issue_cert(NAME, not_before=past - timedelta(days=9), not_after=past)


def not_yet_valid(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert(NAME, not_before=datetime.now(UTC) + timedelta(days=2))


def for_another(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("other.example")


def of_another_authority(authority: trustme.CA) -> trustme.LeafCert:
    return trustme.CA().issue_cert(NAME)


@pytest.mark.parametrize(
    ("certificate", "detail"),
    [
        (expired, "certificate has expired (on 2"),
        (not_yet_valid, "certificate is not valid yet"),
        (for_another, f"certificate is not for {NAME}, only for other.example"),
        (of_another_authority, "certificate comes from an authority that is not trusted here"),
    ],
)
async def test_a_bad_certificate_fails_with_words(
    certificate: Callable[[trustme.CA], trustme.LeafCert],
    detail: str,
    authority: trustme.CA,
    client_tls: ssl.SSLContext,
) -> None:
    server = receivers.server_tls(certificate(authority))
    async with (
        open_receiver(tls=server, name=NAME) as receiver,
        open_transport(receiver, client_tls) as transport,
    ):
        outcome = await send(transport, receiver)
        await until(lambda: receiver.open == 0)

    assert outcome.failure is Failure.TLS
    assert outcome.detail.startswith(detail)
    assert receiver.requests == []


async def test_a_self_signed_certificate_fails_with_words(client_tls: ssl.SSLContext) -> None:
    lonely = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with lonely.cert_pem.tempfile() as certificate, lonely.private_key_pem.tempfile() as key:
        server.load_cert_chain(certificate, key)
    async with (
        open_receiver(tls=server, name=NAME) as receiver,
        open_transport(receiver, client_tls) as transport,
    ):
        outcome = await send(transport, receiver)

    assert outcome.failure is Failure.TLS
    assert outcome.detail == (
        "certificate is self-signed, so it is not trusted; to trust a private authority, name its"
        " certificate in `tls: {ca: FILE}`"
    )


async def test_a_receiver_with_old_tls_only_fails_with_words(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        server_tls.minimum_version = ssl.TLSVersion.TLSv1_1
        server_tls.maximum_version = ssl.TLSVersion.TLSv1_1
    server_tls.set_ciphers("ALL:@SECLEVEL=0")
    async with (
        open_receiver(tls=server_tls, name=NAME) as receiver,
        open_transport(receiver, client_tls) as transport,
    ):
        outcome = await send(transport, receiver)

    assert outcome.failure is Failure.TLS
    assert outcome.detail == "the receiver speaks neither TLS 1.2 nor 1.3"


async def hang_up(conversation: receivers.Conversation) -> None:
    await conversation.begun()
    await conversation.close()


@pytest.mark.parametrize(
    ("on_connect", "detail"),
    [
        (hang_up, "the receiver closed the connection in the TLS handshake"),
        (receivers.reset(read=False), "the connection broke off in the TLS handshake"),
        (
            receivers.answer_early(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            "the receiver does not speak TLS on this port",
        ),
    ],
)
async def test_a_handshake_that_breaks_off_fails_with_words(
    on_connect: Act, detail: str, client_tls: ssl.SSLContext
) -> None:
    async with open_receiver(on_connect=on_connect, name=NAME) as receiver:
        receiver.url = receiver.url.replace("http:", "https:")
        async with open_transport(receiver, client_tls) as transport:
            outcome = await send(transport, receiver)

    assert (outcome.failure, outcome.detail) == (Failure.TLS, detail)


ASKS = "asks for a client certificate: name one in `tls: {certificate: FILE, key: FILE}`"


@pytest.mark.parametrize(
    ("alert", "detail"),
    [
        (40, f"the receiver shares no TLS parameters with relayd, or {ASKS}"),
        (42, "the receiver " + ASKS.replace(":", " (does not accept the client certificate):", 1)),
        (80, "TLS failed: tlsv1 alert internal error"),
        (112, f"the receiver knows no {NAME}"),
        (115, "TLS failed: tlsv1 alert unknown psk identity"),
        (120, "the receiver does not speak HTTP/1.1 over TLS"),
        (255, "TLS failed: unknown error"),
    ],
)
async def test_an_alert_in_the_handshake_is_named(
    alert: int, detail: str, client_tls: ssl.SSLContext
) -> None:
    async def refuse(conversation: receivers.Conversation) -> None:
        await conversation.begun()
        await conversation.send(bytes([0x15, 3, 3, 0, 2, 2, alert]))
        await conversation.gone()

    async with open_receiver(on_connect=refuse, name=NAME) as receiver:
        receiver.url = receiver.url.replace("http:", "https:")
        async with open_transport(receiver, client_tls) as transport:
            outcome = await send(transport, receiver)

    assert (outcome.failure, outcome.detail) == (Failure.TLS, detail)


async def test_a_client_certificate_that_is_asked_for_is_named(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, authority: trustme.CA
) -> None:
    authority.configure_trust(server_tls)
    server_tls.verify_mode = ssl.CERT_REQUIRED
    async with (
        open_receiver(tls=server_tls, name=NAME) as receiver,
        open_transport(receiver, client_tls) as transport,
    ):
        outcome = await send(transport, receiver)

    assert outcome.failure is Failure.TLS
    assert outcome.detail == f"the receiver {ASKS}"


def test_the_context_verifies_and_speaks_http_1_1_over_new_tls_only(
    monkeypatch: pytest.MonkeyPatch, authority: trustme.CA
) -> None:
    with authority.cert_pem.tempfile() as path:
        monkeypatch.setenv("SSL_CERT_FILE", path)
        monkeypatch.setenv("SSL_CERT_DIR", "")
        context = tls_context()

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    subjects = [entry["subject"] for entry in context.get_ca_certs()]
    assert len(subjects) > 50  # certifi's bundle is there, and the variable's file beside it.
    assert any("trustme" in str(subject) for subject in subjects)


@pytest.mark.parametrize(
    ("variable", "content", "words"),
    [
        ("SSL_CERT_FILE", None, "No such file or directory"),
        ("SSL_CERT_FILE", "", "no certificate in it"),
        ("SSL_CERT_FILE", "not a certificate", "no certificate in it"),
        ("SSL_CERT_DIR", None, "no such directory"),
        ("SSL_CERT_DIR", "", "no such directory"),
    ],
)
def test_a_variable_that_names_no_certificates_is_refused(
    variable: str,
    content: str | None,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named = tmp_path / "named"
    if content is not None:
        named.write_text(content)
    value = str(named) if variable == "SSL_CERT_FILE" else f"{tmp_path}{os.pathsep}{named}"
    monkeypatch.setenv(variable, value)

    with pytest.raises(ConfigError) as caught:
        tls_context()

    assert str(named) in str(caught.value)
    assert variable in str(caught.value)
    assert words in str(caught.value)


def test_a_transport_needs_an_http_url() -> None:
    for url in ("ftp://a.example/", "/hook", "https:///hook"):
        with pytest.raises(ValueError, match="http or https"):
            Transport(httpx.URL(url), guard=AddressGuard(), tls=tls_context())


async def test_a_socket_beyond_what_select_takes_is_served() -> None:
    # select() ends at descriptor 1023, and a relay with many endpoints goes beyond.
    fillers: list[socket.socket] = []
    try:
        while not fillers or fillers[-1].fileno() < 1024:
            fillers.append(socket.socket())
        async with open_receiver() as receiver, open_transport(receiver) as transport:
            for _ in range(2):
                assert (await send(transport, receiver)).succeeded
            assert receiver.accepted == 1
    except OSError:
        pytest.skip("this system allows too few open files")
    finally:
        for filler in fillers:
            filler.close()
