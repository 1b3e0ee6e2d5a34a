"""All endpoints' tasks: which there are, what each delivers, and how they come and go on reload."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import trio

from relayd.config.config import Config
from relayd.containment import contained
from relayd.core.addresses import Network
from relayd.core.agenda import NOW
from relayd.core.clock_step import moved_health
from relayd.core.endpoint import Endpoint, Health, endpoint_name
from relayd.core.outcome import Outcome
from relayd.core.parts import Parts, whole
from relayd.core.subscription import Subscription
from relayd.crash_journal import AtWork
from relayd.delivery.endpoint_task import EndpointTask
from relayd.delivery.in_flight import InFlight
from relayd.delivery.standing import Pulse, Standing
from relayd.delivery.template_process import TemplateProcess
from relayd.delivery.worker_pool import TimeLimits
from relayd.queue.delivery_queue import DeliveryQueue
from relayd.transport.transports import EndpointTransport

_IDLE_SWEEP_S = 5.0

MakeTransport = Callable[[Endpoint, Sequence[Network]], EndpointTransport]
"""Makes the transport to an endpoint, which may also dial into these networks."""


@dataclass(frozen=True, slots=True)
class _Running:
    task: EndpointTask
    transport: EndpointTransport


@dataclass(frozen=True, slots=True)
class AttemptPlace:
    """Where an attempt is in flight. `left` says that its subscription has another URL by now."""

    url: str = field(repr=False)  # its path may be a secret
    left: bool


class Dispatch:
    """Runs one `EndpointTask` for each endpoint of the configuration.

    `health` is what the queue last knew of each endpoint, by URL. `clock` gives Unix seconds,
    `jitter` a number between -1 and 1.
    """

    def __init__(
        self,
        queue: DeliveryQueue,
        *,
        health: Mapping[str, Health],
        make_transport: MakeTransport,
        at_work: AtWork,
        clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._health = dict(health)
        self._make_transport = make_transport
        self._at_work = at_work
        self._clock = clock
        self._jitter = jitter
        self._running: dict[str, _Running] = {}
        self._urls: dict[str, str] = {}
        self._in_flight = InFlight()
        self.kept_back = ""
        self._tasks: trio.Nursery | None = None
        self._limits = TimeLimits()
        self.templates = TemplateProcess()
        self._stopped = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run what `apply` declares until `stop`, and then until nothing is in flight any more.

        When cancelled, the attempts in flight count for nothing.
        """
        async with self.templates, trio.open_nursery() as sweeping:
            sweeping.start_soon(self._close_idle_connections)
            sweeping.start_soon(self._limits.run)
            async with trio.open_nursery() as self._tasks:
                # Keeps the nursery open while there is no endpoint.
                self._tasks.start_soon(self._stopped.wait)
                task_status.started()
            sweeping.cancel_scope.cancel()

    def apply(self, config: Config) -> None:
        """Deliver as this configuration says from now on; attempts in flight finish as they began.

        Nothing is claimed for subscriptions that the queue holds. What is the same object as before
        goes on undisturbed. After `stop` this does nothing.
        """
        whole(self.applying(config))

    def applying(self, config: Config, released: Collection[str] = ()) -> Parts[None]:
        """Do the same in parts, and attempt what was released for the subscriptions in `released`.

        A subscription leaves its endpoint before it comes to another one: in between it is nowhere,
        and what is noted for it is lost, but it is asked for from the beginning where it comes to.
        """
        wanted: dict[str, dict[str, Subscription]] = defaultdict(dict)  # by URL
        templates = False
        for name, each in config.subscriptions.items():
            wanted[each.url][name] = each
            templates = templates or each.template is not None
            yield
        if self._stopped.is_set():
            return
        if templates:
            self.templates.start_early()
        self._urls = {name: each.url for name, each in config.subscriptions.items()}
        for url, running in list(self._running.items()):
            if url not in config.endpoints:
                running.task.retire()
                running.transport.allow(config.allow_networks)  # an attempt may connect once more
            else:
                here = wanted[url]
                running.task.leave([name for name in running.task.serving if name not in here])
            yield
        for url, endpoint in config.endpoints.items():
            if self._stopped.is_set():
                return  # what runs was retired for good
            # As they are by now: a receiver may have answered 410 meanwhile.
            holds = self._queue.holds
            here = wanted[url]
            here.pop(self.kept_back, None)
            subscriptions = {name: each for name, each in here.items() if holds.get(name) is None}
            current = self._running.get(url)
            if current is None or current.task.ended:
                part = f"endpoint {endpoint_name(url)} ({', '.join(wanted[url])})"
                self._start(endpoint, subscriptions, config.allow_networks, part)
            else:
                self._reconnect(current, endpoint, config.allow_networks)
                current.task.apply(endpoint, subscriptions)
            if released:
                self.attempt_released(name for name in subscriptions if name in released)
            yield

    def leave(self, subscriptions: Iterable[str]) -> None:
        """Start no attempt for these subscriptions until the next `apply`."""
        for name in subscriptions:
            if (running := self._running.get(self._urls.get(name, ""))) is not None:
                running.task.leave([name])

    def keep_back(self, subscription: str) -> None:
        """Start no attempt for this one until another one is named here, and `apply` comes after that."""
        self.kept_back = subscription
        self.leave([subscription])

    def outdate(self, subscriptions: Iterable[str]) -> None:
        """Say that the operator changed deliveries of these: claims under way start none of them."""
        self._in_flight.outdate(subscriptions)

    def wake(self, subscriptions: Iterable[str]) -> None:
        """Say that something new is due for these subscriptions."""
        for name in subscriptions:
            self.note(name, NOW)

    def note(self, subscription: str, at: float) -> None:
        """Say that something is due for a subscription at `at`, in Unix seconds, or NOW."""
        if (running := self._running.get(self._urls.get(subscription, ""))) is not None:
            running.task.note(subscription, at)

    def wake_all(self) -> None:
        """Have every endpoint look again at what is due."""
        self.wake(self._urls)

    def move_times(self, step: float) -> None:
        """Move the endpoints' times by a step of the clock, in seconds."""
        self._health = {url: moved_health(each, step) for url, each in self._health.items()}
        for running in self._running.values():
            running.task.move_times(step)

    def health_of(self, url: str) -> Health | None:
        """Return what is known here of an endpoint, None where nothing is. Another thread may ask."""
        running = self._running.get(url)
        return self._health.get(url) if running is None else running.task.health

    def standing(self) -> dict[str, Standing]:
        """Return how each endpoint stands now, by URL."""
        return {
            url: running.task.standing
            for url, running in self._running.items()
            if not running.task.retired
        }

    def pulses(self) -> dict[EndpointTask, Pulse]:
        """Return what shows whether each endpoint's task goes on."""
        return {running.task: running.task.pulse for running in self._running.values()}

    def is_behind(self) -> bool:
        """Tell whether an endpoint delivers as fast as it can, and more is due."""
        return any(running.task.is_behind for running in self._running.values())

    def in_flight(self, seqs: Iterable[int]) -> int:
        """Return how many of these deliveries are being attempted."""
        return self._in_flight.among(seqs)

    def attempted_at(self, seqs: frozenset[int]) -> Mapping[int, AttemptPlace]:
        """Return where those of these deliveries that are in flight are attempted."""
        return {
            seq: AttemptPlace(url, left=self._urls.get(subscription) != url)
            for url, running in self._running.items()
            for seq, subscription in running.task.attempting(seqs).items()
        }

    def in_flight_of(self, subscription: str) -> frozenset[int]:
        """Return the numbers of the subscription's deliveries that are being attempted."""
        return self._in_flight.of([subscription])

    async def take_token(self, url: str) -> None:
        """Wait for a token of this endpoint, for an attempt past the queue."""
        while (running := self._running.get(url)) is not None and not running.task.retired:
            if (wait_s := running.task.endpoint_health.take_token()) == 0.0:
                return
            await trio.sleep(wait_s)

    async def after_test(self, url: str, outcome: Outcome) -> None:
        """Take up what came of an attempt past the queue."""
        if (running := self._running.get(url)) is not None:
            await running.task.endpoint_health.after_test(outcome)

    async def lift_hold(self, url: str) -> bool:
        """End an endpoint's hold (Retry-After, 429) at once; say whether there was one."""
        running = self._running.get(url)
        return running is not None and await running.task.endpoint_health.lift_hold()

    def attempt_released(self, subscriptions: Iterable[str]) -> None:
        """Attempt what was released for these subscriptions, which the queue knows of already."""
        for name in subscriptions:
            if (running := self._running.get(self._urls.get(name, ""))) is not None:
                running.task.attempt_released(name)

    def held_until(self, url: str) -> float | None:
        """Return until when a 429 or 503 holds an endpoint back, in Unix seconds; None if it is not."""
        running = self._running.get(url)
        until = 0.0 if running is None else running.task.health.held_until
        return until if until > self._clock() else None

    def stop(self) -> None:
        """Start no attempt any more; `run` returns when those in flight have finished."""
        self._stopped.set()
        for running in self._running.values():
            running.task.retire()

    def _start(
        self,
        endpoint: Endpoint,
        subscriptions: Mapping[str, Subscription],
        networks: Sequence[Network],
        part: str,
    ) -> None:
        transport = self._make_transport(endpoint, networks)
        task = EndpointTask(
            endpoint,
            subscriptions,
            queue=self._queue,
            transport=transport,
            health=self.health_of(endpoint.url) or Health(),
            in_flight=self._in_flight,
            note_elsewhere=self.note,
            at_work=self._at_work,
            limits=self._limits,
            clock=self._clock,
            jitter=self._jitter,
            templates=self.templates,
        )
        running = _Running(task, transport)
        self._running[endpoint.url] = running
        if self._tasks is None:
            raise RuntimeError("apply comes after run has started")
        self._tasks.start_soon(self._run, endpoint.url, running, part)

    def _reconnect(
        self, running: _Running, endpoint: Endpoint, networks: Sequence[Network]
    ) -> None:
        """Have new connections made as the configuration says now."""
        if not endpoint.is_reached_as(running.task.standing.endpoint):
            running.transport.follow(self._make_transport(endpoint, networks))
        else:
            running.transport.allow(networks)

    async def _run(self, url: str, running: _Running, part: str) -> None:
        async with running.transport:
            await contained(running.task.run, part, clean_up=running.task.forget_under_way)
        if self._running.get(url) is running:
            self._health[url] = running.task.health
            del self._running[url]

    async def _close_idle_connections(self) -> None:
        while True:
            await trio.sleep(_IDLE_SWEEP_S)
            for running in list(self._running.values()):
                running.transport.close_idle(trio.current_time())
