"""The shape of the configuration file, as pydantic models; editors' JSON Schema comes from them.

They check types, keys and what a value alone can show. What needs the outside or several keys
(secrets, addresses, the catalogue, limits of one endpoint) is checked in `build`. Values keep the
form that they have in the file: `timeout` is the text `10s` here. An optional key that is absent
is None; `null` in the file is refused, or removed, before these models see it.
"""

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field

from relayd.config.fields import (
    UNLIMITED,
    EventType,
    Host,
    Label,
    Login,
    MailAddress,
    Markets,
    Mode,
    Name,
    Network,
    Path,
    Pattern,
    Retention,
    Section,
    Size,
    Table,
    in_list,
)
from relayd.config.http_models import HttpSection
from relayd.config.inbound_models import InboundSection
from relayd.config.subscription_models import DefaultsSection, SecretValue, SubscriptionSection

DEFAULT_API_VERSION: Final = "2024-01-01"
DEFAULT_TABLE: Final = "relayd_spool"
DEFAULT_MODE: Final = "0660"
DEFAULT_RETENTION: Final = "30d"


class SpoolSection(Section):
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


class SocketSection(Section):
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


class QueueSection(Section):
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


class LogSection(Section):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The lowest level that is logged."
    )
    format: Literal["auto", "json", "text"] = Field(
        default="auto", description="auto: json under systemd, readable text on a terminal."
    )


class SmtpSection(Section):
    """The mail server that delivers to mailto: URLs."""

    host: Host = Field(description="Its name or address. Nothing else is connected to for mail.")
    port: Annotated[int, Field(ge=1, le=65_535)] | None = Field(
        default=None,
        description="Its port. Default: 587 with starttls, 465 with implicit, 25 with none.",
    )
    tls: Literal["starttls", "implicit", "none"] = Field(
        default="starttls",
        description="starttls and implicit verify the certificate; none sends in clear.",
    )
    user: Login | None = Field(
        default=None, description="Who logs in: only over TLS, or to this machine."
    )
    password: SecretValue | None = Field(
        default=None, description="The user's password: the text itself, or its source."
    )
    sender: MailAddress = Field(alias="from", description="The address that mail comes from.")


MOST_SPOOLS = 200
"""Each has a process of its own, of some megabytes."""


class File(Section):
    """The configuration of relayd."""

    market_id: Label = Field(description="The market that events come from.")
    api_version: Label = Field(
        default=DEFAULT_API_VERSION, description="The version of the event format."
    )
    include: Annotated[
        list[Pattern],
        Field(max_length=100),
        BeforeValidator(in_list, json_schema_input_type=str | list[str]),
    ] = Field(
        default=[],
        description="Files with further subscriptions, and nothing else: a path, relative to this"
        " file, whose name may have wildcards, or a list of them. Names that begin with a dot are"
        " skipped.",
    )
    spools: Annotated[dict[Name, SpoolSection], Field(max_length=MOST_SPOOLS)] = Field(
        default={}, description="Tables from which events are taken, by name."
    )
    socket: SocketSection | None = Field(
        default=None, description="The socket from which events are taken; none by default."
    )
    queue: QueueSection = Field(description="relayd's own database.")
    log: LogSection = Field(default=LogSection(), description="What is logged, and how.")
    http: HttpSection | None = Field(
        default=None, description="The web process (`relayd web`); none by default."
    )
    inbound: Annotated[dict[Name, InboundSection], Field(max_length=100)] = Field(
        default={},
        description="Providers whose webhooks become events, by name; the web process takes them at"
        " /in/NAME.",
    )
    smtp: SmtpSection | None = Field(
        default=None, description="The mail server for mailto: URLs; none by default."
    )
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
