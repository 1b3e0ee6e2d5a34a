"""The id of what an event is about, as text: people know `order_456`, not the event's own id."""

from collections.abc import Mapping
from typing import Final

from relayd.core.json_text import JsonValue, stringify

LONGEST: Final = 256
"""Characters of an id that is kept. No id is longer; a text that is would only fill the index."""


def object_id_of(data: Mapping[str, JsonValue]) -> str | None:
    """Return what is at `object.id` of an event's data; None where there is no id."""
    thing = data.get("object")
    return id_text(thing.get("id")) if isinstance(thing, dict) else None


def id_text(value: object) -> str | None:
    """Return a string as it is, and a number as the body has it; None for all else.

    None also for "", for a text of more than `LONGEST` characters, and for one with half of a
    surrogate pair, which is no text to a database.
    """
    if isinstance(value, str):
        text = value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        text = stringify(value)
    else:
        return None
    if not 0 < len(text) <= LONGEST:
        return None
    if text.isascii():
        return text
    return None if any("\ud800" <= each <= "\udfff" for each in text) else text
