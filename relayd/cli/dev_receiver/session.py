"""Receives deliveries until the wanted number has come; fails or delays as its script says."""

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

from relayd.cli.dev_receiver.received import Received, received
from relayd.cli.dev_receiver.receiver import Answer, Receiver, Request
from relayd.cli.secret_options import Key


@dataclass(frozen=True, slots=True)
class Script:
    """How to answer: the first `fail` requests, and of all others `fail_rate`, are failed."""

    fail: int
    fail_rate: float
    status: int
    retry_after_s: float | None
    delay_s: float


class Session:
    """Receives until the wanted number of requests has come. `answered_2xx` counts good answers.

    `forward` passes on what is neither failed on purpose nor refused, and returns the answer.
    """

    def __init__(
        self,
        key: Key | None,
        script: Script,
        wanted: int | None,
        tell: Callable[[Received, Answer | None], None],
        forward: Callable[[Request], Awaitable[Answer]] | None = None,
    ) -> None:
        self.requests = 0
        self.answered_2xx = 0
        self._key = key
        self._script = script
        self._wanted = wanted
        self._tell = tell
        self._forward = forward
        self._done = trio.Event()
        self._received: dict[int, Received] = {}

    async def run(
        self, listeners: Sequence[trio.SocketListener], listening: Callable[[str], None]
    ) -> None:
        """Tell the URL, and serve until the wanted number of requests was answered."""
        address = listeners[0].socket.getsockname()
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        listening(f"http://{shown}:{address[1]}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Receiver(self._respond, self._answered).serve, listeners)
            await self._done.wait()
            nursery.cancel_scope.cancel()

    async def _respond(self, request: Request) -> Answer:
        if request.method != "POST":
            return Answer(405, b"relayd listen takes POST\n", (("Allow", "POST"),))
        came = received(request, self._key, time.time())
        self._received[request.number] = came
        await trio.sleep(self._script.delay_s)
        if self._fails(request.number):
            after = self._script.retry_after_s
            headers = () if after is None else (("Retry-After", f"{after:.0f}"),)
            return Answer(self._script.status, b"failing on purpose\n", headers)
        if came.refused:
            return Answer(401, b"the signature is wrong\n")
        return Answer(200, b"ok\n") if self._forward is None else await self._forward(request)

    def _fails(self, number: int) -> bool:
        # Drawn for each, so that 0.3 fails three of ten, in no pattern that a receiver could learn.
        return number <= self._script.fail or random.random() < self._script.fail_rate  # noqa: S311 - guards nothing

    def _answered(self, request: Request, answer: Answer | None) -> None:
        came = self._received.pop(request.number, None)
        if came is None:
            return
        self.requests += 1
        self.answered_2xx += answer is not None and 200 <= answer.status < 300
        self._tell(came, answer)
        if self.requests == self._wanted:
            self._done.set()
