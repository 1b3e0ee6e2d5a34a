"""Who may do what on each path of the web process: the table in SECURITY.md, line by line."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import trio
from inbound_requests import INBOUND
from processes import command, running, web_running, write_config
from receivers import unused_port
from web_process import EVENT, READ, SHOP, TOKEN, serving, with_token

FEED = "f-0123456789abcdef"
STRANGER = "x-0123456789abcdef"
SECURITY = Path(__file__).parents[2] / "SECURITY.md"
FEEDS = {
    "books": {
        "url": "https://books.example/",
        "events": "*",
        "secret": "books-0123456789",
        "feed_token": FEED,
    }
}
WHO: Mapping[str, str | None] = {
    "no token": None,
    "wrong token": STRANGER,
    "producer": SHOP,
    "feed": FEED,
    "read_token": READ,
    "token": TOKEN,
}
PRIVATE: Mapping[str, tuple[int, ...]] = {
    "GET /healthz": (200, 200, 200, 200, 200, 200),
    "GET /readyz": (200, 200, 200, 200, 200, 200),
    "GET /metrics": (401, 401, 403, 403, 200, 200),
    "GET /": (303, 303, 403, 403, 200, 200),
    "GET /add": (303, 303, 403, 403, 403, 200),
    "POST /add": (303, 303, 403, 403, 403, 403),
    "GET /v1/events": (401, 401, 403, 200, 403, 200),
    "POST /v1/events": (401, 401, 202, 403, 403, 202),
    "POST /in/stripe": (401,) * 6,
}
"""What each of `WHO` is answered at `listen`."""

LOOKS = (401, 401, 403, 403, 200, 200)
ACTS = (401, 401, 403, 403, 403, 200)
API: Mapping[str, tuple[int, ...]] = {
    "GET /v1/events/ID": LOOKS,
    "GET /v1/deliveries": LOOKS,
    "GET /v1/deliveries/ID": LOOKS,
    "POST /v1/deliveries/ID/retry": ACTS,
    "POST /v1/deliveries/ID/cancel": ACTS,
    "POST /v1/deliveries/ID/replay": ACTS,
    "GET /v1/subscriptions": LOOKS,
    "GET /v1/subscriptions/NAME": LOOKS,
    "POST /v1/subscriptions/NAME/pause": ACTS,
    "POST /v1/subscriptions/NAME/resume": ACTS,
    "POST /v1/subscriptions/NAME/test": ACTS,
    "PUT /v1/subscriptions/NAME": ACTS,
    "DELETE /v1/subscriptions/NAME": ACTS,
    "GET /v1/openapi.json": LOOKS,
}
"""The same of the API, in this order, where there is what is asked for."""

PUBLIC: Mapping[str, tuple[int, ...]] = {
    "GET /healthz": (404,) * 6,
    "GET /readyz": (404,) * 6,
    "GET /metrics": (404,) * 6,
    "GET /": (404,) * 6,
    "GET /add": (404,) * 6,
    "POST /add": (404,) * 6,
    "GET /v1/events": PRIVATE["GET /v1/events"],
    "POST /v1/events": PRIVATE["POST /v1/events"],
    "POST /in/stripe": PRIVATE["POST /in/stripe"],
    **dict.fromkeys(API, (404,) * 6),
}
PAGES = (
    "GET /deliveries",
    "GET /events",
    "GET /problems",
    "GET /configuration",
    "GET /rejected",
    "GET /subscriptions/books",
)
"""The dashboard's others, which are answered as `GET /` is."""

ASKING = (
    "GET /act/retry?subscription=books",
    "GET /act/replay?subscription=books",
    "GET /act/cancel?subscription=books",
    "GET /subscriptions/books/pause",
    "GET /subscriptions/books/resume",
    "GET /subscriptions/books/test",
    "GET /rejected/resubmit",
)
"""Those that ask before something is changed, which are answered as `GET /add` is."""

ACTING = (
    "POST /act/retry",
    "POST /act/replay",
    "POST /act/cancel",
    "POST /subscriptions/books/edit",
    "POST /subscriptions/books/remove",
    "POST /subscriptions/books/pause",
    "POST /subscriptions/books/resume",
    "POST /subscriptions/books/test",
    "POST /rejected/resubmit",
    "POST /rejected/1",
    "POST /rejected/1/drop",
)
"""Those that change it, which are answered as `POST /add` is: none of them without its page's key."""


async def asked(
    client: httpx.AsyncClient, path: str, token: str | None, **headers: str
) -> httpx.Response:
    method, _, name = path.partition(" ")
    return await client.request(
        method,
        name,
        content=json.dumps(EVENT) if method == "POST" else None,
        headers={**with_token(token), **headers},
    )


async def test_each_token_reaches_what_it_may_and_nothing_else(tmp_path: Path) -> None:
    async with serving(tmp_path, file={"subscriptions": FEEDS, "inbound": INBOUND}) as web:
        for client, table in ((web.private, PRIVATE), (web.public, PUBLIC)):
            for path, expected in table.items():
                found = [(await asked(client, path, each)).status_code for each in WHO.values()]
                assert tuple(found) == expected, path
        for path in PAGES:
            found = [(await asked(web.private, path, each)).status_code for each in WHO.values()]
            assert tuple(found) == PRIVATE["GET /"], path
        for paths, like in ((ASKING, "GET /add"), (ACTING, "POST /add")):
            for path in paths:
                found = [(await asked(web.private, path, t)).status_code for t in WHO.values()]
                assert tuple(found) == PRIVATE[like], path
        for path in (
            *PAGES,
            *ASKING,
            *ACTING,
            "GET /login",
            "POST /login",
            "GET /static/relayd.css",
        ):
            assert (await asked(web.public, path, TOKEN)).status_code == 404, path
        for path in ("GET /healthz", "GET /readyz"):
            reasons = [
                "reasons" in (await asked(web.private, path, t)).json() for t in WHO.values()
            ]
            assert reasons == [who in {"read_token", "token"} for who in WHO]
        # A token is in a header, and not in a URL, which logs and histories keep; a cookie has none.
        assert (await web.private.get(f"/metrics?token={TOKEN}")).status_code == 401
        assert (await web.private.get("/metrics", auth=("relayd", TOKEN))).status_code == 401
        assert (await web.private.get(f"/?token={TOKEN}")).status_code == 303
        assert (
            await asked(web.private, "GET /", None, Cookie=f"relayd={TOKEN}")
        ).status_code == 303


async def test_each_token_reaches_what_it_may_of_the_api(tmp_path: Path) -> None:
    (tmp_path / "subscriptions.d").mkdir()
    file = {"include": "subscriptions.d/*.yaml", "subscriptions": FEEDS}
    put: Any = {"json": {"url": "https://shop.example/", "events": ["user.*"]}}
    async with serving(tmp_path, file=file) as web:
        await web.private.post("/v1/events", json={**EVENT, "id": "e"}, headers=with_token(TOKEN))
        page: Any = {"deliveries": [{}]}
        with trio.fail_after(60):
            while page["deliveries"][0].get("state") != "retrying":
                page = (await asked(web.private, "GET /v1/deliveries", READ)).json()
        [delivery] = page["deliveries"]
        await web.private.put(
            "/v1/subscriptions/shop", **put, headers=with_token(TOKEN), timeout=60
        )
        for path, expected in API.items():
            method, name = path.split(" ")
            one = delivery["id"] if "/deliveries/" in name else "e"
            # What was sent to nobody takes long; what the configuration has cannot be replaced.
            name = name.replace("ID", one).replace("NAME", "shop")
            more = put if method == "PUT" else {}
            found = [
                await web.private.request(
                    method, name, headers=with_token(each), timeout=60, **more
                )
                for each in WHO.values()
            ]
            assert tuple(each.status_code for each in found) == expected, path
            for each in found[:4]:
                assert each.headers["content-type"] == "application/problem+json"
            # By another name nobody gets there without a token, and a page of another site not even with one.
            for without in (None, STRANGER):
                rebound = {"Host": "attacker.example", **with_token(without)}
                refused = await web.private.request(method, name, headers=rebound)
                assert (refused.status_code, refused.json()["code"]) == (421, "wrong_host")
            if method != "GET":
                foreign = {"Origin": "https://attacker.example", **with_token(TOKEN)}
                refused = await web.private.request(method, name, headers=foreign)
                assert (refused.status_code, refused.json()["code"]) == (403, "wrong_origin")
            assert (
                await web.public.request(method, name, headers=with_token(TOKEN))
            ).status_code == 404


OWN = ("127.0.0.1", "[::1]:8787", "localhost:9", "relay.example", "RELAY.example:443")
OTHERS = (
    "attacker.example",
    "attacker.example:8787",
    "relay.example.attacker.example",
    "127.0.0.1.attacker.example",
    "localhost.attacker.example",
    "127.0.0.1\\@attacker.example",
    "[::1",
)


async def test_it_answers_to_its_own_names(tmp_path: Path) -> None:
    async with serving(tmp_path, base_url="https://relay.example") as web:
        for host in (*OWN, *OTHERS):
            own = host in OWN
            for token in (None, STRANGER):
                found = await asked(web.private, "GET /metrics", token, Host=host)
                assert found.status_code == (401 if own else 421), host
                if not own:
                    assert found.json()["code"] == "wrong_host"
                    assert found.headers["content-type"] == "application/problem+json"
            # A probe asks by whatever name it has; at `public` nobody may do anything without a token.
            assert (await asked(web.private, "GET /healthz", None, Host=host)).status_code == 200
            assert (await asked(web.public, "POST /v1/events", SHOP, Host=host)).status_code == 202


async def test_by_another_name_a_token_may_what_it_may_and_a_session_nothing(
    tmp_path: Path,
) -> None:
    file = {"subscriptions": FEEDS, "inbound": INBOUND}
    async with serving(tmp_path, file=file, base_url="https://relay.example") as web:
        for path, own in PRIVATE.items():
            with_none = 200 if path in {"GET /healthz", "GET /readyz"} else 421
            for (who, token), status in zip(WHO.items(), own, strict=True):
                expected = with_none if who in {"no token", "wrong token"} else status
                for host in ("relayd-web:8787", OTHERS[-1]):
                    found = await asked(web.private, path, token, Host=host)
                    assert found.status_code == expected, (path, who, host)
        rebound = {"Host": "attacker.example"}
        web.private.cookies.clear()
        assert (
            await web.private.post("/login", data={"token": TOKEN}, headers=rebound)
        ).status_code == 421
        assert (await web.private.post("/login", data={"token": TOKEN})).status_code == 303
        assert (await web.private.get("/")).status_code == 200
        assert (await web.private.get("/", headers=rebound)).status_code == 421
        # A page of another site that knows a token is refused by its Origin, as at any name.
        foreign = {"Origin": "https://elsewhere.example", **rebound, **with_token(SHOP)}
        refused = await web.private.post("/v1/events", json=EVENT, headers=foreign)
        assert (refused.status_code, refused.json()["code"]) == (403, "wrong_origin")


async def test_without_tokens_no_page_of_another_site_reaches_it(tmp_path: Path) -> None:
    port = unused_port()
    http = {
        "listen": f"127.0.0.1:{port}",
        "token": "none",
        "base_url": "https://relay.example",
        "producers": {"shop": {"token": SHOP}},
    }
    config = write_config(tmp_path, spools=None, http=http)
    own = f"http://127.0.0.1:{port}"
    origins = {
        own: 202,
        "https://relay.example": 202,
        f"http://127.0.0.1:{port + 1}": 403,
        "http://relay.example": 403,
        "https://attacker.example": 403,
        "https://relay.example.attacker.example": 403,
        "null": 403,
        "": 403,
        "file://": 403,
    }
    async with running(config), web_running(config), httpx.AsyncClient(base_url=own) as client:
        assert (await asked(client, "POST /v1/events", None)).status_code == 202
        for origin, status in origins.items():
            found = await asked(client, "POST /v1/events", None, Origin=origin)
            assert found.status_code == status, origin
        for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 202)):
            headers = {"Sec-Fetch-Site": site}
            assert (await asked(client, "POST /v1/events", None, **headers)).status_code == status
        rebound = {"Host": "attacker.example"}
        assert (await asked(client, "GET /metrics", None)).status_code == 200
        assert (await asked(client, "GET /metrics", None, **rebound)).status_code == 421
        # Whoever has a token may by another name what it may, and not what everybody may here.
        assert (await asked(client, "GET /metrics", SHOP, **rebound)).status_code == 403
        assert (await asked(client, "GET /", SHOP, **rebound)).status_code == 403
        assert (await asked(client, "POST /v1/events", SHOP, **rebound)).status_code == 202
        assert "reasons" in (await asked(client, "GET /readyz", None)).json()
        assert "reasons" not in (await asked(client, "GET /readyz", None, **rebound)).json()
        accepted = json.loads(await command("events", "--json", config=config))["events"]
    assert len(accepted) == 5, "what was refused was not accepted"


def test_the_table_in_security_is_this_one() -> None:
    text = SECURITY.read_text().partition("## The web process")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(.+?)` \|(.+)\|$", text, re.MULTILINE)
    found = {path: tuple(int(cell) for cell in cells.split("|")) for path, cells in rows}
    assert found == {**PRIVATE, **API}
    [head] = re.findall(r"^\| path \|(.+)\|$", text, re.MULTILINE)
    assert [cell.strip(" `") for cell in head.split("|")] == list(WHO)
