"""Opens the queue to read; ends the command where that cannot be done."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from relayd.cli.command_error import CommandError
from relayd.cli.daemon_elsewhere import daemon_elsewhere
from relayd.config.sections import QueueConfig
from relayd.queue.snapshot import Snapshot
from relayd.queue.snapshot_values import QueueUnreadableError
from relayd.queue.sqlite.reader import SQLiteReader


@contextmanager
def reading_queue(queue: QueueConfig) -> Iterator[Snapshot]:
    """Open the queue to read; end the command where it cannot be."""
    with readable(queue), SQLiteReader(queue.path).snapshot() as reading:
        yield reading


@contextmanager
def readable(queue: QueueConfig) -> Iterator[None]:
    """End the command where the queue cannot be read inside the block."""
    try:
        yield
    except QueueUnreadableError as error:
        missing = not os.path.lexists(queue.path)
        if missing and (elsewhere := daemon_elsewhere(queue)) is not None:
            raise CommandError(elsewhere, code="another_queue") from error
        raise CommandError(str(error), code="queue_unreadable") from error
