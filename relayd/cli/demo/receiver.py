"""The receiver of the demonstration: it fails its first request, and keeps what arrived."""

import time
from dataclasses import dataclass, field

import trio

from relayd.cli.dev_receiver.received import Received, received
from relayd.cli.dev_receiver.receiver import Answer, Request
from relayd.cli.secret_options import Key
from relayd.core.signature import ATTEMPT


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that was answered with `status`. `at` is a moment of trio's clock."""

    came: Received
    status: int
    at: float

    @property
    def event_id(self) -> str:
        """The id of the event that came, or nothing where there was none."""
        return self.came.event_id or ""

    @property
    def attempt(self) -> str:
        """The number of the attempt, as the header has it."""
        return self.came.request.header(ATTEMPT) or ""


@dataclass(slots=True)
class FailingOnce:
    """The receiver's side: fails the first request, and keeps what arrived."""

    key: Key
    arrivals: list[Arrival] = field(default_factory=list)
    more: trio.Event = field(default_factory=trio.Event)

    async def respond(self, request: Request) -> Answer:
        """Return 500 for the first request, and 200 for each other."""
        return Answer(500, b"failing on purpose") if request.number == 1 else Answer(200, b"ok")

    def answered(self, request: Request, answer: Answer | None) -> None:
        """Keep what came, and verify it."""
        status = 0 if answer is None else answer.status
        came = received(request, self.key, time.time())
        self.arrivals.append(Arrival(came, status, trio.current_time()))
        self.more.set()
        self.more = trio.Event()

    async def arrival(self, event_id: str, status: int) -> Arrival:
        """Return the first arrival of an event that was answered so, once it is there."""
        while True:
            for each in self.arrivals:
                if (each.event_id, each.status) == (event_id, status):
                    return each
            await self.more.wait()
