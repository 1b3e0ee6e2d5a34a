"""Keeps a defect in one part of relayd from ending the others.

A part is a long-running task: one endpoint's, one source's, the pruning. When an unexpected
exception ends it, the exception is logged with its traceback, and the part runs again after a
pause. What says that the queue itself is broken is not contained: nothing can be promised then.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog
import trio

from relayd.queue.interface import QueueBroken

_log = structlog.get_logger()

_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0


def is_defect(error: BaseException) -> bool:
    """Return whether this is a defect that can be contained.

    Cancellation is not, nor is an error that says that the queue is broken.
    """
    if isinstance(error, BaseExceptionGroup):
        return isinstance(error, ExceptionGroup) and error.subgroup(QueueBroken) is None
    return isinstance(error, Exception) and not isinstance(error, QueueBroken)


async def contained(
    run: Callable[[], Awaitable[None]],
    part: str,
    *,
    clean_up: Callable[[], object] = lambda: None,
) -> None:
    """Run a part until it returns, again after each defect.

    The pause doubles from 1 s up to a minute, and starts over once the part ran that long.
    `clean_up` is called before each next run. Cancellation passes through.
    """
    pause_s = _PAUSE_S
    while True:
        began = trio.current_time()
        try:
            return await run()
        except BaseExceptionGroup as group:
            cancelled, defects = group.split(trio.Cancelled)
            if defects is None or not is_defect(defects):
                raise
            _log.error("task_restarting", part=part, retry_in_s=pause_s, exc_info=defects)
            if cancelled is not None:
                raise cancelled from None
        except Exception as error:
            if not is_defect(error):
                raise
            _log.exception("task_restarting", part=part, retry_in_s=pause_s)
        clean_up()
        if trio.current_time() - began > _LONGEST_PAUSE_S:
            pause_s = _PAUSE_S
        await trio.sleep(pause_s)
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
