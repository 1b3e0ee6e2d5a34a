"""`retry`, `replay --state delivered`, and what a corrected configuration releases: real processes."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import trio
from faults.producing import until
from operating import Switch, asked, emit, logged
from processes import command, make_spool, run_command, running, write_config
from receivers import Receiver, answer, open_receiver

from relayd.core.delivery import State


def one_line(text: str) -> str:
    return " ".join(text.split())


def books(receiver: Receiver, **more: object) -> dict[str, object]:
    return {"url": receiver.url, "events": "order.*", "retry": ["1h", "1h"], **more}


async def delivery_of(config: Path, event_id: str) -> Any:
    listing = await asked("deliveries", config=config)
    [found] = [each for each in listing["deliveries"] if each["event_id"] == event_id]
    return found


@pytest.mark.parametrize(
    "change",
    [
        {"url": "{url}/other"},
        {"secret": "another-secret-of-sixteen-or-more"},
        {"headers": {"X-Api-Key": "right"}},
        {"signature": {"header": "X-Hub-Signature-256", "prefix": "sha256="}},
        {"ip": 4},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_what_is_corrected_releases_the_backlog_at_once(
    tmp_path: Path, change: dict[str, object]
) -> None:
    async with open_receiver(answer(401), answer(401), answer(200)) as receiver:
        # By a name, since a URL with an address has the family of that.
        url = receiver.url.replace("127.0.0.1", "localhost")
        nets = ["127.0.0.0/8", "::1/128"]

        def write(**more: object) -> Path:
            given = {"books": books(receiver, **{"url": url, **more})}
            return write_config(tmp_path, given, allow_networks=nets)

        config = write()
        async with running(config) as relayd:
            await emit(config, "evt_1", "evt_2")
            for event_id in ("evt_1", "evt_2"):
                await logged(relayd, "retry_scheduled", event_id=event_id)
            # What cannot make it succeed releases nothing.
            write(timeout="9s")
            done = json.loads(await command("reload", "--json", config=config))
            assert done["released"] == {}
            assert receiver.acts_begun == 2

            corrected = {
                key: value.format(url=url) if isinstance(value, str) else value
                for key, value in change.items()
            }
            write(timeout="9s", **corrected)
            printed = one_line(await command("reload", config=config))
            [key] = change
            assert (
                f"subscription books: {key} changed; 2 retries released: attempted now" in printed
            )
            for event_id in ("evt_1", "evt_2"):
                await logged(relayd, "attempt_succeeded", event_id=event_id, attempt=2)


async def test_a_backlog_is_attempted_now(tmp_path: Path) -> None:
    switch = Switch(503)
    async with open_receiver(switch) as receiver:
        config = write_config(tmp_path, {"books": books(receiver)})
        async with running(config) as relayd:
            await emit(config, "evt_1", "evt_2", "evt_3")
            for event_id in ("evt_1", "evt_2", "evt_3"):
                await logged(relayd, "retry_scheduled", event_id=event_id)
            assert await command("retry", "books", "--dry-run", config=config) == (
                "books: 3 to retry\n"
            )
            assert receiver.acts_begun == 3
            due = [(await delivery_of(config, f"evt_{n}"))["due_at"] for n in (1, 2, 3)]
            printed = await command("retry", "books", config=config)
            assert one_line(printed) == (
                "books: 3 to retry books: 3 deliveries released; the next attempt starts now, the"
                " others follow within the rate limit."
            )
            for event_id in ("evt_1", "evt_2", "evt_3"):
                await logged(relayd, "attempt_failed", event_id=event_id, attempt=2)
            # They were extra ones: the schedule is what it was.
            assert due == [(await delivery_of(config, f"evt_{n}"))["due_at"] for n in (1, 2, 3)]
            history = (await asked("show", "evt_1", config=config))["deliveries"][0]["history"]
            assert [each["extra"] for each in history] == [None, "operator"]

            # One alone, and by its event.
            one = await delivery_of(config, "evt_2")
            done = await asked("retry", one["id"], config=config)
            assert (done["matched"], done["changed"]) == (1, 1)
            await logged(relayd, "attempt_failed", delivery_id=one["id"], attempt=3)
            switch.status = 200
            printed = await command("retry", "evt_2", config=config)
            assert "1 delivery released; its attempt starts now." in printed
            await logged(relayd, "attempt_succeeded", event_id="evt_2", attempt=4)
            assert (await delivery_of(config, "evt_1"))["attempts"] == 2
            await command("retry", "books", config=config)
            for event_id in ("evt_1", "evt_3"):
                await logged(relayd, "attempt_succeeded", event_id=event_id, attempt=3)
            nothing = one_line(await command("retry", "books", config=config))
            assert nothing.startswith("There is nothing to retry. To send again what was")
    assert relayd.events("deliveries_released")[0]["deliveries"] == 3


async def test_what_a_429_held_back_is_lifted(tmp_path: Path) -> None:
    busy = answer(429, headers=[("Retry-After", "3600")])
    async with open_receiver(busy, answer(200)) as receiver:
        config = write_config(tmp_path, {"books": books(receiver)})
        async with running(config) as relayd:
            await emit(config, "evt_1", "evt_2")
            await logged(relayd, "retry_scheduled", event_id="evt_1")
            explained = one_line(await command("explain", "evt_2", config=config))
            assert "`relayd retry books` lifts that" in explained
            # evt_2 is pending, and not a retry: its endpoint's hold is all that it waits for.
            printed = await command("retry", "evt_2", config=config)
            assert "1 delivery due already" in printed
            assert "books: its endpoint was held back (429 or 503); that is lifted." in printed
            await logged(relayd, "attempt_succeeded", event_id="evt_2", attempt=1)
            done = await asked("retry", "books", config=config)
            assert (done["changed"], done["lifted"]) == (1, [])
            await logged(relayd, "attempt_succeeded", event_id="evt_1", attempt=2)


async def test_neither_a_pause_nor_an_order_is_lifted(tmp_path: Path) -> None:
    switch = Switch(500)
    async with open_receiver(switch) as receiver:
        config = write_config(tmp_path, {"books": books(receiver, order_by="data.object.id")})
        async with running(config) as relayd:
            for event_id in ("evt_1", "evt_2"):
                order = ("--object", '{"id":"order_1"}', "--id", event_id)
                await command("emit", "order.created", *order, config=config)
            await logged(relayd, "retry_scheduled", event_id="evt_1")
            first, second = [await delivery_of(config, f"evt_{n}") for n in (1, 2)]
            printed = one_line(await command("retry", second["id"], config=config))
            assert f"its turn comes after {first['id']}: `relayd explain {first['id']}`." in printed
            refused = await run_command("replay", second["id"], "--yes", config=config)
            assert f"is behind {first['id']} in its order" in one_line(refused.stderr.decode())
            assert receiver.acts_begun == 1

            await command("pause", "books", config=config)
            printed = one_line(await command("retry", "books", config=config))
            assert "2 deliveries held, 1 of them released from their schedule" in printed
            assert "it is paused; `relayd resume books`" in printed
            tested = one_line(await command("test", "books", config=config, status=1))
            assert "books is held, with 2 deliveries pending: it is paused;" in tested
            assert receiver.acts_begun == 2  # that of `test`
            switch.status = 200
            await command("resume", "books", config=config)
            await logged(relayd, "attempt_succeeded", event_id="evt_2", attempt=1)
        sent = [json.loads(each.body)["id"] for each in receiver.requests]
        assert [each for each in sent if not each.startswith("evt_test")] == [
            "evt_1", "evt_1", "evt_2"
        ]  # fmt: skip


async def test_many_are_asked_about(tmp_path: Path) -> None:
    async with open_receiver(answer(200)) as receiver:
        config = write_config(tmp_path, {"books": books(receiver)})
        async with running(config):
            await command("pause", "books", config=config)
            lines = b"".join(
                b'{"type":"order.created","data":{"object":{"id":%d}}}\n' % n for n in range(101)
            )
            stream = await trio.open_unix_socket(str(tmp_path / "relayd.sock"))
            async with stream:
                await stream.send_all(lines)
                received = b""
                while received.count(b"\n") < 101:
                    received += await stream.receive_some()
            refused = await command("retry", "books", config=config, status=2)
            assert "Attempt 101 deliveries now? Cannot ask for confirmation here: use --yes." in (
                one_line(refused)
            )
            done = await asked("retry", "books", "--yes", config=config)
            assert (done["matched"], done["held"]) == (101, {"books": "paused"})


async def test_what_was_delivered_is_sent_again_where_that_is_asked_for(tmp_path: Path) -> None:
    switch = Switch(200)
    async with open_receiver(switch) as receiver:
        config = write_config(tmp_path, {"books": books(receiver)})
        async with running(config) as relayd:
            await emit(config, "evt_1", "evt_2")
            for event_id in ("evt_1", "evt_2"):
                await logged(relayd, "attempt_succeeded", event_id=event_id)
            one = await delivery_of(config, "evt_1")
            left = await run_command("replay", "evt_1", "books", "--yes", config=config)
            assert f"`relayd replay {one['id']} --state delivered` sends it again" in one_line(
                left.stderr.decode()
            )
            named = one_line(await command("replay", "books", "--yes", config=config))
            assert "`relayd replay books --state delivered --since TIME`" in named
            words = ("replay", "books", "--state", "delivered", "--since", "1h")
            asks = one_line(await command(*words, config=config, status=2))
            assert "Send again what was delivered (2 deliveries)?" in asks
            assert receiver.acts_begun == 2

            switch.release = trio.Event()
            switch.status = 500
            await command("replay", one["id"], "--state", "delivered", "--yes", config=config)
            await until(lambda: receiver.acts_begun == 3)
            relayd.signal(signal.SIGKILL)
            await relayd.wait()
        switch.release.set()
        async with running(config) as relayd:
            # The kill lost nothing: it is pending still, and counts on.
            await logged(relayd, "attempt_failed", delivery_id=one["id"], attempt=2)
            why = one_line(await command("explain", "evt_1", config=config))
            assert f"`relayd retry {one['id']}` makes it now; attempt 2, at" in why
            await command("cancel", one["id"], "--yes", config=config)
            await command("replay", one["id"], "--yes", config=config)
            await logged(relayd, "attempt_failed", delivery_id=one["id"], attempt=3)
            switch.status = 200
            await command("retry", one["id"], config=config)
            await logged(relayd, "attempt_succeeded", delivery_id=one["id"], attempt=4)
            assert (await delivery_of(config, "evt_1"))["state"] == State.DELIVERED

            # Cancelled before its next attempt: what happened before is still said as it was.
            await command("pause", "books", config=config)
            await command("replay", one["id"], "--state", "delivered", "--yes", config=config)
            held = one_line(await command("explain", "evt_1", config=config))
            assert "attempt 4, at" in held
            assert "failed" not in held
            await command("cancel", one["id"], "--yes", config=config)
            ended = one_line(await command("explain", "evt_1", config=config))
            assert "cancelled by the operator" in ended
            assert ", answered 200." in ended
        sent = [each for each in receiver.requests if json.loads(each.body)["id"] == "evt_1"]
        assert {each.header("X-LocallyGrown-Delivery") for each in sent} == {one["id"]}
        assert len({each.header("X-LocallyGrown-Sequence") for each in sent}) == 1
        assert len({each.body for each in sent}) == 1
        numbers = [each.header("X-LocallyGrown-Attempt") for each in sent]
        assert numbers == ["1", "2", "2", "3", "4"]  # the one that was killed did not count


async def test_each_refusal_names_what_to_do(tmp_path: Path) -> None:
    async with open_receiver(answer(500)) as receiver:
        gone = {"url": receiver.url, "retry": []}
        config = write_config(tmp_path, {"books": books(receiver), "shop": gone})
        make_spool(tmp_path / "spool.db")
        async with running(config) as relayd:
            await emit(config, "evt_1")
            await logged(relayd, "retry_scheduled", subscription="books")
            await logged(relayd, "delivery_exhausted", subscription="shop")
            listing = await asked("deliveries", config=config)
            ids = {each["subscription"]: each["id"] for each in listing["deliveries"]}
            done = await asked("replay", "evt_1", "--dry-run", config=config)
            [refused] = done["refused"]
            assert refused["instead"] == f"relayd retry {ids['books']}"
            done = await asked("retry", "evt_1", "--dry-run", config=config)
            [refused] = done["refused"]
            assert refused["instead"] == f"relayd replay {ids['shop']}"
            done = await asked("cancel", ids["shop"], "--dry-run", config=config)
            assert done["refused"][0]["instead"] == f"relayd replay {ids['shop']}"
            assert "`relayd retry books`" in await command("replay", "books", "-y", config=config)
            assert "`relayd replay shop --state exhausted`" in (
                await command("retry", "shop", config=config)
            )
            missing = await command("retry", "evt_9", config=config, status=1)
            assert "`relayd deliveries` lists" in missing
            assert "did you mean books?" in await command("retry", "boks", config=config, status=1)

            # Of a subscription that is gone from the file.
            write_config(tmp_path, {"shop": gone})
            await command("reload", config=config)
            tested = await command("test", "books", config=config, status=1)
            assert "books is gone from the configuration, and holds 1 pending" in one_line(tested)
            assert "`relayd rename books NEW`" in one_line(tested)
            printed = one_line(await command("retry", "books", config=config))
            assert "held: it is gone from the configuration; put it back" in printed
