"""Whatever is secret is planted, and looked for in all that relayd prints, logs, serves and keeps."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
import trio
from operating import logged
from processes import command, make_spool, run_command, running, web_running, write_config
from receivers import answer, open_receiver, unused_port

MARK = "HUSH"
"""Is in each secret and in nothing else."""


def secret(name: str) -> str:
    return f"{MARK}{name}0123456789abcdef"


SECRETS: Mapping[str, str] = {
    name: secret(name)
    for name in (
        *("Signing", "Previous", "Header", "Feed", "Token", "Read", "Shop"),
        *("SmtpUser", "SmtpPassword", "Path", "Query", "NewSigning", "BadSigning"),
    )
}
PAYLOAD = "PAYLOADOFSOMEBODY"
EVENT = {"object": {"id": "order_1", "total": 4200, "note": PAYLOAD}}
BAD_EVENT = json.dumps({"type": "Not A Type", "data": EVENT})
COMMANDS = (
    ["status"],
    ["status", "--json"],
    ["deliveries", "--json"],
    ["events", "--json"],
    ["explain", "evt_1"],
    ["explain", "order_1", "--json"],
    ["check"],
    ["check", "--json"],
    ["check", "--diff", "--json"],
    ["rejected", "list", "--json"],
    ["match", "order.created", "--sample", "--json"],
    ["show", "evt_1"],
    ["show", "evt_1", "--json"],
    ["rejected", "show", "1", "--json"],
)
"""`show` has an event's content, which is what it is for."""
PAGES = ("/", "/deliveries", "/events", "/problems", "/configuration", "/metrics", "/readyz")


def found_in(text: str) -> list[str]:
    """Return the secrets in a text."""
    return re.findall(rf"{MARK}[A-Za-z]+0123456789abcdef", text)


def configuration(folder: Path, receiver: str, chat: str, ports: tuple[int, int]) -> Path:
    url = f"{receiver}/{SECRETS['Path']}?key={SECRETS['Query']}"
    wanted = {"events": ["order.*"], "retry": ["50ms"]}
    return write_config(
        folder,
        {
            "books": {
                "url": url,
                **wanted,
                "secret": SECRETS["Signing"],
                "previous_secret": SECRETS["Previous"],
                "feed_token": SECRETS["Feed"],
                "headers": {"Authorization": f"Bearer {SECRETS['Header']}"},
            },
            "post": {"url": "mailto:ops@example.com", **wanted, "secret": None},
            "chat": {"url": chat, "events": "relayd.*", "secret": "of-the-chat-0123"},
        },
        http={
            "listen": f"127.0.0.1:{ports[0]}",
            "token": SECRETS["Token"],
            "read_token": SECRETS["Read"],
            "producers": {"shop": {"token": SECRETS["Shop"], "market_id": "market_9"}},
        },
        smtp={
            "host": "127.0.0.1",
            "port": ports[1],
            "from": "relayd@market.example",
            "user": SECRETS["SmtpUser"],
            "password": SECRETS["SmtpPassword"],
        },
    )


@pytest.mark.timeout(300)  # many commands, one after the other
async def test_no_secret_is_shown_anywhere(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    shown: dict[str, str] = {}
    moved = [("Location", f"/moved/{SECRETS['Path']}?key={SECRETS['Query']}")]
    async with (
        open_receiver(answer(301, headers=moved), answer(401)) as hooks,
        open_receiver(answer(200)) as chat,
    ):
        ports = unused_port(), unused_port()
        config = configuration(tmp_path, hooks.url.removesuffix("/hook"), chat.url, ports)
        text = config.read_text().replace("    secret: null\n", "")
        config.write_text(text)
        async with (
            running(config) as relayd,
            web_running(config) as web,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports[0]}", timeout=30) as browser,
        ):
            await command(
                *("emit", "order.created", "--data", json.dumps(EVENT), "--id", "evt_1"),
                config=config,
            )
            async with await trio.open_unix_socket(tmp_path / "relayd.sock") as producer:
                await producer.send_all(f"{BAD_EVENT}\n".encode())
                shown["the socket's answer"] = bytes(await producer.receive_some(10_000)).decode()
            for name in ("books", "post"):
                await logged(relayd, "delivery_exhausted", subscription=name)
            bearer = {"Authorization": f"Bearer {SECRETS['Token']}"}
            refused = await browser.post("/v1/events", content=BAD_EVENT, headers=bearer)
            shown["refused"] = refused.text
            for wrong in (f"{SECRETS['Token']}x", SECRETS["Signing"]):
                for path in (f"/v1/events?token={wrong}", f"/nowhere/{wrong}"):
                    answered = await browser.get(path, headers={"Authorization": f"Bearer {wrong}"})
                    assert answered.status_code in {401, 404}
                    shown[f"GET {path[:8]}"] = answered.text
            for form in ({"token": SECRETS["Signing"]}, {"token": SECRETS["Read"]}):
                entered = await browser.post("/login", data={**form, "next": "/"})
                shown[f"login {entered.status_code}"] = f"{entered.text}{entered.headers}"
            for path in PAGES:
                page = await browser.get(path, headers=bearer if path == "/metrics" else {})
                assert page.status_code == 200, path
                shown[f"page {path}"] = f"{page.text}{page.headers}"

            # What changes, is refused, and is tried.
            new = text.replace(SECRETS["Signing"], SECRETS["NewSigning"])
            config.write_text(new)
            shown["check --diff, changed"] = await command("check", "--diff", config=config)
            shown["reload"] = await command("reload", config=config)
            for bad in (
                f"secret: [{SECRETS['BadSigning']}]",
                f'secret: "{SECRETS["BadSigning"]}',
                f"secret {SECRETS['BadSigning']}",
            ):
                config.write_text(new.replace(f"secret: {SECRETS['NewSigning']}", bad, 1))
                failed = await run_command("reload", config=config)
                assert failed.returncode == 78
                shown[f"reload {bad[:9]}"] = (failed.stdout + failed.stderr).decode()
                stands = await run_command("status", "--json", config=config)
                shown[f"status, refused {bad[:9]}"] = (stands.stdout + stands.stderr).decode()
                page = await browser.get("/configuration")
                shown[f"page, refused {bad[:9]}"] = page.text
            config.write_text(new)
            for name in ("books", "post"):
                tested = await run_command("test", name, "--json", config=config)
                shown[f"test {name}"] = (tested.stdout + tested.stderr).decode()
            for arguments in COMMANDS:
                done = await run_command(*arguments, config=config)
                shown[" ".join(arguments)] = (done.stdout + done.stderr).decode()
                assert shown[" ".join(arguments)].strip(), arguments
            with trio.fail_after(15):
                while not any(b"relayd.reload.refused" in each.body for each in chat.requests):
                    await trio.sleep(0.05)
            shown["log"] = json.dumps(relayd.lines) + relayd.errors
            shown["web log"] = json.dumps(web.lines) + web.errors
            told = [each.body.decode() for each in chat.requests]
            shown |= {f"own event {number}": each for number, each in enumerate(told)}
            for pid in (relayd.pid, web.pid, *children(relayd.pid)):
                shown[f"cmdline of {pid}"] = Path(f"/proc/{pid}/cmdline").read_text()
        shown |= {
            f"file {path.name}": path.read_bytes().decode("latin-1")
            for path in tmp_path.iterdir()
            if path.is_file() and path != config and path.name != "spool.db"
        }
    assert any("relayd.delivery.exhausted" in each for each in told)
    assert {"file queue.db", "file queue.db.web", "web log"} <= shown.keys()
    assert PAYLOAD in shown["show evt_1"], "what is looked for is found where it may be"
    # `check` prints how the file is read: the name of the login, and the path of a URL that is in it.
    for place in ("check", "check --json"):
        for name in ("SmtpUser", "Path"):
            assert SECRETS[name] in shown[place]
            shown[place] = shown[place].replace(SECRETS[name], "")
    places = {place: found for place, each in shown.items() if (found := found_in(each))}
    urls_kept = {place for place in places if place.startswith("file queue.db")}
    assert {place: found for place, found in places.items() if place not in urls_kept} == {}
    # The queue keeps each endpoint's URL, which tells them apart, and nothing else of these.
    for place in urls_kept:
        assert place != "file queue.db.web"
        assert set(places[place]) <= {SECRETS["Path"], SECRETS["Query"]}, place
    contents = {
        place
        for place, each in shown.items()
        if PAYLOAD in each and not place.startswith(("file queue.db", "show", "rejected show"))
    }
    assert contents == set()


def children(pid: int) -> list[int]:
    found = list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    return [*found, *(each for child in found for each in children(child))]
