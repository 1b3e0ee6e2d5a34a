"""The queue in a SQLite file: what the configuration, the operator and time change in it."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from relayd.core.acceptance import Acceptance, NewEvent, refusal
from relayd.core.endpoint import Health
from relayd.core.expiry import Expiry
from relayd.database import Work
from relayd.queue.sqlite import accept, operate, prune, shift_times, subscriptions
from relayd.queue.sqlite.event_path import EventPath
from relayd.queue.sqlite.handover import hand_over
from relayd.queue.sqlite.rejected import drop_rejected, is_rejected
from relayd.queue.values import Changed, Declared, HandoverStep, Horizon, Retries

T = TypeVar("T")


class Queue(EventPath):
    """The queue, open: see `interface.QueueWriter`. Every method may raise `QueueError`."""

    async def declare(
        self, declared: Iterable[Declared], own_types: frozenset[str] = frozenset()
    ) -> Mapping[str, int]:
        """Bring the subscriptions up to the configuration; see `holds` for what holds each of them.

        What waits for a subscription whose URL or `made_with` changed is released: returns how many
        retries, by subscription.
        `own_types` are the types of relayd's own events that somebody wants.
        """
        wanted = tuple(declared)
        with self._numbers.writing_release() as release:
            found, released = await self._writer.write(
                lambda db: (
                    subscriptions.declare(db, wanted, release=release, now=self._clock()),
                    subscriptions.count_released(db, release),
                )
            )
        self._subscription_ids = {name: number for name, (number, _) in found.items()}
        self._holds = {name: hold for name, (_, hold) in found.items()}
        self._own_types = own_types
        return released

    async def pause(self, subscription: str) -> bool:
        """Hold a subscription's deliveries; return whether it was not paused before."""
        now = self._clock()
        return await self._change_hold(lambda db: subscriptions.pause(db, subscription, now=now))

    async def resume(self, subscription: str) -> tuple[bool, int]:
        """Take back a pause, and a receiver's 410, and release the retries that wait.

        Returns whether there was either, and how many retries.
        """
        now = self._clock()
        with self._numbers.writing_release() as release:
            return await self._change_hold(
                lambda db: (
                    subscriptions.resume(db, subscription),
                    subscriptions.release_retries(db, subscription, release=release, now=now),
                )
            )

    async def release(self, subscription: str) -> int:
        """Release the retries that wait for a subscription; return how many."""
        now = self._clock()
        with self._numbers.writing_release() as release:
            return await self._writer.write(
                lambda db: subscriptions.release_retries(db, subscription, release=release, now=now)
            )

    async def hand_over(
        self, old: str, new: str, *, after: int, in_flight: Iterable[int]
    ) -> HandoverStep:
        """Do one step of handing `old`'s deliveries over to `new`: see `handover.hand_over`."""
        # Events that were handed in for `old` before it was renamed are among those.
        await self._accepting.settled()
        ids, now = self._subscription_ids, self._clock()
        step, self._holds = await self._writer.write(
            lambda db: (
                hand_over(db, ids[old], ids[new], after=after, in_flight=in_flight, now=now),
                subscriptions.read_holds(db),
            )
        )
        return step

    async def _change_hold(self, change: Work[T]) -> T:
        changed, self._holds = await self._writer.write(
            lambda db: (change(db), subscriptions.read_holds(db))
        )
        return changed

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

        return await self._writer.write(work, grows=True)

    async def replay(self, seqs: Sequence[int], *, delivered: bool = False) -> Changed:
        """Make ended deliveries due again; with `delivered` also those that were delivered."""
        return await self._writer.write(
            lambda db: operate.replay(
                db, self._subscription_ids, seqs, now=self._clock(), delivered=delivered
            )
        )

    async def retry(self, seqs: Sequence[int]) -> Changed:
        """Release those of these deliveries that are retries, each alone.

        Returns how many, and the subscriptions of all of these that wait.
        """
        with self._numbers.writing_release() as release:
            return await self._writer.write(
                lambda db: operate.retry(db, self._subscription_ids, seqs, release=release)
            )

    async def cancel(self, seqs: Sequence[int]) -> Changed:
        """End waiting deliveries. An attempt that is under way may still deliver one of them."""
        return await self._writer.write(
            lambda db: operate.cancel(db, self._subscription_ids, seqs, now=self._clock())
        )

    async def backfill(self, subscription: str, event_seqs: Sequence[int]) -> int:
        """Make the deliveries of these events that a subscription lacks; return how many."""
        return await self._writer.write(
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
        return await self._writer.write(lambda db: drop_rejected(db, seqs, now=self._clock()))

    async def remember_expiry(self, now: float, expiry: Expiry, *, known: float) -> None:
        """Remember where expiry stands, and forget what nobody asks for any more."""
        await self._writer.write(lambda db: prune.remember_expiry(db, now, expiry, known=known))

    async def prune(self, horizon: Horizon, event_seqs: Sequence[int]) -> int:
        """Remove those of the events that may still go; return how many."""
        return await self._writer.write(
            lambda db: prune.remove(db, horizon, event_seqs, now=self._clock())
        )

    async def prune_rejected(self, before: float) -> int:
        """Remove some of the oldest rejected input of before this time; return how much."""
        return await self._writer.write(lambda db: prune.remove_rejected(db, before))

    async def shift_retries(self, retries: Retries, step: float) -> None:
        """Move these retries' times, of those that did not change since they were found."""
        await self._writer.write(lambda db: shift_times.shift_retries(db, retries, step))

    async def shift_endpoints(
        self, step: float, stepped_at: float, known: Callable[[str], Health | None]
    ) -> None:
        """Move the endpoints' times, and remember that the clock was looked at."""
        await self._writer.write(
            lambda db: shift_times.shift_endpoints(
                db, step, stepped_at, known, now=max(stepped_at, self._clock())
            )
        )
