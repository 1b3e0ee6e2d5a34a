"""An event's fields: what each may hold, and the words for what is wrong.

No payload stands in a reason; a key's, a type's or an id's text does, cut to 64 characters and
escaped.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from relayd.core.json_text import JsonValue
from relayd.core.patterns import OWN_PREFIX

MAX_CREATED: Final = 99_999_999_999
"""In the year 5138. A time since 1973 in milliseconds is larger, and is known by that."""
WRONG_MARKET: Final = "wrong_market"
"""The code of what names a market that is not one of its source's."""
_MAX_NAME: Final = 128
_SHOWN: Final = 64
_ID: Final = re.compile(rf"[A-Za-z0-9_:-]{{1,{_MAX_NAME}}}")
_TYPE: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
# Half of a surrogate pair cannot be stored, nor compared in other programs.
_LABEL: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,256}")
KEYS: Final = ("id", "type", "created", "data", "market_id", "api_version")
_KINDS: Final[Mapping[type, str]] = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "true or false",
    type(None): "null",
}


class NotAnEventError(Exception):
    """It is no event, for this reason. It is caught where events are read."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason


def unknown_key(key: str) -> NotAnEventError:
    """Return what is to be raised for a key that no event has."""
    nearest = get_close_matches(key[:_SHOWN], KEYS, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"an event has {', '.join(KEYS)}"
    return NotAnEventError("unknown_key", f"an event has no key {_shown(key)}; {hint}")


def is_id(text: str) -> bool:
    """Tell whether a text can be an event's id."""
    return _ID.fullmatch(text) is not None


def checked_id(value: object) -> str:
    """Return an id, or raise `NotAnEventError`, as each of these does."""
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    if value is None:
        raise NotAnEventError("missing_key", "the event has no id; give it one, such as evt_1")
    raise NotAnEventError(
        "invalid_id",
        f"the id is {_shown(value)}; it must be 1 to {_MAX_NAME} letters of a-z and A-Z, digits, "
        "_, - or :",
    )


def checked_type(value: object, *, own: bool) -> str:
    """Return a type. `own` says that it must be one of relayd's own, which others must not be."""
    if value is None:
        raise NotAnEventError(
            "missing_key", "the event has no type; give it one, such as order.created"
        )
    if not (isinstance(value, str) and len(value) <= _MAX_NAME and _TYPE.fullmatch(value)):
        raise NotAnEventError(
            "invalid_type",
            f"the type is {_shown(value)}; it must be lower-case words joined by dots, such as "
            f"order.created, and at most {_MAX_NAME} characters",
        )
    if value.startswith(OWN_PREFIX) is not own:
        raise NotAnEventError(
            "invalid_type",
            f"the type is {_shown(value)}; types that begin with {OWN_PREFIX} are for "
            "relayd's own events, and for them only",
        )
    return value


def checked_created(value: object) -> int:
    """Return a time in whole Unix seconds."""
    # JavaScript knows no difference between 1640995200 and 1640995200.0.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_CREATED:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value > MAX_CREATED:
        raise NotAnEventError(
            "invalid_created",
            "created is too large for Unix seconds: it looks like milliseconds, as JavaScript's"
            " Date.now() returns them; divide by 1000 and drop the fraction",
        )
    found = "another number" if isinstance(value, int | float) else kind_of(value)
    raise NotAnEventError(
        "invalid_created",
        f"created is {found}; it must be a whole number of Unix seconds, such as 1640995200",
    )


def checked_data(value: object) -> dict[str, JsonValue]:
    """Return the data of an event."""
    if isinstance(value, dict):
        return value
    example = 'such as {"object":{"id":"order_456"}}'
    if value is None:
        raise NotAnEventError(
            "missing_key", f"the event has no data; give it a JSON object, {example}"
        )
    raise NotAnEventError(
        "invalid_data", f"data is {kind_of(value)}; it must be a JSON object, {example}"
    )


def checked_label(key: str, value: object, default: str) -> str:
    """Return a market_id or an api_version. The configuration's `default` is checked already."""
    if value is None:
        return default
    if isinstance(value, str) and _LABEL.fullmatch(value):
        return value
    found = "empty, too long or unprintable" if isinstance(value, str) else kind_of(value)
    raise NotAnEventError(
        f"invalid_{key}",
        f"{key} is {found}; it must be text of 1 to 256 characters without control characters",
    )


def checked_market(value: object, default: str, markets: frozenset[str] | None) -> str:
    """Return an event's market, by default the source's; another must be one of `markets`.

    None lets it be any.
    """
    market = checked_label("market_id", value, default)
    if market == default or markets is None or market in markets:
        return market
    raise NotAnEventError(
        WRONG_MARKET,
        f"market_id is {_shown(market)}; this source takes events of {_shown(default)}"
        + (" and of those under its markets:" if markets else "")
        + ". Leave market_id out, or list the market under the source's markets:"
        " in the configuration",
    )


def kind_of(value: object) -> str:
    """Return what kind of JSON value this is, in words."""
    return _KINDS.get(type(value), "a number")


def _shown(value: object) -> str:
    """Show text so that no control character passes; of anything else its kind."""
    if not isinstance(value, str):
        return kind_of(value)
    return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}…"
