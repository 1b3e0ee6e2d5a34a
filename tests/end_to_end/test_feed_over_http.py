"""The feed over HTTP: a real daemon, its web process, programs that follow, and clients that mean harm."""

import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from processes import RelaydProcess, command, running, web_running, write_config
from receivers import unused_port
from snippets import needs, snippets

TOKEN = "t-0123456789abcdef"
READ = "r-0123456789abcdef"
SHOP = "s-0123456789abcdef"
BOOKS = "b-0123456789abcdef"
MAIL = "m-0123456789abcdef"


@dataclass
class Served:
    """A daemon with two subscriptions that are paused from the start, and its web process."""

    config: Path
    relayd: RelaydProcess
    web: RelaydProcess
    url: str
    client: httpx.AsyncClient

    async def get(
        self, token: str | None = BOOKS, query: str = "", **parameters: object
    ) -> httpx.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        more = "&".join(f"{key}={value}" for key, value in parameters.items())
        return await self.client.get(f"/v1/events?{query or more}", headers=headers, timeout=60)

    async def put(self, *events: dict[str, Any]) -> None:
        found = await self.client.post(
            "/v1/events",
            content="\n".join(map(json.dumps, events)),
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/x-ndjson"},
        )
        assert all(json.loads(line)["ok"] for line in found.text.splitlines())


def order(number: int, total: int = 1, kind: str = "order.created") -> dict[str, Any]:
    return {"id": f"evt_{number}", "type": kind, "data": {"object": {"total": total}}}


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Served]:
    ports = unused_port(), unused_port()
    config = write_config(
        folder,
        {
            "books": {
                "url": "https://app.example/hook",
                "events": ["order.*"],
                "where": {"data.object.total": {"gte": 5}},
                "active": False,
                "feed_token": BOOKS,
            },
            "mail": {
                "url": "https://app.example/mail",
                "active": False,
                "feed_token": MAIL,
            },
        },
        spools=None,
        http={
            "listen": f"127.0.0.1:{ports[0]}",
            "public": f"127.0.0.1:{ports[1]}",
            "token": TOKEN,
            "read_token": READ,
            "producers": {"shop": {"token": SHOP}},
        },
    )
    url = f"http://127.0.0.1:{ports[1]}"
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    async with (
        running(config) as relayd,
        web_running(config) as web,
        httpx.AsyncClient(base_url=url, limits=limits) as client,
    ):
        yield Served(config, relayd, web, url, client)


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["events"]]


async def test_each_token_reads_its_own_and_no_other_does(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        await served.put(
            order(1, 9), order(2, 1), order(3, 9, "user.created"), order(4, 5), order(5, 5)
        )
        assert ids(await served.get(BOOKS)) == ["evt_1", "evt_4", "evt_5"]
        assert ids(await served.get(MAIL)) == ["evt_1", "evt_2", "evt_3", "evt_4", "evt_5"]
        assert ids(await served.get(TOKEN, type="user.*")) == ["evt_3"]
        assert ids(await served.get(MAIL, query="type=user.*&type=relayd.*")) == ["evt_3"]
        first = await served.get(BOOKS, limit=2)
        assert (ids(first), first.json()["more"]) == (["evt_1", "evt_4"], True)
        assert first.headers["cache-control"] == "no-store"
        second = await served.get(BOOKS, after=first.json()["next"])
        assert (ids(second), second.json()["more"]) == (["evt_5"], False)
        # A cursor is a place, not a permission: what is behind it is the token's own.
        assert ids(await served.get(MAIL, after=first.json()["next"])) == ["evt_5"]
        end = second.json()["next"]
        assert ids(await served.get(BOOKS, after=end)) == []
        for token, status in ((None, 401), ("nobody's", 401), (READ, 403), (SHOP, 403)):
            found = await served.get(token)
            assert (found.status_code, found.json()["status"]) == (status, status)
            assert found.headers["content-type"] == "application/problem+json"
        # The bytes are those of the wire.
        shown = json.loads(await command("show", "evt_1", "--json", config=served.config))
        assert first.content.startswith(b'{"events":[{"id":"evt_1","type":"order.created",')
        assert shown["id"] == "evt_1"


@pytest.mark.parametrize(
    "query",
    ["after=", "after=x", "after=ab.1.2.3", "after=a.1.1&after=a.1.1", "limit=0", "limit=1001",
     "limit=x", "limit=-1", "wait=51", "wait=1e3", "afer=ab.1.2", "type=Order", "type=order.*.x",
     "after=%00", "limit=%EF%BC%91", "&".join(f"type=a{n}" for n in range(101))],
)  # fmt: skip
async def test_what_cannot_be_meant_is_refused(query: str, served: Served) -> None:
    found = await served.get(query=query)
    assert (found.status_code, found.json()["code"]) == (400, "bad_request")


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as opened:
        yield opened


async def test_a_cursor_of_another_queue_is_gone_and_the_oldest_one_works(served: Served) -> None:
    await served.put(order(1, 9))
    found = await served.get(after="0badc0de.1.0")
    assert (found.status_code, found.json()["code"]) == (410, "gap")
    assert ids(await served.get(after=found.json()["oldest"])) == ["evt_1"]
    [own] = {json.loads(found.text)["oldest"].partition(".")[0]}
    assert (await served.get(after=f"{own}.9999999999999999.0")).status_code == 410


async def test_who_waits_gets_what_comes_and_past_what_is_not_wanted(served: Served) -> None:
    end = (await served.get()).json()["next"]
    found: list[httpx.Response] = []

    async def wait() -> None:
        found.append(await served.get(after=end, wait=30))

    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
            await trio.sleep(0.5)
            await served.put(order(1, 1))
            await trio.sleep(0.7)
            assert not found
            await served.put(order(2, 9))
    assert [ids(each) for each in found] == [["evt_2"]] * 3
    with trio.fail_after(10):
        empty = await served.get(after=found[0].json()["next"], wait=1)
    assert (ids(empty), empty.json()["next"]) == ([], found[0].json()["next"])


async def test_a_token_that_is_taken_away_reads_nothing_more_also_while_it_waits(
    served: Served,
) -> None:
    end = (await served.get()).json()["next"]
    found: list[httpx.Response] = []

    async def wait() -> None:
        found.append(await served.get(after=end, wait=30))

    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(0.5)
            text = served.config.read_text().replace(BOOKS, "another-0123456789")
            served.config.write_text(text)
            await command("reload", config=served.config)
            await served.web.logged("web_file_read")
            await served.put(order(1, 9))
    assert found[0].status_code == 401


async def test_a_stop_ends_all_waiting(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        end = (await served.get()).json()["next"]
        found: list[httpx.Response] = []

        async def wait() -> None:
            found.append(await served.get(after=end, wait=50))

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(wait)
                await trio.sleep(0.5)
                began = trio.current_time()
                assert await served.web.stop() == 0
        assert trio.current_time() - began < 4
        assert [ids(each) for each in found] == [[]] * 10


async def test_a_thousand_waiters_leave_room_for_others(served: Served) -> None:
    end = (await served.get()).json()["next"]
    counts: dict[int, int] = {}
    head = (
        f"GET /v1/events?wait=50&after={end} HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {BOOKS}\r\n\r\n"
    ).encode()
    port = int(served.url.rpartition(":")[2])
    async with AsyncExitStack() as closing:
        streams: list[trio.SocketStream] = []
        for _ in range(1_000):
            streams.append(
                await closing.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
            )
            with suppress(trio.BrokenResourceError):
                await streams[-1].send_all(head)
        await trio.sleep(2)
        for stream in streams:
            with trio.move_on_after(0.01), suppress(trio.BrokenResourceError):
                status = int((await stream.receive_some())[9:12] or b"0")
                counts[status] = counts.get(status, 0) + 1
        # Beyond 512 connections, the one that was idle the longest makes room, answered or not.
        assert counts.keys() <= {0, 429}
        assert counts[429] > 100
        with trio.fail_after(10):
            assert (await served.get(MAIL)).status_code == 200
            await served.put(order(1, 1))
        assert (await served.get(BOOKS)).status_code == 429, "the token's share waits"
    with trio.fail_after(10):  # they left without a word
        while (await served.get(BOOKS)).status_code == 429:
            await trio.sleep(0.1)


async def test_who_does_not_read_holds_a_bounded_part(served: Served) -> None:
    big = {
        "id": "evt_0",
        "type": "order.created",
        "data": {"object": {"total": 9, "x": "y" * 900_000}},
    }
    for number in range(12):
        await served.put({**big, "id": f"evt_{number}"})
    page = await served.get(MAIL, limit=1000)
    assert len(page.content) < 8 * 1024 * 1024
    assert 1 <= len(ids(page)) <= 9
    assert page.json()["more"] is True
    port = int(served.url.rpartition(":")[2])
    head = f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {MAIL}\r\n\r\n".encode()
    async with AsyncExitStack() as unread:
        for _ in range(12):
            stream = await unread.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
            await stream.send_all(head)
        # On a busy machine the web process comes last, and it has 64 MB to send here.
        with trio.fail_after(60):
            while (found := await served.get(MAIL)).status_code != 503:
                await trio.sleep(0.05)
        assert found.headers["retry-after"] == "1"
        assert len(ids(await served.get(BOOKS))) >= 1, "another token has its own share"
    with trio.fail_after(30):
        while (await served.get(MAIL)).status_code == 503:
            await trio.sleep(0.1)


@pytest.mark.parametrize("name", ["feed_reader.py", "feed_reader.sh"])
async def test_the_programs_of_the_page_keep_their_cursor(name: str, served: Served) -> None:
    folder = served.config.parent / "reader"
    folder.mkdir()
    script = folder / name
    script.write_text(snippets()[name])
    runs = [sys.executable, str(script)]
    if name.endswith(".sh"):
        needs("curl", "jq")
        runs = ["sh", "-e", str(script)]
    environment = {"RELAYD_URL": served.url, "RELAYD_TOKEN": MAIL, "PATH": "/usr/bin:/bin"}

    async def printed(runs: Sequence[str], expected: Sequence[str]) -> None:
        """Run it until it has printed this of each event, and no other."""
        process = await trio.lowlevel.open_process(
            list(runs), cwd=folder, env=environment, stdout=-1
        )
        output = b""
        assert process.stdout is not None
        with trio.fail_after(20):
            while output.count(b"\n") < len(expected):
                chunk = await process.stdout.receive_some()
                assert chunk, output
                output += chunk
            await trio.sleep(0.5)  # the cursor is kept after it
        if process.returncode is None and not name.endswith(".sh"):
            process.kill()
        await process.wait()
        lines = output.decode().splitlines()
        found = [json.loads(x)["id"] if x[0] == "{" else x.split()[0] for x in lines]
        assert found == list(expected)

    await served.put(*(order(number) for number in range(150)))
    await printed(runs, [f"evt_{number}" for number in range(150)])
    await served.put(order(200), order(201))
    await printed(runs, ["evt_200", "evt_201"])
    (folder / "feed-cursor").write_text("0badc0de.1.0")
    await printed(runs, [*(f"evt_{number}" for number in range(150)), "evt_200", "evt_201"])


async def test_the_program_of_the_page_goes_on_after_a_restart_behind_a_proxy(
    tmp_path: Path,
) -> None:
    """It is answered by the proxy, then by half an answer, and by nothing."""
    page = b'{"events":[{"id":"evt_1","type":"order.created"}],"next":"q.1.0","more":false}'
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(page)
    answers = [
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 14\r\n\r\n<html>a</html>",
        head + page[:20],
        b"",
        head + page,
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}",
    ]
    asked: list[bytes] = []

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            asked.append((await stream.receive_some()).split(b" ")[1])
            await stream.send_all(answers[len(asked) - 1])

    script = tmp_path / "feed_reader.py"
    script.write_text(snippets()[script.name].replace("time.sleep(5)", "time.sleep(0)"))
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        with trio.fail_after(30):
            ended = await trio.run_process(
                [sys.executable, str(script)],
                cwd=tmp_path,
                env={"RELAYD_URL": f"http://127.0.0.1:{port}", "RELAYD_TOKEN": MAIL},
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        nursery.cancel_scope.cancel()
    assert ended.stdout == b"evt_1 order.created\n"
    assert ended.stderr == b"the feed answered 401: {}\n"
    assert [b"after=q.1.0" in each for each in asked] == [False] * 4 + [True]
