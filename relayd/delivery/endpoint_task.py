"""One endpoint's loop: due deliveries → send → decide → record → schedule → observe.

Each endpoint has its own task, bucket, health and connections, so that a slow or dead one delays
no other. What is in flight is known here only; the queue learns of an attempt when it is over.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import httpx
import trio

from relayd.containment import is_defect
from relayd.core.agenda import NOW
from relayd.core.delivery import AttemptRecord, decide
from relayd.core.endpoint import Endpoint, Health
from relayd.core.outcome import Outcome
from relayd.core.own_events import is_own
from relayd.core.subscription import Subscription
from relayd.crash_journal import AtWork
from relayd.delivery.attempt import Attempt, Sender
from relayd.delivery.due_deliveries import DueDeliveries
from relayd.delivery.endpoint_health import EndpointHealth
from relayd.delivery.in_flight import InFlight
from relayd.delivery.observer import Observer
from relayd.delivery.recorder import Recorder
from relayd.delivery.standing import Pulse, Standing
from relayd.delivery.template_process import TemplateProcess
from relayd.delivery.worker_pool import Limit, TimeLimits, WorkerPool
from relayd.queue.delivery_queue import DeliveryQueue


class EndpointTask:
    """Delivers to one endpoint. `apply` gives it a new configuration while it runs.

    `in_flight` has the deliveries that are being attempted, at other endpoints too.
    `note_elsewhere` says when something is due for a subscription that is delivered somewhere else
    now. `clock` gives Unix seconds, `jitter` a number between -1 and 1. `endpoint_health` is also for
    attempts past the queue, and for the operator.
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
        templates: TemplateProcess | None = None,
    ) -> None:
        self._queue = queue
        self._in_flight = in_flight
        self._note_elsewhere = note_elsewhere
        self._limits = limits
        self._clock = clock
        self._jitter = jitter
        self._look_again = trio.Event()
        self._under_way: dict[int, Attempt] = {}
        self._workers: WorkerPool
        self._rounds = 0
        self._retired = False
        self.ended = False
        served = dict(subscriptions)
        self._observer = observer = Observer(endpoint.url, served)
        self._due = DueDeliveries(served, queue=queue, in_flight=in_flight, observer=observer)
        self.endpoint_health = EndpointHealth(
            endpoint,
            health,
            queue=queue,
            observer=observer,
            clock=clock,
            changed=lambda: self._look_again.set(),  # noqa: PLW0108 - it is another one after each wait
        )
        self._recorder = Recorder(queue, endpoint.url, lambda: self.health, observer, clock)
        self._sender = Sender(
            endpoint.url,
            transport,
            at_work=at_work,
            another_token=lambda: self.endpoint_health.another_token(lambda: self._retired),
            observer=observer,
            clock=clock,
            templates=TemplateProcess() if templates is None else templates,
        )

    async def run(self) -> None:
        """Deliver until retired. When cancelled, attempts in flight count for nothing."""
        async with trio.open_nursery() as nursery:
            self._workers = workers = WorkerPool(nursery, self._limits)
            while self._under_way or not self._retired:
                self._rounds += 1
                # Looked at once more after each wait: anything may have changed by then.
                now = self._clock()
                room = self.endpoint_health.room(len(self._under_way), now)
                recovers_in_s = math.inf if self._retired else room.recovers_in_s
                wait_s = max(self._due.next_at - now, room.wait_s)
                if recovers_in_s <= 0:
                    self._due.ask_for_all()
                    await self.endpoint_health.recover()
                elif wait_s > 0:
                    workers.end_idle()
                    await self._wait(min(wait_s, recovers_in_s))
                else:
                    for attempt in await self._begin(room.count, now):
                        workers.start(self._deliver, attempt)
            self.ended = True
            workers.close()

    async def _begin(self, count: int, now: float) -> Sequence[Attempt]:
        """Claim `count` deliveries at most that are due, and return the attempts that may start."""
        self.endpoint_health.tokens_promised = count
        try:
            claimed = await self._due.claim(count, self.endpoint_health.health.release, now)
        finally:
            self.endpoint_health.tokens_promised = 0
        if claimed is None:
            return ()
        now = self._clock()
        begun = self._due.begin(claimed, self._startable(now), now)
        self.endpoint_health.start(len(begun))
        self._under_way.update((each.delivery.seq, each) for each in begun)
        return begun

    def _startable(self, now: float) -> int:
        """Return how many attempts may start, as everything is after the queue was asked."""
        return 0 if self._retired else self.endpoint_health.room(len(self._under_way), now).count

    async def _deliver(self, attempt: Attempt, limit: Limit) -> None:
        """Make one attempt, and see to what follows from it, which has no time limit."""
        try:
            attempt.outcome = await self._sender.send(attempt, limit)
        finally:
            if limit.passed:  # also when it passed just as the response came
                self._workers.start(self._settle, attempt)
        if not limit.passed:
            await self._settle(attempt, limit)

    async def _settle(self, attempt: Attempt, _: Limit) -> None:
        delivery, ended = attempt.delivery, True
        try:
            record, before, after = self._decide(attempt, attempt.result())
            record, as_decided = await self._recorder.record(attempt, record, before, after)
            held = self._schedule(attempt, record, as_decided=as_decided)
            self._observer.attempt_finished(record, before, after, as_decided=as_decided, held=held)
        except Exception as error:
            if not is_defect(error):
                raise
            ended = await self._recorder.after_defect(attempt, error)
            # The queue knows when it is due; where it was quarantined, the next one in its order is.
            self._note(delivery.subscription, NOW)
        finally:
            if ended:
                for name in self._in_flight.end(delivery.subscription, delivery.seq):
                    self._note(name, NOW)
            self._under_way.pop(delivery.seq, None)
            self._look_again.set()

    def _decide(self, attempt: Attempt, outcome: Outcome) -> tuple[AttemptRecord, Health, Health]:
        """Return what becomes of the delivery, and the endpoint's health before and after it."""
        now = self._clock()
        record = decide(
            attempt.delivery,
            outcome,
            attempt.subscription.retry,
            started_at=attempt.started_at,
            now=now,
            jitter=self._jitter(),
        )
        own = is_own(attempt.delivery.event_type)
        return record, *self.endpoint_health.after(outcome, now, own_event=own)

    def _schedule(self, attempt: Attempt, record: AttemptRecord, *, as_decided: bool) -> bool:
        """Note when the delivery is due again; return whether its subscription is held now."""
        name = attempt.subscription.name
        # Not after a 410 of a URL that it has left, or where the operator has resumed it since.
        held = self._queue.holds.get(name) is not None
        if record.outcome.gone and held:
            self._due.leave([name])
        # Replayed or released while this attempt was under way, it may be due now.
        unchanged = as_decided and attempt.newest_release == self._queue.newest_release
        due_at = record.due_at if unchanged else NOW
        if due_at is None and record.delivery.order_key is not None:
            due_at = NOW  # the next one in its order has its turn
        if due_at is not None:
            self._note(name, due_at)
        return held

    def _note(self, name: str, at: float) -> None:
        if not self.note(name, at):  # a reload moved the subscription to another endpoint
            self._note_elsewhere(name, at)

    def note(self, subscription: str, at: float) -> bool:
        """Say that something is due for a subscription at `at`; False when it is not delivered here.

        `at` is in Unix seconds, or NOW.
        """
        if not self._due.note(subscription, at):
            return False
        self._look_again.set()
        return True

    def apply(self, endpoint: Endpoint, subscriptions: Mapping[str, Subscription]) -> None:
        """Go on under another configuration of the same URL. A reload grants no tokens.

        Subscriptions that are the same objects as before go on undisturbed; for the others, what is due is
        asked for again. A retired task goes on too, unless it has `ended`: what it has in flight counts then.
        """
        others = self._due.apply(subscriptions)
        if others or self._retired or endpoint != self.endpoint_health.endpoint:
            self._retired = False
            self.endpoint_health.apply(endpoint)
            self._look_again.set()

    def move_times(self, step: float) -> None:
        """Move the times that were decided and are not in the queue yet by a step of the clock."""
        self.endpoint_health.move_times(step)
        self._recorder.move_times(step)

    def leave(self, names: Sequence[str]) -> None:
        """Start no attempt for these subscriptions any more."""
        self._due.leave(names)

    def retire(self) -> None:
        """Start no attempt any more; `run` returns when those in flight have finished."""
        self._retired = True
        self.leave(self.serving)
        self._look_again.set()

    def forget_under_way(self) -> None:
        """Forget the attempts that ended with `run`, when a defect ended it: they count for nothing."""
        for seq, attempt in self._under_way.items():
            for name in self._in_flight.end(attempt.delivery.subscription, seq):
                self._note(name, NOW)
        self._under_way.clear()
        self._due.ask_for_all()

    def attempt_released(self, subscription: str) -> None:
        """Attempt what was released for a subscription, which the queue knows of already."""
        if self.note(subscription, NOW):
            self.endpoint_health.ramp_up()

    @property
    def health(self) -> Health:
        """The endpoint's health now."""
        return self.endpoint_health.health

    @property
    def serving(self) -> tuple[str, ...]:
        """The names of the subscriptions whose deliveries are attempted here."""
        return tuple(self._due.subscriptions)

    @property
    def retired(self) -> bool:
        """Whether it starts no attempt any more."""
        return self._retired

    @property
    def standing(self) -> Standing:
        """How the endpoint is now."""
        health = self.endpoint_health
        return Standing(health.tokens, len(self._under_way), health.endpoint, health.health)

    @property
    def is_behind(self) -> bool:
        """Whether more was due, at the last look, than the endpoint's limits let it attempt."""
        return self._due.more_is_due and bool(self._under_way)

    @property
    def pulse(self) -> Pulse:
        """What shows whether the task goes on."""
        now = self._clock()
        return Pulse(
            rounds=self._rounds,
            waits=self._due.next_at > now and not self._retired,
            want=self._due.want(self.serving, 0, now, self.health.release),
            moved_at=min((each.moved_at for each in self._under_way.values()), default=None),
        )

    def attempting(self, seqs: frozenset[int]) -> Mapping[int, str]:
        """Return those of these deliveries that are attempted here, with their subscriptions."""
        # Few are under way, and many may be asked for at many endpoints.
        return {
            seq: attempt.delivery.subscription
            for seq, attempt in self._under_way.items()
            if seq in seqs
        }

    async def _wait(self, seconds: float) -> None:
        if seconds == math.inf:  # without a scope: thousands of endpoints may wait like this
            await self._look_again.wait()
        else:
            with trio.move_on_after(seconds):
                await self._look_again.wait()
        self._look_again = trio.Event()
