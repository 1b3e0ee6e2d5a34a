"""SQLite's errors as they cross the queue's border."""

from collections.abc import Iterator
from contextlib import contextmanager

from relayd.queue.interface import QueueBroken, QueueError, QueueUnavailable
from relayd.sqlite_errors import (
    DatabaseBusyError,
    DatabaseError,
    DatabaseFailedError,
    DatabaseFullError,
    DatabaseUnexplainedError,
)


def queue_error(error: DatabaseError) -> QueueError:
    """Return what an error of the file means for the queue, with the same words."""
    if isinstance(error, DatabaseBusyError | DatabaseFullError):
        return QueueUnavailable(error.path, error.reason)
    if isinstance(error, DatabaseFailedError):
        explained = not isinstance(error, DatabaseUnexplainedError)
        return QueueBroken(error.path, error.reason, explained=explained)
    return QueueError(error.path, error.reason)


@contextmanager
def as_queue_errors() -> Iterator[None]:
    """Raise errors of the file that are raised inside the block as errors of the queue."""
    try:
        yield
    except DatabaseError as error:
        raise queue_error(error) from error
