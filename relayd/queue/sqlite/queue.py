"""The queue in a SQLite file: accept, claim what is due, record what came of it.

One connection writes and another one reads, so that a claim never waits for a commit's sync; what
else is asked has connections of its own (see `looks`). Callers at the same time share one
transaction (see `group_commit`): beside each of `accept`, `claim` and `record` is what does it for
all of them.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import trio

from relayd.core.acceptance import Acceptance, NewEvent, RejectedRow, refusal
from relayd.core.delivery import Hold, delivery_id
from relayd.core.endpoint import Health
from relayd.core.expiry import Expiry
from relayd.core.own_events import (
    EXHAUSTED,
    OutboxRow,
    OwnEvent,
    after_exhaustion,
    after_rejection,
)
from relayd.database import Database, DatabaseError, Work
from relayd.queue.sqlite import accept, claim, operate, outbox, prune, record, shift_times
from relayd.queue.sqlite.errors import queue_error
from relayd.queue.sqlite.group_commit import Group
from relayd.queue.sqlite.handover import hand_over
from relayd.queue.sqlite.health import read_health, write_health
from relayd.queue.sqlite.looks import Looks, SQLiteSurvey, open_survey
from relayd.queue.sqlite.rejected import drop_rejected, is_rejected
from relayd.queue.sqlite.releases import Releases
from relayd.queue.values import (
    Changed,
    Claim,
    Declared,
    HandoverStep,
    Horizon,
    Recording,
    Retries,
    Want,
)

T = TypeVar("T")

_ACCEPT_LIMIT = 64  # calls that share one transaction; a spool's call brings hundreds of events
_CLAIM_LIMIT = 256
_RECORD_LIMIT = 512
_OUTBOX_LIMIT = 100


class Queue:
    """The queue, open: see `interface.QueueWriter`. Every method may raise `QueueError`."""

    def __init__(
        self,
        writer: Database,
        reader: Database,
        looks: Looks,
        *,
        tag: str,
        numbers: accept.Numbers,
        clock: Callable[[], float],
    ) -> None:
        self.tag = tag
        self._writer = writer
        self._reader = reader
        self._looks = looks
        self._numbers = numbers
        self._clock = clock
        self._subscription_ids: dict[str, int] = {}
        self._holds: Mapping[str, Hold | None] = {}
        self._own_types: frozenset[str] = frozenset()
        # Set at the start, since a process that was killed may have left something.
        self._outbox_filled = trio.Event()
        self._outbox_filled.set()
        self._releases = Releases(numbers)
        self._accepting = Group(self._accept_all, _ACCEPT_LIMIT)
        self._claiming = Group(self._claim_all, _CLAIM_LIMIT)
        self._recording = Group(self._record_all, _RECORD_LIMIT)

    def next_release(self) -> int:
        """Return the number of a release from now on: see `core.release`."""
        return self._releases.next()

    @property
    def newest_release(self) -> int:
        """The newest release that an attempt which begins now is made after."""
        return self._releases.newest

    @property
    def looks(self) -> Looks:
        """What may be asked beside the deliveries."""
        return self._looks

    def survey(self) -> AbstractAsyncContextManager[SQLiteSurvey]:
        """Open what retention goes by, on a connection of its own."""
        return open_survey(self._writer.path)

    @property
    def holds(self) -> Mapping[str, Hold | None]:
        """Each subscription's hold, as it was last committed.

        Whoever returns from a call that changed one finds it here, and nothing older: to use it
        without an `await` in between is to use the truth.
        """
        return self._holds

    async def declare(
        self, declared: Iterable[Declared], own_types: frozenset[str] = frozenset()
    ) -> Mapping[str, int]:
        """Bring the subscriptions up to the configuration; see `holds` for what holds each of them.

        What waits for a subscription whose URL or `made_with` changed is released: returns how many
        retries, by subscription.
        `own_types` are the types of relayd's own events that somebody wants.
        """
        wanted = tuple(declared)
        with self._releases.being_written() as release:
            found, released = await self._write(
                lambda db: (
                    record.declare(db, wanted, release=release, now=self._clock()),
                    record.count_released(db, release),
                )
            )
        self._subscription_ids = {name: number for name, (number, _) in found.items()}
        self._holds = {name: hold for name, (_, hold) in found.items()}
        self._own_types = own_types
        return released

    async def pause(self, subscription: str) -> bool:
        """Hold a subscription's deliveries; return whether it was not paused before."""
        now = self._clock()
        return await self._change_hold(lambda db: operate.pause(db, subscription, now=now))

    async def resume(self, subscription: str) -> tuple[bool, int]:
        """Take back a pause, and a receiver's 410, and release the retries that wait.

        Returns whether there was either, and how many retries.
        """
        now = self._clock()
        with self._releases.being_written() as release:
            return await self._change_hold(
                lambda db: (
                    operate.resume(db, subscription),
                    operate.release_retries(db, subscription, release=release, now=now),
                )
            )

    async def release(self, subscription: str) -> int:
        """Release the retries that wait for a subscription; return how many."""
        now = self._clock()
        with self._releases.being_written() as release:
            return await self._write(
                lambda db: operate.release_retries(db, subscription, release=release, now=now)
            )

    async def hand_over(
        self, old: str, new: str, *, after: int, in_flight: Iterable[int]
    ) -> HandoverStep:
        """Do one step of handing `old`'s deliveries over to `new`: see `handover.hand_over`."""
        ids, now = self._subscription_ids, self._clock()
        step, self._holds = await self._write(
            lambda db: (
                hand_over(db, ids[old], ids[new], after=after, in_flight=in_flight, now=now),
                operate.read_holds(db),
            )
        )
        return step

    async def _change_hold(self, change: Work[T]) -> T:
        changed, self._holds = await self._write(lambda db: (change(db), operate.read_holds(db)))
        return changed

    async def health(self) -> Mapping[str, Health]:
        """Return what was last known of each endpoint, by URL."""
        return await self._read(read_health)

    async def accept(self, news: Sequence[NewEvent]) -> list[Acceptance]:
        """Make events durable, with all of their deliveries, and say what became of each."""
        return await self._accepting.submit(news)

    async def _accept_all(self, calls: Sequence[Sequence[NewEvent]]) -> list[list[Acceptance]]:
        news = [new for call in calls for new in call]
        results = iter(
            await self._write(
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

    async def reject(self, rejected: Sequence[RejectedRow]) -> Sequence[RejectedRow]:
        """Keep rows that cannot be events in the rejected list; return those that are new to it."""
        now = self._clock()

        def work(db: sqlite3.Connection) -> tuple[Sequence[RejectedRow], int]:
            new = accept.reject(db, rejected, now=now)
            return new, outbox.put(db, after_rejection(new, now), self._own_types)

        new, told = await self._write(work, grows=True)
        if told:
            self._outbox_filled.set()
        return new

    async def claim(self, want: Want) -> Claim:
        """Find deliveries that are due."""
        return await self._claiming.submit(want)

    async def _claim_all(self, wants: Sequence[Want]) -> list[Claim]:
        return await self._read(
            lambda db: claim.claim(db, wants, tag=self.tag, subscription_ids=self._subscription_ids)
        )

    async def record(self, recording: Recording) -> bool:
        """Write what came of an attempt, and say whether its delivery stands as was decided."""
        return await self._recording.submit(recording)

    async def _record_all(self, recordings: Sequence[Recording]) -> list[bool]:
        gone = any(recording.record.outcome.gone for recording in recordings)

        def work(db: sqlite3.Connection) -> tuple[list[bool], int, Mapping[str, Hold | None]]:
            results = record.record(db, recordings)
            own_events = [
                event
                for recording, as_decided in zip(recordings, results, strict=True)
                for event in recording.own_events
                # The operator has cancelled it meanwhile, or replayed it: it is not given up.
                if as_decided or event.type != EXHAUSTED
            ]
            told = outbox.put(db, own_events, self._own_types) if own_events else 0
            return results, told, operate.read_holds(db) if gone else self._holds

        results, told, holds = await self._write(work)
        if gone:
            self._holds = holds
        if told:
            self._outbox_filled.set()
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
                event_id=ended.event_id,
                event_type=ended.event_type,
                subscription=ended.subscription,
                attempts=ended.attempts,
                last_failure=detail,
            )
            return True, outbox.put(db, own_events, self._own_types)

        ended, told = await self._write(work)
        if told:
            self._outbox_filled.set()
        return ended

    async def record_health(
        self, url: str, health: Callable[[], Health], own_events: Sequence[OwnEvent]
    ) -> None:
        """Write an endpoint's health, as it is when it is written, and what relayd has to say of it."""

        def work(db: sqlite3.Connection) -> int:
            write_health(db, {url: health()})
            return outbox.put(db, own_events, self._own_types)

        if await self._write(work):
            self._outbox_filled.set()

    async def resubmit(self, new: NewEvent, rejected: int) -> Acceptance | None:
        """Make an event of rejected input durable, and take that off the list, in one transaction.

        Returns None, and does nothing, where the list no longer has it. What is refused stays.
        """
        now = self._clock()

        def work(db: sqlite3.Connection) -> Acceptance | None:
            if not is_rejected(db, rejected):
                return None
            [result] = accept.accept(
                db,
                [new],
                now=now,
                numbers=self._numbers,
                subscription_ids=self._subscription_ids,
            )
            if refusal(result, new.event.id) is None:
                drop_rejected(db, [rejected], now=now)
            return result

        return await self._write(work, grows=True)

    async def outbox(self) -> Sequence[OutboxRow]:
        """Return the first of relayd's own events on their way in, once there are some."""
        while True:
            # Off before the look: what is put there meanwhile sets it again.
            await self._outbox_filled.wait()
            self._outbox_filled = trio.Event()
            if rows := await self._read(lambda db: outbox.read(db, _OUTBOX_LIMIT)):
                self._outbox_filled.set()
                return rows

    async def remove_from_outbox(self, rows: Sequence[OutboxRow]) -> None:
        """Remove own events that were accepted."""
        await self._write(lambda db: outbox.remove(db, rows))

    async def replay(self, seqs: Sequence[int]) -> Changed:
        """Make ended deliveries due again, with their whole retry schedule."""
        return await self._write(
            lambda db: operate.replay(db, self._subscription_ids, seqs, now=self._clock())
        )

    async def cancel(self, seqs: Sequence[int]) -> Changed:
        """End waiting deliveries. An attempt that is under way may still deliver one of them."""
        return await self._write(
            lambda db: operate.cancel(db, self._subscription_ids, seqs, now=self._clock())
        )

    async def backfill(self, subscription: str, event_seqs: Sequence[int]) -> int:
        """Make the deliveries of these events that a subscription lacks; return how many."""
        return await self._write(
            lambda db: operate.backfill(
                db,
                self._numbers,
                self._subscription_ids[subscription],
                event_seqs,
                now=self._clock(),
            )
        )

    async def drop_rejected(self, seqs: Sequence[int]) -> int:
        """Take rows off the rejected list for good; return how many there were."""
        return await self._write(lambda db: drop_rejected(db, seqs, now=self._clock()))

    async def remember_expiry(self, now: float, expiry: Expiry, *, known: float) -> None:
        """Remember where expiry stands, and forget what nobody asks for any more."""
        await self._write(lambda db: prune.remember_expiry(db, now, expiry, known=known))

    async def prune(self, horizon: Horizon, event_seqs: Sequence[int]) -> int:
        """Remove those of the events that may still go; return how many."""
        return await self._write(lambda db: prune.remove(db, horizon, event_seqs))

    async def prune_rejected(self, before: float) -> int:
        """Remove some of the oldest rejected input of before this time; return how much."""
        return await self._write(lambda db: prune.remove_rejected(db, before, now=self._clock()))

    async def shift_retries(self, retries: Retries, step: float) -> None:
        """Move these retries' times, of those that did not change since they were found."""
        await self._write(lambda db: shift_times.shift_retries(db, retries, step))

    async def shift_endpoints(self, step: float, now: float) -> None:
        """Move the endpoints' times, and remember that the clock was looked at `now`."""
        await self._write(lambda db: shift_times.shift_endpoints(db, step, now))

    async def _write(self, work: Work[T], *, grows: bool = False) -> T:
        try:
            return await self._writer.write(work, grows=grows)
        except DatabaseError as error:
            raise queue_error(error) from error

    async def _read(self, work: Work[T]) -> T:
        try:
            return await self._reader.run(work)
        except DatabaseError as error:
            raise queue_error(error) from error
