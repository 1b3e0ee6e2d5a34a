"""`check --diff`: what a reload would change is told, and then is what a reload changes."""

import json
from pathlib import Path
from typing import Any

import trio
from processes import command, running, write_config

DOWN = {"url": "http://127.0.0.1:9/", "retry": ["1h"], "rate_limit": "1000/s"}


def write(folder: Path, *names: str, **other: Any) -> Path:
    return write_config(folder, dict.fromkeys(names, DOWN), spools=None, **other)


def replace(config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new, 1))


async def waiting(config: Path) -> dict[str, int]:
    listing = json.loads(await command("deliveries", "--json", config=config))
    counts: dict[str, int] = {}
    for each in listing["deliveries"]:
        counts[each["subscription"]] = counts.get(each["subscription"], 0) + 1
    return counts


async def test_what_a_reload_would_change(tmp_path: Path) -> None:
    config = write(tmp_path, "books", "shop", "board")
    async with running(config) as relayd:
        for _ in range(3):
            await command("emit", "order.created", "--sample", config=config)
        with trio.fail_after(20):
            while len(relayd.events("retry_scheduled")) < 9:
                await trio.sleep(0.02)
        assert await command("check", "--diff", config=config) == (
            "A reload would change nothing.\n"
        )
        write(tmp_path, "books", "shop", "more", log={"level": "warning", "format": "json"})
        replace(config, "http://127.0.0.1:9/", "http://127.0.0.1:10/")
        replace(config, "rate_limit: 1000/s", "rate_limit: 2000/s\n    active: false")
        replace(config, "shop:\n    events: '*'", "shop:\n    events: [order.*]")
        printed = await command("check", "--diff", config=config)
        assert printed.splitlines() == [
            "A reload would change this:",
            "  subscription more: added",
            "  subscription board: removed; its backlog of 3 will be held;",
            "    `relayd rename board more` hands it over to another name",
            "  subscription books: url, active, rate_limit changed; its backlog of 3 will be",
            "    held",
            "  subscription shop: events changed; its backlog of 3 stays as it is: this is",
            "    for new events",
            "  log.level changed",
            "`relayd reload` makes it so.",
        ]
        told: dict[str, Any] = json.loads(await command("check", "--diff", "--json", config=config))
        assert told["deliveries"] == [
            {"subscription": "board", "waiting": 3, "then": "hold"},
            {"subscription": "books", "waiting": 3, "then": "hold"},
            {"subscription": "shop", "waiting": 3, "then": "stay"},
        ]
        assert not relayd.events("configuration_reloaded"), "it only asks"
        # The reload changes just that, and says what it left behind.
        done = json.loads(await command("reload", "--json", config=config))["changes"]
        assert [line.partition("; ")[0] for line in done] == told["changes"]
        [removed, changed] = [line for line in done if "; " in line]
        assert removed.startswith("subscription board: removed; its backlog of 3 is held; ")
        assert changed.endswith("; its backlog of 3 is held; 3 retries released: held")
        write(tmp_path, "books", "shop", "board")
        printed = await command("check", "--diff", config=config)
        assert "subscription board: added; its backlog of 3 will no longer be held" in printed
        elsewhere = write(tmp_path, "books", name="new.yaml")
        printed = await command("check", "--diff", config=elsewhere)
        assert "a reload would read that file" in " ".join(printed.split())


async def test_what_a_reload_would_refuse(tmp_path: Path) -> None:
    config = write(tmp_path)
    async with running(config):
        # The daemon reads it, with its own environment: it is not this command's that counts.
        write(tmp_path, "books")
        replace(config, "secret: a-secret-for-tests-only", "secret: {env: BOOKS_SECRET}")
        printed = await command(
            "check", "--diff", config=config, status=78, env={"BOOKS_SECRET": "x" * 20}
        )
        assert "variable BOOKS_SECRET is not set" in printed
        write(tmp_path, log={"format": "text"})
        printed = await command("check", "--diff", config=config, status=78)
        assert printed == "log.format: changing it needs a restart\n"
    printed = await command("check", "--diff", config=config, status=1)
    assert "is `relayd run` running?" in printed
