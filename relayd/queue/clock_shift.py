"""Moves the times of waiting retries, and of endpoints, when the wall clock was set.

One retry at a time it is a matter of adding; a million of them are moved in steps, nearest first,
so that what is delivered meanwhile waits little. A row that changed since it was looked at has its
new time from the new clock, and is left alone.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog
import trio

from relayd.core.endpoint import Health
from relayd.queue.delivery_queue import STORAGE_RETRY_S
from relayd.queue.interface import QueueUnavailable, QueueWriter

_log = structlog.get_logger()

STEP_ROWS: Final = 2_000
"""Takes some 10 ms, for which other transactions wait."""
PAUSE_S: Final = 0.005


async def move_endpoints(
    queue: QueueWriter,
    step: float,
    stepped_at: float,
    known: Callable[[str], Health | None] = lambda _: None,
) -> None:
    """Move the endpoints' times by a step of the clock, just after which it was `stepped_at`.

    `known` is as `QueueWriter.shift_endpoints` has it. The queue remembers that the clock was looked at.
    Raises `QueueBroken`.
    """
    await _patiently(partial(queue.shift_endpoints, step, stepped_at, known))


async def move_retries(
    queue: QueueWriter,
    step: float,
    stepped_at: float,
    *,
    now: float | None = None,
    certain: bool = True,
) -> int:
    """Move the retries that were scheduled before a step of the clock; return how many.

    `stepped_at` is the moment just after the step, in Unix seconds, and `now` what it is by now; for
    `certain` see `core.clock_step`.
    Cancelled, or killed, it leaves the rest as it was: they are due early or late by the step.
    Raises `QueueError`.
    """
    retries = await queue.looks.retries_before_step(
        step, stepped_at, now=stepped_at if now is None else now, certain=certain
    )
    for begin in range(0, len(retries), STEP_ROWS):
        await _patiently(partial(queue.shift_retries, retries.part(begin, STEP_ROWS), step))
        await trio.sleep(PAUSE_S)
    return len(retries)


async def _patiently(write: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            return await write()
        except QueueUnavailable as error:
            _log.warning("queue_unavailable", detail=str(error))
            await trio.sleep(STORAGE_RETRY_S)
