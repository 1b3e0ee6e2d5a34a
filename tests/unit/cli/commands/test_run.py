"""What ended the daemon, told in one line."""

import errno
import itertools
from pathlib import Path

import pytest

from relayd.cli.commands.run import causes, reason_of
from relayd.permissions import user_name
from relayd.queue.interface import QueueBroken, QueueUnavailable
from relayd.queue.sqlite.lock import QueueLockedError
from relayd.unix_socket.listener import SocketPathError

QUEUE = Path("/var/lib/relayd/queue.db")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            QueueLockedError(QUEUE, "4711"),
            (
                "another relayd is using this queue: process 4711 holds /var/lib/relayd/queue.db. "
                "Stop it first, or give this one another queue.path."
            ),
        ),
        (QueueUnavailable(QUEUE, "the disk is full"), f"{QUEUE}: the disk is full"),
        (
            QueueBroken(QUEUE, "unable to open database file (SQLITE_CANTOPEN)"),
            (
                f"{QUEUE}: unable to open database file (SQLITE_CANTOPEN): user {user_name()} "
                "needs write access to it and to /var/lib/relayd"
            ),
        ),
        (SocketPathError("/run/x: taken"), "/run/x: taken"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/queue.db.lock"),
            f"cannot write /queue.db.lock as user {user_name()}: Permission denied",
        ),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "/no/where/queue.db.lock"),
            "cannot write /no/where/queue.db.lock: there is no directory /no/where",
        ),
        (OSError(errno.EMFILE, "Too many open files"), "[Errno 24] Too many open files"),
        (KeyError("defect"), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_reasons(error: BaseException, reason: str | None) -> None:
    assert reason_of(error) == reason


def test_groups_are_flattened_and_repetitions_told_once() -> None:
    full = QueueUnavailable(QUEUE, "the disk is full")
    again = QueueUnavailable(QUEUE, "the disk is full")
    locked = QueueLockedError(QUEUE, "1")
    group = BaseExceptionGroup("", [full, BaseExceptionGroup("", [again, locked])])
    assert causes(group) == [full, locked]
    assert causes(locked) == [locked]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_of_one_file_the_reason_that_explains_is_told_alone(order: tuple[int, ...]) -> None:
    moved = QueueBroken(QUEUE, "queue.db-wal was moved, replaced or deleted while it was in use")
    short = QueueBroken(QUEUE, "disk I/O error (SQLITE_IOERR_SHORT_READ)", explained=False)
    full = QueueUnavailable(QUEUE, "the disk is full")
    other = QueueBroken(QUEUE.with_name("other.db"), "disk I/O error", explained=False)
    met = [moved, short, full, other]
    found = causes(BaseExceptionGroup("", [met[place] for place in order]))
    assert {id(each) for each in found} == {id(moved), id(other)}
    assert causes(BaseExceptionGroup("", [full, short])) == [short]


def test_of_two_reasons_that_explain_the_first_is_told() -> None:
    damaged = QueueBroken(QUEUE, "the file is damaged (SQLITE_CORRUPT)")
    too = QueueBroken(QUEUE, "the file is damaged (SQLITE_NOTADB)")
    assert causes(BaseExceptionGroup("", [damaged, too])) == [damaged]
