"""What a provider says of one event, before it is an event of relayd's; and reading it from JSON."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isfinite
from typing import Final

from relayd.core.event import MAX_BODY_BYTES, Rejection
from relayd.core.event_fields import MAX_CREATED
from relayd.core.inbound.request import NotMappableError
from relayd.core.js_json import MAX_DEPTH, JsonProblem, parse_json
from relayd.core.json_text import JsonValue
from relayd.core.object_id import LONGEST, id_text

LONGEST_TYPE: Final = 256
"""Characters of a provider's type that are looked at."""

_BETWEEN_WORDS: Final = re.compile(r"[./:\[\]\s]+")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NOT_A_WORD: Final = re.compile(r"[^a-z0-9_]+")
_LATEST_SECONDS: Final = 99_999_999_999
"""A larger number of seconds is one of milliseconds."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """The parts of an event, as the provider gives them.

    `types` are the provider's names for what happened, the most exact one first. `created` is in Unix
    seconds, and None where it does not say. `api_version` is None where it has none. Where the request
    has no `id` or no `types` that can be read, these are empty, and `lacking` says why, under `id` or `type`.
    """

    id: str
    types: tuple[str, ...]
    created: int | None
    data: dict[str, JsonValue] = field(repr=False)
    api_version: str | None = None
    livemode: bool | None = None
    lacking: Mapping[str, Rejection] = field(default_factory=dict)


def json_value(body: bytes) -> JsonValue:
    """Return the value of a JSON body. Raises `NotMappableError`."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise NotMappableError(
            "invalid_text", f"the body is not valid UTF-8 from byte {error.start} on"
        ) from None
    # In the event it is up to three levels deeper. What is too large for one is not read at all.
    parsed = parse_json(text, max_depth=MAX_DEPTH - 3, max_bytes=MAX_BODY_BYTES)
    if isinstance(parsed, JsonProblem):
        raise NotMappableError(parsed.code, f"the body cannot be read: {parsed.reason}")
    return parsed.value


def json_object(body: bytes) -> dict[str, JsonValue]:
    """Return the object that a JSON body is. Raises `NotMappableError`."""
    found = json_value(body)
    if not isinstance(found, dict):
        raise NotMappableError("not_an_object", "the body is not a JSON object")
    return found


def text_of(found: Mapping[str, JsonValue], key: str) -> str | None:
    """Return the text under a key; None for anything else, and for an empty text."""
    value = found.get(key)
    return value if isinstance(value, str) and value else None


def id_problem(value: object, *, missing: str) -> Rejection | None:
    """Return why a value is no id; None where it is one. `missing` says so where there is nothing."""
    if id_text(value) is not None:
        return None
    if value is None or value == "":
        return Rejection("missing_key", missing)
    if isinstance(value, str) and len(value) > LONGEST:
        return Rejection(
            "invalid_id",
            f"the id is too long: it has {len(value):,} characters, and may have {LONGEST}",
        )
    return Rejection("missing_key", "the id is neither text nor a number")


def seconds_of(value: object) -> int | None:
    """Return a time in whole Unix seconds, of seconds, milliseconds or ISO 8601 text; else None.

    A fraction is cut off. Text without a zone is in UTC.
    """
    if isinstance(value, str):
        value = _seconds_of_text(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # A whole number may be too large for a float.
    if isinstance(value, float) and not isfinite(value):
        return None
    if value > _LATEST_SECONDS:
        value /= 1000
    return int(value) if 0 <= value <= MAX_CREATED else None


def _seconds_of_text(text: str) -> float | None:
    if len(text) > 64:
        return None
    try:
        if text.isascii() and text.replace(".", "", 1).isdigit():
            return float(text)
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def type_under(prefix: str, written: str) -> str | None:
    """Return a provider's type as one of relayd's, which begins with `prefix`; None where it cannot be.

    `.`, `/`, `:`, brackets and spaces part words; capitals become small, with `_` before one inside
    of a word; what else no type can hold becomes `_`; a word that begins with a digit gets an x.
    """
    words = [
        _NOT_A_WORD.sub("_", _HUMP.sub("_", word).lower()).strip("_")
        for word in _BETWEEN_WORDS.split(written[:LONGEST_TYPE])
    ]
    named = [f"x{word}" if word[0].isdigit() else word for word in words if word]
    made = prefix + ".".join(named)
    return made if named and len(made) <= 128 else None
