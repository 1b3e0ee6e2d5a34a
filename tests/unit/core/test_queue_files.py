"""The one list of a queue's files: nothing that relayd makes beside a queue is missing from it."""

import re
from pathlib import Path

import pytest

from relayd.config.sections import QueueConfig
from relayd.core.queue_files import QUEUE_SIDES, SQLITE_SIDES, queue_beside, queue_files
from relayd.queue.sqlite.reserve import reserve_of

PACKAGE = Path(__file__).parents[3] / "relayd"


def test_what_the_daemon_makes_is_in_it() -> None:
    queue = QueueConfig(Path("/srv/queue.db"), 1.0)
    files = queue_files("/srv/queue.db")
    for each in (queue.path, queue.lock_path, queue.work_path, queue.control_path):
        assert str(each) in files
    assert str(reserve_of(queue.path)._path) in files
    assert set(SQLITE_SIDES) < set(QUEUE_SIDES)


def test_no_other_module_makes_a_name_of_its_own() -> None:
    # A suffix that stands behind a queue's path in the code must come from the list.
    for path in PACKAGE.rglob("*.py"):
        if path.name == "queue_files.py":
            continue
        for side in re.findall(
            r"\{(?:queue|self\.path|queue\.name)\}(\.[a-z]+)\"", path.read_text()
        ):
            assert side in QUEUE_SIDES, f"{path}: {side}"


@pytest.mark.parametrize("side", QUEUE_SIDES)
def test_the_queue_beside_a_side_file(side: str) -> None:
    assert queue_beside(f"/srv/queue.db{side}") == "/srv/queue.db"
    assert queue_beside("/srv/queue.db") is None
    assert queue_beside(side) is None
