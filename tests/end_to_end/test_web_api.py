"""The API of the web process: what the commands show and do, for programs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio
from processes import command
from receivers import answer, open_receiver, unused_port
from web_process import EVENT, READ, TOKEN, Web, serving, with_token

from relayd.cli.commands.deliveries import DEFAULT_LIMIT
from relayd.web.api.deliveries import LIMIT


def file_with(url: str, **more: object) -> dict[str, Any]:
    return {
        "include": "subscriptions.d/*.yaml",
        "allow_networks": ["127.0.0.0/8"],
        "subscriptions": {
            "books": {"url": url, "events": "order.*", "secret": "books-0123456789", **more}
        },
    }


async def ask(
    web: Web, request: str, status: int = 200, *, token: str | None = TOKEN, **more: Any
) -> Any:
    method, path = request.split(" ", 1)
    headers = {**with_token(token), **more.pop("headers", {})}
    with trio.fail_after(60):
        found = await web.private.request(method, path, headers=headers, timeout=60, **more)
    assert found.status_code == status, found.text
    if status >= 400:
        assert found.headers["content-type"] == "application/problem+json"
        problem = found.json()
        assert problem["status"] == status
        assert problem["code"]
        assert problem["detail"]
    return found.json()


async def shown(web: Web, *arguments: str) -> Any:
    return json.loads(await command(*arguments, "--json", config=web.config))


async def give(web: Web, *ids: str) -> None:
    for each in ids:
        event = {**EVENT, "id": each, "data": {"object": {"id": f"object_{each}"}}}
        await ask(web, "POST /v1/events", 202, json=event)


async def settled(web: Web, path: str, wanted: Mapping[str, object]) -> Any:
    """Return the first delivery of a list once it is as wanted."""
    with trio.fail_after(30):
        while True:
            page = await ask(web, f"GET {path}")
            if page["deliveries"] and wanted.items() <= page["deliveries"][0].items():
                return page["deliveries"][0]
            await trio.sleep(0.05)


async def test_documents_are_those_of_the_commands(tmp_path: Path) -> None:
    assert LIMIT == DEFAULT_LIMIT
    nobody = f"http://127.0.0.1:{unused_port()}/"
    async with serving(tmp_path, file=file_with(nobody, retry=["1h"])) as web:
        await give(web, "a", "b", "c")
        with trio.fail_after(30):
            while len((await ask(web, "GET /v1/deliveries?state=retrying"))["deliveries"]) < 3:
                await trio.sleep(0.05)
        page = await ask(web, "GET /v1/deliveries", token=READ)
        assert page == await shown(web, "deliveries")
        first = page["deliveries"][0]["id"]
        filters = {
            "limit=2": ["--limit", "2"],
            f"before={first}&limit=1": ["--before", first, "--limit", "1"],
            "state=retrying&state=held": ["--state", "retrying", "--state", "held"],
            "state=delivered": ["--state", "delivered"],
            "type=order.*&type=payment.failed": ["--type", "order.*", "--type", "payment.failed"],
            "object=object_b": ["--object", "object_b"],
            "subscription=books&since=2h": ["--subscription", "books", "--since", "2h"],
            "until=2020-01-31": ["--until", "2020-01-31"],
        }
        for query, options in filters.items():
            found = await ask(web, f"GET /v1/deliveries?{query}")
            assert found == await shown(web, "deliveries", *options), query
        ids: list[str] = []
        before: str | None = ""
        while before is not None:
            page = await ask(web, f"GET /v1/deliveries?limit=2{before and f'&before={before}'}")
            ids += [each["event_id"] for each in page["deliveries"]]
            before = page["older_before"]
        assert ids == ["c", "b", "a"]
        assert await ask(web, "GET /v1/events/b") == await shown(web, "show", "b")
        assert await ask(web, f"GET /v1/deliveries/{first}") == await shown(web, "show", first)
        found = await ask(web, "GET /v1/subscriptions", token=READ)
        [books] = found["subscriptions"]
        checked = await shown(web, "check")
        standing = await shown(web, "status")
        assert books.pop("status") == standing["endpoints"][0]["subscriptions"][0]
        assert books.pop("line") > 0
        assert books == {**checked["subscriptions"][0], "url": nobody}
        assert found["removed"] == []
        one = await ask(web, "GET /v1/subscriptions/books")
        assert one["name"] == "books"
        assert one["status"]["waiting"] == 3


async def test_a_delivery_is_retried_cancelled_and_replayed(tmp_path: Path) -> None:
    async with open_receiver(answer(500), answer(500), answer(200), answer(200)) as receiver:
        async with serving(tmp_path, file=file_with(receiver.url, retry=["1h"])) as web:
            await give(web, "a")
            found = await settled(web, "/v1/deliveries", {"state": "retrying"})
            one = f"/v1/deliveries/{found['id']}"
            refused = await ask(web, f"POST {one}/replay", 409)
            assert refused["code"] == "not_touched"
            assert refused["instead"] == f"relayd retry {found['id']}"
            assert refused["state"] == "retrying"
            retried = await ask(web, f"POST {one}/retry")
            assert (retried["changed"], retried["to_retry"]) == (1, {"books": 1})
            await settled(web, "/v1/deliveries", {"attempts": 2, "state": "retrying"})
            cancelled = await ask(web, f"POST {one}/cancel")
            assert (cancelled["changed"], cancelled["to_cancel"]) == (1, {"books": 1})
            assert (await ask(web, f"POST {one}/cancel", 409))["state"] == "cancelled"
            assert (await ask(web, f"POST {one}/replay?state=delivered", 409))["instead"]
            replayed = await ask(web, f"POST {one}/replay")
            assert (replayed["changed"], replayed["to_replay"]) == (1, {"books": 1})
            await settled(web, "/v1/deliveries", {"state": "delivered"})
            await ask(web, f"POST {one}/retry", 409)
            await ask(web, f"POST {one}/replay", 409)
            again = await ask(web, f"POST {one}/replay?state=delivered")
            assert again["changed"] == 1
            await settled(web, "/v1/deliveries", {"state": "delivered", "attempts": 4})
        assert len(receiver.requests) == 4


async def test_a_subscription_is_added_replaced_tested_held_and_removed(tmp_path: Path) -> None:
    (tmp_path / "subscriptions.d").mkdir()
    async with open_receiver(answer(200), answer(200), answer(200)) as receiver:
        async with serving(tmp_path, file=file_with("https://books.example/")) as web:
            keys = {"url": receiver.url, "events": ["order.created"]}
            put = "PUT /v1/subscriptions/shop"
            response = await web.private.put(
                "/v1/subscriptions/shop", json=keys, headers=with_token(TOKEN), timeout=60
            )
            assert response.status_code == 201
            assert response.headers["location"] == "/v1/subscriptions/shop"
            added = response.json()
            secret = added["secret"]
            assert added["in_force"]
            assert secret.startswith("whsec_")
            # At once: another request does not wait until the change is seen.
            assert (await ask(web, "GET /v1/subscriptions/shop"))["events"] == ["order.created"]
            exists = await ask(web, put, 412, json=keys, headers={"If-None-Match": "*"})
            assert exists["code"] == "exists"
            # A condition is never ignored.
            await ask(web, put, 412, json=keys, headers={"If-Match": "*"})
            await ask(web, put, 400, json=keys, headers={"If-None-Match": '"a"'})
            changed = await ask(web, put, json={**keys, "timeout": "5s", "active": True})
            assert changed["secret"] is None
            file = Path(changed["file"])
            assert secret in file.read_text(), "whoever verifies goes on with the same secret"
            assert (await ask(web, "GET /v1/subscriptions/shop"))["timeout_s"] == 5
            await ask(web, put, json=keys)
            assert (await ask(web, "GET /v1/subscriptions/shop"))["timeout_s"] == 10
            held = await ask(web, "POST /v1/subscriptions/shop/pause")
            assert held == {"name": "shop", "changed": True, "hold": "paused"}
            assert (await ask(web, "GET /v1/subscriptions/shop"))["status"]["hold"] == "paused"
            resumed = await ask(web, "POST /v1/subscriptions/shop/resume")
            assert (resumed["changed"], resumed["hold"]) == (True, None)
            tested = await ask(web, "POST /v1/subscriptions/shop/test?type=payment.failed")
            assert (tested["succeeded"], tested["status"]) == (True, 200)
            assert tested["event_type"] == "payment.failed"
            assert tested["in_force"]["in_force"] is True
            removed = await ask(web, "DELETE /v1/subscriptions/shop")
            assert (removed["file"], removed["held"]) == (str(file), 0)
            assert not file.exists()
            await ask(web, "GET /v1/subscriptions/shop", 404)
            await ask(web, "DELETE /v1/subscriptions/shop", 404)
        assert len(receiver.requests) == 1


async def test_what_cannot_be_put_leaves_everything_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "subscriptions.d"
    folder.mkdir()
    good = {"url": "https://shop.example/", "events": ["order.*"]}
    wrong: list[tuple[str, object, int, str]] = [
        ("shop", {**good, "events": ["oder.*"]}, 422, "invalid"),
        ("shop", {**good, "timeot": "5s"}, 422, "invalid"),
        ("shop", {"url": "https://shop.example/"}, 422, "invalid"),
        ("shop", {**good, "url": "ftp://shop.example/"}, 422, "invalid"),
        ("shop", {**good, "url": "\ud800"}, 422, "invalid"),
        ("shop", {**good, "secret": {"file": "/nowhere"}}, 422, "invalid"),
        ("shop", [good], 422, "invalid"),
        ("shop", None, 422, "invalid"),
        ("shop", b"{", 400, "invalid_json"),
        ("shop", b'{"timeout": NaN}', 400, "invalid_json"),
        ("shop", b"[" * 100_000, 400, "invalid_json"),
        ("shop", b" " * 300_000, 413, "too_large"),
        ("-x", good, 422, "invalid"),
        ("a%2Fb", good, 404, "not_found"),
        ("%00", good, 422, "invalid"),
        ("a%20b", good, 422, "invalid"),
        ("x" * 65, good, 422, "invalid"),
        ("%F0%9F%98%80", good, 422, "invalid"),
        ("books", good, 409, "not_added"),
        # The control socket's own words are no keys.
        *(("shop", {**good, key: True}, 422, "invalid") for key in ("check", "whole", "command")),
    ]
    async with serving(tmp_path, file=file_with("https://books.example/")) as web:
        before = (await ask(web, "GET /v1/subscriptions"))["subscriptions"]
        for name, keys, status, code in wrong:
            content = keys if isinstance(keys, bytes) else json.dumps(keys)
            problem = await ask(
                web,
                f"PUT /v1/subscriptions/{name}",
                status,
                content=content,
                headers={"Content-Type": "application/json"},
            )
            assert problem["code"] == code, (name, str(keys)[:80])
        refused = await ask(web, "PUT /v1/subscriptions/shop", 415, content=json.dumps(good))
        assert refused["code"] == "not_json"
        detailed = await ask(web, "PUT /v1/subscriptions/shop", 422, json={**good, "timeot": 1})
        assert [each["key"] for each in detailed["details"]] == ["timeot"]
        assert (await ask(web, "DELETE /v1/subscriptions/books", 409))["code"] == "not_added"
        assert list(folder.iterdir()) == []
        assert (await ask(web, "GET /v1/subscriptions"))["subscriptions"] == before


ODD = ("%00", "%F0%9F%98%80", "a" * 5_000, "%0A", "dlv_", "..%2f..", "'", "%FF", "e%0A")


async def test_what_cannot_be_meant_is_refused_and_nothing_ends(tmp_path: Path) -> None:
    bad = (
        "limit=0", "limit=1001", "limit=1e2", "limit=-1", "limit=", "limit=1&limit=2", "states=held",
        "state=lost", "state=", "since=yesterday%20", "since=2026-02-30", "since=99d99", "until=%00",
        "type=Order", "type=%2A%2A", "object=", f"object={'x' * 257}", "before=", "since=2h&since=3h",
        "market=x", "wait=5",
        "&".join(f"type=a.{number}" for number in range(101)),
    )  # fmt: skip
    async with serving(tmp_path, file=file_with("https://books.example/")) as web:
        await give(web, "e")
        await settled(web, "/v1/deliveries", {"event_id": "e"})
        [one] = (await ask(web, "GET /v1/deliveries"))["deliveries"]
        for query in bad:
            problem = await ask(web, f"GET /v1/deliveries?{query}", 400)
            assert problem["code"] == "bad_request", query
        for query in ("subscription=nobody", "subscription=%00", "before=x", "before=dlv_00_1"):
            await ask(web, f"GET /v1/deliveries?{query}", 404)
        assert (
            "did you mean books"
            in (await ask(web, "GET /v1/deliveries?subscription=bok", 404))["detail"]
        )
        for odd in (*ODD, one["id"].rpartition("_")[0] + "_" + "9" * 400, f"{one['id']}%0A"):
            await ask(web, f"GET /v1/events/{odd}", 404)
            await ask(web, f"GET /v1/deliveries/{odd}", 404)
            await ask(web, f"POST /v1/deliveries/{odd}/retry", 404)
            await ask(web, f"GET /v1/subscriptions/{odd}", 404)
            await ask(web, f"POST /v1/subscriptions/{odd}/pause", 404)
        # One is not the other, and neither has a second spelling.
        await ask(web, f"GET /v1/events/{one['id']}", 404)
        await ask(web, "GET /v1/deliveries/e", 404)
        for path in (
            "/v1/deliveries/",
            f"/v1/deliveries/{one['id']}/",
            "/v1",
            "/v1/",
        ):
            assert (await ask(web, f"GET {path}", 404))["code"] == "not_found", path
        await ask(web, "GET /v1/events/e?body=1", 400)
        await ask(web, f"POST /v1/deliveries/{one['id']}/replay?state=pending", 400)
        await ask(web, f"POST /v1/deliveries/{one['id']}/retry?all=1", 400)
        await ask(web, "POST /v1/subscriptions/books/test?type=Not%20a%20type", 422)
        assert (await ask(web, "GET /v1/events/e?market=none", 404))["code"] == "unknown"
        same = await ask(web, f"GET /v1/events/%65?market={one['market_id']}")
        assert same["id"] == "e"


METHODS = {
    "/v1/events": "GET, HEAD, POST",
    "/v1/events/e": "GET, HEAD",
    "/v1/deliveries": "GET, HEAD",
    "/v1/deliveries/d": "GET, HEAD",
    "/v1/deliveries/d/retry": "POST",
    "/v1/subscriptions": "GET, HEAD",
    "/v1/subscriptions/books": "DELETE, GET, HEAD, PUT",
    "/v1/subscriptions/books/pause": "POST",
    "/v1/openapi.json": "GET, HEAD",
    "/healthz": "GET, HEAD",
    "/metrics": "GET, HEAD",
}


async def test_other_methods_are_refused_with_those_that_there_are(tmp_path: Path) -> None:
    every = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW")
    async with serving(tmp_path, file=file_with("https://books.example/")) as web:
        for path, allowed in METHODS.items():
            for method in every:
                if method in allowed.split(", "):
                    continue
                found = await web.private.request(method, path, headers=with_token(TOKEN))
                assert (found.status_code, found.headers["allow"]) == (405, allowed), (method, path)
                assert found.headers["content-type"] == "application/problem+json"
        for path in ("/v1/deliveries", "/v1/subscriptions", "/v1/openapi.json"):
            head = await web.private.head(path, headers=with_token(READ))
            whole = await web.private.get(path, headers=with_token(READ))
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == whole.headers["content-length"]
            assert whole.headers["cache-control"] == "no-store"


async def test_without_the_daemon_it_shows_the_queue_and_does_nothing(tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{unused_port()}/"
    async with serving(tmp_path, file=file_with(nobody, retry=["1h"])) as web:
        await give(web, "a")
        found = await settled(web, "/v1/deliveries", {"state": "retrying"})
        await web.relayd.stop()
        page = await ask(web, "GET /v1/deliveries")
        assert page["deliveries"][0]["in_flight"] is False
        assert (await ask(web, "GET /v1/events/a"))["id"] == "a"
        assert (await ask(web, "GET /v1/subscriptions"))["subscriptions"]
        for path in (
            f"POST /v1/deliveries/{found['id']}/retry",
            "POST /v1/subscriptions/books/pause",
            "POST /v1/subscriptions/books/test",
            "DELETE /v1/subscriptions/books",
        ):
            assert (await ask(web, path, 503))["code"] == "not_running", path
        put = {"url": "https://shop.example/", "events": ["*"]}
        assert (await ask(web, "PUT /v1/subscriptions/x", 503, json=put))["code"] == "not_running"


async def test_an_id_of_several_markets_asks_which(tmp_path: Path) -> None:
    async with serving(tmp_path, file=file_with("https://books.example/")) as web:
        for market in ("market_1", "market_2"):
            event = {**EVENT, "id": "same", "market_id": market}
            await ask(web, "POST /v1/events", 202, json=event)
        problem = await ask(web, "GET /v1/events/same", 409)
        assert (problem["code"], problem["markets"]) == (
            "several_markets",
            ["market_1", "market_2"],
        )
        found = await ask(web, "GET /v1/events/same?market=market_2")
        assert found["market_id"] == "market_2"


async def test_an_idempotency_key_that_is_none_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as web:
        for key in ("", '""', '"', "a b", '"a', "a,b", "x" * 129):
            problem = await ask(
                web, "POST /v1/events", 422, json=EVENT, headers={"Idempotency-Key": key}
            )
            assert problem["code"] == "invalid_id", key
        taken = await ask(
            web, "POST /v1/events", 202, json=EVENT, headers={"Idempotency-Key": '"a"'}
        )
        assert taken == {"id": "a"}
