"""`listen`: a real server on 127.0.0.1 that verifies, fails and delays as it is told."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from click import unstyle
from click.testing import CliRunner
from processes import SECRET, write_config

from relayd.cli import cli
from relayd.cli.dev_receiver.received import (
    Received,
    answered_document,
    answered_lines,
    signature_lines,
)
from relayd.cli.dev_receiver.receiver import MAX_BODY_BYTES, Answer, Request
from relayd.cli.dev_receiver.session import Script, Session
from relayd.cli.secret_options import Key
from relayd.core.secret import Secret
from relayd.core.signature import sign, sign_header, sign_standard
from relayd.core.subscription import HeaderSignature

PLAIN = Script(fail=0, fail_rate=0.0, status=500, retry_after_s=None, delay_s=0.0)
BODY = b'{"id":"evt_1","type":"order.created","n":1}'


class Listening:
    """A session under test: `told` holds what it told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[Received, Answer | None]] = []
        self.port = 0
        self.more = trio.Event()

    def tell(self, came: Received, answer: Answer | None) -> None:
        self.told.append((came, answer))
        self.more.set()
        self.more = trio.Event()

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def statuses(self, count: int) -> list[int | None]:
        with trio.fail_after(10):
            while len(self.told) < count:
                await self.more.wait()
        return [None if answer is None else answer.status for _, answer in self.told]


@asynccontextmanager
async def listening(
    script: Script = PLAIN, key: Key | None = None, count: int | None = None
) -> AsyncIterator[Listening]:
    under_test = Listening()
    session = Session(key, script, count, under_test.tell)
    ready = trio.Event()

    def started(url: str) -> None:
        under_test.port = int(url.rpartition(":")[2])
        ready.set()

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(session.run, listeners, started)
        with trio.fail_after(10):
            await ready.wait()
        yield under_test
        nursery.cancel_scope.cancel()


def request(
    body: bytes = BODY, headers: dict[str, str] | None = None, method: str = "POST"
) -> bytes:
    lines = [f"{method} /webhooks HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def answer_of(stream: trio.SocketStream) -> bytes:
    """Read one answer with a short body."""
    data = b""
    with trio.fail_after(10):
        while b"\r\n\r\n" not in data:
            chunk = await stream.receive_some()
            if not chunk:
                return data
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        while len(body) < length:
            body += await stream.receive_some()
    return head + b"\r\n\r\n" + body


async def exchange(stream: trio.SocketStream, sent: bytes) -> int:
    await stream.send_all(sent)
    return int((await answer_of(stream)).split(b" ")[1])


async def test_requests_on_one_connection_are_verified_one_after_the_other() -> None:
    key = Key(Secret(SECRET))
    spaced = b'{"id": "evt_2"}'
    async with listening(key=key) as session, await session.connect() as stream:
        signed = {"X-LocallyGrown-Signature": sign(BODY, key.secret)}
        assert await exchange(stream, request(headers=signed)) == 200
        rewritten = {"X-LocallyGrown-Signature": sign(b'{"id":"evt_2"}', key.secret)}
        assert await exchange(stream, request(spaced, rewritten)) == 200
        assert await exchange(stream, request()) == 401
        assert await exchange(stream, request(b"{}", signed)) == 401
        assert await exchange(stream, request(b"not json", {})) == 401
        await session.statuses(5)
        verdicts = [(c.verdict.raw, c.verdict.stringified) for c, _ in session.told if c.verdict]
        no = (False, False)
        assert verdicts == [(True, True), (False, True), no, no, no]
        assert [came.event_id for came, _ in session.told][:2] == ["evt_1", "evt_2"]


async def test_without_a_secret_nothing_is_verified_and_all_is_taken() -> None:
    async with listening() as session, await session.connect() as stream:
        assert await exchange(stream, request(b"anything")) == 200
        await session.statuses(1)
        [(came, _)] = session.told
        assert (came.verdict, came.event_id) == (None, None)


async def test_the_standard_headers_and_the_previous_secret_are_tried() -> None:
    old, new = (Secret(f"whsec_{each * 32}") for each in "ab")
    now = 1_640_995_200
    headers = {
        "X-LocallyGrown-Signature": sign(BODY, old),
        "webhook-id": "evt_1",
        "webhook-timestamp": str(now),
        "webhook-signature": sign_standard(BODY, "evt_1", now, old),
    }
    async with listening(key=Key(new, old)) as session, await session.connect() as stream:
        assert await exchange(stream, request(headers=headers)) == 200
        await session.statuses(1)
        [(came, answer)] = session.told
        assert came.signed_with == "previous_secret"
        assert came.verdict is not None
        assert came.verdict.both
        # The signature fits; its timestamp is years old, and a receiver would refuse it.
        assert came.standard is not None
        assert not came.standard.raw
        document = answered_document(came, answer)
        assert document["signed_with"] == "previous_secret"
        assert document["verified_standard"] == {"raw": False, "stringified": False}


async def test_a_header_of_the_operators_own_is_verified() -> None:
    scheme = HeaderSignature("X-Shop-Hmac", "v=", "base64")
    old, new = Secret("the-old-one-of-tests"), Secret(SECRET)
    key = Key(new, old, header=scheme)

    def signed(secret: Secret, **other: str) -> dict[str, str]:
        return {"X-LocallyGrown-Signature": sign(BODY, secret), **other}

    async with listening(key=key) as session, await session.connect() as stream:
        for headers, status in [
            (signed(new, **{"X-Shop-Hmac": sign_header(BODY, scheme, new)}), 200),
            (signed(old, **{"X-Shop-Hmac": sign_header(BODY, scheme, old)}), 200),
            (signed(new, **{"X-Shop-Hmac": sign_header(BODY, scheme, old)}), 401),
            (signed(new, **{"X-Shop-Hmac": "v="}), 401),
            (signed(new), 200),
        ]:
            assert await exchange(stream, request(headers=headers)) == status
        await session.statuses(5)
        words = [unstyle("; ".join(signature_lines(came))) for came, _ in session.told]
        documents = [answered_document(came, answer) for came, answer in session.told]
    valid = "X-Shop-Hmac valid: raw body, and re-stringified body"
    assert words[0].endswith(f"; {valid}")
    assert words[1].endswith(f", under previous_secret; {valid}")
    assert words[2].endswith("; X-Shop-Hmac invalid")
    assert words[4].endswith("; no X-Shop-Hmac")
    yes, no = ({"raw": each, "stringified": each} for each in (True, False))
    assert [each["verified_header"] for each in documents] == [yes, yes, no, no, None]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (Script(2, 0.0, 500, None, 0.0), [500, 500, 200, 200]),
        (Script(1, 0.0, 503, None, 0.0), [503, 200, 200, 200]),
        (Script(0, 1.0, 410, None, 0.0), [410, 410, 410, 410]),
    ],
)
async def test_it_fails_as_told(script: Script, expected: list[int]) -> None:
    async with listening(script) as session:
        async with await session.connect() as stream:
            for _ in expected:
                await exchange(stream, request())
        assert await session.statuses(len(expected)) == expected


async def test_a_failure_at_random_is_about_as_frequent_as_told() -> None:
    script = Script(0, 0.3, 500, None, 0.0)
    async with listening(script) as session, await session.connect() as stream:
        statuses = [await exchange(stream, request()) for _ in range(300)]
    # Outside of it once in ten million runs.
    assert 45 < statuses.count(500) < 140


async def test_failures_carry_a_retry_after_and_good_answers_none() -> None:
    async with (
        listening(Script(1, 0.0, 429, 30.0, 0.0)) as session,
        await session.connect() as stream,
    ):
        await stream.send_all(request())
        assert b"Retry-After: 30\r\n" in await answer_of(stream)
        await stream.send_all(request())
        assert b"Retry-After" not in await answer_of(stream)


async def test_a_204_has_no_length_and_keeps_the_connection() -> None:
    script = Script(9, 0.0, 204, None, 0.0)
    async with listening(script) as session, await session.connect() as stream:
        await stream.send_all(request() + request())
        seen = b""
        with trio.fail_after(10):
            while seen.count(b"HTTP/1.1 204 No Content\r\n") < 2:
                seen += await stream.receive_some()
        assert b"content-length" not in seen.lower()
        assert await session.statuses(2) == [204, 204]


async def test_a_delay_is_waited_out(autojump_clock: trio.testing.MockClock) -> None:
    session = Session(None, Script(0, 0.0, 500, None, 20.0), None, lambda *_: None)
    began = trio.current_time()
    answer = await session._respond(Request(1, "POST", "/", (), BODY))
    assert answer.status == 200
    assert trio.current_time() - began == 20.0


async def test_it_ends_after_so_many_requests_and_answers_the_last() -> None:
    session_ended = trio.Event()
    async with trio.open_nursery() as nursery:
        told = Listening()
        ready = trio.Event()

        def started(url: str) -> None:
            told.port = int(url.rpartition(":")[2])
            ready.set()

        async def run() -> None:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            await Session(None, PLAIN, 2, told.tell).run(listeners, started)
            session_ended.set()

        nursery.start_soon(run)
        with trio.fail_after(10):
            await ready.wait()
            async with await told.connect() as stream:
                assert await exchange(stream, request(method="GET")) == 405  # counts for nothing
                assert await exchange(stream, request()) == 200
                assert not session_ended.is_set()
                assert await exchange(stream, request()) == 200
            await session_ended.wait()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"\x16\x03\x01\x02\x00 this is TLS\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n", 431),
    ],
)
async def test_what_is_no_delivery_is_refused_and_the_next_one_taken(
    sent: bytes, status: int
) -> None:
    async with listening() as session:
        async with await session.connect() as stream:
            assert await exchange(stream, sent) == status
        async with await session.connect() as stream:
            assert await exchange(stream, request()) == 200
        assert await session.statuses(1) == [200]


async def test_a_body_over_the_limit_is_refused_before_it_is_all_there() -> None:
    async with listening() as session, await session.connect() as stream:
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                await stream.send_all(
                    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n"
                )
                await stream.send_all(bytes(MAX_BODY_BYTES + 1))

            nursery.start_soon(send)
            assert b" 413 " in await answer_of(stream)
        assert session.told == []


async def test_a_client_that_waits_for_100_continue_gets_it() -> None:
    async with listening() as session, await session.connect() as stream:
        await stream.send_all(request(headers={"Expect": "100-continue"})[: -len(BODY)])
        with trio.fail_after(10):
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 100")
        await stream.send_all(BODY)
        assert (await answer_of(stream)).startswith(b"HTTP/1.1 200")


async def test_clients_that_vanish_do_no_harm() -> None:
    async with listening() as session:
        for sent in (b"", b"POST / HT", request()[:-5]):
            stream = await session.connect()
            await stream.send_all(sent or b"\r\n")
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            stream.socket.close()
        async with await session.connect() as stream:
            assert await exchange(stream, request()) == 200


def lines_of(came: Received, answer: Answer | None, *, whole: bool = False) -> list[str]:
    return list(answered_lines(came, answer, whole=whole))


async def test_what_people_read_fits_and_is_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    headers = {
        "X-LocallyGrown-Event": "order.created",
        "X-LocallyGrown-Delivery": "dlv_0a1b2c3d_17",
        "X-LocallyGrown-Attempt": "2",
    }
    body = b'{"id":"evt_\x1b[2J","data":"' + b"x" * 500 + b'\x1b"}'
    async with listening() as session, await session.connect() as stream:
        await exchange(stream, request(body, headers))
        await session.statuses(1)
        [(came, answer)] = session.told
        for whole in (False, True):
            lines = lines_of(came, answer, whole=whole)
            assert not any("\x1b[2J" in line for line in lines)
        lines = lines_of(came, answer)
        assert max(map(len, (line.replace("\x1b[1m", "") for line in lines[1:]))) <= 80
        assert "order.created" in lines[0]
        assert "attempt 2" in lines[0]
        assert "dlv_0a1b2c3d_17" in lines[1]
        assert "the sender was gone" in lines_of(came, None)[0]


def test_a_port_that_is_taken_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(cli, ["listen", "--port", str(port)])
    assert result.exit_code == 1
    assert f"cannot listen at 127.0.0.1, port {port}: Address already in use" in result.stderr


@pytest.mark.parametrize(
    "arguments", [["--delay", "soon"], ["--fail-rate", "2"], ["--status", "99"], ["--count", "0"]]
)
def test_wrong_options_are_usage_errors(arguments: list[str]) -> None:
    assert CliRunner().invoke(cli, ["listen", *arguments]).exit_code == 2


async def test_the_command_listens_where_the_subscription_delivers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = write_config(tmp_path, {"books": {"url": f"http://127.0.0.1:{port}/webhooks"}})
    process = await trio.lowlevel.open_process(
        [
            *(sys.executable, "-m", "relayd", "listen", "--subscription", "books"),
            *("--config", str(config), "--count", "1", "--json"),
        ],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    printed = b""
    with trio.fail_after(20):
        while b"\n" not in printed:
            printed += await process.stdout.receive_some()
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            signed = {"X-LocallyGrown-Signature": sign(BODY, Secret(SECRET))}
            assert await exchange(stream, request(headers=signed)) == 200
        async for chunk in process.stdout:
            printed += chunk
        assert await process.wait() == 0
    first, second = map(json.loads, printed.splitlines())
    assert first == {"listening": f"http://127.0.0.1:{port}"}
    assert second["verified"] == {"raw": True, "stringified": True}
    assert (second["answered"], second["body"], second["path"]) == (200, BODY.decode(), "/webhooks")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_ends_in_peace(number: signal.Signals) -> None:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "relayd", "listen", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    printed = b""
    with trio.fail_after(20):
        while b"Listening" not in printed:
            printed += await process.stdout.receive_some()
        process.send_signal(number)
        async for chunk in process.stdout:
            printed += chunk
        assert await process.wait() == 0
        assert await process.stderr.receive_some() == b""
    assert printed.decode().splitlines()[-1] == "Requests: 0; answered 2xx: 0."
