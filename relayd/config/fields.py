"""The kinds of values in the configuration file: how each is checked, and described to editors."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_after_validator_function

from relayd.config.included import pattern_problem
from relayd.config.values import (
    DURATION_PATTERN,
    MAX_RATE_LIMIT,
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


@dataclass(frozen=True, slots=True)
class _Text:
    """A text that passes a check; editors hold it to `pattern`."""

    pattern: str
    check: Check

    def __get_pydantic_core_schema__(
        self, source: type[object], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": self.pattern}


def _matching(pattern: str, message: str, hint: str = "") -> _Text:
    expression = re.compile(pattern.removeprefix("^").removesuffix("$"))

    def check(text: str) -> str:
        if not expression.fullmatch(text):
            raise wrong_value(message, hint)
        return text

    return _Text(pattern, check)


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
        raise wrong_value(
            f"must be a whole number, from 1 to {MAX_RATE_LIMIT:,}, and a period",
            "as 100/min, 5/s, 1000/h or 500/d",
        )
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


Name = Annotated[str, _matching(NAME_PATTERN, NAME_RULE)]
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


Label = Annotated[
    str,
    _matching(
        r"^[^\x00-\x1f\x7f-\x9f]{1,128}$", "must be 1 to 128 characters, without line breaks"
    ),
    AfterValidator(_check_whole),
]
ALL_MARKETS: Final = "*"
Markets = Literal["*"] | Annotated[list[Label], Field(max_length=1000)]
Table = Annotated[
    str,
    _matching(
        r"^[A-Za-z_][A-Za-z0-9_]{0,63}$",
        "must be a table's name: letters, digits and `_`, no schema",
    ),
]
Mode = Annotated[str, _Text("^0?[67][0-7]{2}$", _check_mode)]
Retention = Annotated[str, _Text(DURATION_PATTERN, _duration(60.0, 3650 * _DAY_S))]
Size = Annotated[
    str,
    AfterValidator(_check_size),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": SIZE_PATTERN}, {"const": UNLIMITED}]}),
]
Timeout = Annotated[str, _Text(DURATION_PATTERN, _duration(0.1, 60.0))]
Tolerance = Annotated[str, _Text(DURATION_PATTERN, _duration(1.0, _DAY_S))]
Wait = Annotated[str, _Text(DURATION_PATTERN, _duration(0.001, 30 * _DAY_S))]
RateLimit = Annotated[str, _Text(RATE_PATTERN, _check_rate)]
Network = Annotated[str, AfterValidator(_check_network), WithJsonSchema({"type": "string"})]
EventType = Annotated[
    str,
    _matching(
        r"^(?=.{1,128}$)[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$",
        "must be lower-case words joined by dots",
        "as basket.abandoned",
    ),
]
Variable = Annotated[
    str,
    _matching(
        r"^[A-Za-z_][A-Za-z0-9_]*$", "must be the name of an environment variable", "without `$`"
    ),
]
Credential = Annotated[
    str,
    _matching(
        r"^(?!\.{1,2}$)[^/\x00-\x1f\x7f]{1,255}$", "must be a credential's name, without `/`"
    ),
]
HeaderName = Annotated[
    str, _matching(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$", "is not a valid header name")
]

Host = Annotated[
    str,
    _matching(
        r"^[A-Za-z0-9_:]([A-Za-z0-9_.:-]{0,252}[A-Za-z0-9_.:])?$",
        "must be a host name or an address, without a port",
        "as smtp.example.com; the port is a key of its own",
    ),
]
MailAddress = Annotated[
    str,
    _matching(
        ADDRESS_PATTERN, "must be one plain e-mail address in ASCII", "as relayd@example.com"
    ),
]
Login = Annotated[
    str,
    _matching(
        r"^[^\x00-\x1f\x7f-\x9f]{1,256}$", "must be 1 to 256 characters, without line breaks"
    ),
    AfterValidator(_check_whole),
]

SignaturePrefix = Annotated[
    str,
    _matching(
        r"^([!-~][ -~]{0,63})?$",
        "must be up to 64 printable ASCII characters, not beginning with a space",
        'as "sha256="',
    ),
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
