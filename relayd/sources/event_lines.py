"""Lines from a Unix socket, each an event: reads them, accepts the events, and answers each line."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from relayd.core.acceptance import TOKEN_REUSED, Acceptance, RejectedRow, refusal
from relayd.core.event import MAX_INPUT_BYTES, Event, EventDefaults, Rejection, SpoolRow
from relayd.core.event_input import event_from_line, event_from_line_in_slices
from relayd.core.framing import TooLong
from relayd.core.parts import Parts
from relayd.core.quarantine import POISON, line_key
from relayd.core.webhook import Webhook
from relayd.crash_journal import AtWork
from relayd.queue.interface import QueueUnavailable
from relayd.sources.line_memory import batches, takes_long
from relayd.sources.loop_time import SLICE_S, LoopTime
from relayd.sources.source import SourceIntake
from relayd.unix_socket.shares import Shares

LINE_BYTES = MAX_INPUT_BYTES
"""A line may be longer than the event's body in it: escapes and spaces shrink."""

MEMORY_BYTES: Final = 40 * 1024 * 1024
"""What the lines of all connections may take as objects, from when they are read until they are
durable. A line of 1 MiB takes up to 45 MB alone; it waits until it can have what one user may."""

MEMORY_OF_ONE_USER: Final = 32 * 1024 * 1024

_TOO_LONG = Rejection(
    "too_large", f"the line is longer than {LINE_BYTES} bytes; an event has at most 1 MiB"
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a line's event comes from: its source's name, and what it has by default.

    `id` is that of an event that names none; where it is empty, one is made. `webhook` is what it was made
    of, and `rejection` why that is no event: then there is none to read.
    """

    source: str
    defaults: EventDefaults
    id: str = ""
    webhook: Webhook | None = None
    rejection: Rejection | None = None


Address = Callable[[bytes], tuple[Origin, bytes] | Rejection]
"""Returns a line's origin and the line as producers write it, or why it has none."""

_Read = Event | Rejection | RejectedRow
"""What a line is: an event, none, or rejected input to be kept."""


def new_event_id() -> str:
    """Return an id for an event that came without one, as the spool's table makes them."""
    return f"evt_{secrets.token_hex(16)}"


class EventLines:
    """Answers lines. `address` may be replaced by a reload.

    The lines of all connections together are bounded in the memory and in the loop's time that they
    take: until an event is durable it is held as objects, 30 times the size of its line or more.
    """

    def __init__(
        self,
        intake: SourceIntake,
        address: Address,
        clock: Callable[[], float],
        at_work: AtWork,
    ) -> None:
        self.address = address
        self._intake = intake
        self._clock = clock
        self._at_work = at_work
        self._memory = Shares(MEMORY_BYTES, MEMORY_OF_ONE_USER)
        self._time = LoopTime()

    async def run(self) -> None:
        """Give lines their turns on the loop, until cancelled. Without it nothing large is read."""
        await self._time.run()

    async def answer(self, lines: Sequence[bytes | TooLong], uid: int) -> list[dict[str, object]]:
        """Accept the events in these lines of a user, and answer each line.

        They are accepted together, as far as the memory that they take allows.
        """
        answers: list[dict[str, object]] = []
        for batch, memory in batches(lines):
            async with self._memory.taken(uid, memory):
                answers += await self._accept(batch, uid)
        return answers

    async def _accept(self, lines: Sequence[bytes | TooLong], uid: int) -> list[dict[str, object]]:
        now = int(self._clock())
        if self._time.is_up():
            await self._time.turn(uid)
        read: list[tuple[str, Webhook | None, _Read]] = []
        began = self._time.clock()
        for line in lines:
            addressed = _TOO_LONG if isinstance(line, TooLong) else self.address(line)
            if isinstance(addressed, Rejection):
                read.append(("", None, addressed))
                continue
            origin, text = addressed
            if origin.rejection is not None:
                read.append((origin.source, None, _rejected(origin, origin.rejection, text)))
                continue
            if takes_long(text):
                self._time.charge(self._time.clock() - began)
                found = await self._read_in_slices(text, origin, now, uid)
                read.append((origin.source, origin.webhook, found))
                began = self._time.clock()
                continue
            read.append((origin.source, origin.webhook, self._read(text, origin, now)))
            took = self._time.clock() - began
            if took >= SLICE_S:
                self._time.charge(took)
                await self._time.turn(uid)
                began = self._time.clock()
        self._time.charge(self._time.clock() - began)
        events: dict[tuple[str, bool], list[tuple[Event, Webhook | None]]] = {}
        for source, webhook, each in read:
            if isinstance(each, Event):
                events.setdefault((source, webhook is not None), []).append((each, webhook))
        answers = {
            source: iter(await self._take(source[0], each)) for source, each in events.items()
        }
        return [
            next(answers[source, webhook is not None])
            if isinstance(each, Event)
            else _refused(each)
            if isinstance(each, Rejection)
            else await self._keep(each)
            for source, webhook, each in read
        ]

    async def _take(
        self, source: str, events: Sequence[tuple[Event, Webhook | None]]
    ) -> list[dict[str, object]]:
        webhooks = [webhook for _, webhook in events if webhook is not None]
        taken = [event for event, _ in events]
        try:
            accepted = await self._intake.accept(taken, source, webhooks)
        except QueueUnavailable as error:
            return [_unavailable(error)] * len(events)
        return [_answer(*each) for each in zip(taken, accepted, strict=True)]

    async def _keep(self, rejected: RejectedRow) -> dict[str, object]:
        """Keep rejected input, and say so once that is durable."""
        try:
            found = await self._intake.reject([rejected])
        except QueueUnavailable as error:
            return _unavailable(error)
        if found.refused:
            return _refused(TOKEN_REUSED)
        return {"ok": True, "duplicate" if found.duplicates else "rejected": True}

    def _read(self, line: bytes, origin: Origin, now: int) -> Event | Rejection:
        if (key := line_key(line)) in self._at_work.poison:
            return POISON
        new_id = origin.id or new_event_id()
        read = self._at_work.call(
            key, event_from_line, line, origin.defaults, new_id=new_id, now=now
        )
        return _of_one_id(read, origin)

    async def _read_in_slices(
        self, line: bytes, origin: Origin, now: int, uid: int
    ) -> Event | Rejection:
        if (key := line_key(line)) in self._at_work.poison:
            return POISON
        reading = event_from_line_in_slices(
            line, origin.defaults, new_id=origin.id or new_event_id(), now=now
        )
        return _of_one_id(await self._at_work.drive(key, self._in_turns(reading, uid)), origin)

    async def _in_turns(self, reading: Parts[Event | Rejection], uid: int) -> Event | Rejection:
        clock = self._time.clock
        began = clock()
        while True:
            try:
                next(reading)
            except StopIteration as end:
                self._time.charge(clock() - began)
                result: Event | Rejection = end.value
                return result
            took = clock() - began
            if took >= SLICE_S:
                self._time.charge(took)
                await self._time.turn(uid)
                began = clock()


def _rejected(origin: Origin, rejection: Rejection, raw: bytes) -> RejectedRow:
    provider_id = None if origin.webhook is None else origin.webhook.provider_id.encode()
    row = SpoolRow(0, provider_id, None, raw, None, origin.defaults.market_id.encode(), None)
    return RejectedRow(origin.source, row, rejection, origin.webhook)


def _of_one_id(read: Event | Rejection, origin: Origin) -> Event | Rejection:
    """Return what was read; a rejection where the event names another id than its origin does."""
    if isinstance(read, Event) and origin.id and read.id != origin.id:
        return Rejection("two_ids", "Idempotency-Key and the event's id differ; send one of them")
    return read


def _answer(event: Event, acceptance: Acceptance) -> dict[str, object]:
    if refused := refusal(acceptance, event.id):
        return _refused(refused)
    duplicate = {"duplicate": True} if acceptance is Acceptance.DUPLICATE else {}
    return {"ok": True, "id": event.id, **duplicate}


def _refused(rejection: Rejection) -> dict[str, object]:
    return {"ok": False, "code": rejection.code, "error": rejection.reason}


def _unavailable(error: QueueUnavailable) -> dict[str, object]:
    return {
        "ok": False,
        "code": "unavailable",
        "error": f"relayd cannot store events now ({error.reason}); try again later",
    }
