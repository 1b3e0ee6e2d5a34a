"""The web process's way to the daemon: what takes long leaves room for what probes ask."""

import asyncio
import json
from pathlib import Path

from relayd.web.daemon_link import PROBES, REQUESTS, DaemonLink


def test_probes_do_not_wait_behind_what_takes_long(tmp_path: Path) -> None:
    async def run() -> None:
        done = asyncio.Event()
        asked: list[str] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            name = json.loads(await reader.readline())["command"]
            asked.append(name)
            if name not in PROBES:
                await done.wait()
            writer.write(b'{"ok": true}\n')
            writer.close()

        path = tmp_path / "control"
        async with await asyncio.start_unix_server(answer, path):
            link = DaemonLink(path)
            slow = [
                asyncio.create_task(link.ask({"command": "test"}, timeout_s=60))
                for _ in range(2 * REQUESTS)
            ]
            async with asyncio.timeout(20):
                while len(asked) < REQUESTS:
                    await asyncio.sleep(0.01)
                for name in PROBES:
                    assert await link.ask({"command": name}, timeout_s=10) == {"ok": True}
            assert asked.count("test") == REQUESTS, "the others wait here"
            done.set()
            assert await asyncio.gather(*slow) == [{"ok": True}] * 2 * REQUESTS

    asyncio.run(run())
