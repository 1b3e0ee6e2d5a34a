"""`listen --forward`: what is passed on, and what comes back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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


@pytest.mark.parametrize("url", ["127.0.0.1:3000", "ftp://a/", "http://", "http://a:x/"])
def test_what_is_not_a_url_is_refused(url: str) -> None:
    result = CliRunner().invoke(cli, ["listen", "--port", "0", "--forward", url])
    assert result.exit_code == 2
    assert "write a URL" in result.stderr
