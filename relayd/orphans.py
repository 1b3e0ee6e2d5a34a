"""As process 1, in a container, reaps the processes that others left: nobody else does.

A process whose parent has ended becomes process 1's child. The daemon's own child, the template of
the readers, is left to who started it.
"""

import os
import signal
from collections.abc import Callable, Collection

import structlog
import trio

_log = structlog.get_logger()

_RETRY_S = 1.0


async def reap_orphans(own: Callable[[], Collection[int]]) -> None:
    """Reap until cancelled; return at once unless this is process 1. `own` has our own children."""
    if os.getpid() != 1:
        return
    with trio.open_signal_receiver(signal.SIGCHLD) as signals:
        while True:
            while not _reap(own()):  # noqa: ASYNC110 - who starts a process sets no event at its end
                # One of our own comes first, and will be gone when its owner has looked.
                await trio.sleep(_RETRY_S)
            async for _ in signals:
                break


def _reap(own: Collection[int]) -> bool:
    """Reap what has ended; return False when one of our own hides what else there may be."""
    while True:
        try:
            # Looks first, and leaves it there.
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        if ended is None:
            return True
        if ended.si_pid in own:
            return False
        os.waitpid(ended.si_pid, 0)
        _log.info("orphan_reaped", pid=ended.si_pid)
