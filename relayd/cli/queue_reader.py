"""Opens the queue to read; ends the command where that cannot be done."""

from collections.abc import Iterator
from contextlib import contextmanager

from relayd.cli.command_error import CommandError
from relayd.config.sections import QueueConfig
from relayd.queue.interface import Snapshot
from relayd.queue.snapshot_values import QueueUnreadableError
from relayd.queue.sqlite.reader import SQLiteReader


@contextmanager
def reading_queue(queue: QueueConfig) -> Iterator[Snapshot]:
    """Open the queue to read; end the command where it cannot be."""
    with readable(), SQLiteReader(queue.path).snapshot() as reading:
        yield reading


@contextmanager
def readable() -> Iterator[None]:
    """End the command where the queue cannot be read inside the block."""
    try:
        yield
    except QueueUnreadableError as error:
        raise CommandError(str(error), code="queue_unreadable") from error
