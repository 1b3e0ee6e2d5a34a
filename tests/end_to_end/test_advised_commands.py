"""Each command that `explain`, `status` and the refusals name is run as it was printed, and does what was said."""

import re
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from operating import Switch, asked, emit, logged
from processes import RelaydProcess, command, make_spool, run_command, running, write_config
from receivers import open_receiver

ONCE: dict[str, object] = {"retry": []}
LONG: dict[str, object] = {"retry": ["1h", "1h"]}


@dataclass(frozen=True, slots=True)
class Scene:
    """A running relayd with a receiver whose answer the test chooses."""

    config: Path
    relayd: RelaydProcess
    switch: Switch
    url: str

    def write(self, **subscriptions: dict[str, object]) -> None:
        given = {name: {"url": self.url, **keys} for name, keys in subscriptions.items()}
        write_config(self.config.parent, given)

    async def reload(self, **subscriptions: dict[str, object]) -> None:
        self.write(**subscriptions)
        await command("reload", config=self.config)

    async def run(self, *arguments: str) -> None:
        await command(*arguments, config=self.config)

    async def exhaust(self) -> None:
        await emit(self.config, "evt_1")
        await logged(self.relayd, "delivery_exhausted", event_id="evt_1")
        self.switch.status = 200

    async def fail(self) -> None:
        await emit(self.config, "evt_1")
        await logged(self.relayd, "retry_scheduled", event_id="evt_1")
        self.switch.status = 200


Arrange = Callable[[Scene], Awaitable[None]]


async def exhausted(scene: Scene) -> None:
    await scene.exhaust()


async def exhausted_and_paused(scene: Scene) -> None:
    await scene.exhaust()
    await scene.run("pause", "books")


async def exhausted_and_inactive(scene: Scene) -> None:
    await scene.exhaust()
    await scene.reload(books={**ONCE, "active": False})


async def exhausted_and_removed(scene: Scene) -> None:
    await scene.reload(books=ONCE, NEW={"events": "payment.*"})
    await scene.exhaust()
    await scene.reload(NEW={"events": "payment.*"})


async def cancelled(scene: Scene) -> None:
    await scene.reload(books=LONG)
    await scene.fail()
    await scene.run("cancel", "books", "--yes")


async def cancelled_and_paused(scene: Scene) -> None:
    await cancelled(scene)
    await scene.run("pause", "books")


async def retrying(scene: Scene) -> None:
    await scene.reload(books=LONG)
    await scene.fail()


async def throttled(scene: Scene) -> None:
    scene.switch.status = 429
    await retrying(scene)


async def gone(scene: Scene) -> None:
    scene.switch.status = 410
    await scene.reload(books=LONG)
    await emit(scene.config, "evt_1")
    await logged(scene.relayd, "attempt_failed", event_id="evt_1")
    scene.switch.status = 200


async def removed(scene: Scene) -> None:
    await scene.reload(books=LONG, NEW={"events": "payment.*"})
    await scene.fail()
    await scene.reload(NEW={"events": "payment.*"})


async def missed(scene: Scene) -> None:
    scene.switch.status = 200
    await scene.reload(books={"events": "payment.*"})
    await emit(scene.config, "evt_1")
    await scene.reload(books={})


async def missed_and_not_loaded(scene: Scene) -> None:
    scene.switch.status = 200
    await scene.reload(books={"events": "payment.*"})
    await emit(scene.config, "evt_1")
    scene.write(books={})


async def missed_and_new(scene: Scene) -> None:
    scene.switch.status = 200
    await scene.reload(books={"events": "payment.*"})
    await emit(scene.config, "evt_1")
    scene.write(books={"events": "payment.*"}, shop={})


async def missed_and_paused(scene: Scene) -> None:
    await missed(scene)
    await scene.run("pause", "books")


EXPLAIN = ("explain", "evt_1")
STATUS = ("status",)


@pytest.mark.parametrize(
    ("arrange", "asked_by", "commands"),
    [
        (exhausted, EXPLAIN, ["replay"]),
        (exhausted, STATUS, ["replay"]),
        (exhausted, ("retry", "books"), ["replay"]),
        (exhausted, ("retry", "evt_1"), ["replay"]),
        (exhausted, ("cancel", "evt_1"), ["replay"]),
        (exhausted_and_paused, EXPLAIN, ["replay", "resume"]),
        (exhausted_and_paused, STATUS, ["replay", "resume"]),
        (exhausted_and_inactive, EXPLAIN, ["replay"]),
        (exhausted_and_inactive, STATUS, ["replay", "reload"]),
        (exhausted_and_removed, EXPLAIN, ["replay"]),
        (exhausted_and_removed, STATUS, ["rename"]),
        (cancelled, EXPLAIN, ["replay"]),
        (cancelled, ("retry", "books"), ["replay"]),
        (cancelled, ("cancel", "evt_1"), ["replay"]),
        (cancelled_and_paused, EXPLAIN, ["replay", "resume"]),
        (retrying, EXPLAIN, ["retry"]),
        (retrying, STATUS, ["test"]),
        (retrying, ("replay", "evt_1"), ["retry"]),
        (retrying, ("replay", "books"), ["retry"]),
        (throttled, EXPLAIN, ["retry"]),
        (gone, EXPLAIN, ["resume"]),
        (gone, STATUS, ["resume"]),
        (gone, ("retry", "evt_1"), ["resume"]),
        (gone, ("replay", "books"), ["resume"]),
        (removed, STATUS, ["rename"]),
        (removed, ("retry", "evt_1"), ["rename"]),
        (missed, EXPLAIN, ["replay"]),
        (missed_and_not_loaded, EXPLAIN, ["reload", "replay"]),
        (missed_and_new, EXPLAIN, ["reload", "replay"]),
        (missed_and_paused, EXPLAIN, ["replay", "resume"]),
    ],
)
async def test_what_was_advised_works(
    tmp_path: Path, arrange: Arrange, asked_by: tuple[str, ...], commands: list[str]
) -> None:
    make_spool(tmp_path / "spool.db")
    switch = Switch(500)
    async with open_receiver(switch) as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, **ONCE}})
        async with running(config) as relayd:
            scene = Scene(config, relayd, switch, receiver.url)
            await arrange(scene)
            done = await run_command(*asked_by, config=config)
            text = " ".join((done.stdout + done.stderr).decode().split())
            before = len(receiver.requests)
            for wanted in commands:
                named = re.findall(rf"`(relayd {wanted}\b[^`]*)`", text)
                assert named, f"{wanted} is not in: {text}"
                # What follows a command that holds nothing any more need not be done.
                yes = ["--yes"] if wanted == "replay" else []
                _, *arguments = shlex.split(named[0])
                await command(*arguments, *yes, config=config)
            if (
                arrange in {exhausted_and_inactive, exhausted_and_removed}
                and "rename" not in commands
            ):
                # The rest of the sentence is about the file.
                back: dict[str, dict[str, object]] = {}
                if arrange is exhausted_and_removed:
                    back = {"NEW": {"events": "payment.*"}}
                await scene.reload(books=ONCE, **back)
            if arrange is exhausted_and_removed and "rename" in commands:
                # Handed over, it is advised about again, by its new name.
                await command("replay", "NEW", "--state", "exhausted", "--yes", config=config)
            if arrange is removed and asked_by == STATUS:
                # Handed over is what was said: its retries keep their times.
                listed = (await asked("deliveries", config=config))["deliveries"]
                assert {each["subscription"] for each in listed} == {"NEW"}
                await command("retry", "NEW", config=config)
            await logged(relayd, "attempt_succeeded", event_id="evt_1")
            assert len(receiver.requests) > before
            listed = (await asked("deliveries", config=config))["deliveries"]
            assert {each["state"] for each in listed} == {"delivered"}
