"""`queue.path` is changed in the file while the daemon runs with the old one."""

import os
from pathlib import Path

from processes import command, running, write_config

BOOKS = {"books": {"url": "http://127.0.0.1:9/", "retry": ["1h"]}}
COMMANDS = [
    "reload",
    "pause books",
    "check --diff",
    "test books",
    "status",
    "deliveries",
    "show evt_1",
    "explain evt_1",
    "replay books",
    "rejected list",
]


async def test_each_command_finds_the_daemon_of_its_file(tmp_path: Path) -> None:
    config = write_config(tmp_path, BOOKS, spools=None)
    other = tmp_path / "other"
    other.mkdir()
    others_file = write_config(other, BOOKS, spools=None)
    async with running(config) as daemon, running(others_file):
        write_config(tmp_path, BOOKS, spools=None, queue={"path": "moved.db"})
        here = os.path.relpath(config)
        for words in COMMANDS:
            said = " ".join((await command(*words.split(), "--config", here, status=1)).split())
            assert f"relayd (pid {daemon.pid}) is running with this file" in said, (words, said)
            assert f"with the queue {tmp_path}/queue.db" in said
            assert "needs a restart" in said
        assert not (tmp_path / "moved.db").exists()
        # Another file's daemon is not meant.
        stopped = write_config(tmp_path, BOOKS, name="stopped.yaml", queue={"path": "third.db"})
        said = await command("reload", config=stopped, status=1)
        assert "is `relayd run` running?" in said
