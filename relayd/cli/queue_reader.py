"""Opens the queue to read; ends the command where that cannot be done."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from relayd.config.sections import QueueConfig
from relayd.queue.reading import QueueUnreadableError, Reading, open_reading


@contextmanager
def reading_queue(queue: QueueConfig) -> Iterator[Reading]:
    """Open the queue to read; end the command where it cannot be."""
    with readable(), open_reading(queue.path) as reading:
        yield reading


@contextmanager
def readable() -> Iterator[None]:
    """End the command where the queue cannot be read inside the block."""
    try:
        yield
    except QueueUnreadableError as error:
        raise click.ClickException(str(error)) from error
