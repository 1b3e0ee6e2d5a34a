"""The producers' socket: a line in is an event, and its answer comes once the event is durable."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from relayd.at_work import AtWork
from relayd.core.acceptance import Acceptance, refusal
from relayd.core.body import SURROGATE_ESCAPE
from relayd.core.event import (
    MAX_INPUT_BYTES,
    Event,
    EventDefaults,
    Rejection,
    event_from_line,
    event_from_line_in_slices,
)
from relayd.core.framing import TooLong
from relayd.core.poison import POISON, line_key
from relayd.core.sliced_body import Sliced
from relayd.queue.interface import QueueUnavailable
from relayd.sources.loop_time import SLICE_S, LoopTime
from relayd.sources.shares import Shares

SOURCE = "socket"

LINE_BYTES = MAX_INPUT_BYTES
"""A line may be longer than the event's body in it: escapes and spaces shrink."""

MEMORY_BYTES: Final = 40 * 1024 * 1024
"""What the lines of all connections may take as objects, from when they are read until they are
durable. A line of 1 MiB takes up to 45 MB alone; it waits until it can have what one user may."""

MEMORY_OF_ONE_USER: Final = 32 * 1024 * 1024

_LEAST_BYTES: Final = 8 * 1024
"""What a short line counts. It takes less, but this also bounds how many are under way, to 4,096 of
a user and 5,120 in all: what they cost the loop after a commit, and how long a commit takes."""

_BATCH_BYTES: Final = 4 * 1024 * 1024
_SHORT: Final = 1_024
_LONG: Final = 16_384
_MANY_VALUES: Final = 400
_NARROW: Final = bytes(range(0xF0))
"""Every byte of UTF-8 but those that begin a character beyond U+FFFF."""

_TOO_LONG = Rejection(
    "too_large", f"the line is longer than {LINE_BYTES} bytes; an event has at most 1 MiB"
)


class SocketIntake(Protocol):
    """What the socket needs of intake."""

    async def accept(self, events: Sequence[Event], source: str) -> Sequence[Acceptance]:
        """Accept events, in one transaction; they are durable when this returns."""


def new_event_id() -> str:
    """Return an id for an event that came without one, as the spool's table makes them."""
    return f"evt_{secrets.token_hex(16)}"


class EventLines:
    """Answers producers' lines. `defaults` may be replaced by a reload.

    The lines of all connections together are bounded in the memory and in the loop's time that they
    take: until an event is durable it is held as objects, 30 times the size of its line or more.
    """

    def __init__(
        self,
        intake: SocketIntake,
        defaults: EventDefaults,
        clock: Callable[[], float],
        at_work: AtWork,
    ) -> None:
        self.defaults = defaults
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
        for batch, memory in _batches(lines):
            async with self._memory.taken(uid, memory):
                answers += await self._accept(batch, uid)
        return answers

    async def _accept(self, lines: Sequence[bytes | TooLong], uid: int) -> list[dict[str, object]]:
        now = int(self._clock())
        if self._time.is_up():
            await self._time.turn(uid)
        read: list[Event | Rejection] = []
        began = self._time.clock()
        for line in lines:
            if isinstance(line, bytes) and _takes_long(line):
                self._time.charge(self._time.clock() - began)
                read.append(await self._read_in_slices(line, now, uid))
                began = self._time.clock()
                continue
            read.append(self._read(line, now))
            took = self._time.clock() - began
            if took >= SLICE_S:
                self._time.charge(took)
                await self._time.turn(uid)
                began = self._time.clock()
        self._time.charge(self._time.clock() - began)
        events = [each for each in read if isinstance(each, Event)]
        try:
            accepted = iter(await self._intake.accept(events, SOURCE) if events else ())
        except QueueUnavailable as error:
            unavailable = _unavailable(error)
            return [unavailable if isinstance(each, Event) else _refused(each) for each in read]
        return [
            _answer(each, next(accepted)) if isinstance(each, Event) else _refused(each)
            for each in read
        ]

    def _read(self, line: bytes | TooLong, now: int) -> Event | Rejection:
        if isinstance(line, TooLong):
            return _TOO_LONG
        if (key := line_key(line)) in self._at_work.poison:
            return POISON
        return self._at_work.call(
            key, event_from_line, line, self.defaults, new_id=new_event_id(), now=now
        )

    async def _read_in_slices(self, line: bytes, now: int, uid: int) -> Event | Rejection:
        if (key := line_key(line)) in self._at_work.poison:
            return POISON
        reading = event_from_line_in_slices(line, self.defaults, new_id=new_event_id(), now=now)
        return await self._at_work.drive(key, self._in_turns(reading, uid))

    async def _in_turns(self, reading: Sliced[Event | Rejection], uid: int) -> Event | Rejection:
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


def _batches(lines: Sequence[bytes | TooLong]) -> Iterator[tuple[list[bytes | TooLong], int]]:
    """Divide lines into batches, and say what memory each one takes."""
    batch: list[bytes | TooLong] = []
    memory = 0
    for line in lines:
        needed = _memory(line)
        if batch and memory + needed > _BATCH_BYTES:
            yield batch, memory
            batch, memory = [], 0
        batch.append(line)
        memory += needed
    if batch:
        yield batch, memory


def _memory(line: bytes | TooLong) -> int:
    """Estimate what a line takes from now until its event is durable.

    Measured: an event about 1.5 kB, an object in it 240 bytes, a list 90, any other value 60, a
    number that overflows 120. A line that is read in slices is at its largest as four texts at once,
    beside its own bytes and the body's; other lines are that one after the other, and then one text.
    """
    size = len(line) if isinstance(line, bytes) else 0
    if size <= _SHORT:
        return _LEAST_BYTES
    assert isinstance(line, bytes)
    number = 120 if b"e" in line or b"E" in line else 60
    values = 240 * line.count(b"{") + 90 * line.count(b"[") + number * line.count(b",")
    texts = 2 + 4 * _width(line) if size > _LONG else 3 + _width(line)
    return max(_LEAST_BYTES, 1_500 + texts * size + values)


def _width(line: bytes) -> int:
    """Return how many bytes Python may take for each character, which the widest one decides."""
    escapes = b"\\u" in line
    if line.isascii() and not escapes:
        return 1
    if line.translate(None, _NARROW) or (escapes and SURROGATE_ESCAPE.search(line)):
        return 4
    return 2


def _takes_long(line: bytes) -> bool:
    """Tell whether reading a line may take more than about a millisecond of Python."""
    size = len(line)
    if size <= _SHORT:
        return False
    return size > _LONG or line.count(b",") + line.count(b"{") + line.count(b"[") > _MANY_VALUES


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
