"""One endpoint's loop: claim what is due, wait for a token, attempt, decide, record.

Each endpoint has its own task, bucket, health and connections, so that a slow or dead one delays
no other. What is in flight is known here only; the queue learns of an attempt when it is over.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import httpx
import structlog
import trio

from relayd.at_work import AtWork
from relayd.containment import is_defect
from relayd.core.agenda import NOW, Agenda
from relayd.core.delivery import AttemptRecord, Delivery, Hold, State, decide
from relayd.core.endpoint import Endpoint, Health, endpoint_name
from relayd.core.outcome import Outcome
from relayd.core.own_events import OwnEvent, after_attempt, after_change, is_own
from relayd.core.subscription import Subscription
from relayd.core.token_bucket import TokenBucket
from relayd.delivery.attempt import DEFECT_DETAIL, Attempt, Sender
from relayd.delivery.in_flight import InFlight
from relayd.delivery.slots import Slots
from relayd.delivery.standing import Pulse, Standing
from relayd.delivery.telling import identity, tell, tell_health
from relayd.delivery.time_limits import TimeLimits
from relayd.queue.interface import QueueUnavailable
from relayd.queue.values import Claim, Recording, Want

_log = structlog.get_logger()

_CLAIM_AT_ONCE = 256
_SUBSCRIPTIONS_AT_ONCE = 64
_STORAGE_RETRY_S = 1.0
_DEFECT_RETRY_S = 60.0


class DeliveryQueue(Protocol):
    """What an endpoint's task needs of the queue."""

    @property
    def holds(self) -> Mapping[str, Hold | None]:
        """Each subscription's hold, as it was last committed."""

    async def claim(self, want: Want) -> Claim:
        """Find deliveries that are due."""

    async def record(self, recording: Recording) -> bool:
        """Write what came of an attempt; it is durable when this returns.

        False when the delivery does not stand as decided: the operator changed it meanwhile.
        """

    async def quarantine(self, seq: int, detail: str) -> bool:
        """End a delivery whose attempt cannot be recorded, and keep the reason.

        Returns whether it had not ended before.
        """

    async def record_health(
        self, url: str, health: Callable[[], Health], own_events: Sequence[OwnEvent]
    ) -> None:
        """Write an endpoint's health, as it is when it is written, and what is to be said of it."""

    def next_release(self) -> int:
        """Return the number of a release from now on: see `core.release`."""

    @property
    def newest_release(self) -> int:
        """The newest release that an attempt which begins now is made after."""


class EndpointTask:
    """Delivers to one endpoint. `apply` gives it a new configuration while it runs.

    `in_flight` has the deliveries that are being attempted, at other endpoints too.
    `note_elsewhere` says when something is due for a subscription that is delivered somewhere else
    now. `clock` gives Unix seconds, `jitter` a number between -1 and 1.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        subscriptions: Mapping[str, Subscription],
        *,
        queue: DeliveryQueue,
        transport: httpx.AsyncBaseTransport,
        health: Health,
        in_flight: InFlight,
        note_elsewhere: Callable[[str, float], object],
        at_work: AtWork,
        limits: TimeLimits,
        clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._endpoint = endpoint
        self._subscriptions = dict(subscriptions)
        self._queue = queue
        self._clock = clock
        self._jitter = jitter
        self.health = health
        self._promised = 0  # tokens that the claim under way asked for
        self._sending_again = 0  # requests that wait for a token to be sent once more
        self._bucket = TokenBucket.empty(endpoint.rate, trio.current_time())
        self._in_flight = in_flight
        self._note_elsewhere = note_elsewhere
        self._limits = limits
        # The deliveries that are attempted here: their subscriptions, and when each moved on last.
        self._under_way: dict[int, str] = {}
        self._moved_at: dict[int, float] = {}
        self._rounds = 0
        self._agenda = Agenda()
        self._agenda.keep(subscriptions)
        self._backlog_first = False
        self._more_is_due = False
        self._retired = False
        self.ended = False
        self._changed = trio.Event()
        self._log_name = endpoint_name(endpoint.url)
        self._log = _log.bind(endpoint=self._log_name)
        self._sender = Sender(
            endpoint.url,
            transport,
            at_work,
            clock,
            self._log,
            another_token=self._another_token,
        )

    def note(self, subscription: str, at: float) -> bool:
        """Say that something is due for a subscription at `at`; False when it is not delivered here.

        `at` is in Unix seconds, or NOW.
        """
        if subscription not in self._subscriptions:
            return False
        self._agenda.note(subscription, at)
        self._changed.set()
        return True

    def apply(self, endpoint: Endpoint, subscriptions: Mapping[str, Subscription]) -> None:
        """Go on under another configuration of the same URL. A reload grants no tokens.

        Subscriptions that are the same objects as before go on undisturbed; for the others, what
        is due is asked for again. A task that was retired goes on too, unless it has `ended`: so
        what it has in flight counts when its URL comes back.
        """
        before = self._subscriptions
        self.leave([name for name in before if name not in subscriptions])
        new = [name for name, each in subscriptions.items() if before.get(name) is not each]
        if not new and endpoint == self._endpoint and not self._retired:
            return
        self._retired = False
        self._endpoint = endpoint
        self._subscriptions = dict(subscriptions)
        self._bucket = self._bucket.with_rate(endpoint.rate, trio.current_time())
        self._in_flight.outdate(new)
        self._agenda.note_all(dict.fromkeys(new, NOW))
        self._changed.set()

    def leave(self, names: Sequence[str]) -> None:
        """Start no attempt for these subscriptions any more."""
        self._in_flight.outdate(names)
        for name in names:
            self._subscriptions.pop(name, None)
            self._agenda.forget(name)

    def retire(self) -> None:
        """Start no attempt any more; `run` returns when those in flight have finished."""
        self._retired = True
        self.leave(self.serving)
        self._changed.set()

    @property
    def serving(self) -> tuple[str, ...]:
        """The names of the subscriptions whose deliveries are attempted here."""
        return tuple(self._subscriptions)

    @property
    def retired(self) -> bool:
        """Whether it starts no attempt any more."""
        return self._retired

    @property
    def standing(self) -> Standing:
        """How the endpoint stands now."""
        self._bucket = self._bucket.at(trio.current_time())
        return Standing(self._bucket.tokens, len(self._moved_at), self._endpoint, self.health)

    @property
    def is_behind(self) -> bool:
        """Whether more was due, at the last look, than the endpoint's limits let it attempt."""
        return self._more_is_due and bool(self._moved_at)

    @property
    def pulse(self) -> Pulse:
        """What shows whether the task goes on."""
        now = self._clock()
        return Pulse(
            rounds=self._rounds,
            waits=self._agenda.next_at > now and not self._retired,
            want=self._want(tuple(self._subscriptions), 0, now),
            moved_at=min(self._moved_at.values(), default=None),
        )

    def attempting(self, seqs: frozenset[int]) -> Mapping[int, str]:
        """Return those of these deliveries that are attempted here, with their subscriptions."""
        # Few are under way, and many may be asked for at many endpoints.
        return {seq: name for seq, name in self._under_way.items() if seq in seqs}

    def take_token(self) -> float:
        """Take a token for an attempt past the queue: 0.0, or the seconds until one may be there."""
        self._bucket = self._bucket.at(trio.current_time())
        if self._bucket.available > self._promised:
            self._bucket = self._bucket.take(1)
            return 0.0
        return self._bucket.wait_s or 1.0 / self._endpoint.rate.refill_per_s

    async def _another_token(self) -> bool:
        """Wait for a token for a request that must be sent once more; see `AnotherToken`.

        No other attempt starts meanwhile: a backlog would take each token before it.
        """
        self._sending_again += 1
        try:
            while not self._retired:
                if (wait_s := self.take_token()) == 0.0:
                    return True
                await trio.sleep(wait_s)
            return False
        finally:
            self._sending_again -= 1
            self._changed.set()

    async def after_test(self, outcome: Outcome) -> None:
        """Take up what came of an attempt past the queue: one that succeeded lifts a hold."""
        if outcome.succeeded:
            await self._change_health(self.health.after_test(self._clock()))

    async def lift_hold(self) -> bool:
        """End a hold (Retry-After, 429) at once; say whether there was one."""
        held = self.health.held_until > self._clock()
        await self._change_health(self.health.not_held())
        return held

    def release(self, subscription: str) -> None:
        """Attempt what was released for a subscription, which the queue knows of already."""
        if self.note(subscription, NOW):
            self.health = self.health.on_ramp()

    async def _change_health(self, after: Health) -> None:
        """Take up a health that no attempt made, and write it: if not now, with the next attempt."""
        if after == self.health:
            return
        self.health = after
        self._changed.set()
        try:
            await self._queue.record_health(self._endpoint.url, lambda: self.health, ())
        except QueueUnavailable as error:
            # The next attempt that changes it writes it.
            serving = list(self._subscriptions)
            self._log.warning("queue_unavailable", subscriptions=serving, detail=str(error))

    async def _recover(self) -> None:
        """Release what waits for an endpoint that has recovered, and report it."""
        before, now = self.health, self._clock()
        self.health = before.recovered(self._queue.next_release(), now)
        self._agenda.keep(self._subscriptions)
        serving = tuple(self._subscriptions)
        told = after_change(self._log_name, serving, int(now), before=before, after=self.health)
        tell_health(self._log, serving, before, self.health)
        while True:
            try:
                return await self._queue.record_health(
                    self._endpoint.url, lambda: self.health, told
                )
            except QueueUnavailable as error:
                self._log.warning(
                    "queue_unavailable", subscriptions=list(serving), detail=str(error)
                )
                await trio.sleep(_STORAGE_RETRY_S)
                self._rounds += 1

    async def run(self) -> None:
        """Deliver until retired. When cancelled, attempts in flight count for nothing."""
        async with trio.open_nursery() as nursery:
            slots = Slots(
                nursery,
                self._limits,
                timeout_s=lambda attempt: attempt.timeout_s,
                make=self._sender.make,
                settle=self._settle,
            )
            while self._under_way or not self._retired:
                self._rounds += 1
                # Looked at once more after each wait: anything may have changed by then.
                recovers_at = math.inf if self._retired else self.health.recovers_at
                if (recovers_in_s := recovers_at - self._clock()) <= 0:
                    await self._recover()
                elif (pause_s := self._pause_s()) > 0:
                    slots.release()
                    await self._wait(min(pause_s, recovers_in_s))
                else:
                    slots.start(await self._claim())
            self.ended = True
            slots.close()

    def forget_under_way(self) -> None:
        """Forget the attempts that ended with `run`, when a defect ended it: they count for nothing."""
        for seq, subscription in self._under_way.items():
            self._in_flight.end(subscription, seq)
        self._under_way.clear()
        self._moved_at.clear()
        self._agenda.keep(self._subscriptions)

    def _pause_s(self) -> float:
        """Return how long nothing can start, as things stand: 0 when something can."""
        if self._room() <= 0:
            return math.inf
        now = self._clock()
        if (until := max(self._agenda.next_at, self.health.held_until)) > now:
            return until - now
        self._bucket = self._bucket.at(trio.current_time())
        return self._bucket.wait_s

    def _room(self) -> int:
        if self._sending_again:
            return 0
        return self.health.allowed_in_flight(self._endpoint) - len(self._moved_at)

    async def _wait(self, pause_s: float) -> None:
        if pause_s == math.inf:  # without a scope: thousands of endpoints may wait like this
            await self._changed.wait()
        else:
            with trio.move_on_after(pause_s):
                await self._changed.wait()
        self._changed = trio.Event()

    def _startable(self) -> int:
        """Return how many attempts may start now."""
        if self._retired or self.health.held_until > self._clock():
            return 0
        self._bucket = self._bucket.at(trio.current_time())
        return max(0, min(self._room(), self._bucket.available, _CLAIM_AT_ONCE))

    async def _claim(self) -> tuple[Attempt, ...]:
        now = self._clock()
        # Off the agenda before the queue is asked: what wakes us meanwhile is noted again.
        count, taken = self._startable(), self._agenda.take(now, _SUBSCRIPTIONS_AT_ONCE)
        # One that a reload or a 410 took away while the queue was asked may be noted still.
        names = tuple(name for name in taken if name in self._subscriptions)
        if not names:
            return ()
        versions = self._in_flight.versions(names)
        self._promised = count
        try:
            claim = await self._queue.claim(self._want(names, count, now))
        except QueueUnavailable as error:
            serving = list(self._subscriptions)
            self._log.warning("queue_unavailable", subscriptions=serving, detail=str(error))
            self._agenda.note_all(dict.fromkeys(names, now + _STORAGE_RETRY_S))
            return ()
        except Exception as error:
            if not is_defect(error):
                raise
            self._log.exception("claim_defect", subscriptions=list(names))
            self._agenda.note_all(dict.fromkeys(names, now + _DEFECT_RETRY_S))
            return ()
        finally:
            self._promised = 0
        return self._begun(claim, names, versions)

    def _begun(
        self, claim: Claim, names: Sequence[str], versions: Mapping[str, int]
    ) -> tuple[Attempt, ...]:
        """Begin what may be attempted of a claim, as everything is by now, and note the rest.

        While the queue was asked, a reload may have moved a subscription or lowered a limit, the
        operator may have paused or cancelled, a receiver may have asked for a pause.
        """
        current = {
            name: self._subscriptions[name]
            for name in names
            if name in self._subscriptions and self._in_flight.is_current(name, versions)
        }
        for name in names:
            if name not in current:
                self.note(name, NOW)
            elif name in claim.next_due:
                self._agenda.note(name, claim.next_due[name])
        self._backlog_first = claim.backlog_first
        self._more_is_due = any(due <= self._clock() for due in claim.next_due.values())
        startable = self._startable()
        begun: list[Attempt] = []
        for delivery in claim.deliveries:
            name = delivery.subscription
            if name not in current:
                continue
            if len(begun) == startable:
                self._agenda.note(name, NOW)
            elif not self._in_flight.begin(name, delivery.seq):
                # It was handed over to this subscription while another one's attempt went on.
                self._agenda.note(name, self._clock() + _STORAGE_RETRY_S)
            else:
                begun.append(Attempt(delivery, current[name], self._queue.newest_release))
        moment = trio.current_time()
        self._bucket = self._bucket.take(len(begun))
        for each in begun:
            self._under_way[each.delivery.seq] = each.delivery.subscription
            self._moved_at[each.delivery.seq] = moment
        return tuple(begun)

    def _want(self, names: tuple[str, ...], count: int, now: float) -> Want:
        return Want(
            subscriptions=names,
            count=count,
            now=now,
            busy=self._in_flight.of(names),
            recovery=self.health.release,
            backlog_first=self._backlog_first,
        )

    async def _settle(self, attempt: Attempt, outcome: Outcome | None) -> None:
        delivery = attempt.delivery
        ended = True
        try:
            await self._decide(attempt, attempt.timed_out() if outcome is None else outcome)
        except Exception as error:
            if not is_defect(error):
                raise
            if attempt.recorded:  # what failed is what follows: the queue knows when it is due
                self._log.exception("attempt_defect", **identity(delivery))
                self.note(delivery.subscription, NOW)
            else:
                self._log.exception("attempt_not_recorded", **identity(delivery))
                # Otherwise it stays in flight until relayd ends: it would be sent again and again.
                ended = await self._quarantined(delivery)
        finally:
            if ended:
                self._in_flight.end(delivery.subscription, delivery.seq)
            self._under_way.pop(delivery.seq, None)
            self._moved_at.pop(delivery.seq, None)
            self._changed.set()

    async def _quarantined(self, delivery: Delivery) -> bool:
        try:
            if await self._queue.quarantine(delivery.seq, DEFECT_DETAIL):
                self._log.error("delivery_exhausted", **identity(delivery), detail=DEFECT_DETAIL)
        except Exception as error:
            if not is_defect(error):
                raise
            self._log.exception("delivery_not_quarantined", delivery=delivery.seq)
            return False
        return True

    async def _decide(self, attempt: Attempt, outcome: Outcome) -> None:
        subscription = attempt.subscription
        now = self._clock()
        record = decide(
            attempt.delivery,
            outcome,
            subscription.retry,
            started_at=attempt.started_at,
            now=now,
            jitter=self._jitter(),
        )
        before = self.health
        own_event = is_own(attempt.delivery.event_type)
        after = self.health = before.after(outcome, self._endpoint, now, own_event=own_event)
        changed = (lambda: self.health) if after != before else None
        # What happened is recorded even while shutting down: once handed in, it goes through.
        as_decided = await self._record(
            Recording(
                record,
                self._endpoint.url,
                changed,
                self._own_events(record, before),
                attempt.release,
            )
        )
        attempt.recorded = True
        # Not after a 410 of a URL that it has left, or where the operator has resumed it since.
        held = self._queue.holds.get(subscription.name) is not None
        if outcome.gone and held:
            self._subscriptions.pop(subscription.name, None)
            self._agenda.forget(subscription.name)
        # Replayed or released while this attempt was under way, it may be due now.
        unchanged = as_decided and attempt.release == self._queue.newest_release
        due_at = record.due_at if unchanged else NOW
        if due_at is not None and not self.note(subscription.name, due_at):
            # A reload moved the subscription to another endpoint in the meantime.
            self._note_elsewhere(subscription.name, due_at)
        tell(
            self._log,
            record,
            self._subscriptions,
            before,
            after,
            as_decided=as_decided,
            held=held,
        )

    def _own_events(self, record: AttemptRecord, before: Health) -> tuple[OwnEvent, ...]:
        if record.state is not State.EXHAUSTED and before is self.health:
            return ()
        url, names = self._log_name, tuple(self._subscriptions)
        return tuple(after_attempt(record, url, names, before=before, after=self.health))

    async def _record(self, recording: Recording) -> bool:
        while True:
            try:
                return await self._queue.record(recording)
            except QueueUnavailable as error:
                # It stays in flight meanwhile, so that it is not sent twice.
                self._log.warning(
                    "queue_unavailable",
                    detail=str(error),
                    **identity(recording.record.delivery),
                )
                await trio.sleep(_STORAGE_RETRY_S)
                self._moved_at[recording.record.delivery.seq] = trio.current_time()
