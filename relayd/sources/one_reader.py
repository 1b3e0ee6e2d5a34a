"""Finds that a spool's path leads to the table of another spool, or to the queue.

Whoever owns the folder of a spool can put a link in its place. Two readers of one table would hand
its events over as two markets', or take them from each other.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from relayd.config.sections import SpoolConfig
from relayd.core.queue_files import queue_files


def other_owner(
    spool: SpoolConfig, place: str, spools: Iterable[SpoolConfig], queue: Path
) -> str | None:
    """Return why a spool that leads to `place`, a real path, must not be read, or None.

    Blocks on the disk.

    Of several spools that lead to one table, the one whose path holds no link is read; where that
    does not decide, the first one in the configuration.
    """
    if any(_is_same(place, name) for name in queue_files(os.path.realpath(queue))):
        return f"{spool.path} leads to {place}, a file of the queue: give the spool its own file"
    before = True
    for other in spools:
        if other.name == spool.name:
            before = False
            continue
        if other.table.lower() != spool.table.lower() or not _is_same(place, other.path):
            continue
        if (_is_linked(spool), before) > (_is_linked(other), not before):
            return (
                f"{spool.path} leads to {place}, the table of spool {other.name}, which is read"
                " as that spool only: remove one of the two, or the link"
            )
    return None


def _is_linked(spool: SpoolConfig) -> bool:
    return os.path.realpath(spool.path) != os.path.abspath(spool.path)  # noqa: PTH100 - as text


def _is_same(place: str, other: Path | str) -> bool:
    if place == os.path.realpath(other):
        return True
    with suppress(OSError):
        return os.path.samefile(place, other)  # noqa: PTH121 - as texts
    return False
