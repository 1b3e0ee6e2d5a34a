"""SQLite's errors at the queue's border: two kinds cross it, in the same words."""

from pathlib import Path

import pytest

from relayd.queue.interface import QueueBroken, QueueError, QueueUnavailable
from relayd.queue.sqlite.errors import as_queue_errors
from relayd.sqlite_errors import (
    DatabaseBusyError,
    DatabaseDamagedError,
    DatabaseError,
    DatabaseFailedError,
    DatabaseFullError,
    DatabaseRefusedError,
)

QUEUE = Path("queue.db")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DatabaseBusyError(QUEUE, "another process holds its lock"), QueueUnavailable),
        (DatabaseFullError(QUEUE, "the disk is full"), QueueUnavailable),
        (DatabaseFailedError(QUEUE, "disk I/O error"), QueueBroken),
        (DatabaseDamagedError(QUEUE, "malformed"), QueueBroken),
        (DatabaseRefusedError(QUEUE, "UNIQUE constraint failed"), QueueError),
    ],
)
def test_an_error_keeps_its_words(error: DatabaseError, kind: type[QueueError]) -> None:
    with pytest.raises(QueueError) as raised, as_queue_errors():
        raise error
    assert type(raised.value) is kind
    assert str(raised.value) == str(error)
    assert (raised.value.path, raised.value.reason) == (error.path, error.reason)


def test_other_errors_pass() -> None:
    with pytest.raises(ValueError), as_queue_errors():
        raise ValueError
