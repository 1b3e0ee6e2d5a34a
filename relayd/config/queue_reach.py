"""Whether the owner of a spool's folder could replace the queue.

Who owns a folder may rename and remove what is in it, whoever owns that.
"""

import os
from pathlib import Path

from relayd.config.sections import QueueConfig, SpoolConfig
from relayd.permissions import name_of, relayds_user


def owner_above_queue(spool: SpoolConfig, queue: QueueConfig) -> str | None:
    """Return the user who owns the spool's folder, where that holds the queue, or None.

    None for relayd's own user and for root, too. Blocks on the disk.
    """
    folder = Path(os.path.realpath(spool.path)).parent
    file = Path(os.path.realpath(queue.path))
    if folder not in file.parents:
        return None
    owner = _owner(folder)
    if owner is None or owner in {0, relayds_user(file)}:
        return None
    return name_of(owner)


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:
        return None
