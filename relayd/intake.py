"""Takes in events: finds the subscriptions that each one goes to, and makes both durable at once."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog
import trio

from relayd.config.config import Config
from relayd.containment import is_defect
from relayd.core.acceptance import Acceptance, NewEvent, Rejected, RejectedRow
from relayd.core.catalogue import suggest
from relayd.core.event import Event
from relayd.core.matching import Matcher, Matches
from relayd.core.parts import Parts, whole
from relayd.core.patterns import is_known
from relayd.core.quarantine import event_key
from relayd.core.webhook import Webhook
from relayd.crash_journal import AtWork
from relayd.queue.interface import QueueUnavailable, QueueWriter
from relayd.sources.own_events import SOURCE as OWN_EVENTS

_log = structlog.get_logger()

_SLICE_S: Final = 0.001
"""How long the body of one event may hold up everything else at a time."""


def matcher_for(config: Config) -> Parts[Matcher]:
    """Return what finds the subscriptions of this configuration that take an event, in parts."""
    return Matcher.in_parts(
        {
            subscription.name: subscription.selection
            for subscription in config.subscriptions.values()
            if subscription.active
        }
    )


def new_event(
    event: Event,
    source: str,
    found: Matches,
    webhook: Webhook | None = None,
    *,
    market_bound: bool = False,
) -> NewEvent:
    """Return an event as the queue takes it, for the subscriptions that were found to want it."""
    return NewEvent(event, source, found.names, found.order_keys, webhook, market_bound)


class Intake:
    """Every source's way into the queue.

    `wake` is told the names of the subscriptions that something new waits for. It carries nothing
    else: what is to be delivered is in the queue.
    """

    def __init__(
        self,
        queue: QueueWriter,
        config: Config,
        wake: Callable[[Iterable[str]], None],
        at_work: AtWork,
    ) -> None:
        self._queue = queue
        self._wake = wake
        self._at_work = at_work
        self._reading_body = trio.Lock()
        self._log = _log.bind()  # a logger that is not bound is made anew for each line
        self.apply(config, whole(matcher_for(config)))

    def apply(self, config: Config, matcher: Matcher) -> None:
        """Match what comes from now on to this configuration, whose `matcher_for` was made before."""
        self._event_types = config.event_types
        self._type_prefixes = config.type_prefixes
        self._rejected_bytes = config.queue.rejected_bytes
        # In a spool, or in the outbox, a row that was accepted may wait to be deleted.
        spools = (each.source for each in config.spools if each.markets == frozenset())
        self._market_bound = {OWN_EVENTS, *spools}
        self._matcher = matcher
        self._matcher_paths = frozenset(matcher.paths)

    async def accept(
        self, events: Sequence[Event], source: str, webhooks: Sequence[Webhook] = ()
    ) -> list[Acceptance]:
        """Make events durable, with their deliveries, and return what became of each, in order.

        `webhooks` has what each was made of, or nothing.
        Raises `QueueError` where the queue cannot take them now. A defect that one of them
        brings out is logged, and is that one's `Acceptance.DEFECT`.
        """
        try:
            return await self._accept(events, source, webhooks)
        except Exception as error:
            if not is_defect(error) or isinstance(error, QueueUnavailable):
                raise
            if len(events) == 1:
                _log.exception("event_internal_error", source=source, event_id=events[0].id)
                return [Acceptance.DEFECT]
        return [
            result
            for place, event in enumerate(events)
            for result in await self.accept([event], source, webhooks[place : place + 1])
        ]

    async def resubmit(
        self, event: Event, source: str, rejected: int, webhook: Webhook | None = None
    ) -> Acceptance | None:
        """Accept rejected input, and take it off the list, at once; None where it is not on it."""
        new = new_event(event, source, self._matcher.matches(event.envelope), webhook)
        result = await self._queue.resubmit(new, rejected)
        if result is Acceptance.ACCEPTED:
            self._wake(new.subscriptions)
        if result is not None:
            self._tell_all([new], [result])
        return result

    async def _accept(
        self, events: Sequence[Event], source: str, webhooks: Sequence[Webhook]
    ) -> list[Acceptance]:
        keys = [event_key(event) for event in events]
        poison = self._at_work.poison.intersection(keys)
        bound = source in self._market_bound
        made_of: Sequence[Webhook | None] = webhooks or (None,) * len(events)
        taken = [
            (key, event, webhook)
            for key, event, webhook in zip(keys, events, made_of, strict=True)
            if key not in poison
        ]
        matches = await self._all_matched([(key, event) for key, event, _ in taken])
        # From here until they are handed in nothing waits: they go by the configuration in force.
        news = [
            new_event(event, source, found, webhook, market_bound=bound)
            for (_, event, webhook), found in zip(taken, matches, strict=True)
        ]
        results = await self._queue.accept(news)
        woken: set[str] = set()
        for new, result in zip(news, results, strict=True):
            if result is Acceptance.ACCEPTED:
                woken.update(new.subscriptions)
        self._wake(woken)
        self._tell_all(news, results)
        if not poison:
            return results
        accepted = iter(results)
        return [Acceptance.POISON if key in poison else next(accepted) for key in keys]

    async def reject(self, rejected: Sequence[RejectedRow]) -> Rejected:
        """Keep rows that cannot be events, with the reason, in the queue's rejected list."""
        found = await self._queue.reject(rejected, most_bytes=self._rejected_bytes)
        for each in found.new:
            _log.warning(
                "input_rejected",
                source=each.source,
                row=each.row.seq,
                code=each.rejection.code,
                detail=each.rejection.reason,
            )
        return found

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths below `data` at which conditions look."""
        return self._matcher.paths

    async def _all_matched(self, events: Sequence[tuple[int, Event]]) -> list[Matches]:
        """Return who wants each event, by the configuration that is in force when this returns.

        One body may take a second: where a reload came meanwhile, those before it are matched again.
        """
        found = [(await self._matched(*each), self._matcher) for each in events]
        while any(used is not self._matcher for _, used in found):
            found = [
                (matches, used)
                if used is self._matcher
                else (await self._matched(*each), self._matcher)
                for each, (matches, used) in zip(events, found, strict=True)
            ]
        return [matches for matches, _ in found]

    async def _matched(self, key: int, event: Event) -> Matches:
        """Return who wants an event. Not a checkpoint where its values are known already."""
        if (found := self._matcher.of_type(event.type)) is not None:
            return found
        if event.data is not None:
            return self._at_work.call(key, self._matcher.matches, event.envelope)
        if event.values.keys() >= self._matcher_paths:
            return self._at_work.call(key, self._matcher.matches, event.head, event.values)
        # Its values are long, or a reload brought further paths. It may take a second, and 45 MB:
        # one at a time, and all else goes on meanwhile.
        async with self._reading_body:
            return await self._at_work.drive(key, self._match_body(event))

    async def _match_body(self, event: Event) -> Matches:
        reading = event.envelope_in_slices()
        began = time.perf_counter()
        while True:
            try:
                next(reading)
            except StopIteration as end:
                return self._matcher.matches(end.value)
            if time.perf_counter() - began >= _SLICE_S:
                await trio.lowlevel.checkpoint()
                began = time.perf_counter()

    def _tell_all(self, news: Sequence[NewEvent], results: Sequence[Acceptance]) -> None:
        """Log what became of events. They are durable: a defect here changes nothing of that."""
        for new, result in zip(news, results, strict=True):
            try:
                self._tell(new, result)
            except Exception:  # noqa: BLE001 - see above
                _log.exception("event_log_failed", source=new.source, event_id=new.event.id)

    def _tell(self, new: NewEvent, result: Acceptance) -> None:
        event = new.event
        fields = {"event_id": event.id, "event_type": event.type, "source": new.source}
        if result is Acceptance.DUPLICATE:
            self._log.info("event_duplicate", **fields)
            return
        if result is Acceptance.TOKEN_REUSED:
            self._log.warning("event_token_reused", **fields)
            return
        if result is not Acceptance.ACCEPTED:
            self._log.info("event_conflict", **fields)
            return
        self._log.info("event_accepted", **fields, subscriptions=list(new.subscriptions))
        if event.unfaithful:
            self._log.warning(
                "event_not_portable",
                **fields,
                fields=list(event.unfaithful),
                detail=(
                    "not every receiver carries these fields unchanged: an integer past 2^53, a"
                    " duplicate key, or half of a surrogate pair, from cutting a string"
                ),
            )
        if not is_known(event.type, self._event_types, self._type_prefixes):
            nearest = suggest(event.type, self._event_types)
            self._log.warning(
                "event_type_unknown",
                **fields,
                detail=(f"did you mean {nearest}? " if nearest else "")
                + "Declare your own types under event_types: in the configuration",
            )
