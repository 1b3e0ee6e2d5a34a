"""A backup of a running daemon's queue, put back by the steps that the command prints."""

import json
import shutil
from pathlib import Path

import trio
from processes import command, running, write_config
from receivers import open_receiver


async def test_backed_up_while_it_runs_and_restored(tmp_path: Path) -> None:
    target = tmp_path / "backup.db"
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url}})
        async with running(config) as relayd:

            async def emit(event_id: str) -> None:
                await command("emit", "order.created", "--sample", "--id", event_id, config=config)

            await emit("evt_1")
            with trio.fail_after(20):
                await relayd.logged("attempt_succeeded", event_id="evt_1")
            await command("pause", "books", config=config)
            await emit("evt_2")
            printed = await command("backup", str(target), config=config)
            words = " ".join(printed.split())
            assert "holds 2 events and 2 deliveries, 1 of them pending" in words
            queue = tmp_path / "queue.db"
            assert f" move {queue} away, and {queue}-wal and -shm if they exist " in words
            assert f" copy {target} to {queue}, with the owner and mode " in words
            refused = await command("backup", str(target), config=config, status=1)
            assert "--force replaces it" in refused
            again = await command("backup", str(target), "--force", "--json", config=config)
            assert json.loads(again) == {
                "file": str(target),
                "size_bytes": target.stat().st_size,
                "events": 2,
                "deliveries": 2,
                "waiting": 1,
            }
            await command("resume", "books", config=config)
            with trio.fail_after(20):
                await relayd.logged("attempt_succeeded", event_id="evt_2")
            await emit("evt_3")
            with trio.fail_after(20):
                await relayd.logged("attempt_succeeded", event_id="evt_3")
        for side in ("", "-wal", "-shm"):
            lost = Path(f"{queue}{side}")
            if lost.exists():
                lost.rename(tmp_path / f"lost{side}")
        shutil.copy(target, queue)
        queue.chmod(0o600)
        async with running(config) as relayd:
            await command("resume", "books", config=config)
            with trio.fail_after(20):
                await relayd.logged("attempt_succeeded", event_id="evt_2")
            listing = json.loads(await command("deliveries", "--json", config=config))
            assert [(each["event_id"], each["state"]) for each in listing["deliveries"]] == [
                ("evt_2", "delivered"),
                ("evt_1", "delivered"),
            ]
    ids = [json.loads(request.body)["id"] for request in receiver.requests]
    assert ids == ["evt_1", "evt_2", "evt_3", "evt_2"]
