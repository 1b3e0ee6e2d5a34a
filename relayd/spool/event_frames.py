"""Frames of events: a reader packs them, the daemon checks them, and answers which it refused."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from relayd.core.event import MAX_BODY_BYTES, Event, EventDefaults, Rejection
from relayd.core.event_fields import (
    NotAnEventError,
    checked_created,
    checked_id,
    checked_label,
    checked_market,
    checked_type,
)
from relayd.core.json_text import HugeNumber, JsonValue, encoded, stringify
from relayd.core.object_id import id_text
from relayd.spool.frames import (
    DIGEST_BYTES,
    EVENTS_BYTES,
    NAME,
    TEXT_BYTES,
    BadFrameError,
    Kind,
    checked_text,
    cut,
    framed,
)

EVENTS: Final = 100
"""The most events of one frame: the daemon's loop turns between two frames, for deliveries."""
VALUES_BYTES: Final = 64 * 1024
"""A row with longer values at the conditions' paths comes without them: the daemon looks itself."""
_TEXT_SHARE: Final = TEXT_BYTES // 2
_FLAWS: Final = 20


class EventFrames:
    """Packs events into frames, none of them larger than may be sent."""

    def __init__(self, defaults: EventDefaults) -> None:
        self._defaults = defaults
        self._texts: list[str] = []
        self._blobs: list[bytes] = []
        self._text_size = 0
        self._blob_size = 0

    def __len__(self) -> int:
        return len(self._texts)

    def fits(self, text: str, event: Event) -> bool:
        """Tell whether an event may go into the frame that is being packed."""
        return not self._texts or (
            len(self._texts) < EVENTS
            and self._text_size + 4 * len(text) <= _TEXT_SHARE
            and self._blob_size + DIGEST_BYTES + len(event.body) <= EVENTS_BYTES
        )

    def text(self, event: Event, values: Sequence[list[object]]) -> str:
        """Return an event's part of the frame's text; `values` are those at each path, in order."""
        defaults = self._defaults
        market = None if event.market_id == defaults.market_id else event.market_id
        version = None if event.api_version == defaults.api_version else event.api_version
        flaws: JsonValue = [cut(each, NAME) for each in event.unfaithful] or None
        # An id and a type hold nothing that JSON escapes: see `event_fields`.
        return (
            f'["{event.id}","{event.type}",{event.created},{stringify(market)},{stringify(version)},'
            f"{len(event.body)},{stringify(flaws)},{stringify(event.object_id)},"
            f"{_values_text(values)}]"
        )

    def add(self, text: str, event: Event) -> None:
        """Put an event into the frame that is being packed."""
        self._texts.append(text)
        self._text_size += 4 * len(text) + 1
        self._blobs += (event.digest, event.body)
        self._blob_size += DIGEST_BYTES + len(event.body)

    def take(self, number: int, generation: int) -> bytes:
        """Return the frame, and begin a new one. `generation` is that of the paths."""
        text = f"[{generation},[{','.join(self._texts)}]]"
        raw = framed(Kind.EVENTS, number, text, b"".join(self._blobs))
        self._texts, self._blobs = [], []
        self._text_size = self._blob_size = 0
        return raw


def _values_text(values: Sequence[list[object]]) -> str:
    """Return values as conditions need them, as JSON: of lists and objects only that they are."""
    if not values:
        return "0"
    text = stringify([[_value(each) for each in found] for found in values])
    return text if len(text) * 4 <= VALUES_BYTES else "null"


def _value(value: object) -> JsonValue:
    if isinstance(value, HugeNumber):
        return HugeNumber("1e999" if value > 0 else "-1e999")
    if value is None or isinstance(value, str | int | float):
        return value
    return {}


class EventChecks:
    """Makes events of a reader's frames, after checking all that they say.

    The middle of a body, its `data`, is the spool's owner's business and is not read again.
    """

    def __init__(self, defaults: EventDefaults) -> None:
        self._defaults = defaults
        self._tails: dict[tuple[str, str], bytes] = {}

    def events(
        self,
        text: Any,  # noqa: ANN401 - JSON
        blob: memoryview,
        paths_of: Mapping[int, tuple[str, ...]],
    ) -> list[Event]:
        """Return a frame's events. `paths_of` has the paths of each generation that may be named.

        Raises `BadFrameError`.
        """
        try:
            generation, entries = text
            return self._events(entries, blob, paths_of[generation])
        except NotAnEventError as error:
            raise BadFrameError(f"an event that is not one: {error.code}") from None
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise BadFrameError(f"events in another form ({type(error).__name__})") from None

    def _events(self, entries: Any, blob: memoryview, paths: tuple[str, ...]) -> list[Event]:  # noqa: ANN401 - JSON
        if len(entries) > EVENTS:
            raise BadFrameError("more events than one frame has")
        events: list[Event] = []
        start = 0
        for event_id, kind, created, market, version, size, flaws, object_id, values in entries:
            middle = start + DIGEST_BYTES
            if type(size) is not int or not 0 < size <= MAX_BODY_BYTES:
                raise BadFrameError("a body of another size")
            end = middle + size
            if end > len(blob):
                raise BadFrameError("fewer bytes than its events have")
            event = Event(
                id=checked_id(event_id),
                type=checked_type(kind, own=False),
                created=_created(created),
                data=None,
                market_id=checked_market(market, self._defaults.market_id, self._defaults.markets),
                api_version=checked_label("api_version", version, self._defaults.api_version),
                body=bytes(blob[middle:end]),
                unfaithful=() if flaws is None else _flaws(flaws),
                digest=bytes(blob[start:middle]),
                values=_values(values, paths),
                object_id=_object_id(object_id),
            )
            self._check_body(event)
            events.append(event)
            start = end
        if not events or start != len(blob):
            raise BadFrameError("more bytes than its events have")
        return events

    def _check_body(self, event: Event) -> None:
        labels = (event.market_id, event.api_version)
        tail = self._tails.get(labels)
        if tail is None:
            market, version = map(stringify, labels)
            tail = encoded(f'}},"market_id":{market},"api_version":{version}}}')
            if len(self._tails) < 100:
                self._tails[labels] = tail
        head = f'{{"id":"{event.id}","type":"{event.type}","created":{event.created},"data":{{'
        body = event.body
        if (
            len(body) < len(head) + len(tail)
            or not body.startswith(head.encode())
            or not body.endswith(tail)
        ):
            raise BadFrameError("a body that is not its event's")


def _created(value: object) -> int:
    if type(value) is not int:
        raise BadFrameError("a time in another form")
    return checked_created(value)


def _object_id(value: object) -> str | None:
    if value is not None and (not isinstance(value, str) or id_text(value) is None):
        raise BadFrameError("an object's id in another form")
    return value


def _flaws(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= _FLAWS:
        raise BadFrameError("unfaithful fields in another form")
    return tuple(checked_text(each, NAME) for each in value)


def _values(values: object, paths: tuple[str, ...]) -> dict[str, list[object]]:
    if values is None or (values == 0 and not paths):
        return {}  # too long to be sent, or none is needed
    if not isinstance(values, list):
        raise BadFrameError("values in another form")
    found = dict(zip(paths, values, strict=True))
    for each in values:
        if not isinstance(each, list):
            raise BadFrameError("values in another form")
    return found


def refused_of(text: Any) -> dict[int, Rejection]:  # noqa: ANN401 - JSON, from the daemon
    """Return what the daemon refused of a frame's events, by their places in it."""
    return {place: Rejection(code, reason) for place, code, reason in text}
