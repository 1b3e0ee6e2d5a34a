"""relayd itself as a source: takes its own events out of the queue's outbox, and hands them in.

As with a spool, a row is removed once its event is durable; a crash between the two accepts
nothing twice, since the row has its event's id.
"""

from collections.abc import Callable, Hashable

import structlog
import trio

from relayd.config.config import Config
from relayd.core.event import Event, EventDefaults
from relayd.core.event_input import own_event
from relayd.core.own_events import OutboxRow
from relayd.queue.interface import QueueUnavailable
from relayd.sources.source import Outbox, Source, SourceIntake, SourceKind

_log = structlog.get_logger()

SOURCE = "relayd"

_RETRY_S = 1.0


class OwnEvents(Source):
    """relayd's own events, of the top level's market."""

    name = SOURCE
    _defaults: EventDefaults

    def __init__(self, outbox: Outbox, intake: SourceIntake) -> None:
        self._outbox = outbox
        self._intake = intake

    def apply(self, config: Config) -> None:
        """Make events of this configuration's market and version from now on."""
        self._defaults = EventDefaults(config.market_id, config.api_version)

    def standing(self) -> None:
        """Return None: `status` does not show it."""

    async def run(self) -> None:
        """Hand in own events until cancelled."""
        while True:
            try:
                await self._once()
            except QueueUnavailable as error:
                _log.warning("source_unavailable", source=SOURCE, detail=str(error))
                await trio.sleep(_RETRY_S)

    async def _once(self) -> None:
        rows = await self._outbox.outbox()
        events = [event for row in rows if (event := self._event(row)) is not None]
        await self._intake.accept(events, SOURCE)
        await self._outbox.remove_from_outbox(rows)

    def _event(self, row: OutboxRow) -> Event | None:
        """Return the event of a row, or None, which is logged, where a defect made the row."""
        try:
            return own_event(
                row.event.type,
                row.event.data,
                event_id=row.id,
                created=row.event.created,
                defaults=self._defaults,
            )
        except ValueError:
            _log.exception(
                "system_event_internal_error", event_id=row.id, event_type=row.event.type
            )
            return None


class OwnEventsKind(SourceKind):
    """One source, whatever the configuration says."""

    name = "own events"

    def sources(self, config: Config) -> dict[Hashable, Callable[[], Source]]:  # noqa: ARG002 - see above
        """Return what makes it."""
        given = self.surroundings
        return {SOURCE: lambda: OwnEvents(given.outbox, given.intake)}
