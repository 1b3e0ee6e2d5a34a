"""How many attempts one endpoint may get now: its health, its token bucket and its limits.

A change of health that no attempt made (a test, the operator, a recovery) is written here; one that
an attempt made is written together with that attempt.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import trio

from relayd.core.clock_step import moved_health
from relayd.core.endpoint import Endpoint, Health
from relayd.core.outcome import Outcome
from relayd.core.token_bucket import TokenBucket
from relayd.delivery.observer import Observer
from relayd.queue.delivery_queue import STORAGE_RETRY_S, DeliveryQueue
from relayd.queue.interface import QueueUnavailable

_MOST_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Room:
    """What an endpoint's health and limits allow at a moment.

    `count` attempts may start. `wait_s` is how long none may, as things are: 0.0 where some may,
    infinity where another attempt has to end first. `recovers_in_s` are the seconds until the endpoint
    has recovered; infinity if nothing says that it will.
    """

    count: int
    wait_s: float
    recovers_in_s: float


class EndpointHealth:
    """One endpoint's health and limits. `clock` gives Unix seconds.

    `changed` is called when an attempt may start that could not before. `tokens_promised` are those
    that the claim under way asked for: nothing else may take them.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        health: Health,
        *,
        queue: DeliveryQueue,
        observer: Observer,
        clock: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        self.endpoint = endpoint
        self.health = health
        self.tokens_promised = 0
        self._sending_again = 0  # requests that wait for a token to be sent once more
        self._bucket = TokenBucket.empty(endpoint.rate, trio.current_time())
        self._queue = queue
        self._observer = observer
        self._clock = clock
        self._changed = changed

    def apply(self, endpoint: Endpoint) -> None:
        """Go on with other limits. A reload grants no tokens."""
        self.endpoint = endpoint
        self._bucket = self._bucket.with_rate(endpoint.rate, trio.current_time())

    def move_times(self, step: float) -> None:
        """Move the times by a step of the clock, in seconds."""
        self.health = moved_health(self.health, step)

    @property
    def tokens(self) -> float:
        """The tokens in the bucket now."""
        return self._filled().tokens

    def room(self, under_way: int, now: float) -> Room:
        """Return what may start at `now`, in Unix seconds, beside so many attempts under way."""
        health, bucket = self.health, self._filled()
        # A request that is to be sent again has the next token.
        free = 0 if self._sending_again else health.allowed_in_flight(self.endpoint) - under_way
        wait_s = math.inf if free <= 0 else max(health.held_until - now, bucket.wait_s, 0.0)
        count = min(free, bucket.available, _MOST_AT_ONCE) if wait_s == 0.0 else 0
        return Room(count, wait_s, health.recovers_at - now)

    def start(self, count: int) -> None:
        """Take the tokens of `count` attempts that start now."""
        self._bucket = self._bucket.take(count)

    def take_token(self) -> float:
        """Take a token for an attempt past the queue: 0.0, or the seconds until one may be there."""
        if self._filled().available > self.tokens_promised:
            self.start(1)
            return 0.0
        return self._bucket.wait_s or 1.0 / self.endpoint.rate.refill_per_s

    async def another_token(self, is_stopped: Callable[[], bool]) -> bool:
        """Wait for a token for a request that must be sent once more; False once it is stopped.

        No other attempt starts meanwhile: a backlog would take each token before it.
        """
        self._sending_again += 1
        try:
            while not is_stopped():
                if (wait_s := self.take_token()) == 0.0:
                    return True
                await trio.sleep(wait_s)
            return False
        finally:
            self._sending_again -= 1
            self._changed()

    def after(self, outcome: Outcome, now: float, *, own_event: bool) -> tuple[Health, Health]:
        """Take up the outcome of an attempt; return the health before it and after it."""
        before = self.health
        self.health = before.after(outcome, self.endpoint, now, own_event=own_event)
        return before, self.health

    async def after_test(self, outcome: Outcome) -> None:
        """Take up the outcome of an attempt past the queue: one that succeeded lifts a hold."""
        if outcome.succeeded:
            await self._change(self.health.after_test(self._clock()))

    async def lift_hold(self) -> bool:
        """End a hold (Retry-After, 429) at once; say whether there was one."""
        held = self.health.held_until > self._clock()
        await self._change(self.health.not_held())
        return held

    def ramp_up(self) -> None:
        """Begin with one attempt at a time, since many may have been released."""
        self.health = self.health.on_ramp()

    async def recover(self) -> None:
        """Release what is waiting for an endpoint that has recovered, and report it."""
        before, now = self.health, self._clock()
        self.health = before.recovered(self._queue.next_release(), now)
        own_events = self._observer.recovered(now, before, self.health)
        while True:
            try:
                return await self._queue.record_health(
                    self.endpoint.url, lambda: self.health, own_events
                )
            except QueueUnavailable as error:
                self._observer.queue_unavailable(error)
                await trio.sleep(STORAGE_RETRY_S)

    async def _change(self, after: Health) -> None:
        """Take up a health that no attempt made, and write it: if not now, with the next attempt."""
        if after == self.health:
            return
        self.health = after
        self._changed()
        try:
            await self._queue.record_health(self.endpoint.url, lambda: self.health, ())
        except QueueUnavailable as error:
            # The next attempt that changes it writes it.
            self._observer.queue_unavailable(error)

    def _filled(self) -> TokenBucket:
        self._bucket = self._bucket.at(trio.current_time())
        return self._bucket
