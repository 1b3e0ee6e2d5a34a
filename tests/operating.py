"""What an operator does in tests: commands that print JSON, events, and a receiver with a switch."""

import json
from pathlib import Path
from typing import Any

import trio
from processes import RelaydProcess, command
from receivers import Act, Conversation, answer


async def asked(*arguments: str, config: Path) -> Any:
    return json.loads(await command(*arguments, "--json", config=config))


class Switch:
    """A receiver's act that answers as the test says at the time."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.release = trio.Event()
        self.release.set()

    async def __call__(self, conversation: Conversation) -> None:
        act: Act = answer(self.status)
        await self.release.wait()
        await act(conversation)


async def logged(relayd: RelaydProcess, event: str, **fields: object) -> None:
    with trio.fail_after(15):
        await relayd.logged(event, **fields)  # type: ignore[arg-type]  # none of them is `after`


async def emit(config: Path, *ids: str, event_type: str = "order.created") -> None:
    for event_id in ids:
        await command("emit", event_type, "--sample", "--id", event_id, config=config)
