"""An event: what producers hand over, checked, with the body that every receiver gets.

Of several faults the first in the order of the event's keys is reported. No payload stands in a
reason; a key's, a type's or an id's text does, cut to 64 characters and escaped.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from relayd.core.body import MAX_DEPTH, JsonProblem, JsonValue, Parsed, parse_json, stringify
from relayd.core.patterns import OWN_PREFIX

MAX_BODY_BYTES: Final = 1_048_576
"""A body's largest size: 1 MiB, at which it is still delivered."""

MAX_INPUT_BYTES: Final = 4 * MAX_BODY_BYTES
"""A longer text is not even parsed. Escapes and spaces shrink on the way to a body: three times
where a producer writes Cyrillic letters or emoji as escapes, as Python does by default."""

MAX_CREATED: Final = 2**53 - 1
_MAX_NAME: Final = 128
_SHOWN: Final = 64
_ID: Final = re.compile(rf"[A-Za-z0-9_:-]{{1,{_MAX_NAME}}}")
_TYPE: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_LABEL: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,256}")
_KEYS: Final = ("id", "type", "created", "data", "market_id", "api_version")
_KINDS: Final[Mapping[type, str]] = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "true or false",
    type(None): "null",
}


@dataclass(frozen=True, slots=True)
class Event:
    """A valid event. Made by the functions below, which see to it that its parts agree.

    `created` is in Unix seconds. `body` is what receivers get. `unfaithful` names the fields that
    JavaScript cannot carry unchanged, as `Parsed` does. `digest` is the SHA-256 of the type, NUL
    and the data as it stands in the body: it tells the same id with the same content from the
    same id with other content.
    """

    id: str
    type: str
    created: int
    data: dict[str, JsonValue] = field(repr=False)
    market_id: str
    api_version: str
    body: bytes = field(repr=False)
    unfaithful: tuple[str, ...]
    digest: bytes = field(repr=False)

    @property
    def envelope(self) -> dict[str, JsonValue]:
        """The event under its keys, as its body has them."""
        return {
            "id": self.id,
            "type": self.type,
            "created": self.created,
            "data": self.data,
            "market_id": self.market_id,
            "api_version": self.api_version,
        }


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why something cannot be an event.

    `code` is for programs: `invalid_json`, `invalid_text` (no UTF-8, or a lone surrogate),
    `too_deep`, `too_large`, `not_an_object`, `unknown_key`, `missing_key`, or `invalid_` and the
    key. `reason` is a sentence for people: what is wrong, and what would be right.
    """

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class EventDefaults:
    """What an event gets that does not say it itself."""

    market_id: str
    api_version: str


Column = bytes | int | float | None


@dataclass(frozen=True, slots=True)
class SpoolRow:
    """A row as SQLite has it: text as its bytes, since it may be no UTF-8, or hold NUL."""

    seq: int
    id: Column
    type: Column
    data: Column = field(repr=False)
    created: Column
    market_id: Column
    api_version: Column


class _RefusedError(Exception):
    """It is no event. It never leaves this module."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code)
        self.rejection = Rejection(code, reason)


def event_from_line(
    line: bytes, defaults: EventDefaults, *, new_id: str, now: int
) -> Event | Rejection:
    """Read an event from a JSON object with the event's keys, as producers write it to the socket.

    `type` and `data` are needed; for the others null is the same as absent: `new_id` is the id
    then, and `now` (Unix seconds) the time. Never raises, whatever the bytes.
    """
    try:
        parsed = _parsed(line, "the line", MAX_DEPTH)
        found = _object(parsed.value)
        created = found.get("created")
        return _event(
            event_id=new_id if found.get("id") is None else _checked_id(found["id"]),
            kind=_checked_type(found.get("type"), own=False),
            created=now if created is None else _checked_created(created),
            data=_checked_data(found.get("data")),
            market=_label("market_id", found.get("market_id"), defaults.market_id),
            version=_label("api_version", found.get("api_version"), defaults.api_version),
            unfaithful=parsed.unfaithful,
        )
    except _RefusedError as refused:
        return refused.rejection


def event_from_row(row: SpoolRow, defaults: EventDefaults, *, now: int) -> Event | Rejection:
    """Read an event from a spool's row. `now` (Unix seconds) is the time where the row has none.

    Never raises, whatever the row holds.
    """
    try:
        event_id = _checked_id(_text(row.id, "the row's id"))
        kind = _checked_type(_text(row.type, "the row's type"), own=False)
        created = row.created
        if created is not None:
            created = _checked_created(_text(created, "the row's created"))
        value: object = row.data
        unfaithful: tuple[str, ...] = ()
        if isinstance(value, bytes):
            # In the body it stands one level deeper.
            parsed = _parsed(value, "the row's data", MAX_DEPTH - 1)
            value = parsed.value
            if parsed.unfaithful:
                unfaithful = tuple(f"data.{path}" for path in parsed.unfaithful)
        data = _checked_data(value)
        market = _text(row.market_id, "the row's market_id")
        market = _label("market_id", market, defaults.market_id)
        version = _text(row.api_version, "the row's api_version")
        return _event(
            event_id=event_id,
            kind=kind,
            created=now if created is None else created,
            data=data,
            market=market,
            version=_label("api_version", version, defaults.api_version),
            unfaithful=unfaithful,
        )
    except _RefusedError as refused:
        return refused.rejection


def own_event(
    event_type: str,
    data: dict[str, JsonValue],
    *,
    event_id: str,
    created: int,
    defaults: EventDefaults,
) -> Event:
    """Make one of relayd's own events, whose type begins with `relayd.`.

    What a file name or an error brought that is no Unicode becomes `?`. Raises ValueError when
    this makes no event: relayd's own are right, or there is a defect.
    """
    text = stringify(data).encode("utf-8", "replace")
    try:
        return _event(
            event_id=_checked_id(event_id),
            kind=_checked_type(event_type, own=True),
            created=_checked_created(created),
            data=_checked_data(_parsed(text, "the data", MAX_DEPTH - 1).value),
            market=defaults.market_id,
            version=defaults.api_version,
            unfaithful=(),
        )
    except _RefusedError as refused:
        raise ValueError(f"no event of relayd's own: {refused.rejection.reason}") from None


def _event(
    *,
    event_id: str,
    kind: str,
    created: int,
    data: dict[str, JsonValue],
    market: str,
    version: str,
    unfaithful: tuple[str, ...],
) -> Event:
    """Put together what was checked."""
    data_text = stringify(data)
    body = (
        f'{{"id":"{event_id}","type":"{kind}","created":{created},"data":{data_text},'
        f'"market_id":{stringify(market)},"api_version":{stringify(version)}}}'
    ).encode()
    if len(body) > MAX_BODY_BYTES:
        raise _RefusedError(
            "too_large",
            f"the event's body has {len(body)} bytes; it may have {MAX_BODY_BYTES} (1 MiB)",
        )
    digest = hashlib.sha256(f"{kind}\0{data_text}".encode()).digest()
    return Event(event_id, kind, created, data, market, version, body, unfaithful, digest)


def _parsed(raw: bytes, what: str, max_depth: int) -> Parsed:
    if len(raw) > MAX_INPUT_BYTES:
        raise _too_large(what)
    parsed = parse_json(_decoded(raw, what), max_depth=max_depth, max_bytes=MAX_BODY_BYTES)
    if isinstance(parsed, JsonProblem):
        if parsed.code == "too_large":
            raise _too_large(what)
        raise _RefusedError(parsed.code, f"{what} cannot be read: {parsed.reason}")
    return parsed


def _object(value: JsonValue) -> dict[str, JsonValue]:
    if not isinstance(value, dict):
        raise _RefusedError(
            "not_an_object",
            f"the line holds {_kind(value)}; it must be a JSON object with the event's keys: "
            + ", ".join(_KEYS),
        )
    for key in value:
        if key not in _KEYS:
            raise _unknown_key(key)
    return value


def _text(column: Column, what: str) -> object:
    return _decoded(column, what) if isinstance(column, bytes) else column


def _decoded(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise _RefusedError(
            "invalid_text", f"{what} is not valid UTF-8 from byte {error.start} on"
        ) from None


def _too_large(what: str) -> _RefusedError:
    return _RefusedError(
        "too_large", f"{what} is too long; an event's body may have {MAX_BODY_BYTES} bytes (1 MiB)"
    )


def _unknown_key(key: str) -> _RefusedError:
    nearest = get_close_matches(key[:_SHOWN], _KEYS, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"an event has {', '.join(_KEYS)}"
    return _RefusedError("unknown_key", f"an event has no key {_shown(key)}; {hint}")


def _checked_id(value: object) -> str:
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    if value is None:
        raise _RefusedError("missing_key", "the event has no id; give it one, such as evt_1")
    raise _RefusedError(
        "invalid_id",
        f"the id is {_shown(value)}; it must be 1 to {_MAX_NAME} letters of a-z and A-Z, digits, "
        "_, - or :",
    )


def _checked_type(value: object, *, own: bool) -> str:
    if value is None:
        raise _RefusedError(
            "missing_key", "the event has no type; give it one, such as order.created"
        )
    if not (isinstance(value, str) and len(value) <= _MAX_NAME and _TYPE.fullmatch(value)):
        raise _RefusedError(
            "invalid_type",
            f"the type is {_shown(value)}; it must be lower-case words joined by dots, such as "
            f"order.created, and at most {_MAX_NAME} characters",
        )
    if value.startswith(OWN_PREFIX) is not own:
        raise _RefusedError(
            "invalid_type",
            f"the type is {_shown(value)}; types that begin with {OWN_PREFIX} are for "
            "relayd's own events, and for them only",
        )
    return value


def _checked_created(value: object) -> int:
    # JavaScript knows no difference between 1640995200 and 1640995200.0.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_CREATED:
        return value
    found = "another number" if isinstance(value, int | float) else _kind(value)
    raise _RefusedError(
        "invalid_created",
        f"created is {found}; it must be a whole number of Unix seconds, such as 1640995200",
    )


def _checked_data(value: object) -> dict[str, JsonValue]:
    if isinstance(value, dict):
        return value
    example = 'such as {"object":{"id":"order_456"}}'
    if value is None:
        raise _RefusedError(
            "missing_key", f"the event has no data; give it a JSON object, {example}"
        )
    raise _RefusedError(
        "invalid_data", f"data is {_kind(value)}; it must be a JSON object, {example}"
    )


def _label(key: str, value: object, default: str) -> str:
    """Check a market_id or an api_version; the configuration's is checked already."""
    if value is None:
        return default
    if isinstance(value, str) and _LABEL.fullmatch(value):
        return value
    found = "empty, too long or unprintable" if isinstance(value, str) else _kind(value)
    raise _RefusedError(
        f"invalid_{key}",
        f"{key} is {found}; it must be text of 1 to 256 characters without control characters",
    )


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "a number")


def _shown(value: object) -> str:
    """Show text so that no control character passes; of anything else its kind."""
    if not isinstance(value, str):
        return _kind(value)
    return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}…"
