"""A written queue, and a reading of it, for each test that asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from written_queue import write_queue

from relayd.queue.sqlite.read_only import Reading, open_reading


@pytest.fixture
def path(tmp_path: Path) -> Path:
    trio.run(write_queue, tmp_path / "queue.db")
    return tmp_path / "queue.db"


@pytest.fixture
def reading(path: Path) -> Iterator[Reading]:
    with open_reading(path) as opened:
        yield opened
