"""`order_by` with the real process: what is behind another waits, across a kill, and commands say so."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import trio
from processes import RelaydProcess, command, running, write_config
from receivers import Receiver, answer, open_receiver


async def asked(*arguments: str, config: Path) -> Any:
    return json.loads(await command(*arguments, "--json", config=config))


async def emitted(config: Path, key: str) -> str:
    found = await asked("emit", "order.created", "--object", f'{{"id":"{key}"}}', config=config)
    return str(found["events"][0]["id"])


async def logged(relayd: RelaydProcess, event: str, event_id: str) -> dict[str, Any]:
    with trio.fail_after(20):
        return await relayd.logged(event, event_id=event_id)


def ordered(receiver: Receiver, tmp_path: Path, on_exhausted: str) -> Path:
    books = {
        "url": receiver.url,
        "events": "order.*",
        "order_by": "data.object.id",
        "on_exhausted": on_exhausted,
        "retry": [],
    }
    return write_config(tmp_path, {"books": books})


@pytest.mark.parametrize("end", ["cancel", "replay"])
async def test_what_is_behind_an_exhausted_one_waits_across_a_kill_until_the_operator_decides(
    tmp_path: Path, end: str
) -> None:
    async with open_receiver(answer(500), answer(200)) as receiver:
        config = ordered(receiver, tmp_path, "hold")
        async with running(config) as relayd:
            first = await emitted(config, "order_1")
            gave_up = await logged(relayd, "delivery_exhausted", first)
            second = await emitted(config, "order_1")
            third = await emitted(config, "order_1")
            other = await emitted(config, "order_2")
            await logged(relayd, "attempt_succeeded", other)
            relayd.signal(signal.SIGKILL)
            await relayd.wait()
        blocker = gave_up["delivery_id"]
        async with running(config) as relayd:
            await logged(relayd, "attempt_succeeded", await emitted(config, "order_3"))
            explained = await command("explain", third, config=config)
            assert f"`relayd explain {blocker}` says what that waits for" in " ".join(
                explained.split()
            )
            [delivery] = (await asked("explain", second, config=config))["subscriptions"]
            assert (delivery["state"], delivery["outcome"]) == ("pending", "waiting")
            assert (delivery["behind"], delivery["behind_first"]) == (blocker, blocker)
            assert delivery["until"] is None
            why = " ".join((await command("explain", blocker, config=config)).split())
            assert f"`relayd cancel {blocker}`" in why
            status = " ".join((await command("status", config=config)).split())
            assert "2 of them are behind others in their order, 1 of which" not in status
            assert "2 of them are behind others in their order" in status
            assert "1 exhausted delivery holds them" in status
            listed = await command("deliveries", "--object", "order_1", config=config)
            assert f"behind {blocker}" in listed
            assert max(map(len, listed.splitlines())) <= 80
            retried = " ".join((await command("retry", third, config=config)).split())
            assert (
                f"comes after {blocker}, which is exhausted: `relayd replay {blocker}`" in retried
            )
            assert f"`relayd cancel {blocker}` gives it up" in retried
            retried = " ".join((await command("retry", "books", config=config)).split())
            assert "1 exhausted delivery holds some of them: `relayd replay books`" in retried
            await command("resume", "books", config=config)  # it releases nothing that is behind
            assert len(receiver.requests) == 3
            await command(end, blocker, "--yes", config=config)
            await logged(relayd, "attempt_succeeded", third)
        sent = [json.loads(each.body)["id"] for each in receiver.requests]
        again = [first] if end == "replay" else []
        assert [each for each in sent if each in {first, second, third}] == [
            first,
            *again,
            second,
            third,
        ]


async def test_an_exhausted_one_is_skipped(tmp_path: Path) -> None:
    async with open_receiver(answer(500), answer(200)) as receiver:
        config = ordered(receiver, tmp_path, "skip")
        async with running(config) as relayd:
            first = await emitted(config, "order_1")
            await logged(relayd, "delivery_exhausted", first)
            await logged(relayd, "attempt_succeeded", await emitted(config, "order_1"))


async def test_check_prints_how_long_one_can_block_and_what_is_wrong(tmp_path: Path) -> None:
    books = {"url": "http://127.0.0.1:1/", "events": "order.*", "order_by": "data.object.id"}
    config = write_config(tmp_path, {"books": books})
    words = " ".join((await command("check", config=config)).split())
    assert "events with the same data.object.id one after the other" in words
    assert "for 26h, then it is skipped" in words
    found = await asked("check", config=config)
    assert found["subscriptions"][0]["longest_block_s"] > 86_400
    for wrong, expected in (
        ({"order_by": "data.object.items.*.id"}, "looks into a list"),
        ({"order_by": "object.id"}, "is not a key of an event"),
        ({"on_exhausted": "hold", "order_by": None}, "has no order_by"),
        ({"on_exhausted": "stop"}, "skip"),
    ):
        given = {key: each for key, each in {**books, **wrong}.items() if each is not None}
        config = write_config(tmp_path, {"books": given})
        printed = await command("check", config=config, status=78)
        assert expected in printed
        assert "config.yaml:" in printed
