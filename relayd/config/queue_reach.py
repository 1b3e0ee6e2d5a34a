"""Whether the owner of a spool's folder could replace the queue.

Who owns a folder may rename and remove what is in it, whoever owns that.
"""

import os
from pathlib import Path

from relayd.config.sections import QueueConfig, SpoolConfig
from relayd.permissions import name_of


def owner_above_queue(spool: SpoolConfig, queue: QueueConfig) -> str | None:
    """Return the user who owns the spool's folder, where that holds the queue, or None.

    None for relayd's own user and for root, too. Blocks on the disk.
    """
    folder = Path(os.path.realpath(spool.path)).parent
    file = Path(os.path.realpath(queue.path))
    if folder not in file.parents:
        return None
    owner = _owner(folder)
    if owner is None or owner in {0, _relayds_user(file)}:
        return None
    return name_of(owner)


def _relayds_user(queue: Path) -> int | None:
    """Return the number of relayd's user: this one, or, for root's `check`, the queue's."""
    user = os.geteuid()
    if user != 0:
        return user
    owner = _owner(queue)
    return _owner(queue.parent) if owner is None else owner


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:
        return None
