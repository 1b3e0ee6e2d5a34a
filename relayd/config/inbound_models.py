"""The shape of `inbound:` in the file, as pydantic models. They check what `models` says."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from relayd.config.fields import (
    EventType,
    HeaderName,
    Label,
    Network,
    Section,
    SignaturePrefix,
    Tolerance,
)
from relayd.config.subscription_models import (
    ONE_SECRET_TAG,
    PLACE_LIST_TAG,
    PLACE_TAG,
    SECRET_LIST_TAG,
    SecretValue,
)

ProviderName = Literal["stripe", "mailgun", "standard", "hmac"]
MOST_SECRETS = 10
MOST_PLACES = 4


def _secrets_tag(value: object) -> str:
    return SECRET_LIST_TAG if isinstance(value, list | tuple) else ONE_SECRET_TAG


SecretValues = Annotated[
    Annotated[SecretValue, Tag(ONE_SECRET_TAG)]
    | Annotated[
        list[SecretValue], Field(min_length=1, max_length=MOST_SECRETS), Tag(SECRET_LIST_TAG)
    ],
    Discriminator(_secrets_tag),
]
ProviderType = Annotated[str, Field(min_length=1, max_length=256)]
BodyPath = Annotated[str, Field(min_length=1, max_length=256)]


class PlaceSection(Section):
    """Where a value is in a request: exactly one of the two."""

    header: HeaderName | None = Field(default=None, description="The header that has it.")
    path: BodyPath | None = Field(
        default=None, description="Its dotted path in the body, as data.object.id."
    )


def _places_tag(value: object) -> str:
    return PLACE_LIST_TAG if isinstance(value, list | tuple) else PLACE_TAG


PlaceValues = Annotated[
    Annotated[PlaceSection, Tag(PLACE_TAG)]
    | Annotated[
        list[PlaceSection], Field(min_length=1, max_length=MOST_PLACES), Tag(PLACE_LIST_TAG)
    ],
    Discriminator(_places_tag),
]


class SchemeSection(Section):
    """How a provider signs with an HMAC, and where its requests say what happened."""

    header: HeaderName = Field(description="The header with the signature.")
    algorithm: Literal["sha1", "sha256", "sha512"] = Field(
        default="sha256", description="The HMAC's hash function."
    )
    encoding: Literal["hex", "base64"] = Field(
        default="hex", description="How the signature is written."
    )
    prefix: SignaturePrefix = Field(
        default="", description="The text before the signature, as sha256=."
    )
    signed: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        default="{body}",
        description="What is signed: text in which {body} stands for the raw body, and {timestamp},"
        " {id} and {url} for those.",
    )
    timestamp: HeaderName | None = Field(
        default=None, description="The header with the signed time, in Unix seconds."
    )
    id: PlaceSection | None = Field(
        default=None,
        description="Where the event's id is. Default: the SHA-256 of the body is its id.",
    )
    type: PlaceValues | None = Field(
        default=None,
        description="Where its type is: a place, or a list of them, joined by dots. Default: each event is"
        " NAME.received.",
    )
    time: PlaceSection | None = Field(
        default=None, description="Where its time is. Default: that of its arrival."
    )


class InboundSection(Section):
    """A provider whose webhooks arrive at /in/NAME of the web process."""

    provider: ProviderName = Field(
        description="stripe, mailgun, standard (Standard Webhooks), or hmac, with a scheme."
    )
    secret: SecretValues = Field(
        description="The provider's signing secret: the text itself, its source, or a list of these,"
        " any of which verifies a request."
    )
    market_id: Label | None = Field(
        default=None, description="The market of its events; by default the file's."
    )
    tolerance: Tolerance | None = Field(
        default=None,
        description="How old a signed time may be, 1s to 24h. Default: 5m; mailgun, which tries again"
        " with the same one: 12h.",
    )
    allow_from: Annotated[list[Network], Field(max_length=1000)] = Field(
        default=[], description="Networks that requests may come from; any by default."
    )
    allow_test_mode: bool = Field(
        default=False, description="stripe: take events of test mode as well."
    )
    types: Annotated[dict[ProviderType, EventType], Field(max_length=1000)] = Field(
        default={},
        description="Which of relayd's event types a provider's type becomes, before the usual mapping.",
    )
    scheme: SchemeSection | None = Field(default=None, description="hmac: how the provider signs.")
