"""What is due at one endpoint: when to ask the queue again, and what of its answer may be attempted.

An answer may be out of date when it comes back: while the queue was asked, a reload may have moved
a subscription, or the operator may have paused, replayed or cancelled. What is left out is asked
for again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import trio

from relayd.containment import is_defect
from relayd.core.agenda import NOW, Agenda
from relayd.core.subscription import Subscription
from relayd.delivery.attempt import Attempt
from relayd.delivery.in_flight import InFlight
from relayd.delivery.observer import Observer
from relayd.queue.delivery_queue import STORAGE_RETRY_S, DeliveryQueue
from relayd.queue.interface import QueueUnavailable
from relayd.queue.values import Claim, Want

_SUBSCRIPTIONS_AT_ONCE = 64
_DEFECT_RETRY_S = 60.0


@dataclass(frozen=True, slots=True)
class Claimed:
    """The queue's answer, and the versions of the subscriptions it was asked about: see `InFlight`."""

    claim: Claim
    versions: Mapping[str, int]


class DueDeliveries:
    """The due deliveries of one endpoint's subscriptions.

    `subscriptions` are changed in place, here alone. `in_flight` has the deliveries that are being
    attempted, at other endpoints too. Times here are Unix seconds, or NOW.
    """

    def __init__(
        self,
        subscriptions: dict[str, Subscription],
        *,
        queue: DeliveryQueue,
        in_flight: InFlight,
        observer: Observer,
    ) -> None:
        self.subscriptions = subscriptions
        self._queue = queue
        self._in_flight = in_flight
        self._observer = observer
        self._agenda = Agenda()
        self._agenda.keep(subscriptions)
        self._backlog_first = False
        self.more_is_due = False
        """Whether more was due, at the last claim, than could start."""

    @property
    def next_at(self) -> float:
        """When the queue is to be asked next; infinity when nothing is known to be due."""
        return self._agenda.next_at

    def note(self, name: str, at: float) -> bool:
        """Ask for a subscription at `at`; False when it is not delivered here."""
        if name not in self.subscriptions:
            return False
        self._agenda.note(name, at)
        return True

    def ask_for_all(self) -> None:
        """Ask for every subscription now."""
        self._agenda.keep(self.subscriptions)

    def apply(self, subscriptions: Mapping[str, Subscription]) -> bool:
        """Go on with these subscriptions; return whether any is another than before.

        Those that are the same objects as before go on undisturbed; the others are asked for now.
        """
        before = dict(self.subscriptions)
        self.leave([name for name in before if name not in subscriptions])
        new = [name for name, each in subscriptions.items() if before.get(name) is not each]
        self.subscriptions.clear()
        self.subscriptions.update(subscriptions)
        self._in_flight.outdate(new)
        self._agenda.note_all(dict.fromkeys(new, NOW))
        return bool(new)

    def leave(self, names: Iterable[str]) -> None:
        """Neither ask for these subscriptions any more, nor start what was claimed of them."""
        for name in names:
            self._in_flight.outdate((name,))
            self.subscriptions.pop(name, None)
            self._agenda.forget(name)

    def want(self, names: Iterable[str], count: int, now: float, recovery: int) -> Want:
        """Return what to ask the queue for: `count` deliveries at most of these subscriptions."""
        subscriptions = tuple(names)
        return Want(
            subscriptions=subscriptions,
            count=count,
            now=now,
            busy=self._in_flight.busy(subscriptions),
            recovery=recovery,
            backlog_first=self._backlog_first,
        )

    async def claim(self, count: int, recovery: int, now: float) -> Claimed | None:
        """Ask the queue for `count` deliveries at most that are due at `now`; None for no answer.

        `recovery` numbers the endpoint's last recovery: see `core.release`.
        """
        # Off the agenda before the queue is asked: what is noted meanwhile is asked for again.
        taken = self._agenda.take(now, _SUBSCRIPTIONS_AT_ONCE)
        # One that a reload or a 410 took away while the queue was asked may be noted still.
        names = tuple(name for name in taken if name in self.subscriptions)
        if not names:
            return None
        want, versions = self.want(names, count, now, recovery), self._in_flight.versions(names)
        try:
            claim = await self._queue.claim(want)
        except QueueUnavailable as error:
            self._observer.queue_unavailable(error)
            self._agenda.note_all(dict.fromkeys(names, now + STORAGE_RETRY_S))
            return None
        except Exception as error:
            if not is_defect(error):
                raise
            self._observer.claim_defect(error, names)
            self._agenda.note_all(dict.fromkeys(names, now + _DEFECT_RETRY_S))
            return None
        return Claimed(claim, versions)

    def begin(self, claimed: Claimed, startable: int, now: float) -> Sequence[Attempt]:
        """Begin what may be attempted of a claim, as everything is by now; note the rest.

        `startable` says how many attempts may start. What is returned is in flight from here on.
        """
        claim = claimed.claim
        self._backlog_first = claim.backlog_first
        self.more_is_due = any(due <= now for due in claim.next_due.values())
        current = {
            name: self.subscriptions[name]
            for name in claimed.versions
            if name in self.subscriptions and self._in_flight.is_current(name, claimed.versions)
        }
        for name in claimed.versions:
            if name not in current:
                self.note(name, NOW)
            elif name in claim.next_due:
                self._agenda.note(name, claim.next_due[name])
        begun: list[Attempt] = []
        release, moment = self._queue.newest_release, trio.current_time()
        for delivery in claim.deliveries:
            name = delivery.subscription
            if name not in current:
                continue
            if len(begun) == startable:
                self._agenda.note(name, NOW)
            # Refused where an attempt of it goes on that began under another subscription's name, or
            # one of a delivery with its order key: it was cancelled, or a rename put this one ahead.
            # Who ends that attempt says that this one is due.
            elif self._in_flight.begin(name, delivery.seq, delivery.order_key):
                begun.append(Attempt(delivery, current[name], release, moment))
        return begun
