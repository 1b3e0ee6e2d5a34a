"""Sends systemd's watchdog pings as long as relayd does its work.

A running event loop proves little. So each check sends an empty batch through the queue's writer, as
events go, and a claim for each endpoint, and looks whether attempts finish. A ping is withheld only
for what a restart can fix: not for a full or locked disk, a receiver that is down, or a rate limit.
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
"""Checks, each with a ping, in the time that systemd allows."""

STUCK_S: Final = 120.0
"""An attempt takes at most 60 s. One that is not recorded after twice that is stuck."""


class WatchedQueue(Protocol):
    """The part of the queue that is checked."""

    async def accept(self, news: list[NewEvent]) -> list[Acceptance]:
        """Make events durable."""

    async def claim(self, want: Want) -> Claim:
        """Find deliveries that are due."""


class Watchdog:
    """Checks the work and pings systemd, which expects a ping at least every `allowed_s` seconds.

    `feed` sends the ping; `pulses` returns the progress of each endpoint's task.
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
                    _log.error("watchdog_ping_withheld", detail="the queue does not respond")
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
            _log.error("watchdog_ping_withheld", detail=trouble)
        looked()

    async def _oversleeping(self) -> str | None:
        """Ask the queue what is due, and count the tasks that have missed it."""
        asleep: dict[EndpointTask, int] = {}
        for task, pulse in self._pulses().items():
            claim = await self._queue.claim(pulse.want)
            due = any(at <= pulse.want.now for at in claim.next_due.values())
            if due and pulse.waits:
                asleep[task] = pulse.rounds
        # Only those idle at two checks in a row without a round between them: at the first check, the
        # task may not have been woken yet.
        count = len(asleep.items() & self._asleep.items())
        self._asleep = asleep
        return f"{count} endpoints are idle while deliveries are due" if count else None

    def _hanging(self) -> str | None:
        moved = [pulse.moved_at for pulse in self._pulses().values() if pulse.moved_at is not None]
        hangs_s = trio.current_time() - min(moved, default=math.inf)
        return f"an attempt has been stuck for {hangs_s:.0f} s" if hangs_s >= STUCK_S else None
