"""`listen --forward`: what is passed on, and what comes back."""

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
from click.testing import CliRunner
from processes import SECRET
from receivers import unused_port

from relayd.cli import cli
from relayd.cli.dev_receiver.forwarding import MOST_BYTES, Forwarder
from relayd.cli.dev_receiver.received import Received
from relayd.cli.dev_receiver.receiver import Answer, Receiver, Request
from relayd.cli.dev_receiver.session import Script, Session
from relayd.cli.secret_options import Key
from relayd.core.secret import Secret
from relayd.core.signature import sign

BODY = b'{"id":"evt_1"}'
PLAIN = Script(fail=0, fail_rate=0.0, status=500, retry_after_s=None, delay_s=0.0)


@asynccontextmanager
async def upstream(answer: Answer) -> AsyncIterator[tuple[str, list[Request]]]:
    """Answer each request so; yield the URL, and the requests that came."""
    came: list[Request] = []

    async def respond(request: Request) -> Answer:
        came.append(request)
        return answer

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(Receiver(respond, lambda *_: None).serve, listeners)
        yield f"http://127.0.0.1:{port}/hooks?a=b", came
        nursery.cancel_scope.cancel()


def delivery(**headers: str) -> Request:
    signed = {"x-locallygrown-signature": sign(BODY, Secret(SECRET))}
    given = {"host": "127.0.0.1:8080", "content-length": "14", "connection": "close"}
    return Request(1, "POST", "/elsewhere", tuple((given | signed | headers).items()), BODY)


async def test_it_is_passed_on_as_it_came_and_the_answer_back() -> None:
    told = Answer(503, b"busy", (("Retry-After", "30"), ("X-Own", "1"), ("Location", "/a")))
    async with upstream(told) as (url, came):
        forwarder = Forwarder(url)
        answer = await forwarder.forward(delivery(**{"x-other": "é"}))
        forwarder.close()
    assert (answer.status, answer.body) == (503, b"busy")
    assert answer.headers == (("retry-after", "30"), ("location", "/a"))
    [request] = came
    assert (request.target, request.body) == ("/hooks?a=b", BODY)
    assert request.header("x-locallygrown-signature") == sign(BODY, Secret(SECRET))
    assert request.header("host") == url.split("/")[2]
    assert request.header("connection") == "keep-alive"


async def test_a_redirect_is_not_followed_and_a_long_answer_is_cut() -> None:
    async with upstream(Answer(302, b"x" * 3 * MOST_BYTES, (("Location", "/"),))) as (url, came):
        forwarder = Forwarder(url)
        answer = await forwarder.forward(delivery())
        forwarder.close()
    assert (answer.status, len(answer.body), len(came)) == (302, MOST_BYTES, 1)


@asynccontextmanager
async def raw_upstream(*answers: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answer each request with the next of these bytes, whatever it was, and close; yield URL and requests."""
    came: list[bytes] = []
    left = list(answers)

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            data = b""
            while BODY not in data:
                data += await stream.receive_some(65_536)
            came.append(data)
            await stream.send_all(left.pop(0))

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield f"http://127.0.0.1:{port}/", came
        nursery.cancel_scope.cancel()


async def test_headers_of_one_connection_alone_are_not_passed_on_and_none_is_added() -> None:
    async with raw_upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (url, came):
        forwarder = Forwarder(url)
        given = delivery(
            **{
                "connection": "close, X-Mine",
                "x-mine": "1",
                "te": "trailers",
                "upgrade": "websocket",
                "keep-alive": "timeout=5",
                "proxy-connection": "close",
                "transfer-encoding": "chunked",
                "expect": "100-continue",
                "cookie": "a=b",
                "authorization": "Basic eA==",
            }
        )
        assert (await forwarder.forward(given)).status == 200
        forwarder.close()
    lines = came[0].partition(b"\r\n\r\n")[0].decode().lower().split("\r\n")[1:]
    names = {line.partition(":")[0] for line in lines}
    assert names == {
        "host",
        "connection",
        "content-length",
        "x-locallygrown-signature",
        "cookie",
        "authorization",
    }
    assert "connection: keep-alive" in lines


async def test_a_cookie_of_an_answer_is_not_sent_with_what_comes_next() -> None:
    told = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=1; Path=/\r\nContent-Length: 0\r\n\r\n"
    async with raw_upstream(told, told) as (url, came):
        forwarder = Forwarder(url)
        first = await forwarder.forward(delivery())
        await forwarder.forward(delivery())
        forwarder.close()
    assert first.headers == ()
    assert b"session" not in came[1]


@pytest.mark.parametrize(
    ("told", "status", "body"),
    [
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello",
            502,
            None,
        ),
        (b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 202 A\r\nContent-Length: 2\r\n\r\nok", 202, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, b""),
        (b"HTTP/1.1 299\r\nContent-Length: 0\r\n\r\n", 299, b""),
        (b"HTTP/1.0 500 No\r\n\r\nwhy", 500, b"why"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", 502, None),
        (b"nonsense\r\n\r\n", 502, None),
        (b"", 502, None),
    ],
)
async def test_each_kind_of_answer_reaches_who_sent_the_request(
    told: bytes, status: int, body: bytes | None
) -> None:
    """Through the receiver itself, which has to be able to write each of them."""
    async with raw_upstream(told) as (url, _), trio.open_nursery() as nursery:
        forwarder = Forwarder(url)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(Receiver(forwarder.forward, lambda *_: None).serve, listeners)
        async with httpx.AsyncClient() as client:
            found = await client.post(f"http://127.0.0.1:{port}/", content=BODY)
        assert found.status_code == status, found.text
        assert body is None or found.content == body
        assert ("content-length" in found.headers) == (status not in {204, 304})
        forwarder.close()
        nursery.cancel_scope.cancel()


async def test_a_compressed_answer_stays_one() -> None:
    packed = gzip.compress(b"ok")
    told = Answer(200, packed, (("Content-Encoding", "gzip"),))
    async with upstream(told) as (url, _):
        forwarder = Forwarder(url)
        answer = await forwarder.forward(delivery())
        forwarder.close()
    assert (answer.body, answer.headers) == (packed, (("content-encoding", "gzip"),))


async def test_nobody_there_is_a_502_that_says_why() -> None:
    forwarder = Forwarder(f"http://127.0.0.1:{unused_port()}/")
    answer = await forwarder.forward(delivery())
    forwarder.close()
    assert answer.status == 502
    assert b"cannot forward" in answer.body


@pytest.mark.parametrize(
    ("script", "secret", "status"),
    [
        (PLAIN, SECRET, 204),
        (PLAIN, "another secret of 20", 401),
        (Script(1, 0.0, 500, None, 0.0), SECRET, 500),
    ],
)
async def test_what_fails_or_is_refused_is_not_passed_on(
    script: Script, secret: str, status: int
) -> None:
    async with upstream(Answer(204)) as (url, came):
        forwarder = Forwarder(url)
        told: list[Received] = []
        session = Session(
            Key(Secret(secret)), script, None, lambda c, _: told.append(c), forwarder.forward
        )
        assert (await session._respond(delivery())).status == status
        forwarder.close()
    assert len(came) == (status == 204)


@pytest.mark.parametrize(
    "url", ["127.0.0.1:3000", "ftp://a/", "http://", "http://a:x/", "http://[::1/"]
)
def test_what_is_not_a_url_is_refused(url: str) -> None:
    result = CliRunner().invoke(cli, ["listen", "--port", "0", "--forward", url])
    assert result.exit_code == 2
    assert "write a URL" in result.stderr
