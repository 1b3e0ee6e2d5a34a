"""The queue's border: what the daemon asks of it, whatever keeps it; `queue.snapshot` is for readers.

No connection, row or SQL is in any signature. Two errors cross it: `QueueUnavailable` (try again)
and `QueueBroken` (relayd ends). In both cases nothing of the call happened.
"""

from __future__ import annotations  # a command that only reads loads none of what is named here

from typing import TYPE_CHECKING, Protocol

from relayd.queue.delivery_queue import DeliveryQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from relayd.core.acceptance import Acceptance, NewEvent, Rejected, RejectedRow
    from relayd.core.endpoint import Health
    from relayd.core.expiry import Evidence, Expiry
    from relayd.core.own_events import OutboxRow, OwnEvent, Report
    from relayd.queue.overview_values import Contents
    from relayd.queue.snapshot_values import RejectedInput
    from relayd.queue.values import (
        Changed,
        Cursor,
        Declared,
        HandoverStep,
        Horizon,
        PruneStep,
        Retries,
        Waiting,
    )


class QueueError(Exception):
    """The queue could not do what was asked; nothing of it happened. `reason` is for people.

    Raised itself where the queue refused a value: a defect, which says nothing of other values.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class QueueUnavailable(QueueError):  # noqa: N818 - a state that ends, not a mistake
    """The queue is locked by another process, or its disk is full. The call may be tried again."""


class QueueBroken(QueueError):  # noqa: N818 - as above
    """The queue or its disk is broken, or is no longer what it was. Never tried again.

    `explained`: the reason says what happened to the file. Otherwise it is only what failed, and may
    follow from what another call met.
    """

    def __init__(self, path: Path, reason: str, *, explained: bool = True) -> None:
        super().__init__(path, reason)
        self.explained = explained


class QueueLooks(Protocol):
    """What the daemon asks beside its deliveries: however long it takes, no claim waits for it.

    Every method raises `QueueUnavailable` or `QueueBroken`.
    """

    async def waiting(self, names: Iterable[str]) -> Mapping[str, Waiting]:
        """Return the backlog of those of these subscriptions that the queue has ever heard of."""

    async def bodies(self, event_seqs: Sequence[int], most_bytes: int) -> list[tuple[int, bytes]]:
        """Return the events that still have a body, with it, in order of their numbers.

        Stops before more than `most_bytes` of bodies are in memory, but returns at least one event.
        """

    async def rejected(self, seq: int) -> RejectedInput | None:
        """Return one rejected row, or None where there is none."""

    async def clock_seen_at(self) -> float | None:
        """Return when the clock was last looked at, in Unix seconds; None in a new queue."""

    async def newest_decision(self) -> float:
        """Return the newest time at which something was decided that waits; 0 where nothing does."""

    async def newest_retry_before(self, moment: float) -> float:
        """Return when the last retry until `moment` was scheduled; 0 where there was none."""

    async def retries_before_step(
        self, step: float, stepped_at: float, *, now: float, certain: bool
    ) -> Retries:
        """Return the retries that were scheduled before a step of the clock, nearest first.

        See `core.clock_step`.
        """


class Survey(Protocol):
    """What retention goes by. Every method raises `QueueUnavailable` or `QueueBroken`."""

    async def evidence(self) -> Evidence:
        """Return what the queue knows of time."""

    async def used_bytes(self) -> int:
        """Return how much room is in use; the rest of the file is free for what comes."""

    async def contents(self) -> Contents:
        """Estimate what fills the queue."""

    async def prunable(self, horizon: Horizon, cursor: Cursor) -> PruneStep:
        """Find the next events that may go."""


class QueueWriter(DeliveryQueue, Protocol):
    """The queue as its one daemon uses it. Each write is durable when its call returns.

    Every method may raise `QueueUnavailable` or `QueueBroken`. A call that is cancelled while it
    waits for its turn does nothing; after that, it is done all the same.
    """

    @property
    def tag(self) -> str:
        """What this queue's deliveries have in their ids."""

    @property
    def looks(self) -> QueueLooks:
        """What may be asked beside the deliveries."""

    def survey(self) -> AbstractAsyncContextManager[Survey]:
        """Open what retention goes by, which may take long to answer, apart from all else."""

    # What comes in; what goes out is `DeliveryQueue`.

    async def accept(self, news: Sequence[NewEvent]) -> list[Acceptance]:
        """Make events durable, with all of their deliveries, and say what became of each."""

    async def reject(self, rejected: Sequence[RejectedRow], *, most_bytes: int = ...) -> Rejected:
        """Keep rows that cannot be events in the rejected list; return those that are new to it.

        A webhook is not kept whose token came with something else before, or of which an event was
        accepted. Of each source at most `most_bytes` are kept: beyond that its oldest are removed and counted.
        """

    async def health(self) -> Mapping[str, Health]:
        """Return what was last known of each endpoint, by URL."""

    async def outbox(self) -> Sequence[OutboxRow]:
        """Return the first of relayd's own events on their way in, once there are some."""

    async def remove_from_outbox(self, rows: Sequence[OutboxRow]) -> None:
        """Remove own events that were accepted."""

    async def report(self, reports: Sequence[Report]) -> None:
        """Make own events durable, or count them, of those types that somebody wants."""

    async def report_due(self) -> None:
        """Report what was counted for ten minutes: see `core.notices`."""

    async def source_outages(self) -> Mapping[str, float]:
        """Return the sources that were reported as unavailable, and since when they are."""

    async def begin_source_outage(self, source: str, since: float, event: OwnEvent) -> bool:
        """Report a source as unavailable; return False, and do nothing, where nobody wants to know."""

    async def end_source_outage(self, source: str, event: OwnEvent | None) -> None:
        """Report a source as recovered; without an event it is no longer there."""

    # What the configuration and the operator change.

    async def declare(
        self, declared: Iterable[Declared], own_types: frozenset[str] = frozenset()
    ) -> Mapping[str, int]:
        """Bring the subscriptions up to the configuration; return how many retries it released."""

    async def replay(self, seqs: Sequence[int], *, delivered: bool = False) -> Changed:
        """Make ended deliveries due again, with their whole retry schedule.

        With `delivered` also those that were delivered; they are in no order.
        """

    async def retry(self, seqs: Sequence[int]) -> Changed:
        """Release those of these deliveries that are retries, each alone; the others stay as they are.

        Returns how many, and the subscriptions of all of these that wait.
        """

    async def cancel(self, seqs: Sequence[int]) -> Changed:
        """End waiting deliveries. An attempt that is under way may still deliver one of them."""

    async def backfill(self, subscription: str, event_seqs: Sequence[int]) -> int:
        """Make the deliveries of these events that a subscription lacks; return how many."""

    async def pause(self, subscription: str) -> bool:
        """Hold a subscription's deliveries; return whether it was not paused before."""

    async def resume(self, subscription: str) -> tuple[bool, int]:
        """Take back a pause and a 410, and release the retries that wait; return whether and how many."""

    async def release(self, subscription: str) -> int:
        """Release the retries that wait for a subscription; return how many."""

    async def hand_over(
        self, old: str, new: str, *, after: int, in_flight: Iterable[int]
    ) -> HandoverStep:
        """Do one step of handing `old`'s deliveries over to `new`, behind delivery `after`."""

    async def resubmit(self, new: NewEvent, rejected: int) -> Acceptance | None:
        """Make an event of rejected input durable, and take that off the list, at once."""

    async def drop_rejected(self, seqs: Sequence[int]) -> int:
        """Take rows off the rejected list for good; return how many there were."""

    # What goes with time.

    async def remember_expiry(self, now: float, expiry: Expiry, *, known: float) -> None:
        """Remember where expiry stands, and forget what nobody asks for any more.

        Fingerprints of rows that left the rejected list before `known` are forgotten.
        """

    async def prune(self, horizon: Horizon, event_seqs: Sequence[int]) -> int:
        """Remove those of the events that may still go; return how many."""

    async def prune_rejected(self, before: float) -> int:
        """Remove some of the oldest rejected input of before this time; return how much."""

    async def shift_retries(self, retries: Retries, step: float) -> None:
        """Move these retries' times, of those that did not change since they were found."""

    async def shift_endpoints(
        self, step: float, stepped_at: float, known: Callable[[str], Health | None]
    ) -> None:
        """Move the endpoints' times, and remember that the clock was looked at.

        `stepped_at` is the moment just after the step, in Unix seconds, however much later this is written.

        `known` returns the health, by URL, of those of which more is known than the queue has, with its
        times moved already: an attempt may have written it since. It is asked when this is written, by
        whichever thread writes.
        """
