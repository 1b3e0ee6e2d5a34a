"""The shape of a subscription in the file, and of the defaults, as pydantic models.

They check what `models` says.
"""

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag

from relayd.config.fields import (
    Credential,
    HeaderName,
    Path,
    RateLimit,
    Section,
    SignaturePrefix,
    Timeout,
    Variable,
    Wait,
    Where,
    in_list,
)

SECRET_TEXT_TAG: Final = "<text>"  # noqa: S105 - a tag, no secret
SECRET_SOURCE_TAG: Final = "<source>"  # noqa: S105 - a tag, no secret
SCHEME_TAG: Final = "<scheme>"
HEADER_TAG: Final = "<header>"
ONE_SECRET_TAG: Final = "<one secret>"  # noqa: S105 - a tag, no secret
SECRET_LIST_TAG: Final = "<secrets>"  # noqa: S105 - a tag, no secret
PLACE_TAG: Final = "<place>"
PLACE_LIST_TAG: Final = "<places>"
TAGS: Final = frozenset(
    {
        SECRET_TEXT_TAG,
        SECRET_SOURCE_TAG,
        SCHEME_TAG,
        HEADER_TAG,
        ONE_SECRET_TAG,
        SECRET_LIST_TAG,
        PLACE_TAG,
        PLACE_LIST_TAG,
    }
)
"""What pydantic puts into an error's place for the form that a value has."""

DEFAULT_TIMEOUT: Final = "10s"
DEFAULT_MAIL_TIMEOUT: Final = "60s"
"""Many mail servers look into a message before they answer; RFC 5321, 4.5.3.2 wants minutes."""
DEFAULT_RATE_LIMIT: Final = "100/min"
DEFAULT_RETRY: Final = ("2m", "10m", "45m", "4h", "19h")
DEFAULT_MAX_IN_FLIGHT: Final = 8
DEFAULT_SIGNATURE: Final = "locallygrown"


def _secret_tag(value: object) -> str:
    return SECRET_SOURCE_TAG if isinstance(value, dict | SecretSource) else SECRET_TEXT_TAG


def _signature_tag(value: object) -> str:
    return HEADER_TAG if isinstance(value, dict | SignatureSection) else SCHEME_TAG


class SecretSource(Section):
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


class SignatureSection(Section):
    """One more header with a signature, for receivers that exist already."""

    header: HeaderName = Field(description="The header's name, as X-Hub-Signature-256.")
    prefix: SignaturePrefix = Field(
        default="", description="The text before the signature, as sha256=."
    )
    encoding: Literal["hex", "base64"] = Field(
        default="hex", description="How the HMAC-SHA256 of the body is written."
    )


class TlsSection(Section):
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


class _Delivering(Section):
    """What a subscription and the defaults have in common; the defaults' texts apply to both."""

    timeout: Timeout | None = Field(
        default=None,
        description=f"How long one attempt may take, 100ms to 60s. Default: {DEFAULT_TIMEOUT};"
        f" for mail {DEFAULT_MAIL_TIMEOUT}, whatever the defaults say.",
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
        description="Where to: https, or http into a network of allow_networks; or mailto: and one"
        " address, by way of smtp. Its source, as for a secret, where the URL itself is one.",
    )
    events: Annotated[
        list[str],
        Field(min_length=1, max_length=1000),
        BeforeValidator(in_list, json_schema_input_type=str | list[str]),
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
    format: Literal["slack", "discord", "text"] | None = Field(
        default=None,
        description="Send one sentence about the event instead of the event, as Slack, Discord, or"
        " what reads plain text (ntfy) takes it.",
    )
    template: Path | None = Field(
        default=None,
        description="A file with a Jinja2 template of the body, which is sent instead of the event; read"
        " again on reload. It needs the extra `templates`.",
    )
    active: bool = Field(
        default=True, description="false: it gets no new events, and its backlog is held."
    )
    secret: SecretValue | None = Field(
        default=None,
        description="What its deliveries are signed with: the text itself, or its source. Only with"
        " format or a mailto URL may it be left out.",
    )
    previous_secret: SecretValue | None = Field(
        default=None, description="The previous secret, while receivers change to the new one."
    )
    feed_token: SecretValue | None = Field(
        default=None,
        description="The token with which the subscription's feed may be read (`relayd web`).",
    )
