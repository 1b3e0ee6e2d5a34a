"""relayd itself as a source: takes its own events out of the queue's outbox, and hands them in.

As with a spool, a row is removed once its event is durable; a crash between the two accepts
nothing twice, since the row has its event's id.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog
import trio

from relayd.core.acceptance import Acceptance
from relayd.core.event import Event, EventDefaults, own_event
from relayd.core.own_events import OutboxRow
from relayd.queue.interface import QueueUnavailable

_log = structlog.get_logger()

SOURCE = "relayd"

_RETRY_S = 1.0


Accept = Callable[[Sequence[Event], str], Awaitable[Sequence[Acceptance]]]


class Outbox(Protocol):
    """What this source needs of the queue."""

    async def outbox(self) -> Sequence[OutboxRow]:
        """Return the first own events, once there are some."""

    async def remove_from_outbox(self, rows: Sequence[OutboxRow]) -> None:
        """Remove what was accepted."""


class OwnEvents:
    """A source. `defaults` may be replaced by a reload."""

    def __init__(self, outbox: Outbox, accept: Accept, defaults: EventDefaults) -> None:
        self.defaults = defaults
        self._outbox = outbox
        self._accept = accept

    async def run(self) -> None:
        """Hand in own events until cancelled."""
        while True:
            try:
                await self._once()
            except QueueUnavailable as error:
                _log.warning("source_waiting", source=SOURCE, detail=str(error))
                await trio.sleep(_RETRY_S)

    async def _once(self) -> None:
        rows = await self._outbox.outbox()
        events = [event for row in rows if (event := self._event(row)) is not None]
        await self._accept(events, SOURCE)
        await self._outbox.remove_from_outbox(rows)

    def _event(self, row: OutboxRow) -> Event | None:
        """Return the event of a row, or None, which is logged, where a defect made the row."""
        try:
            return own_event(
                row.event.type,
                row.event.data,
                event_id=row.id,
                created=row.event.created,
                defaults=self.defaults,
            )
        except ValueError:
            _log.exception("own_event_defect", event_id=row.id, event_type=row.event.type)
            return None
