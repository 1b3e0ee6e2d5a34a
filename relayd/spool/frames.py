"""What a reader and the daemon say to each other: frames with a bounded length, and their checks.

A frame has a head (its kind, a number, the length of its text and of its bytes), then JSON text,
then bytes. The daemon trusts no frame: `events_of` and its siblings raise `BadFrameError` for what
a reader of relayd's own would not have sent.
"""

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from relayd.core.event import (
    MAX_BODY_BYTES,
    Column,
    Event,
    EventDefaults,
    Rejection,
    SpoolRow,
)
from relayd.core.event_fields import (
    NotAnEventError,
    checked_created,
    checked_id,
    checked_label,
    checked_market,
    checked_type,
)
from relayd.core.json_text import HugeNumber, JsonValue, encoded, stringify

HEAD: Final = struct.Struct("!BIII")
TEXT_BYTES: Final = 512 * 1024
"""The longest text of a frame. Hostile JSON takes 30 times its size while it is parsed."""
_DIGEST_BYTES: Final = 32
EVENTS_BYTES: Final = MAX_BODY_BYTES + _DIGEST_BYTES
"""The most bytes that the events of one frame have together."""
EVENTS: Final = 100
"""The most events of one frame: the daemon's loop turns between two frames, for deliveries."""
ROWS_BYTES: Final = 17 * 1024 * 1024
"""The most bytes of one frame's rejected rows; a row has up to 16 MiB."""
VALUES_BYTES: Final = 64 * 1024
"""A row with longer values at the conditions' paths comes without them: the daemon looks itself."""
_TEXT_SHARE: Final = TEXT_BYTES // 2
_NAME: Final = 500
_REASON: Final = 2000
_COLUMN_COUNT: Final = 6
_FLAWS: Final = 20
_ROWS: Final = 20


class Kind(IntEnum):
    """What a frame is."""

    EVENTS = 1
    """Rows that are events. Its number is answered once they are durable."""
    REJECTED = 2
    """Rows that cannot be events, as found. Its number is answered once they are kept."""
    STATE = 3
    """How the spool is. Sent when that changes, and at least every few seconds."""
    DEFECT = 4
    """An exception that nobody expected; the reader ends."""
    SETTINGS = 16
    """From the daemon, first of all: what to read, and how."""
    PATHS = 17
    """From the daemon: the paths at which conditions look. Its number is their generation."""
    DONE = 18
    """From the daemon: the frame of this number is durable, except for what was refused."""


_MOST_BYTES: Final = {Kind.EVENTS: EVENTS_BYTES, Kind.REJECTED: ROWS_BYTES}


# One for all: `json.dumps` makes an encoder for each call where it is not asked for the usual form.
_ENTRY_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class BadFrameError(Exception):
    """A frame that no reader of ours sends; says what is wrong with it, without quoting it."""


@dataclass(frozen=True, slots=True)
class Head:
    """A frame's beginning, checked: what will follow, in bytes."""

    kind: Kind
    number: int
    text_bytes: int
    blob_bytes: int

    @property
    def size(self) -> int:
        """How many bytes follow."""
        return self.text_bytes + self.blob_bytes


@dataclass(frozen=True, slots=True)
class State:
    """How a spool is, as its reader sees it.

    `waits_for` says what keeps rows from being read or deleted. `undeleted` counts rows that are
    accepted and not deleted yet. `unconfined` says why the reader is not confined, None when it is.
    """

    waits_for: str | None
    undeleted: int
    unconfined: str | None


@dataclass(frozen=True, slots=True)
class Settings:
    """What a reader needs to know. `folder` is the real one, to which it is confined.

    `configured` is the path as configured, which must lead to `path`. `quarantined` has the keys
    of rows that are not to be read (see `core.poison`).
    """

    configured: str
    path: str
    table: str
    defaults: EventDefaults
    quarantined: Sequence[int] = ()
    paths: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A row that cannot be an event, as found, and why."""

    row: SpoolRow
    rejection: Rejection


def frame(kind: Kind, number: int, text: object, blob: bytes = b"") -> bytes:
    """Return a frame."""
    return _framed(kind, number, json.dumps(text, separators=(",", ":")), blob)


def _framed(kind: Kind, number: int, text: str, blob: bytes) -> bytes:
    # A value may hold half of a surrogate pair, which JSON's decoder lets through again.
    raw = text.encode("utf-8", "surrogatepass")
    return HEAD.pack(kind, number, len(raw), len(blob)) + raw + blob


def head_of(raw: bytes | bytearray, allowed: Iterable[Kind]) -> Head:
    """Return a frame's head. Raises `BadFrameError`."""
    number: int
    kind, number, text_bytes, blob_bytes = HEAD.unpack(raw)
    if kind not in allowed:
        raise BadFrameError(f"a frame of kind {kind}")
    if text_bytes > TEXT_BYTES or blob_bytes > _MOST_BYTES.get(kind, 0):
        raise BadFrameError(f"a frame of {text_bytes} and {blob_bytes} bytes")
    return Head(Kind(kind), number, text_bytes, blob_bytes)


def text_of(raw: bytes) -> Any:  # noqa: ANN401 - JSON, which each caller checks
    """Return a frame's text as what it says. Raises `BadFrameError`."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadFrameError(f"a frame that is not JSON ({type(error).__name__})") from None


# Settings, paths and answers, which come from the daemon and are trusted.


def settings_text(settings: Settings) -> dict[str, object]:
    """Return settings as a frame's text."""
    return {
        "configured": settings.configured,
        "path": settings.path,
        "table": settings.table,
        "defaults": [settings.defaults.market_id, settings.defaults.api_version],
        "markets": None if settings.defaults.markets is None else sorted(settings.defaults.markets),
        "quarantined": list(settings.quarantined),
        "paths": list(settings.paths),
    }


def settings_of(text: dict[str, Any]) -> Settings:
    """Return settings from a frame's text."""
    markets = text.pop("markets")
    allowed = None if markets is None else frozenset(markets)
    market_id, api_version = text["defaults"]
    return Settings(**{**text, "defaults": EventDefaults(market_id, api_version, allowed)})


# Events.


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
            and self._blob_size + _DIGEST_BYTES + len(event.body) <= EVENTS_BYTES
        )

    def text(self, event: Event, values: Sequence[list[object]]) -> str:
        """Return an event's part of the frame's text; `values` are those at each path, in order."""
        defaults = self._defaults
        market = None if event.market_id == defaults.market_id else event.market_id
        version = None if event.api_version == defaults.api_version else event.api_version
        flaws = [_cut(each, _NAME) for each in event.unfaithful] or None
        entry = [event.id, event.type, event.created, market, version, len(event.body), flaws]
        return f"[{_ENTRY_ENCODER.encode(entry)[1:-1]},{_values_text(values)}]"

    def add(self, text: str, event: Event) -> None:
        """Put an event into the frame that is being packed."""
        self._texts.append(text)
        self._text_size += 4 * len(text) + 1
        self._blobs += (event.digest, event.body)
        self._blob_size += _DIGEST_BYTES + len(event.body)

    def take(self, number: int, generation: int) -> bytes:
        """Return the frame, and begin a new one. `generation` is that of the paths."""
        text = f"[{generation},[{','.join(self._texts)}]]"
        raw = _framed(Kind.EVENTS, number, text, b"".join(self._blobs))
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
        for event_id, kind, created, market, version, size, flaws, values in entries:
            middle = start + _DIGEST_BYTES
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


def _flaws(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= _FLAWS:
        raise BadFrameError("unfaithful fields in another form")
    return tuple(_name(each) for each in value)


def _name(value: object) -> str:
    if not isinstance(value, str) or len(value) > _NAME:
        raise BadFrameError("a name that is not one")
    return _printable(value)


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


# Rejected rows.


def rejected_frames(rejected: Iterable[FoundRow]) -> Iterable[tuple[object, bytes, int]]:
    """Return the text, bytes and row count of frames that hold these rows, in order."""
    texts: list[object] = []
    blobs: list[bytes] = []
    size = 0
    for each in rejected:
        text, blob = _row_parts(each)
        if texts and (size + len(blob) > MAX_BODY_BYTES or len(texts) == _ROWS):
            yield texts, b"".join(blobs), len(texts)
            texts, blobs, size = [], [], 0
        texts.append(text)
        blobs.append(blob)
        size += len(blob)
    if texts:
        yield texts, b"".join(blobs), len(texts)


def _row_parts(each: FoundRow) -> tuple[object, bytes]:
    row = each.row
    blobs: list[bytes] = []
    columns: list[object] = []
    for column in (row.id, row.type, row.data, row.created, row.market_id, row.api_version):
        if isinstance(column, bytes):
            columns.append([len(column)])
            blobs.append(column)
        else:
            columns.append(column)
    reason = _cut(_printable(each.rejection.reason), _REASON)
    return [row.seq, each.rejection.code, reason, columns], b"".join(blobs)


def rejected_of(text: Any, blob: memoryview) -> list[FoundRow]:  # noqa: ANN401 - JSON
    """Return a frame's rejected rows. Raises `BadFrameError`."""
    try:
        found: list[FoundRow] = []
        start = 0
        for seq, code, reason, columns in text:
            values: list[Column] = []
            for column in columns:
                value, start = _column(column, blob, start)
                values.append(value)
            if len(values) != _COLUMN_COUNT:
                raise BadFrameError("a row of other columns")
            row = SpoolRow(_seq(seq), *values)
            found.append(FoundRow(row, Rejection(_code(code), _text(reason, _REASON))))
    except (ValueError, TypeError) as error:
        raise BadFrameError(f"rows in another form ({type(error).__name__})") from None
    if not found or start != len(blob):
        raise BadFrameError("more bytes than its rows have")
    return found


def _column(column: object, blob: memoryview, start: int) -> tuple[Column, int]:
    if isinstance(column, list):
        [size] = column
        if type(size) is not int or not 0 <= size <= len(blob) - start:
            raise BadFrameError("fewer bytes than its rows have")
        return bytes(blob[start : start + size]), start + size
    if column is None or isinstance(column, float) or _is_int64(column):
        return column, start  # type: ignore[return-value]  # mypy does not see through _is_int64
    raise BadFrameError("a column of another kind")


def _is_int64(value: object) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _seq(value: object) -> int:
    if not _is_int64(value):
        raise BadFrameError("a row's number that is not one")
    return value  # type: ignore[return-value]  # mypy does not see through _is_int64


def _code(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 64 or not value.isidentifier():
        raise BadFrameError("a code that is not one")
    return value


# State and defects.


def state_text(state: State) -> dict[str, object]:
    """Return a state as a frame's text."""
    waits_for = None if state.waits_for is None else _cut(_printable(state.waits_for), _REASON)
    return {
        "waits_for": waits_for,
        "undeleted": state.undeleted,
        "unconfined": None if state.unconfined is None else _cut(state.unconfined, _NAME),
    }


def state_of(text: Any) -> State:  # noqa: ANN401 - JSON
    """Return a state from a frame's text. Raises `BadFrameError`."""
    try:
        waits_for, undeleted = text["waits_for"], text["undeleted"]
        unconfined = text["unconfined"]
        if not _is_int64(undeleted):
            raise BadFrameError("a count that is not one")
        return State(
            None if waits_for is None else _text(waits_for, _REASON),
            undeleted,
            None if unconfined is None else _text(unconfined, _NAME),
        )
    except (TypeError, KeyError):
        raise BadFrameError("a state in another form") from None


def defect_of(text: Any) -> str:  # noqa: ANN401 - JSON
    """Return a traceback from a frame's text. Raises `BadFrameError`."""
    if not isinstance(text, str):
        raise BadFrameError("a defect in another form")
    return "\n".join(_printable(line) for line in text[:20_000].split("\n"))


def refused_of(text: Any) -> dict[int, Rejection]:  # noqa: ANN401 - JSON, from the daemon
    """Return what the daemon refused of a frame's events, by their places in it."""
    return {place: Rejection(code, reason) for place, code, reason in text}


def _text(value: object, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise BadFrameError("a text that is not one")
    return _printable(value)


def _printable(text: str) -> str:
    """Return text that a log, a terminal and a database take, as one line."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
