"""Makes events of what producers hand over: checks each, and computes the body that receivers get.

Of several faults the first in the order of the event's keys is reported. No payload stands in a
reason; a key's, a type's or an id's text does, cut to 64 characters and escaped.
"""

import hashlib

from relayd.core.event import (
    MAX_BODY_BYTES,
    MAX_INPUT_BYTES,
    Column,
    Event,
    EventDefaults,
    Rejection,
    SpoolRow,
)
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
from relayd.core.js_json import MAX_DEPTH, JsonProblem, Parsed, parse_json
from relayd.core.json_text import JsonValue, encoded, plain_text, stringify
from relayd.core.object_id import object_id_of
from relayd.core.parts import Parts
from relayd.core.sliced_body import parse_in_slices, stringify_in_slices


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
) -> Parts[Event | Rejection]:
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
    return Event(
        id=event_id,
        type=kind,
        created=created,
        data=data,
        market_id=market,
        api_version=version,
        body=body,
        unfaithful=unfaithful,
        digest=digest,
        object_id=object_id_of(data),
    )


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
