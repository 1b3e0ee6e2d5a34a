"""The producers' socket: a line in is an event, and its answer comes once the event is durable."""

import secrets
from collections.abc import Callable, Sequence
from typing import Protocol

from relayd.at_work import AtWork
from relayd.core.acceptance import Acceptance, refusal
from relayd.core.event import MAX_INPUT_BYTES, Event, EventDefaults, Rejection, event_from_line
from relayd.core.framing import TooLong
from relayd.core.poison import POISON, line_key
from relayd.database import DatabaseBusyError, DatabaseError, DatabaseFullError

SOURCE = "socket"

LINE_BYTES = MAX_INPUT_BYTES
"""A line may be longer than the event's body in it: escapes and spaces shrink."""

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
    """Answers producers' lines. `defaults` may be replaced by a reload."""

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

    async def answer(self, lines: Sequence[bytes | TooLong]) -> list[dict[str, object]]:
        """Accept the events in these lines together, and answer each line."""
        now = int(self._clock())
        read = [self._read(line, now) for line in lines]
        events = [each for each in read if isinstance(each, Event)]
        try:
            accepted = iter(await self._intake.accept(events, SOURCE) if events else ())
        except (DatabaseFullError, DatabaseBusyError) as error:
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


def _answer(event: Event, acceptance: Acceptance) -> dict[str, object]:
    if refused := refusal(acceptance, event.id):
        return _refused(refused)
    duplicate = {"duplicate": True} if acceptance is Acceptance.DUPLICATE else {}
    return {"ok": True, "id": event.id, **duplicate}


def _refused(rejection: Rejection) -> dict[str, object]:
    return {"ok": False, "code": rejection.code, "error": rejection.reason}


def _unavailable(error: DatabaseError) -> dict[str, object]:
    return {
        "ok": False,
        "code": "unavailable",
        "error": f"relayd cannot store events now ({error.reason}); try again later",
    }
