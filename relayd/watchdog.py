"""Feeds systemd's watchdog, as long as the real work goes on.

That the event loop turns shows little. So before each feeding an empty batch goes the way that
events go, through the queue's writer; each endpoint's wish goes the way that claims go; and it is
seen whether deliveries move. What a restart would not mend (a full or locked disk, a receiver that
is down, a rate limit) does not keep the watchdog from being fed.
"""

import math
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import structlog
import trio

from relayd.core.acceptance import Acceptance, NewEvent
from relayd.delivery.endpoint_task import EndpointTask
from relayd.delivery.standing import Pulse
from relayd.queue.interface import QueueUnavailable
from relayd.queue.values import Claim, Want

_log = structlog.get_logger()

LOOKS: Final = 4
"""How often to look, and feed, in the time that systemd allows."""

STUCK_S: Final = 120.0
"""An attempt has 60 s at most. One that is neither through nor recorded by then hangs."""


class WatchedQueue(Protocol):
    """What is asked of the queue."""

    async def accept(self, news: list[NewEvent]) -> list[Acceptance]:
        """Make events durable."""

    async def claim(self, want: Want) -> Claim:
        """Find deliveries that are due."""


class Watchdog:
    """Looks at the work, and feeds, which must happen within `allowed_s` seconds, again and again.

    `feed` tells systemd; `pulses` gives what shows whether each endpoint's task goes on.
    """

    def __init__(
        self,
        allowed_s: float,
        *,
        queue: WatchedQueue,
        pulses: Callable[[], Mapping[EndpointTask, Pulse]],
        feed: Callable[[], None],
    ) -> None:
        self._pause_s = allowed_s / LOOKS
        self._queue = queue
        self._pulses = pulses
        self._feed = feed
        self._asleep: dict[EndpointTask, int] = {}

    async def run(self) -> None:
        """Look and feed until cancelled. Raises `QueueBroken` when the queue is broken."""
        async with trio.open_nursery() as nursery:
            while True:
                looked = trio.Event()
                nursery.start_soon(self._look, looked.set)
                with trio.move_on_after(self._pause_s):
                    await looked.wait()
                if not looked.is_set():
                    _log.error("watchdog_not_fed", detail="the queue does not answer")
                    await looked.wait()
                await trio.sleep(self._pause_s)

    async def _look(self, looked: Callable[[], None]) -> None:
        try:
            await self._queue.accept([])
            trouble = await self._oversleeping()
        except QueueUnavailable:
            trouble = None
        trouble = trouble or self._hanging()
        if trouble is None:
            self._feed()
        else:
            _log.error("watchdog_not_fed", detail=trouble)
        looked()

    async def _oversleeping(self) -> str | None:
        """Ask the queue what is due, and find the tasks that do not know of it."""
        asleep: dict[EndpointTask, int] = {}
        for task, pulse in self._pulses().items():
            claim = await self._queue.claim(pulse.want)
            due = any(at <= pulse.want.now for at in claim.next_due.values())
            if due and pulse.waits:
                asleep[task] = pulse.rounds
        # At two looks, with no round of the loop between them: at the first, it may just not have
        # been woken yet.
        count = len(asleep.items() & self._asleep.items())
        self._asleep = asleep
        return f"{count} endpoints are idle while deliveries are due" if count else None

    def _hanging(self) -> str | None:
        moved = [pulse.moved_at for pulse in self._pulses().values() if pulse.moved_at is not None]
        hangs_s = trio.current_time() - min(moved, default=math.inf)
        return f"an attempt has been stuck for {hangs_s:.0f} s" if hangs_s >= STUCK_S else None
