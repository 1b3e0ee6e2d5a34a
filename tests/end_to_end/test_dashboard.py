"""The dashboard beside a daemon: real processes, and a client as a browser is one."""

import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trio
import yaml
from processes import RelaydProcess, command, running, web_running, write_config
from receivers import answer, open_receiver, unused_port

TOKEN = "t-0123456789abcdef"
READ = "r-0123456789abcdef"
SHOP = "s-0123456789abcdef"
PAGES = ("/", "/deliveries", "/events", "/problems", "/configuration")
HOSTILE = "<script>alert(1)</script>\u202e👩\u200d👧"


@dataclass
class Site:
    """A daemon, its web process, and a browser that is not logged in."""

    config: Path
    relayd: RelaydProcess
    browser: httpx.AsyncClient

    async def page(self, path: str, token: str = TOKEN, **headers: str) -> httpx.Response:
        """Return a page, asked for with a token."""
        return await self.browser.get(path, headers={"Authorization": f"Bearer {token}", **headers})

    async def log_in(self, token: str, **headers: str) -> httpx.Response:
        return await self.browser.post(
            "/login", data={"token": token, "next": "/events"}, headers=headers
        )


@asynccontextmanager
async def serving(
    folder: Path, url: str = "http://127.0.0.1:9/", **http: object
) -> AsyncIterator[Site]:
    port = unused_port()
    config = write_config(
        folder,
        spools=None,
        http={
            key: value
            for key, value in {
                "listen": f"127.0.0.1:{port}",
                "token": TOKEN,
                "read_token": READ,
                "producers": {"shop": {"token": SHOP, "market_id": "market_9"}},
                **http,
            }.items()
            if value is not None
        },
        subscriptions={
            "books": {"url": url, "events": "*", "secret": "a-secret-of-books-0123456789"},
            "mail": {
                "url": url,
                "events": ["order.*"],
                "where": {"data.object.total": {"gte": 5000}},
                "secret": "a-secret-of-mail-0123456789",
            },
        },
    )
    async with (
        running(config) as relayd,
        web_running(config),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as browser,
    ):
        yield Site(config, relayd, browser)


async def hand_over(site: Site, data: object, **fields: object) -> str:
    event = {"type": "order.created", "data": data, **fields}
    found = await site.browser.post(
        "/v1/events", content=json.dumps(event), headers={"Authorization": f"Bearer {TOKEN}"}
    )
    assert found.status_code == 202, found.text
    return str(found.json()["id"])


async def test_who_has_no_token_sees_no_page_and_logs_in_to_the_one_asked_for(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as site:
        for path in (*PAGES, "/events/evt_1", "/deliveries/dlv_1", "/find?id=a", "/events/a/body"):
            found = await site.browser.get(path)
            assert found.status_code == 303, path
            assert found.headers["location"].startswith("/login?next=/")
        found = await site.browser.get("/", headers={"Sec-Fetch-Site": "cross-site"})
        assert 'http-equiv="refresh"' in found.text
        for token in ("nobody's", SHOP, ""):
            assert (await site.log_in(token)).status_code == 403
        found = await site.log_in(READ)
        assert (found.status_code, found.headers["location"]) == (303, "/events")
        cookie = found.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        page = await site.browser.get("/")
        assert page.status_code == 200
        assert "read only" in page.text
        assert READ not in page.text


async def test_logging_out_needs_the_form_and_ends_the_session(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:
        await site.log_in(TOKEN)
        for form in ({}, {"form_key": "guessed"}, {"form_key": "ü"}):
            assert (await site.browser.post("/logout", data=form)).status_code == 403
        page = await site.browser.get("/")
        match = re.search(r'name="form_key" value="([^"]+)"', page.text)
        assert match is not None
        kept = dict(site.browser.cookies)
        found = await site.browser.post(
            "/logout", data={"form_key": match[1]}, headers={"Origin": "https://evil.example"}
        )
        assert found.status_code == 403
        assert (await site.browser.post("/logout", data={"form_key": match[1]})).status_code == 303
        site.browser.cookies.update(kept)
        assert (await site.browser.get("/")).status_code == 303


async def test_a_token_that_a_reload_takes_away_ends_its_sessions(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:
        await site.log_in(TOKEN)
        assert (await site.browser.get("/")).status_code == 200
        site.config.write_text(site.config.read_text().replace(TOKEN, f"{TOKEN}-new"))
        await command("reload", config=site.config)
        with trio.fail_after(10):
            while (await site.browser.get("/")).status_code != 303:
                await trio.sleep(0.1)


async def test_another_sites_page_gets_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:
        await site.log_in(TOKEN)
        for path in (*PAGES, "/login"):
            found = await site.browser.get(path, headers={"Host": "evil.example"})
            assert found.status_code == 421, path
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Host": "evil.example"},
        ):
            assert (await site.log_in(TOKEN, **headers)).status_code in {403, 421}, headers


async def test_without_a_token_other_sites_still_do_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, token="none", read_token=None) as site:
        assert (await site.browser.get("/")).status_code == 200
        event = json.dumps({"type": "order.created", "data": {}})
        for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
            found = await site.browser.post("/v1/events", content=event, headers=headers)
            assert found.status_code in {403, 421}
        assert (await site.browser.post("/v1/events", content=event)).status_code == 202


async def test_guessing_is_slowed_down(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:
        found = [(await site.log_in(f"guess {number}")).status_code for number in range(6)]
        assert found == [403] * 5 + [429]
        limited = await site.log_in(TOKEN)
        assert limited.status_code == 429
        assert int(limited.headers["retry-after"]) > 0


async def test_each_page_has_the_strict_policy_and_nothing_that_breaks_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:
        await hand_over(site, {"object": {"id": "order_1"}})
        for path in (*PAGES, "/login", "/nothing", "/static/relayd.css"):
            found = await site.page(path)
            if path == "/nothing":
                continue
            assert found.headers["content-security-policy"].startswith("default-src 'self';"), path
            assert "unsafe" not in found.headers["content-security-policy"]
            assert not re.search(
                r"<style|style=|<script>|\son\w+=|data:|javascript:", found.text
            ), path
            assert "https://" not in found.text.replace("https://relay", ""), path
        assert (await site.page("/static/..%2fsite.py")).status_code == 404


async def test_a_hostile_event_is_only_text(tmp_path: Path) -> None:
    big = "x" * 900_000
    fields = {"id": HOSTILE, "total": 9000, HOSTILE: HOSTILE, "big": big, "end": "</pre></script>"}
    async with (
        open_receiver(answer(500, HOSTILE.encode())) as books,
        serving(tmp_path, books.url) as site,
    ):
        event = await hand_over(site, {"object": fields})
        with trio.fail_after(10):
            await site.relayd.logged("attempt_failed", event_id=event)
        listed = await site.page("/deliveries")
        match = re.search(r'href="(/deliveries/dlv_\w+)"', listed.text)
        assert match is not None
        for path in (*PAGES, f"/events/{event}", match[1], f"/events?object={HOSTILE}"):
            found = await site.page(path)
            assert found.status_code == 200, path
            assert "<script>alert" not in found.text, path
            # A field has what was asked for, as it was given.
            assert "\u202e" not in re.sub(r'value="[^"]*"', "", found.text), path
            assert len(found.text) < 200_000, path
        assert "&lt;script&gt;alert(1)" in (await site.page(match[1])).text
        raw = await site.page(f"/events/{event}/body")
        assert raw.headers["content-type"].startswith("text/plain")
        assert big in raw.text
        assert "\u202e" not in raw.text


async def test_an_event_says_what_each_subscription_did(tmp_path: Path) -> None:
    async with open_receiver(answer(200)) as books, serving(tmp_path, books.url) as site:
        event = await hand_over(site, {"object": {"id": "order_1", "total": 100}})
        with trio.fail_after(10):
            await site.relayd.logged("attempt_succeeded", event_id=event)
        page = (await site.page(f"/events/{event}")).text
        assert "delivered" in page
        assert "data.object.total is 100, and must be at least 5000" in page
        for asked, there in (
            ("object=order_1", True),
            ("object=order_2", False),
            ("type=order.*&since=1h", True),
            ("type=user.*", False),
            ("unmatched=1", False),
        ):
            assert (event in (await site.page(f"/events?{asked}")).text) is there, asked
        found = await site.page(f"/find?id={event}")
        assert found.headers["location"] == f"/events/{event}"
        found = await site.page("/find?id=order_1")
        assert found.headers["location"] == "/events?object=order_1"
        assert (await site.page("/events/evt_nothing")).status_code == 404
        assert (await site.page("/deliveries/dlv_nothing_1")).status_code == 404


async def test_pages_follow_each_other_without_a_gap(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:
        ids = [await hand_over(site, {"object": {"id": f"order_{n}"}}) for n in range(70)]
        seen: list[str] = []
        path = "/events?type=order.*"
        while path:
            text = (await site.page(path)).text
            seen += re.findall(r'href="/events/(evt_\w+)\?', text)
            match = re.search(r'href="([^"]+)">Older', text)
            path = match[1].replace("&amp;", "&") if match else ""
        assert seen == ids[::-1]


async def test_when_relayd_is_down_each_page_says_so_and_still_shows_the_queue(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as site:
        event = await hand_over(site, {"object": {"id": "order_1"}})
        site.relayd.process.kill()
        await site.relayd.wait()
        await trio.sleep(1.1)  # what the daemon said holds for a second
        for path in (*PAGES, f"/events/{event}"):
            assert "relayd is not running" in (await site.page(path)).text, path
        assert event in (await site.page("/events")).text


async def test_the_configuration_shows_no_secret_and_where_each_thing_comes_from(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, "http://127.0.0.1:9/a-secret-path") as site:
        page = (await site.page("/configuration")).text
        for secret in ("a-secret-of-books", "a-secret-path", TOKEN, READ, SHOP):
            assert secret not in page
        assert re.search(r"config\.yaml:\d+", page)
        same = await site.page("/configuration?compare=1")
        assert "Compared" in same.text
        assert "What is on disk is what is in force." in same.text
        site.config.write_text(site.config.read_text().replace("books", "ledger"))
        with trio.fail_after(60):  # a comparison holds for as long as it took
            while "ledger" not in (await site.page("/configuration?compare=1")).text:
                await trio.sleep(0.2)


async def test_an_endpoint_whose_last_attempt_failed_is_not_shown_as_healthy(
    tmp_path: Path,
) -> None:
    failed = "</svg>last attempt failed</span>"
    async with serving(tmp_path) as site:
        await site.log_in(TOKEN)
        await hand_over(site, {"object": {"id": "order_1"}})
        with trio.fail_after(20):
            while failed not in (text := (await site.browser.get("/")).text):
                await trio.sleep(0.2)
        page = (await site.browser.get("/subscriptions/books")).text
    assert failed in page
    assert "</svg>healthy</span>" not in text + page


async def test_the_configuration_shows_the_entries_of_inbound(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:
        await site.log_in(TOKEN)
        file = yaml.safe_load(site.config.read_text())
        file["inbound"] = {"cards": {"provider": "stripe", "secret": "whsec_a-secret-of-cards"}}
        site.config.write_text(yaml.safe_dump(file))
        await command("reload", config=site.config)
        with trio.fail_after(20):
            while "stripe at /in/cards" not in (
                text := (await site.browser.get("/configuration")).text
            ):
                await trio.sleep(0.2)
        assert "a-secret-of-cards" not in text


@pytest.mark.parametrize("path", PAGES)
async def test_a_queue_that_cannot_be_read_is_said(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path) as site:
        if path == "/configuration":
            return
        site.relayd.process.kill()
        await site.relayd.wait()
        for side in ("-wal", "-shm"):
            (tmp_path / f"queue.db{side}").unlink(missing_ok=True)
        for each in tmp_path.rglob("queue.db"):
            each.write_bytes(b"not a queue" * 100)
        found = await site.page(path)
        assert found.status_code == 503
        assert "queue.db" in found.text


async def test_a_form_that_is_too_large_or_not_text_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:
        found = await site.browser.post("/login", content=b"token=" + b"a" * 100_000)
        assert found.status_code == 413
        assert (await site.browser.post("/login", content=b"\xff\xfe\x00")).status_code == 403
        with socket.create_connection(("127.0.0.1", site.browser.base_url.port or 0)) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
            assert raw.recv(100).split()[1] in {b"400", b"421"}
