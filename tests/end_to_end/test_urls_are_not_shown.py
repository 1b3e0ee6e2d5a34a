"""For many services the URL is the secret: its path and query are in no log, event or answer."""

import json
from pathlib import Path

import trio
from operating import asked, logged
from processes import command, make_spool, run_command, running, write_config
from queue_file import age_endpoints
from receivers import Conversation, answer, open_receiver

PATH = "services/T0TOKEN/B0TOKEN"
QUERY = "key=Q0TOKEN"


async def test_neither_path_nor_query_is_shown(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    hosts: list[str] = []

    async def redirect(conversation: Conversation) -> None:
        # As a server does that wants a / at the end of paths.
        await answer(308, headers=[("Location", f"{hosts[0]}{PATH}/?{QUERY}")])(conversation)

    async with open_receiver(redirect) as hooks, open_receiver() as chat:
        hosts.append(hooks.url.removesuffix("hook"))
        url = f"{hosts[0]}{PATH}?{QUERY}"
        wanted = {"events": "order.*", "retry": ["50ms"] * 3}
        config = write_config(
            tmp_path,
            {
                "books": {"url": url, **wanted},
                "shop": {"url": url.replace("T0TOKEN", "U0TOKEN"), **wanted},
                "chat": {"url": chat.url, "events": "relayd.*"},
            },
            log={"level": "debug", "format": "json"},
        )
        shown: list[str] = []
        async with running(config) as first:
            await command("emit", "order.created", "--sample", "--id", "evt_1", config=config)
            for name in ("books", "shop"):
                await logged(first, "delivery_exhausted", subscription=name)
        # It is failing once it has failed for a minute.
        age_endpoints(tmp_path / "queue.db", 61)
        async with running(config) as relayd:
            await command("emit", "order.created", "--sample", "--id", "evt_2", config=config)
            await logged(relayd, "endpoint_failing", subscriptions=["books"])
            with trio.fail_after(15):
                while len(chat.requests) < 4:  # failing and exhausted, of both
                    await trio.sleep(0.02)
            status = await asked("status", config=config)
            # Two endpoints of one host are told apart by their subscriptions.
            assert [
                (each["url"], [name["name"] for name in each["subscriptions"]])
                for each in status["endpoints"]
                if each["state"] == "failing"
            ] == [(f"{hosts[0]}…", ["books"]), (f"{hosts[0]}…", ["shop"])]
            commands = (
                ["status"],
                ["status", "--json"],
                ["deliveries"],
                ["deliveries", "--json"],
                ["explain", "evt_1"],
                ["explain", "evt_1", "--json"],
                ["show", "evt_1"],
                ["match", "order.created", "--sample"],
                ["check", "--diff"],
            )
            shown += [await command(*arguments, config=config) for arguments in commands]
            for extra in ([], ["--json"]):
                tested = await run_command("test", "books", *extra, "--config", str(config))
                assert tested.returncode == 1
                shown.append(tested.stdout.decode() + tested.stderr.decode())
            config.write_text(config.read_text().replace("U0TOKEN", "W0TOKEN"))
            shown.append(await command("check", "--diff", config=config))
            shown.append(await command("reload", config=config))
            config.write_text(config.read_text().replace("W0TOKEN", "V0TOKEN\\\\"))
            refused = await run_command("reload", "--config", str(config))
            assert refused.returncode == 78
            shown.append(refused.stderr.decode())
            assert "backslash" in shown[-1]
            shown += [json.dumps(record) for each in (first, relayd) for record in each.lines]
    shown += [request.body.decode() for request in chat.requests]
    assert any("its own path with a / behind it" in each for each in shown)
    for each in shown:
        assert "TOKEN" not in each


async def test_a_defects_traceback_shows_neither(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    wanted = {"events": "order.*", "retry": ["50ms"], "secret": "S0TOKEN-of-sixteen-or-more"}
    url = f"http://127.0.0.1:9/{PATH}?{QUERY}"
    async with open_receiver() as chat:
        config = write_config(
            tmp_path,
            {"books": {"url": url, **wanted}, "chat": {"url": chat.url, "events": "relayd.*"}},
            log={"level": "debug", "format": "json"},
        )
        env = {"PYTHONPATH": str(Path(__file__).parents[1] / "faults")}
        async with running(config, env=env, module="quotes_urls") as relayd:
            await command("emit", "order.created", "--sample", "--id", "evt_1", config=config)
            await logged(relayd, "delivery_exhausted", subscription="books")
            await logged(relayd, "event_accepted", event_type="relayd.delivery.exhausted")
            own = relayd.events("event_accepted")[-1]["event_id"]
            line = relayd.events("attempt_internal_error")[0]
            shown = [
                await command(*arguments, config=config)
                for arguments in (
                    ["status"],
                    ["explain", "evt_1"],
                    ["show", "evt_1", "--json"],
                    ["show", own],
                )
            ]
        shown += [json.dumps(relayd.lines), relayd.errors]
    assert "no answer from 'http://127.0.0.1:9/…" in str(line["exception"])
    for each in shown:
        assert "TOKEN" not in each
