"""An endpoint's task over a queue in memory, on virtual time."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import httpx
import trio
from memory_queue import MemoryQueue

from relayd.at_work import AtWork
from relayd.core.endpoint import Endpoint, Health
from relayd.core.matching import Selection
from relayd.core.secret import Secret, SourcedSecret
from relayd.core.subscription import Subscription
from relayd.core.token_bucket import Rate
from relayd.delivery.endpoint_task import EndpointTask
from relayd.delivery.in_flight import InFlight
from relayd.delivery.worker_pool import TimeLimits

URL = "https://app.example/hook"
EPOCH = 1_700_000_000.0
FAST = Rate(100_000, 1.0)
Answer = Callable[[httpx.Request], Awaitable[httpx.Response]]


def subscription(name: str = "books", **changes: object) -> Subscription:
    plain = Subscription(
        name=name,
        url=URL,
        selection=Selection(events=("*",)),
        active=True,
        secret=SourcedSecret(Secret("a-secret-of-tests"), "text"),
        previous_secret=None,
        signature="locallygrown",
        timeout_s=10.0,
        retry=(120.0, 600.0),
        headers=(),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # the names are the fields'


@dataclass
class Bench:
    """An endpoint's task over a queue in memory and an answer of the test's choice."""

    queue: MemoryQueue = field(default_factory=MemoryQueue)
    starts: list[float] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    answer: Answer | None = None
    noted_elsewhere: list[tuple[str, float]] = field(default_factory=list)
    zero: float = field(default_factory=trio.current_time)
    at_work: AtWork = field(default_factory=AtWork.unrecorded)

    def now(self) -> float:
        return EPOCH + trio.current_time() - self.zero

    def elsewhere(self, name: str, at: float) -> None:
        self.noted_elsewhere.append((name, at))

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.starts.append(self.now() - EPOCH)
        self.requests.append(request)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return httpx.Response(200) if self.answer is None else await self.answer(request)
        finally:
            self.under_way -= 1

    @asynccontextmanager
    async def running(
        self,
        rate: Rate = FAST,
        max_in_flight: int = 8,
        subscriptions: tuple[Subscription, ...] = (),
        health: Health | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> AsyncIterator[EndpointTask]:
        each = subscriptions or (subscription(),)
        limits = TimeLimits()
        task = EndpointTask(
            Endpoint(each[0].url, rate, max_in_flight),
            {one.name: one for one in each},
            queue=self.queue,
            transport=transport or httpx.MockTransport(self.handle),
            health=health or Health(),
            in_flight=InFlight(),
            note_elsewhere=self.elsewhere,
            at_work=self.at_work,
            limits=limits,
            clock=self.now,
            jitter=lambda: 0.0,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(limits.run)
            nursery.start_soon(task.run)
            yield task
            nursery.cancel_scope.cancel()
