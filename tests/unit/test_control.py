"""Many control requests that wait lock nobody out."""

import json
from collections.abc import Mapping
from typing import Any

import trio
import trio.testing

from relayd.control import CONNECTIONS, QUICK, WAITING, WAITING_FOR_ONE, ControlLines


def line(name: str) -> list[bytes]:
    return [json.dumps({"command": name}).encode()]


async def test_waiting_requests_leave_places_for_others() -> None:
    end = trio.Event()

    async def waits(_: Mapping[str, Any]) -> dict[str, object]:
        await end.wait()
        return {"ok": True}

    async def at_once(_: Mapping[str, Any]) -> dict[str, object]:
        await trio.lowlevel.checkpoint()
        return {"ok": True}

    slow = ["reload", "difference", "test"]
    control = ControlLines({**dict.fromkeys(slow, waits), "pause": at_once, "status": at_once})
    assert "status" in QUICK
    assert WAITING_FOR_ONE < WAITING < CONNECTIONS
    answers: list[dict[str, object]] = []

    async def ask(name: str) -> None:
        answers.extend(await control.answer(line(name), 0))

    async with trio.open_nursery() as nursery:
        for _ in range(WAITING_FOR_ONE + 10):
            nursery.start_soon(ask, "reload")
        await trio.testing.wait_all_tasks_blocked()
        assert [each["code"] for each in answers] == ["busy"] * 10
        assert await control.answer(line("pause"), 0) == [{"ok": True}], "another command"
        for name in slow[1:]:
            for _ in range(WAITING_FOR_ONE):
                nursery.start_soon(ask, name)
        await trio.testing.wait_all_tasks_blocked()
        assert len(answers) == 10 + 3 * WAITING_FOR_ONE - WAITING
        [refused] = await control.answer(line("pause"), 0)
        assert refused["code"] == "busy"
        assert await control.answer(line("status"), 0) == [{"ok": True}]
        end.set()
    assert sum(each["ok"] is True for each in answers) == WAITING
    assert await control.answer(line("pause"), 0) == [{"ok": True}], "all places are free again"
