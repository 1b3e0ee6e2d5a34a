"""The kinds of values in the configuration file: how each is checked, and described to editors."""

import re
from collections.abc import Callable
from ipaddress import ip_network
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, WithJsonSchema
from pydantic_core import PydanticCustomError

from relayd.config.included import pattern_problem
from relayd.config.values import (
    DURATION_PATTERN,
    NAME_PATTERN,
    NAME_RULE,
    RATE_PATTERN,
    SIZE_PATTERN,
    format_duration,
    format_size,
    parse_duration,
    parse_mode,
    parse_rate,
    parse_size,
)
from relayd.core.smtp import ADDRESS_PATTERN

_DAY_S: Final = 86_400.0

WRONG_VALUE: Final = "wrong_value"
"""The type of the errors raised here; their context holds `message` and `hint`."""

UNLIMITED: Final = "unlimited"
SMALLEST_SIZE: Final = 10_000_000
"""Bytes that a queue may be limited to: less than that is soon full of what waits."""

Check = Callable[[str], str]


class Section(BaseModel):
    """A mapping whose keys are all known, with values of exactly the types that are named."""

    # Values never stand in pydantic's own texts, in which a secret could be.
    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
    )


def wrong_value(message: str, hint: str = "") -> PydanticCustomError:
    """Return an error for a validator to raise. Neither text may hold the value itself."""
    return PydanticCustomError(WRONG_VALUE, "{message}", {"message": message, "hint": hint})


def _matching(pattern: str, message: str, hint: str = "") -> Check:
    expression = re.compile(pattern.removeprefix("^").removesuffix("$"))

    def check(text: str) -> str:
        if not expression.fullmatch(text):
            raise wrong_value(message, hint)
        return text

    return check


def _duration(shortest_s: float, longest_s: float) -> Check:
    limits = f"between {format_duration(shortest_s)} and {format_duration(longest_s)}"

    def check(text: str) -> str:
        seconds = parse_duration(text)
        if seconds is None:
            raise wrong_value("must be a number and a unit", "as 500ms, 10s, 2m, 1.5h or 30d")
        if not shortest_s <= seconds <= longest_s:
            raise wrong_value(f"must be {limits}")
        return text

    return check


def _check_rate(text: str) -> str:
    if parse_rate(text) is None:
        raise wrong_value("must be a whole number and a period", "as 100/min, 5/s, 1000/h or 500/d")
    return text


def _check_size(text: str) -> str:
    if text == UNLIMITED:
        return text
    size = parse_size(text)
    if size is None:
        raise wrong_value(f"must be a number and a unit, or {UNLIMITED}", "as 500MB or 2GB")
    if size < SMALLEST_SIZE:
        raise wrong_value(f"must be at least {format_size(SMALLEST_SIZE)}")
    return text


def _check_path(text: str) -> str:
    if not text or "\0" in text:
        raise wrong_value("must be a path")
    if re.match(r"\$\{?\w|%[a-zA-Z]/", text):
        raise wrong_value("contains a placeholder, which is not expanded", "write the whole path")
    if text.startswith("~"):
        raise wrong_value("`~` is not replaced by a home directory here", "write the whole path")
    return text


def _check_pattern(text: str) -> str:
    problem = pattern_problem(_check_path(text))
    if problem is not None:
        raise wrong_value(*problem)
    return text


def in_list(value: object) -> object:
    """Return a text as a list of one."""
    return [value] if isinstance(value, str) else value


def _check_mode(text: str) -> str:
    if parse_mode(text) is None:
        raise wrong_value("must be a file mode that lets the owner read and write", 'as "0660"')
    return text


def _check_network(text: str) -> str:
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        raise wrong_value(
            "must be a network of IP addresses", "as 127.0.0.0/8, 10.1.2.3/32 or fd00::/8"
        ) from None
    try:
        ip_network(text)
    except ValueError:
        raise wrong_value("has bits set behind its prefix", f"write {meant}") from None
    return text


Name = Annotated[
    str,
    AfterValidator(_matching(NAME_PATTERN, NAME_RULE)),
    WithJsonSchema({"type": "string", "pattern": NAME_PATTERN}),
]
Path = Annotated[
    str, AfterValidator(_check_path), WithJsonSchema({"type": "string", "minLength": 1})
]
Pattern = Annotated[
    str, AfterValidator(_check_pattern), WithJsonSchema({"type": "string", "minLength": 1})
]


def _check_whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise wrong_value("must not contain half of a surrogate pair") from None
    return text


_MARKET_PATTERN: Final = r"^[^\x00-\x1f\x7f-\x9f]{1,128}$"
Label = Annotated[
    str,
    AfterValidator(_matching(_MARKET_PATTERN, "must be 1 to 128 characters, without line breaks")),
    AfterValidator(_check_whole),
    WithJsonSchema({"type": "string", "pattern": _MARKET_PATTERN}),
]
_TABLE_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
Table = Annotated[
    str,
    AfterValidator(
        _matching(_TABLE_PATTERN, "must be a table's name: letters, digits and `_`, no schema")
    ),
    WithJsonSchema({"type": "string", "pattern": _TABLE_PATTERN}),
]
Mode = Annotated[
    str,
    AfterValidator(_check_mode),
    WithJsonSchema({"type": "string", "pattern": "^0?[67][0-7]{2}$"}),
]
Retention = Annotated[
    str,
    AfterValidator(_duration(60.0, 3650 * _DAY_S)),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN}),
]
Size = Annotated[
    str,
    AfterValidator(_check_size),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": SIZE_PATTERN}, {"const": UNLIMITED}]}),
]
Timeout = Annotated[
    str,
    AfterValidator(_duration(0.1, 60.0)),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN}),
]
Wait = Annotated[
    str,
    AfterValidator(_duration(0.001, 30 * _DAY_S)),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN}),
]
RateLimit = Annotated[
    str,
    AfterValidator(_check_rate),
    WithJsonSchema({"type": "string", "pattern": RATE_PATTERN}),
]
Network = Annotated[str, AfterValidator(_check_network), WithJsonSchema({"type": "string"})]
_EVENT_TYPE_PATTERN: Final = r"^(?=.{1,128}$)[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$"
EventType = Annotated[
    str,
    AfterValidator(
        _matching(
            _EVENT_TYPE_PATTERN, "must be lower-case words joined by dots", "as basket.abandoned"
        )
    ),
    WithJsonSchema({"type": "string", "pattern": _EVENT_TYPE_PATTERN}),
]
_VARIABLE_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]*$"
Variable = Annotated[
    str,
    AfterValidator(
        _matching(_VARIABLE_PATTERN, "must be the name of an environment variable", "without `$`")
    ),
    WithJsonSchema({"type": "string", "pattern": _VARIABLE_PATTERN}),
]
_CREDENTIAL_PATTERN: Final = r"^(?!\.{1,2}$)[^/\x00-\x1f\x7f]{1,255}$"
Credential = Annotated[
    str,
    AfterValidator(_matching(_CREDENTIAL_PATTERN, "must be a credential's name, without `/`")),
    WithJsonSchema({"type": "string", "pattern": _CREDENTIAL_PATTERN}),
]
_HEADER_PATTERN: Final = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$"
HeaderName = Annotated[
    str,
    AfterValidator(_matching(_HEADER_PATTERN, "is not a valid header name")),
    WithJsonSchema({"type": "string", "pattern": _HEADER_PATTERN}),
]

_HOST_PATTERN: Final = r"^[A-Za-z0-9_:]([A-Za-z0-9_.:-]{0,252}[A-Za-z0-9_.:])?$"
Host = Annotated[
    str,
    AfterValidator(
        _matching(
            _HOST_PATTERN,
            "must be a host name or an address, without a port",
            "as smtp.example.com; the port is a key of its own",
        )
    ),
    WithJsonSchema({"type": "string", "pattern": _HOST_PATTERN}),
]
MailAddress = Annotated[
    str,
    AfterValidator(
        _matching(
            ADDRESS_PATTERN, "must be one plain e-mail address in ASCII", "as relayd@example.com"
        )
    ),
    WithJsonSchema({"type": "string", "pattern": ADDRESS_PATTERN}),
]
_LOGIN_PATTERN: Final = r"^[^\x00-\x1f\x7f-\x9f]{1,256}$"
Login = Annotated[
    str,
    AfterValidator(_matching(_LOGIN_PATTERN, "must be 1 to 256 characters, without line breaks")),
    AfterValidator(_check_whole),
    WithJsonSchema({"type": "string", "pattern": _LOGIN_PATTERN}),
]

_PREFIX_PATTERN: Final = r"^([!-~][ -~]{0,63})?$"
SignaturePrefix = Annotated[
    str,
    AfterValidator(
        _matching(
            _PREFIX_PATTERN,
            "must be up to 64 printable ASCII characters, not beginning with a space",
            'as "sha256="',
        )
    ),
    WithJsonSchema({"type": "string", "pattern": _PREFIX_PATTERN}),
]

_SCALAR: Final = {"type": ["string", "number", "boolean", "null"]}
_ORDERED: Final = {"type": ["string", "number"]}
Where = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {
                "anyOf": [
                    _SCALAR,
                    {"type": "array", "items": _SCALAR, "minItems": 1},
                    {
                        "type": "object",
                        "properties": {
                            **dict.fromkeys(("gt", "gte", "lt", "lte"), _ORDERED),
                            "glob": {"type": "string"},
                            "exists": {"type": "boolean"},
                            "not": {},
                        },
                        "additionalProperties": False,
                        "minProperties": 1,
                    },
                ]
            },
        }
    ),
]
"""Conditions are read by `compile_where`; the schema only helps while they are written."""
