"""The shape of the configuration file, as pydantic models; editors' JSON Schema comes from them.

They check types, keys and what a value alone can show. What needs the outside or several keys
(secrets, addresses, the catalogue, limits of one endpoint) is checked in `build`. Values keep the
form that they have in the file: `timeout` is the text `10s` here. An optional key that is absent
is None; `null` in the file is refused, or removed, before these models see it.
"""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from relayd.config.fields import (
    UNLIMITED,
    Credential,
    EventType,
    HeaderName,
    Label,
    Mode,
    Name,
    Network,
    Path,
    RateLimit,
    Retention,
    SignaturePrefix,
    Size,
    Table,
    Timeout,
    Variable,
    Wait,
    Where,
)

SECRET_TEXT_TAG: Final = "<text>"  # noqa: S105 - a tag, no secret
SECRET_SOURCE_TAG: Final = "<source>"  # noqa: S105 - a tag, no secret
SCHEME_TAG: Final = "<scheme>"
HEADER_TAG: Final = "<header>"
TAGS: Final = frozenset({SECRET_TEXT_TAG, SECRET_SOURCE_TAG, SCHEME_TAG, HEADER_TAG})
"""What pydantic puts into an error's place for the form that a value has."""

DEFAULT_API_VERSION: Final = "2024-01-01"
ALL_MARKETS: Final = "*"
DEFAULT_TABLE: Final = "relayd_spool"
DEFAULT_MODE: Final = "0660"
DEFAULT_RETENTION: Final = "30d"
DEFAULT_TIMEOUT: Final = "10s"
DEFAULT_RATE_LIMIT: Final = "100/min"
DEFAULT_RETRY: Final = ("2m", "10m", "45m", "4h", "19h")
DEFAULT_MAX_IN_FLIGHT: Final = 8
DEFAULT_SIGNATURE: Final = "locallygrown"


def _in_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _secret_tag(value: object) -> str:
    return SECRET_SOURCE_TAG if isinstance(value, dict | SecretSource) else SECRET_TEXT_TAG


def _signature_tag(value: object) -> str:
    return HEADER_TAG if isinstance(value, dict | SignatureSection) else SCHEME_TAG


class _Section(BaseModel):
    # Values never stand in pydantic's own texts, in which a secret could be.
    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
    )


class SecretSource(_Section):
    """Where a secret is read from: exactly one of the three."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    file: Path | None = Field(
        default=None, description="A file that holds the secret; read again on reload."
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


Markets = Literal["*"] | Annotated[list[Label], Field(max_length=1000)]


class SpoolSection(_Section):
    """A SQLite table into which producers insert events."""

    path: Path = Field(description="The SQLite file that holds the table.")
    table: Table = Field(default=DEFAULT_TABLE, description="The table's name.")
    market_id: Label | None = Field(
        default=None, description="The market of this spool's events; by default the file's."
    )
    markets: Markets = Field(
        default=[],
        description='Other markets that a row may name; "*" for any. An event that names a market '
        "which is not allowed here is rejected.",
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
    market_id: Label | None = Field(
        default=None, description="The market of the socket's events; by default the file's."
    )
    markets: Markets = Field(
        default=[],
        description='Other markets that an event may name; "*" for any. An event that names a '
        "market which is not allowed here is refused.",
    )


class QueueSection(_Section):
    """relayd's own database of events, deliveries and attempts."""

    path: Path = Field(description="Its SQLite file. A change needs a restart.")
    retention: Retention = Field(
        default=DEFAULT_RETENTION,
        description=(
            "How long events, ended deliveries and rejected input are kept; of each source's rejected"
            " input, 64 MB at most, or a twentieth of max_size where that is less."
        ),
    )
    max_size: Size = Field(
        default=UNLIMITED,
        description=(
            "The maximum size of the queue, such as 2GB: above it, the oldest rejected input and"
            " then the oldest ended events are removed before the retention is over."
        ),
    )


class LogSection(_Section):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The lowest level that is logged."
    )
    format: Literal["auto", "json", "text"] = Field(
        default="auto", description="auto: json under systemd, readable text on a terminal."
    )


class SignatureSection(_Section):
    """One more header with a signature, for receivers that exist already."""

    header: HeaderName = Field(description="The header's name, as X-Hub-Signature-256.")
    prefix: SignaturePrefix = Field(
        default="", description="The text before the signature, as sha256=."
    )
    encoding: Literal["hex", "base64"] = Field(
        default="hex", description="How the HMAC-SHA256 of the body is written."
    )


class TlsSection(_Section):
    """A private authority, a client certificate, or both; read again on reload."""

    ca: Path | None = Field(
        default=None,
        description="A PEM file of the authorities whose certificates are accepted, instead of the"
        " public ones.",
    )
    certificate: Path | None = Field(
        default=None, description="A PEM file with the client certificate, and its chain after it."
    )
    key: Path | None = Field(
        default=None,
        description="A PEM file with its private key, without a passphrase; only relayd may read it.",
    )


SignatureValue = Annotated[
    Annotated[Literal["locallygrown", "standard"], Tag(SCHEME_TAG)]
    | Annotated[SignatureSection, Tag(HEADER_TAG)],
    Discriminator(_signature_tag),
]


class _Delivering(_Section):
    """What a subscription and the defaults have in common; the defaults' texts apply to both."""

    timeout: Timeout | None = Field(
        default=None,
        description=f"How long one attempt may take, 100ms to 60s. Default: {DEFAULT_TIMEOUT}.",
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
    signature: SignatureValue | None = Field(
        default=None,
        description="standard adds the headers of the Standard Webhooks specification; {header:,"
        " prefix:, encoding:} adds that header. Default: locallygrown.",
    )
    tls: TlsSection | None = Field(
        default=None,
        description="A private authority, or a client certificate. Default: the public authorities"
        " alone.",
    )
    ip: Literal[4, 6] | None = Field(
        default=None, description="The one address family to connect over. Default: both."
    )
    headers: dict[HeaderName, SecretValue] | None = Field(
        default=None,
        description="Headers to add to each request; a value may come from a file, a variable or "
        "a credential, as a secret does. Content-Type and User-Agent replace relayd's own.",
    )


class DefaultsSection(_Delivering):
    """What holds for each subscription that does not say otherwise."""


class SubscriptionSection(_Delivering):
    """Which events go to which URL, and how."""

    url: SecretValue = Field(
        description="Where to: https, or http into a network of allow_networks. Its source, as for"
        " a secret, where the URL itself is one.",
    )
    events: Annotated[
        list[str],
        Field(min_length=1, max_length=1000),
        BeforeValidator(_in_list, json_schema_input_type=str | list[str]),
    ] = Field(description='Event types, or patterns such as order.* or "*".')
    where: Where | None = Field(
        default=None, description="Conditions on the event's fields, all of which must hold."
    )
    order_by: str | None = Field(
        default=None,
        description="Events with the same value at this path are sent one after the other.",
    )
    on_exhausted: Literal["skip", "hold"] | None = Field(
        default=None,
        description="With order_by: skip an exhausted event, or hold those behind it (skip).",
    )
    active: bool = Field(
        default=True, description="false: it gets no new events, and its backlog is held."
    )
    secret: SecretValue = Field(
        description="What its deliveries are signed with: the text itself, or its source."
    )
    previous_secret: SecretValue | None = Field(
        default=None, description="The previous secret, while receivers change to the new one."
    )


MOST_SPOOLS = 200
"""Each has a process of its own, of some megabytes."""


class File(_Section):
    """The configuration of relayd."""

    market_id: Label = Field(description="The market that events come from.")
    api_version: Label = Field(
        default=DEFAULT_API_VERSION, description="The version of the event format."
    )
    spools: Annotated[dict[Name, SpoolSection], Field(max_length=MOST_SPOOLS)] = Field(
        default={}, description="Tables from which events are taken, by name."
    )
    socket: SocketSection | None = Field(
        default=None, description="The socket from which events are taken; none by default."
    )
    queue: QueueSection = Field(description="relayd's own database.")
    log: LogSection = Field(default=LogSection(), description="What is logged, and how.")
    allow_networks: Annotated[list[Network], Field(max_length=1000)] = Field(
        default=[],
        description=(
            "Networks that are not public and that URLs may lead into; http: works only there."
        ),
    )
    event_types: Annotated[list[EventType], Field(max_length=1000)] = Field(
        default=[], description="The market's own event types, in addition to the catalogue's."
    )
    defaults: DefaultsSection = Field(
        default=DefaultsSection(), description="Defaults for all subscriptions."
    )
    subscriptions: dict[Name, SubscriptionSection] = Field(
        default={}, description="Which events go where, by name."
    )
