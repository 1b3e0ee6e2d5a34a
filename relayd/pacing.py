"""Does long work on the event loop beside everything else, in slices with pauses."""

import time
from typing import Final, TypeVar

import trio

from relayd.core.parts import Parts

T = TypeVar("T")

SLICE_S: Final = 0.001
"""How long such work may hold up everything else at a time."""

_FRACTION: Final = 0.15
"""How much of the loop's time it may take: under load, throughput falls by as much."""


async def paced(work: Parts[T]) -> T:
    """Do the work, and return its result. A checkpoint only where it takes more than a slice.

    Times are the thread's own: where other processes have the processor, it need not wait longer.
    """
    began = time.thread_time()
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        took = time.thread_time() - began
        if took >= SLICE_S:
            await trio.sleep(took * (1.0 / _FRACTION - 1.0))
            began = time.thread_time()
