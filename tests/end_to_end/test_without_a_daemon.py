"""What commands say and do while no daemon runs, and where nobody can be asked."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from operating import Switch, emit, logged
from processes import command, run_command, running, write_config
from receivers import open_receiver


def change(config: Path, **keys: object) -> None:
    file = yaml.safe_load(config.read_text())
    file["subscriptions"]["books"] |= keys
    config.write_text(yaml.safe_dump(file, sort_keys=False))


async def tried(config: Path) -> tuple[dict[str, Any], str, str]:
    """Return what `test books` says: the document, and to people on both streams."""
    document = json.loads((await run_command("test", "books", "--json", config=config)).stdout)
    done = await run_command("test", "books", config=config)
    return document, " ".join(done.stdout.decode().split()), done.stderr.decode()


async def test_test_says_that_relayd_does_not_run_and_what_holds(tmp_path: Path) -> None:
    async with open_receiver(Switch(200)) as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url}})
        # No queue yet.
        document, said, note = await tried(config)
        assert (document["succeeded"], document["hold"], document["waiting"]) == (True, None, None)
        assert said.endswith("relayd is not running, so nothing was released.")
        assert "Note: relayd is not running; this command sends it itself." in note

        async with running(config):
            await command("pause", "books", config=config)
            await emit(config, "evt_1")
        document, said, _ = await tried(config)
        assert document["hold"] == "paused"
        assert said.endswith(
            "relayd is not running, so nothing was released. From its start on, books is held: it is"
            " paused; `relayd resume books` releases its deliveries."
        )
        change(config, active=False)
        assert (await tried(config))[0]["hold"] == "inactive"


async def test_test_says_of_the_queue_what_the_file_does_not_end(tmp_path: Path) -> None:
    switch = Switch(410)
    async with open_receiver(switch) as receiver:
        config = write_config(
            tmp_path, {"books": {"url": receiver.url}, "shop": {"url": receiver.url}}
        )
        with_books = config.read_text()
        async with running(config) as relayd:
            await emit(config, "evt_1")
            await logged(relayd, "attempt_failed", event_id="evt_1", subscription="books")
        switch.status = 200
        assert (await tried(config))[0]["hold"] == "gone"
        change(config, url=f"{receiver.url}/new")
        assert (await tried(config))[0]["hold"] is None

        # Removed while relayd ran, and put back since: the file has it.
        file = yaml.safe_load(with_books)
        del file["subscriptions"]["books"]
        config.write_text(yaml.safe_dump(file, sort_keys=False))
        async with running(config):
            pass
        config.write_text(with_books)
        change(config, url=f"{receiver.url}/new")
        document, said, _ = await tried(config)
        assert document["hold"] is None
        assert "gone from the configuration" not in said


@pytest.mark.parametrize("name", ["remove", "cancel", "replay"])
async def test_nobody_can_be_asked_without_a_terminal(tmp_path: Path, name: str) -> None:
    async with open_receiver(Switch(500)) as receiver:
        (tmp_path / "subs.d").mkdir(mode=0o700)
        config = write_config(tmp_path, include="subs.d/*.yaml")
        async with running(config) as relayd:
            await command(
                "add", "shop", "--url", receiver.url, "--events", "order.*", config=config
            )
            await emit(config, "evt_1")
            await logged(relayd, "attempt_failed", event_id="evt_1")
            if name == "replay":
                await command("cancel", "shop", "--yes", config=config)
            said = await command(name, "shop", *_wanted(name), config=config, status=2)
            assert "Cannot ask for confirmation here: use --yes." in said
            assert "1 delivery" in said
            done = await command(name, "shop", "--yes", *_wanted(name), config=config)
            assert "1 delivery" in done


def _wanted(name: str) -> tuple[str, ...]:
    return ("--state", "cancelled") if name == "replay" else ()
