"""relayd's own events, from the real process: counted, bounded, and neither lost nor repeated by its end."""

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import trio
from operating import logged
from processes import command, make_spool, running, write_config
from queue_file import age_notices, rows_of
from receivers import Receiver, answer, open_receiver

FAILS = {"retry": [], "rate_limit": "100000/min", "events": "order.*"}


def insert(spool: Path, count: int, event_type: str = "order.created") -> None:
    with closing(sqlite3.connect(spool)) as db:
        db.executemany(
            "INSERT INTO relayd_spool (type, data) VALUES (?, '{}')", [(event_type,)] * count
        )
        db.commit()


def things(chat: Receiver, kind: str) -> list[dict[str, Any]]:
    events = [json.loads(request.body) for request in chat.requests]
    return [event["data"]["object"] for event in events if event["type"] == kind]


async def until(chat: Receiver, kind: str, count: int) -> list[dict[str, Any]]:
    with trio.fail_after(30):
        while len(things(chat, kind)) < count:
            await trio.sleep(0.02)
    return things(chat, kind)


async def test_three_hundred_exhausted_deliveries_make_two_messages(tmp_path: Path) -> None:
    """It is killed in between, and the ten minutes pass while it is down."""
    spool, queue = make_spool(tmp_path / "spool.db"), tmp_path / "queue.db"
    kind = "relayd.delivery.exhausted"
    async with open_receiver(answer(500)) as books, open_receiver(answer(200)) as chat:
        config = write_config(
            tmp_path,
            {"books": {"url": books.url, **FAILS}, "chat": {"url": chat.url, "events": kind}},
        )
        async with running(config) as relayd:
            insert(spool, 1)
            [first] = await until(chat, kind, 1)
            insert(spool, 149)
            with trio.fail_after(60):
                while len(relayd.events("delivery_exhausted")) < 150:
                    await trio.sleep(0.05)
            relayd.signal(signal.SIGKILL)
            await relayd.wait()
        async with running(config) as relayd:
            insert(spool, 150)
            with trio.fail_after(60):
                while len(relayd.events("delivery_exhausted")) < 150:
                    await trio.sleep(0.05)
            relayd.signal(signal.SIGKILL)
            await relayd.wait()
        assert len(things(chat, kind)) == 1
        age_notices(queue, 601)
        async with running(config) as relayd:
            _, second = await until(chat, kind, 2)
            relayd.signal(signal.SIGKILL)
            await relayd.wait()
        # Nothing is left to report; the notice ends.
        age_notices(queue, 601)
        async with running(config):
            with trio.fail_after(15):
                while rows_of(queue, "SELECT count(*) FROM notices") != [(0,)]:
                    await trio.sleep(0.05)
        assert len(things(chat, kind)) == 2
    assert (first["count"], len(first["ids"])) == (1, 1)
    # What failed is repaired first: its log says why.
    assert first["next"].endswith("its log says why; then `relayd replay books`")
    assert (second["subscription"], second["count"], len(second["ids"])) == ("books", 299, 10)
    assert first["since"] <= second["since"] <= first["since"] + 60
    assert second["reason"] == "answered 500 Internal Server Error"


async def test_rejected_input_is_counted_for_its_source(tmp_path: Path) -> None:
    spool, kind = make_spool(tmp_path / "spool.db"), "relayd.input.rejected"
    async with open_receiver(answer(200)) as chat:
        config = write_config(tmp_path, {"chat": {"url": chat.url, "events": kind}})
        async with running(config) as relayd:
            insert(spool, 1, "Not A Type")
            await until(chat, kind, 1)
            insert(spool, 40, "Not A Type")
            with trio.fail_after(15):
                while rows_of(tmp_path / "queue.db", "SELECT count(*) FROM rejected") != [(41,)]:
                    await trio.sleep(0.05)
            assert await relayd.stop() == 0
        age_notices(tmp_path / "queue.db", 601)
        async with running(config):
            first, second = await until(chat, kind, 2)
            shown = await command("rejected", "show", second["ids"][0], config=config)
    assert (first["source"], first["code"], first["count"]) == ("spool market", "invalid_type", 1)
    assert (first["ids"], second["ids"]) == (["1"], [str(number) for number in range(2, 12)])
    assert second["count"] == 40
    assert "Not A Type" in shown


async def test_a_410_is_reported_once_and_its_next_step_ends_it(tmp_path: Path) -> None:
    spool, kind = make_spool(tmp_path / "spool.db"), "relayd.subscription.held"
    async with open_receiver(answer(410), answer(200)) as books, open_receiver(answer(200)) as chat:
        config = write_config(
            tmp_path,
            {
                "books": {"url": books.url + "/T0/PATHSECRET", "events": "order.*"},
                "chat": {"url": chat.url, "events": ["*", "relayd.*"]},
            },
        )
        async with running(config) as relayd:
            insert(spool, 5)
            [held] = await until(chat, kind, 1)
            await command("pause", "books", config=config)
            await command(*held["next"].split()[1:], config=config)
            await logged(relayd, "attempt_succeeded", subscription="books")
            await trio.sleep(0.3)
            assert len(things(chat, kind)) == 1
    assert (held["subscription"], held["status"]) == ("books", 410)
    assert held["reason"] == "its receiver answered 410 Gone"
    assert held["url"].endswith("/…")
    assert len(held["ids"]) == 1


async def test_a_listener_that_is_gone_is_reported_to_the_others_once(tmp_path: Path) -> None:
    spool = make_spool(tmp_path / "spool.db")
    async with open_receiver(answer(410)) as gone, open_receiver(answer(200)) as mail:
        config = write_config(
            tmp_path,
            {
                "books": {"url": gone.url + "/books", "events": "order.*"},
                "chat": {"url": gone.url + "/chat", "events": "relayd.*"},
                "mail": {"url": mail.url, "events": "relayd.*"},
            },
        )
        async with running(config) as relayd:
            insert(spool, 1)
            found = await until(mail, "relayd.subscription.held", 2)
            await trio.sleep(0.5)
            assert len(relayd.events("subscription_held")) == 2
    assert [each["subscription"] for each in found] == ["books", "chat"]
    assert len(mail.requests) == 2


async def test_reloads_refused_in_fast_alternation_are_reported_once(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    kind = "relayd.reload.refused"
    async with open_receiver(answer(200)) as chat:
        chats = {"chat": {"url": chat.url, "events": kind}}
        config = write_config(tmp_path, chats)
        good = config.read_text()
        async with running(config) as relayd:
            for unknown in ("first", "other", "first", None, "other"):
                key = "" if unknown is None else f"{unknown}: 1\n"
                config.write_text(good.replace("market_id:", f"{key}market_id:"))
                lines = len(relayd.lines)
                relayd.signal(signal.SIGHUP)
                line = "reload_refused" if key else "configuration_reloaded"
                with trio.fail_after(15):
                    await relayd.logged(line, after=lines)
            [found] = await until(chat, kind, 1)
            await trio.sleep(0.3)
            assert len(things(chat, kind)) == 1
    assert found["code"] == "configuration"
    assert "first" in found["reason"]
    assert (found["refusals"], found["next"]) == (1, "relayd check")
