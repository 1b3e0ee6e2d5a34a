"""The way of an event through the queue: accept, claim what is due, record the outcome.

One connection writes and another one reads, so that a claim never waits for a commit's sync; what
else is asked has connections of its own (see `looks`). Callers at the same time share one
transaction (see `group_commit`): beside each of `accept`, `claim` and `record` is what does it for
all of them.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

import structlog

from relayd.config.sections import REJECTED_BYTES
from relayd.core.acceptance import Acceptance, NewEvent, Rejected, RejectedRow
from relayd.core.advice import FAILURE_ADVICE
from relayd.core.delivery import delivery_id
from relayd.core.endpoint import Health
from relayd.core.hold import Hold
from relayd.core.outcome import Failure
from relayd.core.own_events import EXHAUSTED, HELD, Report, after_exhaustion, after_rejection
from relayd.database import Database
from relayd.queue.interface import QueueUnavailable
from relayd.queue.sqlite import accept, claim, notices, record, subscriptions, webhooks
from relayd.queue.sqlite.group_commit import Group, Submission
from relayd.queue.sqlite.health import read_health, write_health
from relayd.queue.sqlite.looks import Looks, SQLiteSurvey, open_survey
from relayd.queue.sqlite.numbers import Numbers
from relayd.queue.sqlite.own_events import OwnEventsPath
from relayd.queue.sqlite.rejected_limit import remove_oldest, takes_too_much
from relayd.queue.values import (
    Claim,
    Recording,
    Want,
)

_log = structlog.get_logger()

_ACCEPT_LIMIT = 64  # calls that share one transaction; a spool's call brings hundreds of events
_CLAIM_LIMIT = 256
_RECORD_LIMIT = 512


class EventPath(OwnEventsPath):
    """The way of an event through the open queue: see `interface.QueueWriter`."""

    def __init__(
        self,
        writer: Database,
        reader: Database,
        looks: Looks,
        *,
        tag: str,
        numbers: Numbers,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(writer, reader, clock)
        self.tag = tag
        self._looks = looks
        self._numbers = numbers
        self._subscription_ids: dict[str, int] = {}
        self._holds: Mapping[str, Hold | None] = {}
        self._accepting = Group(self._accept_all, _ACCEPT_LIMIT)
        self._claiming = Group(self._claim_all, _CLAIM_LIMIT)
        self._recording = Group(self._record_all, _RECORD_LIMIT)

    def next_release(self) -> int:
        """Return the number of a release from now on: see `core.release`."""
        return self._numbers.next_release()

    @property
    def newest_release(self) -> int:
        """The newest release that an attempt which begins now is made after."""
        return self._numbers.newest_release

    @property
    def holds(self) -> Mapping[str, Hold | None]:
        """Each subscription's hold, as it was last committed.

        Whoever returns from a call that changed one finds it here, and nothing older: to use it
        without an `await` in between is to use the truth.
        """
        return self._holds

    @property
    def looks(self) -> Looks:
        """What may be asked beside the deliveries."""
        return self._looks

    def survey(self) -> AbstractAsyncContextManager[SQLiteSurvey]:
        """Open what retention goes by, on a connection of its own."""
        return open_survey(self._writer.path)

    async def health(self) -> Mapping[str, Health]:
        """Return what was last known of each endpoint, by URL."""
        return await self._reader.run(read_health)

    def accept(self, news: Sequence[NewEvent]) -> Submission[list[Acceptance]]:
        """Make events durable, with all of their deliveries, and say what became of each."""
        return self._accepting.submit(news)

    async def _accept_all(self, calls: Sequence[Sequence[NewEvent]]) -> list[list[Acceptance]]:
        news = [new for call in calls for new in call]
        results = iter(
            await self._writer.write(
                lambda db: accept.accept(
                    db,
                    news,
                    now=self._clock(),
                    numbers=self._numbers,
                    subscription_ids=self._subscription_ids,
                ),
                grows=True,
            )
        )
        return [[next(results) for _ in call] for call in calls]

    async def reject(
        self, rejected: Sequence[RejectedRow], *, most_bytes: int = REJECTED_BYTES
    ) -> Rejected:
        """Keep rows that cannot be events in the rejected list, but for webhooks with a used token.

        Of each source at most `most_bytes` are kept: beyond that its oldest are removed, before this
        returns, so that whoever brings too much waits for that.
        """
        now = self._clock()

        def work(db: sqlite3.Connection) -> tuple[Rejected, int]:
            refused: list[RejectedRow] = []
            duplicates: list[RejectedRow] = []
            taken: list[RejectedRow] = []
            for each in rejected:
                before = each.webhook and webhooks.look_up(db, each.webhook, now=now)
                if before is None:
                    taken.append(each)
                else:
                    (duplicates if before is Acceptance.DUPLICATE else refused).append(each)
            new = accept.reject(db, taken, now=now)
            told = notices.report(db, after_rejection(new, now), self._own_types, now=now)
            return Rejected([row for _, row in new], refused, duplicates), told

        found, told = await self._writer.write(work, grows=True)
        self._filled(told)
        for source in dict.fromkeys(each.source for each in found.new):
            await self._keep_rejected_within(source, most_bytes)
        return found

    async def _keep_rejected_within(self, source: str, most_bytes: int) -> None:
        rows = size = 0
        try:
            more = await self._reader.run(lambda db: takes_too_much(db, source, most_bytes))
            while more:
                removal = await self._writer.write(
                    lambda db: remove_oldest(db, source, most_bytes=most_bytes, now=self._clock())
                )
                rows, size, more = rows + removal.count, size + removal.bytes, removal.more
        except QueueUnavailable:
            pass  # what was brought is durable, and the next that is brought goes on here
        finally:
            if rows:
                _log.warning(
                    "rejected_removed",
                    source=source,
                    rows=rows,
                    bytes=size,
                    reason="source_limit",
                    max_bytes=most_bytes,
                    detail="its rejected input took more room than one source may have, and the"
                    " oldest of it was removed: `relayd rejected list` shows the newest",
                )

    def claim(self, want: Want) -> Submission[Claim]:
        """Find deliveries that are due."""
        return self._claiming.submit(want)

    async def _claim_all(self, wants: Sequence[Want]) -> list[Claim]:
        ids = self._subscription_ids
        return await self._reader.run(
            partial(claim.claim, wants=wants, tag=self.tag, subscription_ids=ids)
        )

    def record(self, recording: Recording) -> Submission[bool]:
        """Write what came of an attempt, and say whether its delivery stands as was decided."""
        return self._recording.submit(recording)

    async def _record_all(self, recordings: Sequence[Recording]) -> list[bool]:
        gone = any(recording.record.outcome.gone for recording in recordings)
        speaking = any(recording.own_events for recording in recordings)

        def work(db: sqlite3.Connection) -> tuple[list[bool], int, Mapping[str, Hold | None]]:
            results, held = record.record(db, recordings)
            told = 0
            if speaking:
                reports = _reports(recordings, results, held)
                told = notices.report(db, reports, self._own_types, now=self._clock())
            return results, told, subscriptions.read_holds(db) if gone else self._holds

        results, told, holds = await self._writer.write(work)
        if gone:
            self._holds = holds
        if speaking:
            self._filled(told)
        return results

    async def quarantine(self, seq: int, detail: str) -> bool:
        """End a delivery whose attempt cannot be recorded, and keep `detail` as the reason.

        Returns whether it had not ended before; then `relayd.delivery.exhausted` is durable with it.
        """
        now = self._clock()

        def work(db: sqlite3.Connection) -> tuple[bool, int]:
            ended = record.quarantine(db, seq, detail, now=now)
            if ended is None:
                return False, 0
            own_events = after_exhaustion(
                delivery_id(self.tag, seq),
                now,
                event_type=ended.event_type,
                subscription=ended.subscription,
                attempts=ended.attempts,
                last_failure=detail,
                repair=FAILURE_ADVICE[Failure.POISON],
            )
            return True, notices.report(db, own_events, self._own_types, now=now)

        ended, told = await self._writer.write(work)
        self._filled(told)
        return ended

    async def record_health(
        self, url: str, health: Callable[[], Health], own_events: Sequence[Report]
    ) -> None:
        """Write an endpoint's health, as it is when it is written, and what relayd has to say of it."""

        def work(db: sqlite3.Connection) -> int:
            write_health(db, {url: health()})
            return notices.report(db, own_events, self._own_types, now=self._clock())

        self._filled(await self._writer.write(work))


def _reports(
    recordings: Sequence[Recording], as_decided: Sequence[bool], held: Sequence[int]
) -> list[Report]:
    """Return the own events that hold true, now that it is known what was written.

    `held` are the places of the recordings whose 410 began a hold. Where the operator has cancelled or
    replayed a delivery meanwhile, it is not given up.
    """
    return [
        event
        for place, recording in enumerate(recordings)
        for event in recording.own_events
        if (as_decided[place] or event.type != EXHAUSTED) and (place in held or event.type != HELD)
    ]
