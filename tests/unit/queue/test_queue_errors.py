"""What SQLite's errors mean for the queue: two kinds cross its border, with the reason in words."""

import sqlite3
from pathlib import Path

import pytest

from relayd.database import queue_error
from relayd.queue.interface import QueueBroken, QueueError, QueueUnavailable

QUEUE = Path("queue.db")


def failed(code: int, words: str) -> sqlite3.Error:
    error = sqlite3.OperationalError(words)
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (failed(sqlite3.SQLITE_BUSY, "busy"), QueueUnavailable, "another process holds its lock"),
        (failed(sqlite3.SQLITE_FULL, "full"), QueueUnavailable, "the disk is full"),
        (failed(sqlite3.SQLITE_IOERR, "disk I/O error"), QueueBroken, "disk I/O error"),
        (failed(sqlite3.SQLITE_CORRUPT, "malformed"), QueueBroken, "the file is damaged"),
        (failed(sqlite3.SQLITE_CONSTRAINT, "UNIQUE"), QueueError, "UNIQUE"),
    ],
)
def test_an_error_has_its_kind_and_its_words(
    error: sqlite3.Error, kind: type[QueueError], reason: str
) -> None:
    found = queue_error(QUEUE, error)
    assert type(found) is kind
    assert found.path == QUEUE
    assert found.reason.startswith(reason)
    assert str(found) == f"{QUEUE}: {found.reason}"


@pytest.mark.parametrize(
    ("code", "explained"), [(sqlite3.SQLITE_CORRUPT, True), (sqlite3.SQLITE_IOERR, False)]
)
def test_only_what_says_what_happened_to_the_file_is_explained(
    code: int, *, explained: bool
) -> None:
    found = queue_error(QUEUE, failed(code, "words"))
    assert isinstance(found, QueueBroken)
    assert found.explained is explained
