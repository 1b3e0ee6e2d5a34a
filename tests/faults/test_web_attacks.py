"""The web process under clients that want harm, and when what it reads is changed under it. Real processes."""

import json
from pathlib import Path

import pytest
import trio
from processes import command
from receivers import unused_port
from web_process import EVENT, READ, SHOP, TOKEN, Web, serving, with_token

_NAMED = b"Host: 127.0.0.1\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_NEXT = b"GET /v1/smuggled HTTP/1.1\r\n" + _NAMED + b"\r\n"


def port_of(web: Web) -> int:
    port = web.private.base_url.port
    assert port is not None
    return port


async def raw(web: Web, *parts: bytes) -> bytes:
    """Send parts, one after the other, and return all that comes until the server closes, or 1 s."""
    stream = await trio.open_tcp_stream("127.0.0.1", port_of(web))
    received = b""
    async with stream:
        try:
            for part in parts:
                await stream.send_all(part)
                await trio.sleep(0.1)
            with trio.move_on_after(1.0):
                async for chunk in stream:
                    received += chunk
        except trio.BrokenResourceError:
            pass
    return received


NONSENSE = {
    "not HTTP": [bytes(range(256))],
    "a bad chunk": [b"POST /v1/events HTTP/1.1\r\n" + _NAMED + _CHUNKED + b"\r\n-1\r\n"],
    "a bad chunk after the answer": [
        b"POST /v1/events HTTP/1.1\r\n" + _NAMED + _CHUNKED + b"\r\n",
        b"zz\r\n\r\n",
    ],
    "more after the end": [
        b"GET /healthz HTTP/1.1\r\nConnection: close\r\n" + _NAMED + b"\r\n",
        b"zz\r\n",
    ],
    "a bad chunk of a body that is being read": [
        b"POST /login HTTP/1.1\r\n" + _NAMED + _CHUNKED + b"\r\n1\r\na\r\n",
        b"zz\r\n\r\n",
    ],
    "a websocket": [
        b"GET /healthz HTTP/1.1\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n"
        + _NAMED
        + b"\r\n"
    ],
    "a bad Origin": [
        b"POST /login HTTP/1.1\r\nOrigin: http://[::1\r\nContent-Length: 0\r\n" + _NAMED + b"\r\n"
    ],
    "a number that Python does not read": [
        b"GET /rejected/" + b"9" * 5000 + b" HTTP/1.1\r\nConnection: close\r\n" + _NAMED + b"\r\n"
    ],
    "a flood of headers": [b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 50_000 + b"\r\n"],
    "two requests' lengths": [
        b"POST /login HTTP/1.1\r\nContent-Length: 5\r\n" + _CHUNKED + _NAMED + b"\r\n0\r\n\r\n"
    ],
    "a client that leaves": [
        b"GET /v1/events?wait=20 HTTP/1.1\r\nAuthorization: Bearer "
        + TOKEN.encode()
        + b"\r\n"
        + _NAMED
        + b"\r\n"
    ],
}


async def test_nonsense_is_neither_a_defect_nor_a_line_of_the_log(tmp_path: Path) -> None:
    async with serving(tmp_path) as web:
        before = len(web.process.lines)
        for name, parts in NONSENSE.items():
            received = await raw(web, *parts)
            assert b" 500 " not in received.split(b"\r\n")[0], name
        assert (await web.private.get("/healthz")).status_code == 200
        assert await web.process.stop() == 0
        assert web.process.errors == ""
        said = [each["event"] for each in web.process.lines[before:]]
        assert set(said) <= {"login_refused", "web_stopped"}


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1\r\nContent-Length: 4\r\n" + _CHUNKED,
        b"HTTP/1.1\r\n" + _CHUNKED + b"Content-Length: 4\r\n",
        b"HTTP/1.0\r\nConnection: keep-alive\r\n" + _CHUNKED,
    ],
)
async def test_a_request_with_two_ends_brings_no_other_one_in(tmp_path: Path, head: bytes) -> None:
    async with serving(tmp_path) as web:
        for path in (b"/login", b"/v1/events", b"/in/stripe"):
            request = b"POST " + path + b" " + head + _NAMED + b"\r\n0\r\n\r\n" + _NEXT
            received = await raw(web, request)
            assert received.startswith(b"HTTP/1.1 400 "), received
            assert received.count(b"HTTP/1.1 ") == 1


async def test_without_http_in_the_configuration_nobody_is_let_in(tmp_path: Path) -> None:
    async with serving(tmp_path) as web:
        found = await web.private.post("/login", data={"token": TOKEN})
        assert found.status_code == 303
        assert (await web.private.get("/")).status_code == 200
        text = web.config.read_text()
        start = text.index("http:")
        end = text.index("\nlog:", start) if "\nlog:" in text[start:] else len(text)
        web.config.write_text(text[:start] + text[end + 1 :])
        await command("reload", config=web.config)
        with trio.fail_after(10):
            await web.process.logged("web_file_not_read")
        # Its sessions, the tokens and the producers' are of a configuration that is not in force.
        assert (await web.private.get("/")).status_code == 303
        for token in (TOKEN, READ):
            assert (await web.private.get("/metrics", headers=with_token(token))).status_code == 401
        body = json.dumps(EVENT)
        found = await web.public.post("/v1/events", content=body, headers=with_token(SHOP))
        assert found.status_code == 401
        web.config.write_text(text)
        await command("reload", config=web.config)
        with trio.fail_after(10):
            await web.process.logged("web_file_read")
        assert (await web.private.get("/metrics", headers=with_token(READ))).status_code == 200
        assert len(web.process.events("web_file_not_read")) == 1


async def test_token_none_is_for_the_address_that_is_listened_at(tmp_path: Path) -> None:
    """The configuration's `listen` is a loopback address by now; the process still listens at another one."""
    port = unused_port()
    async with serving(tmp_path, listen=f"0.0.0.0:{port}") as web:
        web.private.base_url = f"http://127.0.0.1:{port}"
        assert (await web.private.get("/metrics")).status_code == 401
        text = web.config.read_text()
        text = text.replace("0.0.0.0", "127.0.0.1").replace(f"token: {TOKEN}", "token: none")
        web.config.write_text(text.replace(f"  read_token: {READ}\n", ""))
        await command("reload", config=web.config)
        with trio.fail_after(10):
            await web.process.logged("web_restart_needed")
        assert (await web.private.get("/metrics")).status_code == 401
        assert (await web.private.get("/")).status_code == 303


async def test_a_damaged_file_changes_nothing_and_is_reported_once(tmp_path: Path) -> None:
    path = tmp_path / "queue.db.web"
    async with serving(tmp_path) as web:
        whole = path.read_bytes()
        for damaged in (whole[: len(whole) // 2], b"", b"[" * 100_000, b"{}"):
            path.write_bytes(damaged)
            with trio.fail_after(10):
                while len(web.process.events("web_file_not_read")) < 1:
                    await trio.sleep(0.1)
            await trio.sleep(1.2)
            for page in ("/", "/events", "/configuration", "/metrics"):
                found = await web.private.get(page, headers=with_token(READ))
                assert found.status_code == 200, page
        assert len(web.process.events("web_file_not_read")) == 1
        path.write_bytes(whole)
        with trio.fail_after(10):
            await web.process.logged("web_file_read")


async def test_without_its_queue_it_says_so_on_each_page(tmp_path: Path) -> None:
    async with serving(tmp_path) as web:
        await web.relayd.stop()
        (tmp_path / "queue.db").rename(tmp_path / "moved.db")
        for page in ("/", "/deliveries", "/events", "/events/a", "/problems", "/v1/deliveries"):
            found = await web.private.get(page, headers=with_token(TOKEN))
            assert found.status_code == 503, page
        (tmp_path / "queue.db").write_bytes(b"garbage" * 1_000)
        for page in ("/", "/v1/events"):
            found = await web.private.get(page, headers=with_token(TOKEN))
            assert found.status_code == 503, page
        (tmp_path / "moved.db").replace(tmp_path / "queue.db")
        await trio.sleep(1.1)
        assert (await web.private.get("/", headers=with_token(TOKEN))).status_code == 200
        assert web.process.errors == ""
