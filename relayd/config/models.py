"""The shape of the configuration file, as pydantic models; editors' JSON Schema comes from them.

They check types, keys and what a value alone can show. What needs the outside or several keys
(secrets, addresses, the catalogue, limits of one endpoint) is checked in `build`. Values keep the
form that they have in the file: `timeout` is the text `10s` here. An optional key that is absent
is None; `null` in the file is refused, or removed, before these models see it.
"""

import re
from collections.abc import Callable
from ipaddress import ip_network
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from relayd.config.values import (
    DURATION_PATTERN,
    NAME_PATTERN,
    RATE_PATTERN,
    format_duration,
    parse_duration,
    parse_rate,
)

WRONG_VALUE: Final = "wrong_value"
"""The type of the errors raised here; their context holds `message` and `hint`."""

SECRET_TEXT_TAG: Final = "<text>"  # noqa: S105 - a tag, no secret
SECRET_SOURCE_TAG: Final = "<source>"  # noqa: S105 - a tag, no secret

DEFAULT_API_VERSION: Final = "2024-01-01"
DEFAULT_TABLE: Final = "relayd_spool"
DEFAULT_MODE: Final = "0660"
DEFAULT_RETENTION: Final = "30d"
DEFAULT_TIMEOUT: Final = "10s"
DEFAULT_RATE_LIMIT: Final = "100/min"
DEFAULT_RETRY: Final = ("2m", "10m", "45m", "4h", "19h")
DEFAULT_MAX_IN_FLIGHT: Final = 8

_DAY_S: Final = 86_400.0

Check = Callable[[str], str]


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


def _check_path(text: str) -> str:
    if not text or "\0" in text:
        raise wrong_value("must be a path")
    if text.startswith("~"):
        raise wrong_value("`~` is not replaced by a home directory here", "write the whole path")
    return text


def _check_mode(text: str) -> str:
    if not re.fullmatch(r"0?[0-7]{3}", text) or int(text, 8) & 0o600 != 0o600:
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


def _in_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _secret_tag(value: object) -> str:
    return SECRET_SOURCE_TAG if isinstance(value, dict | SecretSource) else SECRET_TEXT_TAG


Name = Annotated[
    str,
    AfterValidator(_matching(NAME_PATTERN, "a name is 1 to 64 letters, digits, `_` or `-`")),
    WithJsonSchema({"type": "string", "pattern": NAME_PATTERN}),
]
Path = Annotated[
    str, AfterValidator(_check_path), WithJsonSchema({"type": "string", "minLength": 1})
]
_MARKET_PATTERN: Final = r"^[^\x00-\x1f\x7f]{1,128}$"
Label = Annotated[
    str,
    AfterValidator(_matching(_MARKET_PATTERN, "must be 1 to 128 characters, without line breaks")),
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
_EVENT_TYPE_PATTERN: Final = r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$"
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
    AfterValidator(_matching(_HEADER_PATTERN, "is no valid name of a header")),
    WithJsonSchema({"type": "string", "pattern": _HEADER_PATTERN}),
]


class _Section(BaseModel):
    # Values never stand in pydantic's own texts, in which a secret could be.
    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        regex_engine="rust-regex",
    )


class SecretSource(_Section):
    """Where a secret is read from: exactly one of the three."""

    file: Path | None = Field(
        default=None, description="A file that holds the secret; read anew on reload."
    )
    env: Variable | None = Field(
        default=None, description="An environment variable; fixed until a restart."
    )
    credential: Credential | None = Field(
        default=None,
        description="A credential that systemd passes (LoadCredential=); fixed until a restart.",
    )


SecretValue = Annotated[
    Annotated[str, Tag(SECRET_TEXT_TAG)] | Annotated[SecretSource, Tag(SECRET_SOURCE_TAG)],
    Discriminator(_secret_tag),
]


class SpoolSection(_Section):
    """A SQLite table into which producers insert events."""

    path: Path = Field(description="The SQLite file that holds the table.")
    table: Table = Field(default=DEFAULT_TABLE, description="The table's name.")
    market_id: Label | None = Field(
        default=None, description="The market of this spool's events; by default the file's."
    )
    api_version: Label | None = Field(
        default=None, description="The API version of this spool's events; by default the file's."
    )


class SocketSection(_Section):
    """The Unix stream socket to which producers write events."""

    path: Path = Field(description="Where the socket is made; at most 107 bytes long.")
    mode: Mode = Field(
        default=DEFAULT_MODE, description="Who may write to it, as a file mode in quotes."
    )


class QueueSection(_Section):
    """relayd's own database of events, deliveries and attempts."""

    path: Path = Field(description="Its SQLite file. A change needs a restart.")
    retention: Retention = Field(
        default=DEFAULT_RETENTION,
        description="How long events, and deliveries that have ended, are kept.",
    )


class LogSection(_Section):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least level that is logged."
    )
    format: Literal["auto", "json", "text"] = Field(
        default="auto", description="auto: json under systemd, readable text on a terminal."
    )


class _Delivering(_Section):
    """What a subscription and the defaults have in common; the defaults' texts apply to both."""

    timeout: Timeout | None = Field(
        default=None,
        description=f"How long one attempt may take in all, 100ms to 60s. Default: {DEFAULT_TIMEOUT}.",
    )
    rate_limit: RateLimit | None = Field(
        default=None,
        description="Attempts that may start at one endpoint in a period: /s, /min, /h or /d. "
        f"Default: {DEFAULT_RATE_LIMIT}.",
    )
    retry: Annotated[list[Wait], Field(max_length=50)] | None = Field(
        default=None,
        description="The waits before each retry, 0 to 50 of them. "
        f"Default: [{', '.join(DEFAULT_RETRY)}].",
    )
    max_in_flight: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None,
        description="Attempts at one endpoint at a time, 1 to 1000. "
        f"Default: {DEFAULT_MAX_IN_FLIGHT}.",
    )
    signature: Literal["locallygrown", "standard"] | None = Field(
        default=None,
        description="standard adds the headers of the Standard Webhooks specification. "
        "Default: locallygrown.",
    )
    headers: dict[HeaderName, SecretValue] | None = Field(
        default=None,
        description="Headers to add to each request; a value may come from a file, a variable or "
        "a credential, as a secret does.",
    )


class DefaultsSection(_Delivering):
    """What holds for each subscription that does not say otherwise."""


class SubscriptionSection(_Delivering):
    """Which events go to which URL, and how."""

    url: str = Field(
        description="Where to: https, or http into a network of allow_networks.",
    )
    events: Annotated[
        list[str],
        Field(min_length=1, max_length=1000),
        BeforeValidator(_in_list, json_schema_input_type=str | list[str]),
    ] = Field(description='Event types, or patterns such as order.* or "*".')
    where: dict[str, Any] | None = Field(
        default=None, description="Conditions on the event's fields, all of which must hold."
    )
    active: bool = Field(
        default=True, description="false: it takes no new events, and what waits is held."
    )
    secret: SecretValue = Field(
        description="What its deliveries are signed with: the text itself, or its source."
    )
    previous_secret: SecretValue | None = Field(
        default=None, description="The secret before, while receivers change over to the new one."
    )


class File(_Section):
    """The configuration of relayd."""

    market_id: Label = Field(description="The market that events come from.")
    api_version: Label = Field(
        default=DEFAULT_API_VERSION, description="The version of the events' form."
    )
    spools: dict[Name, SpoolSection] = Field(
        default={}, description="Tables from which events are taken, by name."
    )
    socket: SocketSection | None = Field(
        default=None, description="The socket from which events are taken; none by default."
    )
    queue: QueueSection = Field(description="relayd's own database.")
    log: LogSection = Field(default=LogSection(), description="What is logged, and how.")
    allow_networks: Annotated[list[Network], Field(max_length=1000)] = Field(
        default=[],
        description="Networks that are not public and that URLs may point into, and the only "
        "ones that http: may.",
    )
    event_types: Annotated[list[EventType], Field(max_length=10_000)] = Field(
        default=[], description="The market's own event types, beside the catalogue's."
    )
    defaults: DefaultsSection = Field(
        default=DefaultsSection(), description="What holds for each subscription."
    )
    subscriptions: dict[Name, SubscriptionSection] = Field(
        default={}, description="Which events go where, by name."
    )
