"""Opens the queue to read; ends the command where that cannot be done."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

from relayd.cli.daemon_elsewhere import daemon_elsewhere
from relayd.config.sections import QueueConfig
from relayd.queue.interface import Snapshot
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
        elsewhere = daemon_elsewhere(queue) if missing else None
        raise click.ClickException(elsewhere or str(error)) from error
