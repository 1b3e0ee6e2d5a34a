"""`deliveries --follow` as a real process, beside the daemon and without one."""

import json
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from processes import _environment, _program, command, running, write_config
from receivers import answer, open_receiver


class Follower:
    """The command, with what it printed so far."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._buffer = b""

    async def line(self) -> str:
        assert self.process.stdout is not None
        with trio.fail_after(20):
            while b"\n" not in self._buffer:
                self._buffer += await self.process.stdout.receive_some()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    async def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(await self.line())
        return document


@asynccontextmanager
async def following(config: Path, *arguments: str) -> AsyncIterator[Follower]:
    """Follow; with `--limit 1`, so that the first line tells that it is there."""
    process = await trio.lowlevel.open_process(
        _program("deliveries", "--follow", "--limit", "1", *arguments, "--config", str(config)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(None),
    )
    try:
        yield Follower(process)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def emit(config: Path, event_id: str) -> None:
    await command("emit", "order.created", "--sample", "--id", event_id, config=config)


async def test_what_changes_is_printed_until_ctrl_c(tmp_path: Path) -> None:
    async with open_receiver(answer(500)) as receiver:
        books = {"url": receiver.url, "retry": ["1s"]}
        config = write_config(tmp_path, {"books": books, "shop": {"url": receiver.url}})
        async with running(config) as relayd:
            await emit(config, "evt_0")
            with trio.fail_after(20):
                await relayd.logged("delivery_exhausted", event_id="evt_0")
            states = ("--state", "retrying", "--state", "exhausted")
            async with (
                following(config, "--subscription", "books", *states, "--json") as for_programs,
                following(config, "--subscription", "books") as for_people,
            ):
                first = await for_programs.document()
                assert (first["event_id"], first["state"]) == ("evt_0", "exhausted")
                assert (await for_people.line()).split()[2:5] == [
                    *("exhausted", "books", "order.created"),
                ]
                await emit(config, "evt_1")
                seen = [await for_programs.document() for _ in range(2)]
                assert [(each["event_id"], each["state"], each["attempts"]) for each in seen] == [
                    ("evt_1", "retrying", 1),
                    ("evt_1", "exhausted", 2),
                ]
                listing = json.loads(await command("deliveries", "--json", config=config))
                # The listing asks the daemon what is in flight; whoever follows does not know.
                unknown = dict.fromkeys(("in_flight", "in_flight_at", "in_flight_at_old_url"))
                assert seen[1] in [each | unknown for each in listing["deliveries"]]
                lines = [await for_people.line()]
                while " exhausted " not in lines[-1]:
                    lines.append(await for_people.line())
                assert lines[-1].endswith(f"{seen[1]['id']}  2  500")
                for each in (for_programs, for_people):
                    each.process.send_signal(signal.SIGINT)
                    with trio.fail_after(10):
                        assert await each.process.wait() == 0


async def test_without_a_daemon_and_into_a_closed_pipe(tmp_path: Path) -> None:
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url}})
        async with running(config) as relayd:
            await emit(config, "evt_0")
            with trio.fail_after(20):
                await relayd.logged("attempt_succeeded", event_id="evt_0")
    async with following(config) as follower:
        assert " delivered " in await follower.line()
        # As `| head -1` does, while there is nothing more to print.
        assert follower.process.stdout is not None
        await follower.process.stdout.aclose()
        assert follower.process.stderr is not None
        with trio.fail_after(10):
            assert await follower.process.wait() == 0
            said = await follower.process.stderr.receive_some()
            assert said == b"relayd is not running: nothing is attempted before it runs.\n"
    refused = await command("deliveries", "--follow", "--before", "x", config=config, status=2)
    assert "--before cannot be used with it" in refused


async def test_a_pause_is_said_where_nothing_is_printed(tmp_path: Path) -> None:
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url}})
        async with running(config):
            await command("pause", "books", config=config)
            await emit(config, "evt_0")
            async with following(config, "books", "--json") as follower:
                assert (await follower.document())["state"] == "held"
                assert follower.process.stderr is not None
                with trio.fail_after(20):
                    said = await follower.process.stderr.receive_some()
                text = " ".join(said.decode().split())
                assert text == (
                    "books: nothing is attempted; it is paused; `relayd resume books` releases its deliveries."
                )
                await command("resume", "books", config=config)
                assert (await follower.document())["state"] == "delivered"
                # A pause that begins while it follows is said, too, once the last one is seen to be over.
                await trio.sleep(5)
                await command("pause", "books", config=config)
                with trio.fail_after(30):
                    assert b"is paused" in await follower.process.stderr.receive_some()
