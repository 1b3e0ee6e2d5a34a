"""An event: what producers hand over, checked, with the body that every receiver gets.

Of several faults the first in the order of the event's keys is reported. No payload stands in a
reason; a key's, a type's or an id's text does, cut to 64 characters and escaped.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from relayd.core.body import MAX_DEPTH, JsonProblem, Parsed, parse_json
from relayd.core.event_fields import (
    KEYS,
    NotAnEventError,
    checked_created,
    checked_data,
    checked_id,
    checked_label,
    checked_market,
    checked_type,
    kind_of,
    unknown_key,
)
from relayd.core.json_text import JsonValue, encoded, plain_text, stringify
from relayd.core.sliced_body import Sliced, parse_in_slices, stringify_in_slices

MAX_BODY_BYTES: Final = 1_048_576
"""A body's largest size: 1 MiB, at which it is still delivered."""

MAX_INPUT_BYTES: Final = 4 * MAX_BODY_BYTES
"""A longer text is not even parsed. Escapes and spaces shrink on the way to a body: three times
where a producer writes Cyrillic letters or emoji as escapes, as Python does by default."""


@dataclass(frozen=True, slots=True)
class Event:
    """A valid event. Made by the functions below, which see to it that its parts agree.

    `created` is in Unix seconds. `body` is what receivers get. `data` is None where it was read by
    another process and is only in the body; `values` then has what that process found at the paths
    that conditions need, by path. `unfaithful` names the fields that not every receiver can carry
    unchanged, as `Parsed` does. `digest` is the SHA-256 of the type, NUL
    and the data as it stands in the body: it tells the same id with the same content from the
    same id with other content.
    """

    id: str
    type: str
    created: int
    data: dict[str, JsonValue] | None = field(repr=False)
    market_id: str
    api_version: str
    body: bytes = field(repr=False)
    unfaithful: tuple[str, ...]
    digest: bytes = field(repr=False)
    values: Mapping[str, list[object]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def envelope(self) -> dict[str, JsonValue]:
        """The event under its keys, as its body has them. Parses the body where `data` is None.

        Raises ValueError when another process made a body that is not what it says.
        """
        if self.data is None:
            return self._with_data(parse_json(self.body.decode()))
        return self._envelope(self.data)

    def envelope_in_slices(self) -> Sliced[dict[str, JsonValue]]:
        """Return the envelope, as a body that was not parsed yet has it, in slices."""
        parsed = yield from parse_in_slices(self.body.decode())
        return self._with_data(parsed)

    def _with_data(self, parsed: Parsed | JsonProblem) -> dict[str, JsonValue]:
        if isinstance(parsed, Parsed) and isinstance(parsed.value, dict):
            return self._envelope(checked_data(parsed.value.get("data")))
        raise ValueError(f"the body of {self.id} is not an event's")

    def _envelope(self, data: dict[str, JsonValue]) -> dict[str, JsonValue]:
        return {
            "id": self.id,
            "type": self.type,
            "created": self.created,
            "data": data,
            "market_id": self.market_id,
            "api_version": self.api_version,
        }

    @property
    def head(self) -> dict[str, JsonValue]:
        """The event under its keys, without its data."""
        return {
            "id": self.id,
            "type": self.type,
            "created": self.created,
            "market_id": self.market_id,
            "api_version": self.api_version,
        }


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why something cannot be an event.

    `code` is for programs: `invalid_json`, `invalid_text` (not UTF-8), `too_deep`, `too_large`,
    `not_an_object`, `unknown_key`, `missing_key`, `wrong_market`, or `invalid_` and the key; later on
    `id_conflict` (see `Acceptance`) and `quarantined` (see `core.poison`). `reason` is a sentence for
    people: what is wrong, and what would be right.
    """

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class EventDefaults:
    """What a source gives an event that does not say it itself, and what the event may say.

    `markets` are the markets that an event may name beside `market_id`; None lets it name any.
    """

    market_id: str
    api_version: str
    markets: frozenset[str] | None = frozenset()


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


def event_from_line(
    line: bytes, defaults: EventDefaults, *, new_id: str, now: int
) -> Event | Rejection:
    """Read an event from a JSON object with the event's keys, as producers write it to the socket.

    `type` and `data` are needed; for the others null is the same as absent: `new_id` is the id
    then, and `now` (Unix seconds) the time. Never raises, whatever the bytes.
    """
    try:
        parsed = _parsed(line, "the line", MAX_DEPTH)
        return _from_line(parsed, defaults, new_id=new_id, now=now)
    except NotAnEventError as refused:
        return Rejection(refused.code, refused.reason)


def event_from_line_in_slices(
    line: bytes, defaults: EventDefaults, *, new_id: str, now: int
) -> Sliced[Event | Rejection]:
    """Read an event as `event_from_line` does, in slices, for a line that takes long."""
    try:
        text = _decoded(_within_limit(line, "the line"), "the line")
        read = yield from parse_in_slices(text, max_depth=MAX_DEPTH, max_bytes=MAX_BODY_BYTES)
        parsed = _sound(read, "the line")
        del text, read
        data = parsed.value.get("data") if isinstance(parsed.value, dict) else None
        data_text = (yield from stringify_in_slices(data)) if isinstance(data, dict) else None
        return _from_line(parsed, defaults, new_id=new_id, now=now, data_text=data_text)
    except NotAnEventError as refused:
        return Rejection(refused.code, refused.reason)


def _from_line(
    parsed: Parsed,
    defaults: EventDefaults,
    *,
    new_id: str,
    now: int,
    data_text: str | None = None,
) -> Event:
    found = _object(parsed.value)
    created = found.get("created")
    return _event(
        event_id=new_id if found.get("id") is None else checked_id(found["id"]),
        kind=checked_type(found.get("type"), own=False),
        created=now if created is None else checked_created(created),
        data=checked_data(found.get("data")),
        market=checked_market(found.get("market_id"), defaults.market_id, defaults.markets),
        version=checked_label("api_version", found.get("api_version"), defaults.api_version),
        unfaithful=parsed.unfaithful,
        plain=parsed.plain,
        data_text=data_text,
    )


def event_from_row(row: SpoolRow, defaults: EventDefaults, *, now: int) -> Event | Rejection:
    """Read an event from a spool's row. `now` (Unix seconds) is the time where the row has none.

    Never raises, whatever the row holds.
    """
    try:
        event_id = checked_id(_text(row.id, "the row's id"))
        kind = checked_type(_text(row.type, "the row's type"), own=False)
        created = row.created
        if created is not None:
            created = checked_created(_text(created, "the row's created"))
        value: object = row.data
        unfaithful: tuple[str, ...] = ()
        plain = False
        if isinstance(value, bytes):
            # In the body it stands one level deeper.
            parsed = _parsed(value, "the row's data", MAX_DEPTH - 1)
            value, plain = parsed.value, parsed.plain
            if parsed.unfaithful:
                unfaithful = tuple(f"data.{path}" for path in parsed.unfaithful)
        data = checked_data(value)
        market = _text(row.market_id, "the row's market_id")
        market = checked_market(market, defaults.market_id, defaults.markets)
        version = _text(row.api_version, "the row's api_version")
        return _event(
            event_id=event_id,
            kind=kind,
            created=now if created is None else created,
            data=data,
            market=market,
            version=checked_label("api_version", version, defaults.api_version),
            unfaithful=unfaithful,
            plain=plain,
        )
    except NotAnEventError as refused:
        return Rejection(refused.code, refused.reason)


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
            event_id=checked_id(event_id),
            kind=checked_type(event_type, own=True),
            created=checked_created(created),
            data=checked_data(_parsed(text, "the data", MAX_DEPTH - 1).value),
            market=defaults.market_id,
            version=defaults.api_version,
            unfaithful=(),
        )
    except NotAnEventError as refused:
        raise ValueError(f"not an event of relayd's own: {refused.reason}") from None


def _event(
    *,
    event_id: str,
    kind: str,
    created: int,
    data: dict[str, JsonValue],
    market: str,
    version: str,
    unfaithful: tuple[str, ...],
    plain: bool = False,
    data_text: str | None = None,
) -> Event:
    """Put together what was checked.

    `plain` says that the data was parsed as plain. `data_text` is the data as it is printed, where
    that is known.
    """
    if data_text is None:
        data_text = plain_text(data) if plain else stringify(data)
    body = encoded(
        f'{{"id":"{event_id}","type":"{kind}","created":{created},"data":{data_text},'
        f'"market_id":{stringify(market)},"api_version":{stringify(version)}}}'
    )
    if len(body) > MAX_BODY_BYTES:
        raise NotAnEventError(
            "too_large",
            f"the event's body has {len(body)} bytes; it may have {MAX_BODY_BYTES} (1 MiB)",
        )
    digest = hashlib.sha256(encoded(f"{kind}\0{data_text}")).digest()
    return Event(event_id, kind, created, data, market, version, body, unfaithful, digest)


def _parsed(raw: bytes, what: str, max_depth: int) -> Parsed:
    text = _decoded(_within_limit(raw, what), what)
    return _sound(parse_json(text, max_depth=max_depth, max_bytes=MAX_BODY_BYTES), what)


def _within_limit(raw: bytes, what: str) -> bytes:
    if len(raw) > MAX_INPUT_BYTES:
        raise _too_large(what)
    return raw


def _sound(parsed: Parsed | JsonProblem, what: str) -> Parsed:
    if isinstance(parsed, JsonProblem):
        if parsed.code == "too_large":
            raise _too_large(what)
        raise NotAnEventError(parsed.code, f"{what} cannot be read: {parsed.reason}")
    return parsed


def _object(value: JsonValue) -> dict[str, JsonValue]:
    if not isinstance(value, dict):
        raise NotAnEventError(
            "not_an_object",
            f"the line holds {kind_of(value)}; it must be a JSON object with the event's keys: "
            + ", ".join(KEYS),
        )
    for key in value:
        if key not in KEYS:
            raise unknown_key(key)
    return value


def _text(column: Column, what: str) -> object:
    return _decoded(column, what) if isinstance(column, bytes) else column


def _decoded(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise NotAnEventError(
            "invalid_text", f"{what} is not valid UTF-8 from byte {error.start} on"
        ) from None


def _too_large(what: str) -> NotAnEventError:
    return NotAnEventError(
        "too_large", f"{what} is too long; an event's body may have {MAX_BODY_BYTES} bytes (1 MiB)"
    )
