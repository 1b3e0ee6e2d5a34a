"""`status` and `explain`: what an operator sees while receivers fail, hold off and come back."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import trio
from faults.producing import until
from operating import Switch, asked, emit, logged
from processes import command, make_spool, run_command, running, write_config
from queue_file import age_endpoints
from receivers import answer, open_receiver

from relayd.core.endpoint import endpoint_name


def endpoint(status: Any, url: str) -> Any:
    [found] = [each for each in status["endpoints"] if each["url"] == endpoint_name(url)]
    return found


async def test_status_while_a_receiver_fails_and_comes_back(tmp_path: Path) -> None:
    switch = Switch(503)
    async with open_receiver(switch) as bad, open_receiver() as good:
        config = write_config(
            tmp_path,
            {
                "books": {"url": bad.url, "retry": ["1h"] * 3},
                "shop": {"url": good.url, "events": "payment.*"},
            },
        )
        async with running(config) as relayd:
            fresh = await asked("status", config=config)
            assert fresh["running"]
            assert fresh["daemon"]["pid"] == relayd.pid
            assert {each["state"] for each in fresh["endpoints"]} == {"healthy"}
            assert fresh["queue"]["oldest_event_at"] is None

            await emit(config, "evt_1", "evt_2", "evt_3")
            await until(lambda: len(relayd.events("retry_scheduled")) == 3)
        # It is failing once it has failed for a minute.
        age_endpoints(tmp_path / "queue.db", 61)
        async with running(config) as relayd:
            await emit(config, "evt_4", event_type="payment.failed")
            await logged(relayd, "endpoint_failing")
            await logged(relayd, "attempt_succeeded", subscription="shop")
            await until(lambda: len(relayd.events("retry_scheduled")) == 1)
            status = await asked("status", config=config)
            books, shop = endpoint(status, bad.url), endpoint(status, good.url)
            assert books["state"] == "failing"
            assert books["last_failure"] == "answered 503 Service Unavailable"
            assert books["failures"] == 4
            assert (books["allowed_in_flight"], shop["allowed_in_flight"]) == (1, 8)
            assert 0 <= books["tokens"] <= books["burst"] == 10
            [waiting] = books["subscriptions"]
            assert (waiting["name"], waiting["waiting"], waiting["hold"]) == ("books", 4, None)
            assert waiting["next_attempt_at_unix"] > waiting["oldest_waiting_at_unix"] + 3000
            assert books["last_hour"]["attempts"] == 4
            assert books["last_hour"]["success_rate"] == 0.0
            assert books["last_hour"]["p95_ms"] > 0
            assert (shop["state"], shop["last_day"]["success_rate"]) == ("healthy", 1.0)
            assert status["queue"]["waiting"] == 4
            assert status["queue"]["deliveries"] == 5
            assert status["queue"]["oldest_event_at_unix"] > fresh["daemon"]["started_at_unix"]

            shown = await command("status", config=config)
            text = " ".join(shown.split())
            assert "failing since" in text
            assert "4 of its last 4 attempts failed" in text
            assert "books: 4 pending, oldest " in text
            assert "next attempt in 1h" in text or "next attempt in 5" in text
            assert "last hour: 4 attempts, 0 % succeeded" in text
            assert "shop: nothing pending" in text
            assert "of 10 attempts left in the bucket (100/min), 0 of 1 in flight" in text
            assert "spool market waits for: " in text
            assert "socket: ready" in text
            long = [line for line in shown.splitlines() if len(line) > 80 and "/" not in line]
            assert long == []

            await command("pause", "books", config=config)
            status = await asked("status", config=config)
            assert endpoint(status, bad.url)["state"] == "held"
            assert endpoint(status, bad.url)["subscriptions"][0]["hold"] == "paused"
            assert "books is paused: 4 pending" in await command("status", config=config)
        # Without the daemon: what the file says, and that it does not run.
        text = await command("status", config=config)
        assert "relayd is not running" in text
        assert "books is paused: 4 pending" in text
        status = await asked("status", config=config)
        assert (status["running"], status["daemon"], status["sources"]) == (False, None, None)
        assert endpoint(status, bad.url)["tokens"] is None
        assert endpoint(status, bad.url)["failures"] == 4


async def test_status_of_a_receiver_that_asked_for_time(tmp_path: Path) -> None:
    async with open_receiver(answer(429, headers=(("Retry-After", "600"),))) as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url}})
        async with running(config) as relayd:
            await emit(config, "evt_1", "evt_2")
            await logged(relayd, "retry_scheduled", event_id="evt_1")
            [found] = (await asked("status", config=config))["endpoints"]
            assert found["state"] == "waiting"
            assert found["held_until_unix"] is not None
            text = " ".join((await command("status", config=config)).split())
            assert "held back until" in text
            explained = await asked("explain", "evt_2", config=config)
            [books] = explained["subscriptions"]
            assert books["outcome"] == "waiting"
            assert "answered 429 or 503 and is held back" in books["reason"]
            # A changed header releases the retry, and does not end what the receiver asked for.
            config.write_text(config.read_text() + "    headers: {X-Key: another}\n")
            printed = " ".join((await command("reload", config=config)).split())
            assert "1 retry released: held back until" in printed
            assert "now" not in printed
            renamed = config.read_text().replace("books:", "shop:")
            config.write_text(renamed.replace("X-Key: another", "X-Key: one more"))
            printed = " ".join((await command("rename", "books", "shop", config=config)).split())
            assert "1 retry released: held back until" in printed
            assert len(receiver.requests) == 1


async def test_watching(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"books": {"url": "http://127.0.0.1:1/"}})
    async with running(config):
        from processes import _environment, _program  # noqa: PLC0415 - a command that goes on

        process = await trio.lowlevel.open_process(
            _program("status", "--watch", "--every", "0.5", "--json", "--config", str(config)),
            stdout=-1,
            env=_environment(None),
        )
        assert process.stdout is not None
        received = b""
        with trio.fail_after(20):
            while received.count(b"\n") < 3:
                received += await process.stdout.receive_some()
            process.send_signal(2)
            assert await process.wait() == 0
        await process.stdout.aclose()
        documents = [json.loads(line) for line in received.splitlines()[:3]]
        assert all(each["running"] for each in documents)


async def test_explaining_what_did_and_did_not_arrive(tmp_path: Path) -> None:
    switch = Switch(500)
    async with open_receiver(switch) as bad, open_receiver() as good:
        subscriptions: dict[str, dict[str, object]] = {
            "good": {"url": good.url},
            "later": {"url": bad.url, "retry": ["1h"]},
            "never": {"url": bad.url, "retry": []},
            "small": {"url": good.url, "where": {"data.object.total": {"gte": 5000}}},
            "users": {"url": good.url, "events": "user.*"},
            "idle": {"url": good.url, "active": False},
        }
        config = write_config(tmp_path, subscriptions)
        async with running(config) as relayd:
            await emit(config, "evt_1")
            await logged(relayd, "attempt_succeeded", subscription="good")
            await logged(relayd, "retry_scheduled", subscription="later")
            await logged(relayd, "delivery_exhausted", subscription="never")
            subscriptions["new"] = {"url": good.url}
            write_config(tmp_path, subscriptions)
            await command("reload", config=config)
            document = await asked("explain", "evt_1", config=config)
            assert document["running"]
            found = {each["name"]: each for each in document["subscriptions"]}
            assert list(found) == list(subscriptions)
            assert {name: each["outcome"] for name, each in found.items()} == {
                "good": "delivered",
                "later": "waiting",
                "never": "exhausted",
                "small": "not_matched",
                "users": "not_matched",
                "idle": "inactive",
                "new": "missed",
            }
            assert "with attempt 1: it answered 200" in found["good"]["reason"]
            assert "its next attempt is due at" in found["later"]["reason"]
            assert found["later"]["until"] is not None
            assert "exhausted at" in found["never"]["reason"]
            assert f"`relayd replay {found['never']['delivery_id']}`" in found["never"]["reason"]
            assert found["small"]["reason"] == (
                "data.object.total is 4250, and must be at least 5000"
            )
            assert "its events are user.*" in found["users"]["reason"]
            assert "`relayd replay --backfill new evt_1`" in found["new"]["reason"]
            text = await command("explain", "evt_1", config=config)
            assert "not matched: data.object.total is 4250" in " ".join(text.split())
            assert max(map(len, text.splitlines())) <= 80

            one = await asked("explain", found["never"]["delivery_id"], config=config)
            assert [each["name"] for each in one["subscriptions"]] == ["never"]
            # What it says is to be done can be done.
            switch.status = 200
            await command("replay", "--backfill", "new", "evt_1", "--yes", config=config)
            await logged(relayd, "attempt_succeeded", subscription="new")
            await command("pause", "later", config=config)
            await command("cancel", "evt_1", "later", "--yes", config=config)
            await emit(config, "evt_2")
            await logged(relayd, "event_accepted", event_id="evt_2")
            explained = await asked("explain", "evt_2", config=config)
            reasons = {each["name"]: each["reason"] for each in explained["subscriptions"]}
            assert "it was paused: it waits until `relayd resume later`" in reasons["later"]
            explained = await asked("explain", "evt_1", config=config)
            found = {each["name"]: each for each in explained["subscriptions"]}
            assert found["later"]["outcome"] == "cancelled"
            assert found["new"]["outcome"] == "delivered"


async def test_explaining_what_was_never_accepted(tmp_path: Path) -> None:
    spool = make_spool(tmp_path / "spool.db")
    config = write_config(tmp_path, {"books": {"url": "http://127.0.0.1:1/"}})
    async with running(config) as relayd:
        with closing(sqlite3.connect(spool)) as db, db:
            db.execute("INSERT INTO relayd_spool (id, type, data) VALUES ('evt_bad', 'X', '{}')")
        await logged(relayd, "input_rejected")
        printed = await command("explain", "evt_bad", config=config, status=1)
        assert "evt_bad was not accepted: the type is 'X'" in printed
        assert "`relayd rejected show 1`" in printed
        assert "no event 'evt_9'" in await command("explain", "evt_9", config=config, status=1)
    with closing(sqlite3.connect(spool)) as db, db:
        db.execute("INSERT INTO relayd_spool (id, type, data) VALUES ('evt_1', 'order.x', '{}')")
    printed = await command("explain", "evt_1", config=config, status=1)
    assert "it waits in the spool" in printed
    assert "relayd is not running" in printed


async def test_explaining_without_the_secrets_or_a_good_configuration(tmp_path: Path) -> None:
    async with open_receiver(answer(500)) as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "retry": ["1h"]}})
        async with running(config) as relayd:
            await emit(config, "evt_1")
            await logged(relayd, "retry_scheduled")
            no_secret: dict[str, object] = {"credential": "books"}
            write_config(
                tmp_path,
                {
                    "books": {"url": receiver.url, "secret": no_secret},
                    "users": {"url": receiver.url, "events": "user.*", "secret": no_secret},
                    "odd": {"url": receiver.url, "where": {"data": {"gte": []}}},
                },
            )
            document = await asked("explain", "evt_1", config=config)
            outcomes = {each["name"]: each["outcome"] for each in document["subscriptions"]}
            assert outcomes == {"books": "waiting", "users": "not_matched", "odd": "unknown"}
            config.write_text("queue: {path: queue.db}\nsubscriptions: {books: [")
            completed = await run_command("explain", "evt_1", "--json", config=config)
            assert completed.returncode == 78, "the queue's place is not known either"
            write_config(tmp_path, {"books": {"url": receiver.url}}, market_id=None)
            assert "books" in await command("explain", "evt_1", config=config)


async def test_spool_status_says_what_the_running_daemon_waits_for(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    config = write_config(tmp_path)

    async def waits(status: int = 1) -> dict[str, str | None]:
        printed = json.loads(
            await command("spool", "status", "--json", config=config, status=status)
        )
        assert printed["running"]
        assert not any(each["problem"] for each in printed["spools"])
        return {each["name"]: each["waits_for"] for each in printed["spools"]}

    async with running(config):
        assert await waits(0) == {"market": None}
        (tmp_path / "other").mkdir()
        make_spool(tmp_path / "other" / "spool.db")
        moved = {"market": {"path": "other/spool.db"}, "new": {"path": "spool.db"}}
        write_config(tmp_path, spools=moved)
        found = await waits()
        assert f"in the configuration in force it is {tmp_path}/spool.db" in str(found["market"])
        assert "the configuration in force does not have this spool" in str(found["new"])
        text = await command("spool", "status", config=config, status=1)
        assert "new waits for: a reload: the configuration in force" in " ".join(text.split())
        with closing(sqlite3.connect(tmp_path / "other" / "spool.db")) as db, db:
            db.execute("INSERT INTO relayd_spool (id, type, data) VALUES ('evt_1', 'a.b', '{}')")
        text = await command("explain", "evt_1", config=config, status=1)
        assert "relayd waits there for: a reload: in the configuration" in " ".join(text.split())
        await command("reload", config=config)
        assert await waits(0) == {"market": None, "new": None}
    printed = json.loads(await command("spool", "status", "--json", config=config))
    assert not printed["running"]
    assert {each["waits_for"] for each in printed["spools"]} == {None}
