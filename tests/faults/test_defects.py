"""A defect for one delivery, event or command: it is logged with its traceback, and all else goes on."""

import json
import sqlite3
from pathlib import Path

import trio
from processes import command, running, write_config
from receivers import answer, open_receiver


async def test_a_delivery_that_cannot_be_recorded_is_quarantined_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    async with open_receiver(answer(204)) as receiver:
        # The operator's own, paused: what is in it is counted at the end.
        books = {"url": receiver.url, "rate_limit": "1000/s", "events": ["order.*"]}
        operator = {"url": "http://127.0.0.1:9/", "events": ["relayd.delivery.exhausted"]}
        config = write_config(tmp_path, {"books": books, "operator": operator})
        async with running(config) as relayd:
            await command("pause", "operator", config=config)
            await command("pause", "books", config=config)
            for number in range(5):
                await command(
                    "emit", "order.created", "--sample", "--id", f"evt_{number}", config=config
                )
        with sqlite3.connect(tmp_path / "queue.db") as db:
            # As if its first attempt had been recorded already: the next record is refused.
            db.execute(
                "INSERT INTO attempts (delivery_seq, number, started_at, duration_s)"
                " SELECT d.seq, 1, 0, 0 FROM deliveries d JOIN events e ON e.seq = d.event_seq"
                " WHERE e.id = 'evt_2'"
            )
        db.close()
        async with running(config) as relayd:
            await command("resume", "books", config=config)
            with trio.fail_after(30):
                line = await relayd.logged("attempt_not_recorded", event_id="evt_2")
                while len(relayd.events("attempt_succeeded")) < 4:
                    await trio.sleep(0.01)
            assert "UNIQUE constraint failed" in str(line["exception"])
            found = json.loads(await command("explain", "evt_2", "--json", config=config))
            shown = await command("explain", "evt_2", config=config)
            await command("emit", "order.created", "--sample", "--id", "evt_9", config=config)
            with trio.fail_after(30):
                await relayd.logged("attempt_succeeded", event_id="evt_9")
        # It is not sent again, at a start either.
        async with running(config):
            await trio.sleep(0.5)
            listed = json.loads(
                await command("deliveries", "--subscription", "operator", "--json", config=config)
            )
            [own] = listed["deliveries"]
            reported = await command("show", own["event_id"], config=config)
        assert len(receiver.requests) == 6
    about, _ = found["subscriptions"]
    assert about["state"] == "exhausted"
    assert "relayd itself failed" in shown
    assert own["event_type"] == "relayd.delivery.exhausted"
    assert f'"ids":["{about["delivery_id"]}"]' in reported


async def test_a_command_with_a_defect_answers_and_ends_nothing(tmp_path: Path) -> None:
    async with open_receiver(answer(204)) as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url}})
        async with running(config) as relayd:
            stream = await trio.open_unix_socket(tmp_path / "queue.db.control")
            async with stream:
                # Deeper than Python's stack, and a number past SQLite's.
                await stream.send_all(b'{"command":"replay","deliveries":' + b"[" * 100_000 + b"\n")
                first = await stream.receive_some()
                await stream.send_all(b'{"command":"resubmit","rejected":' + b"9" * 5_000 + b"}\n")
                second = await stream.receive_some()
            assert b'"ok":false' in first
            assert b'"ok":false' in second
            await command("emit", "order.created", "--sample", config=config)
            with trio.fail_after(30):
                await relayd.logged("attempt_succeeded")
