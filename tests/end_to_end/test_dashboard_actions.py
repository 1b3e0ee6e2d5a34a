"""What the dashboard changes: a question with its number, a form of its own page, and what comes of it."""

import json
import re
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import trio
import yaml
from operating import Switch, asked
from processes import command
from receivers import open_receiver
from web_process import READ, TOKEN, Web, serving, with_token

from relayd.spool.table import SPOOL_TABLE

BOOKS_SECRET = "a-secret-of-books-0123456789"


@asynccontextmanager
async def site(folder: Path, url: str, **keys: Any) -> AsyncIterator[Web]:
    """Run both, with one subscription that goes to `url`, which retries after an hour."""
    (folder / "subs.d").mkdir(mode=0o700)
    books = {"url": url, "events": "*", "secret": BOOKS_SECRET, "retry": ["1h"], **keys}
    file = {"include": "subs.d/*.yaml", "subscriptions": {"books": books}}
    async with serving(folder, file=file) as web:
        web.private.headers.update(with_token(TOKEN))
        web.private.timeout = httpx.Timeout(60)
        yield web


async def hand_over(web: Web, identifier: str) -> str:
    event = {"type": "order.created", "data": {"object": {"id": identifier}}}
    found = await web.private.post("/v1/events", content=json.dumps(event))
    assert found.status_code == 202, found.text
    return str(found.json()["id"])


def fields_of(page: httpx.Response) -> dict[str, str]:
    """Return the hidden fields of a page's form that acts."""
    form = page.text.partition("<main")[2]
    return {
        unescape(name): unescape(value)
        for name, value in re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', form)
    }


def title_of(page: httpx.Response) -> str:
    match = re.search(r"<h1[^>]*>(.*?)</h1>", page.text, re.DOTALL)
    assert match is not None
    return unescape(re.sub(r"<[^>]+>", "", match[1]))


async def say_yes(web: Web, path: str, **fields: object) -> tuple[str, httpx.Response]:
    """Open the question at `path` and answer it; return the question, and what came of it."""
    page = await web.private.get(path)
    assert page.status_code == 200, page.text
    answer = await web.private.post(path.partition("?")[0], data={**fields_of(page), **fields})
    return title_of(page), answer


async def states(web: Web) -> list[str]:
    found = (await asked("deliveries", config=web.config))["deliveries"]
    return [each["state"] for each in found]


async def until_states(web: Web, *expected: str) -> None:
    with trio.fail_after(60):
        while sorted(await states(web)) != sorted(expected):
            await trio.sleep(0.2)


async def test_a_backlog_is_retried_cancelled_and_replayed(tmp_path: Path) -> None:
    switch = Switch(500)
    async with open_receiver(switch) as receiver, site(tmp_path, receiver.url) as web:
        for number in range(3):
            await hand_over(web, f"order_{number}")
        await until_states(web, *["retrying"] * 3)
        question, answer = await say_yes(web, "/act/cancel?subscription=books&object=order_0")
        assert question == "Cancel 1 delivery?"
        assert title_of(answer) == "1 delivery cancelled"
        await until_states(web, "cancelled", "retrying", "retrying")
        switch.status = 200
        question, answer = await say_yes(web, "/act/retry?subscription=books")
        assert (question, title_of(answer)) == ("Retry 2 deliveries?", "2 retries released")
        await until_states(web, "cancelled", "delivered", "delivered")
        question, answer = await say_yes(web, "/act/replay?subscription=books&state=cancelled")
        assert (question, title_of(answer)) == ("Replay 1 delivery?", "1 delivery due again")
        await until_states(web, *["delivered"] * 3)
        page = await web.private.get("/act/replay?subscription=books")
        assert title_of(page) == "There is nothing to replay"
        assert "<button class" not in page.text.partition("<main")[2]
        assert "To send again what was delivered to books" in page.text


async def test_what_came_in_after_the_question_is_not_meant(tmp_path: Path) -> None:
    async with site(tmp_path, "http://127.0.0.1:9/") as web:
        await hand_over(web, "order_1")
        await until_states(web, "retrying")
        page = await web.private.get("/act/cancel?subscription=books")
        await hand_over(web, "order_2")
        await until_states(web, "retrying", "retrying")
        answer = await web.private.post("/act/cancel", data=fields_of(page))
        assert title_of(answer) == "1 delivery cancelled"
        await until_states(web, "cancelled", "retrying")
        # One that says fewer than there are is asked again.
        page = await web.private.get("/act/cancel?subscription=books")
        answer = await web.private.post("/act/cancel", data={**fields_of(page), "count": "0"})
        assert title_of(answer) == "Cancel 1 delivery?"
        assert "more by now" in answer.text
        await until_states(web, "cancelled", "retrying")


async def test_what_is_not_whole_changes_nothing(tmp_path: Path) -> None:
    async with site(tmp_path, "http://127.0.0.1:9/") as web:
        await hand_over(web, "order_1")
        await until_states(web, "retrying")
        for path in (
            "/act/cancel",
            "/act/cancel?market=market_123",
            "/act/cancel?since=never",
            "/act/cancel?state=unheard",
            "/act/cancel?subscription=nobody",
            "/act/cancel?type=%3F&subscription=books",
            "/act/cancel?subscription=books&market=market_123",
            "/act/cancel?state=delivered&subscription=books",
            "/act/retry?id=evt_nothing",
        ):
            found = await web.private.get(path)
            assert found.status_code in {400, 404, 409}, path
            assert title_of(found) == "Not done", path
        good = fields_of(await web.private.get("/act/cancel?subscription=books"))
        for missing in ("count", "newest", "form_key", "subscription"):
            form = {name: value for name, value in good.items() if name != missing}
            found = await web.private.post("/act/cancel", data=form)
            assert found.status_code in {400, 403}, missing
        for value in ("nan", "0", "-1", "x", str(2**63), "9" * 5000):
            found = await web.private.post("/act/cancel", data={**good, "newest": value})
            assert found.status_code == 400, value
        for number in ("9" * 5000, "9" * 19, "0", "x", "1x"):
            assert (await web.private.get(f"/rejected/{number}")).status_code == 404, number
            dropped = await web.private.post(f"/rejected/{number}/drop", data=good)
            assert dropped.status_code == 404, number
        found = await web.private.post("/act/cancel", content=b"a&" * 25_000)
        assert found.status_code == 400, "too many fields"
        assert await states(web) == ["retrying"]


async def test_a_form_of_another_page_or_another_site_does_nothing(tmp_path: Path) -> None:
    async with site(tmp_path, "http://127.0.0.1:9/") as web:
        good = fields_of(await web.private.get("/subscriptions/books/pause"))
        async with httpx.AsyncClient(base_url=web.private.base_url) as browser:
            await browser.post("/login", data={"token": TOKEN})
            own = fields_of(await browser.get("/subscriptions/books/pause"))
            assert own["form_key"] != good["form_key"]
            path = "/subscriptions/books/pause"
            for form, headers in (
                ({}, {}),
                ({"form_key": "guessed"}, {}),
                (good, {}),
                (own, {"Origin": "https://evil.example"}),
                (own, {"Origin": "null"}),
                (own, {"Sec-Fetch-Site": "cross-site"}),
            ):
                found = await browser.post(path, data=form, headers=headers)
                assert found.status_code == 403, (form, headers)
            assert (await browser.post(path, data=own, headers={"Host": "evil"})).status_code == 421
            subscription = (await asked("status", config=web.config))["endpoints"][0]
            assert subscription["subscriptions"][0]["hold"] is None
            assert title_of(await browser.post(path, data=own)) == "books is paused"


async def test_who_may_look_sees_no_button(tmp_path: Path) -> None:
    async with site(tmp_path, "http://127.0.0.1:9/") as web:
        event = await hand_over(web, "order_1")
        await until_states(web, "retrying")
        listed = (await asked("deliveries", config=web.config))["deliveries"]
        for path in (
            "/", "/deliveries?subscription=books", f"/deliveries/{listed[0]['id']}", f"/events/{event}",
            "/problems", "/configuration", "/rejected", "/subscriptions/books",
        ):  # fmt: skip
            acts = 'href="/act/|href="/add|/pause"|/test"|/edit"|/remove"|/resubmit"'
            found = await web.private.get(path, headers=with_token(READ))
            assert found.status_code == 200
            assert not re.search(acts, found.text), path
            assert re.search(acts, (await web.private.get(path)).text) or path in {
                "/problems",
                "/rejected",
            }, path


async def test_a_subscription_is_paused_resumed_and_tested(tmp_path: Path) -> None:
    switch = Switch(200)
    async with open_receiver(switch) as receiver, site(tmp_path, receiver.url) as web:
        question, answer = await say_yes(web, "/subscriptions/books/pause")
        assert (question, title_of(answer)) == ("Pause books?", "books is paused")
        await hand_over(web, "order_1")
        await until_states(web, "held")
        assert "paused" in (await web.private.get("/subscriptions/books")).text
        question, answer = await say_yes(web, "/act/retry?subscription=books")
        assert "is held" in answer.text
        question, answer = await say_yes(web, "/subscriptions/books/test", type="payment.failed")
        assert title_of(answer).startswith("Accepted: 200")
        assert "payment.failed (evt_test_" in answer.text
        question, answer = await say_yes(web, "/subscriptions/books/resume")
        assert title_of(answer) == "books is resumed"
        await until_states(web, "delivered")
        switch.status = 503
        _, answer = await say_yes(web, "/subscriptions/books/test")
        assert title_of(answer).startswith("Not accepted")
        assert "503" in answer.text


async def test_rejected_input_is_fixed_and_resubmitted(tmp_path: Path) -> None:
    (tmp_path / "subs.d").mkdir(mode=0o700)
    (tmp_path / "spool").mkdir()
    spool = tmp_path / "spool" / "spool.db"
    with sqlite3.connect(spool) as db:
        db.executescript(SPOOL_TABLE.format(table="relayd_spool"))
        rows = [("order.created ", "</textarea><script>alert(1)</script>"), ("order.nothing", "1")]
        for kind, name in rows:
            db.execute(
                "INSERT INTO relayd_spool (type, data) VALUES (?, ?)",
                (kind, json.dumps({"object": {"id": name}} if name != "1" else 1)),
            )
    db.close()
    file = {
        "spools": {"market": {"path": str(spool)}},
        "subscriptions": {
            "books": {"url": "http://127.0.0.1:9/", "events": "*", "secret": BOOKS_SECRET}
        },
    }
    async with serving(tmp_path, file=file) as web:
        web.private.headers.update(with_token(TOKEN))
        with trio.fail_after(30):
            while (await web.private.get("/rejected/2")).status_code != 200:
                await trio.sleep(0.2)
        page = await web.private.get("/rejected/1")
        assert "<script>alert" not in page.text
        form = {**fields_of(page), "type": "order.created"}
        # The data is sent back as a browser does, and is the same: it is not a change.
        shown = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page.text, re.DOTALL)
        assert shown is not None
        answer = await web.private.post("/rejected/1", data={**form, "data": unescape(shown[1])})
        assert "accepted as evt_" in title_of(answer), answer.text
        question, answer = await say_yes(web, "/rejected/resubmit")
        assert question == "Resubmit 1 rejected row?"
        assert title_of(answer) == "0 rejected rows accepted"
        assert "1 rejected row still rejected" in answer.text
        question, answer = await say_yes(web, "/rejected/2/drop")
        assert title_of(answer) == "2 dropped"
        assert (await web.private.get("/rejected/2")).status_code == 404
        assert "Nothing was rejected" in (await web.private.get("/rejected")).text


FORM: Mapping[str, Any] = {
    "name": "shop", "events": ["order.created", "payment.*"], "others": "user.deleted, user.*",
    "where": "data.object.total: {gte: 5}\r\ndata.object.currency: usd", "active": "on",
    "timeout": "5s", "retry": "1m, 1h", "rate_limit": "50/min", "secret": "make",
}  # fmt: skip


async def test_a_webhook_is_added_edited_and_removed(tmp_path: Path) -> None:
    switch = Switch(200)
    async with (
        open_receiver(switch) as receiver,
        site(tmp_path, "http://127.0.0.1:9/") as web,
    ):
        file = tmp_path / "subs.d" / "shop.yaml"
        url = f"{receiver.url}hook-path?key=abc"
        _, answer = await say_yes(web, "/add", **FORM, url=url)
        assert title_of(answer) == "shop was added", answer.text
        written = yaml.safe_load(file.read_text())["subscriptions"]["shop"]
        secret = written.pop("secret")
        assert written == {
            "url": url,
            "events": ["order.created", "payment.*", "user.deleted", "user.*"],
            "where": {"data.object.total": {"gte": 5}, "data.object.currency": "usd"},
            "timeout": "5s",
            "retry": ["1m", "1h"],
            "rate_limit": "50/min",
        }
        assert answer.text.count(secret) == 1, "shown once, and masked in the YAML"
        assert "hook-path" not in answer.text
        await command("check", config=web.config)
        answer = await web.private.post("/subscriptions/shop/test", data=fields_of(answer))
        assert title_of(answer).startswith("Accepted: 200"), answer.text
        # What is in force is known at once; neither secret nor path is shown again.
        for path in ("/subscriptions/shop", "/subscriptions/shop/edit", "/configuration"):
            page = await web.private.get(path)
            assert page.status_code == 200, path
            assert secret not in page.text
            assert "hook-path" not in page.text
        page = await web.private.get("/subscriptions/shop/edit")
        assert 'value="order.created" checked' in page.text
        assert 'value="order.updated">' in page.text
        assert 'value="user.*" checked' in page.text
        changed = {**FORM, "url": "", "secret": "rotate", "timeout": "", "where": ""}
        del changed["active"]
        answer = await web.private.post(
            "/subscriptions/shop/edit", data={**fields_of(page), **changed}
        )
        assert title_of(answer) == "shop was changed", answer.text
        again = yaml.safe_load(file.read_text())["subscriptions"]["shop"]
        assert again["previous_secret"] == secret
        assert again["url"] == url
        assert again["active"] is False
        assert "timeout" not in again
        assert "where" not in again
        assert answer.text.count(again["secret"]) == 1
        question, answer = await say_yes(web, "/subscriptions/shop/remove")
        assert (question, title_of(answer)) == ("Remove shop?", "shop removed")
        assert not file.exists()
        assert (await web.private.get("/subscriptions/shop/edit")).status_code == 409


async def test_what_is_wrong_is_said_beside_its_field_and_leaves_no_file(tmp_path: Path) -> None:
    async with site(tmp_path, "http://127.0.0.1:9/") as web:
        good = {**FORM, "url": "https://shop.example/hooks"}
        for change, field in (
            ({"name": ""}, "name"),
            ({"name": "a b"}, "name"),
            ({"name": "books"}, "name"),
            ({"url": ""}, "url"),
            ({"url": "ftp://x"}, "url"),
            ({"events": [], "others": ""}, "events"),
            ({"events": ["order.creatd"], "others": ""}, "events"),
            ({"where": "data.object.total"}, "where"),
            ({"where": "data.object.total: {gt: [}"}, "where"),
            ({"where": "data.object.total: {gtx: 5}"}, "where"),
            ({"timeout": "soon"}, "timeout"),
            ({"retry": "1m, later"}, "retry"),
            ({"rate_limit": "many"}, "rate_limit"),
            ({"secret": "own", "own_secret": " "}, "secret"),
        ):
            page = await web.private.get("/add")
            form = {**fields_of(page), **good, **change}
            answer = await web.private.post("/add", data=form)
            assert answer.status_code in {409, 422}, change
            assert f'id="{field}-error-1"' in answer.text, (change, answer.text[-9000:])
            assert "5s" in answer.text or "timeout" in change, "what was filled in is still there"
        # All that is wrong is said at once.
        page = await web.private.get("/add")
        bad = {"name": "a b", "url": "ftp://x", "events": [], "others": "", "timeout": "soon"}
        answer = await web.private.post("/add", data={**fields_of(page), **good, **bad})
        for field in ("name", "url", "events", "timeout"):
            assert f'id="{field}-error-1"' in answer.text, field
        # Also what is looked at only where all else is of the right kind.
        for wrongly, wrong in (
            ({"url": "http://10.1.2.3/", "events": [], "others": ""}, ("url", "events")),
            ({"url": "http://10.1.2.3/", "timeout": "soon"}, ("url", "timeout")),
            (
                {"name": "", "url": "http://10.1.2.3/", "events": ["order.creatd"], "rate_limit": "x"},
                ("name", "url", "events", "rate_limit"),
            ),
        ):  # fmt: skip
            page = await web.private.get("/add")
            answer = await web.private.post("/add", data={**fields_of(page), **good, **wrongly})
            for field in wrong:
                assert f'id="{field}-error-1"' in answer.text, (wrongly, field)
            assert answer.text.count('-error-1">') == len(wrong)
        assert not list((tmp_path / "subs.d").iterdir())
        # One in the file itself is changed there.
        found = await web.private.get("/subscriptions/books/edit")
        assert found.status_code == 409
        assert "config.yaml" in found.text


async def test_tests_that_wait_leave_the_way_to_the_daemon_to_probes(tmp_path: Path) -> None:
    switch = Switch(200)
    switch.release = trio.Event()
    async with (
        open_receiver(switch) as receiver,
        site(tmp_path, receiver.url, timeout="60s") as web,
    ):
        fields = fields_of(await web.private.get("/subscriptions/books/test"))
        answers: list[int] = []

        async def send() -> None:
            found = await web.private.post("/subscriptions/books/test", data=fields)
            answers.append(found.status_code)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(send)
            await trio.sleep(3)
            assert not answers
            for path in ("/healthz", "/", "/subscriptions/books"):
                with trio.fail_after(20):
                    assert (await web.private.get(path)).status_code == 200, path
            # And to what is done at once.
            with trio.fail_after(20):
                paused = await web.private.post("/subscriptions/books/pause", data=fields)
                assert title_of(paused) == "books is paused"
            switch.release.set()
        assert answers == [200] * 10
