"""relayd tells of itself: to a chat's webhook, say, through its own deliveries."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import trio
from operating import logged
from processes import SECRET, RelaydProcess, command, make_spool, running, write_config
from queue_file import age_endpoints
from receivers import Receiver, answer, open_receiver


async def until_told(chat: Receiver, count: int) -> list[tuple[str, dict[str, object]]]:
    with trio.fail_after(15):
        while len(chat.requests) < count:
            await trio.sleep(0.02)
    events = [json.loads(request.body) for request in chat.requests]
    return [(event["type"], event["data"]["object"]) for event in events]


async def test_an_outage_its_end_and_what_it_cost_are_told(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    bad = [answer(503)] * 5
    queue = tmp_path / "queue.db"
    async with open_receiver(*bad, answer(200)) as books, open_receiver(answer(200)) as chat:
        config = write_config(
            tmp_path,
            {
                "books": {
                    "url": books.url,
                    "events": "order.*",
                    "retry": ["100ms", "100ms", "100ms"],
                },
                "chat": {"url": chat.url, "events": ["*", "relayd.*"]},
            },
        )
        async with running(config) as relayd:
            await command("emit", "order.created", "--id", "evt_1", "--sample", config=config)
            told = await until_told(chat, 2)
            assert told[0][0] == "order.created"
            kinds = dict(told[1:])
            assert kinds["relayd.delivery.exhausted"]["event_type"] == "order.created"
            assert await relayd.stop() == 0
        age_endpoints(queue, 61)
        async with running(config) as relayd:
            await command("emit", "order.created", "--id", "evt_2", "--sample", config=config)
            told = await until_told(chat, 4)
            assert dict(told)["relayd.endpoint.failing"]["subscriptions"] == ["books"]
            await logged(relayd, "attempt_succeeded", event_id="evt_2", subscription="books")
            assert await relayd.stop() == 0
        age_endpoints(queue, 61)
        async with running(config) as relayd:
            told = await until_told(chat, 5)
            assert [kind for kind, _ in told].count("relayd.endpoint.recovered") == 1
            assert SECRET not in str(told)
            # Nothing more comes of these.
            await trio.sleep(0.3)
            assert len(chat.requests) == 5
            with closing(sqlite3.connect(queue)) as db:
                assert db.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
            assert await relayd.stop() == 0


async def test_rejected_input_is_told(tmp_path: Path) -> None:
    spool = make_spool(tmp_path / "spool.db")
    async with open_receiver(answer(200)) as chat:
        config = write_config(
            tmp_path, {"chat": {"url": chat.url, "events": "relayd.input.rejected"}}
        )
        async with running(config):
            with closing(sqlite3.connect(spool)) as db:
                db.execute("INSERT INTO relayd_spool (type, data) VALUES ('Not A Type', '{}')")
                db.commit()
            [(kind, thing)] = await until_told(chat, 1)
    assert kind == "relayd.input.rejected"
    assert (thing["source"], thing["code"], thing["count"]) == ("spool market", "invalid_type", 1)


async def test_a_dead_chat_feeds_on_nothing(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    async with open_receiver(answer(500)) as chat:
        config = write_config(
            tmp_path,
            {"chat": {"url": chat.url, "events": ["order.*", "relayd.*"], "retry": ["50ms"] * 3}},
        )
        async with running(config) as relayd:
            await command("emit", "order.created", "--sample", config=config)
            # One `exhausted`, tried four times as the order was, and then silence.
            assert await ended(relayd, 2) == ["order.created", "relayd.delivery.exhausted"]
        age_endpoints(tmp_path / "queue.db", 61)
        async with running(config) as relayd:
            await command("emit", "order.created", "--sample", config=config)
            # This time there is one `failing`; what is exhausted is counted.
            assert await ended(relayd, 2) == ["order.created", "relayd.endpoint.failing"]


async def ended(relayd: RelaydProcess, count: int) -> list[str]:
    """Wait until so many deliveries were exhausted; return the types of what was accepted."""
    with trio.fail_after(15):
        while len(relayd.events("delivery_exhausted")) < count:
            await trio.sleep(0.02)
    await trio.sleep(0.5)
    assert len(relayd.events("delivery_exhausted")) == count
    return sorted(line["event_type"] for line in relayd.events("event_accepted"))
