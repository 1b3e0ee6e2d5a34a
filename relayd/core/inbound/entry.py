"""An entry of `inbound:`: which provider's webhooks are taken, and how they are verified and mapped."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, Literal

from relayd.core.secret import Secret

DEFAULT_TOLERANCE_S: Final = 300.0
"""How old a signed time may be."""

MAILGUN_TOLERANCE_S: Final = 12 * 3600.0
"""The same for Mailgun, which tries again for 8 h, with the same time and token."""


class Provider(StrEnum):
    """Whose scheme of signatures, and whose form of events."""

    STRIPE = "stripe"
    MAILGUN = "mailgun"
    STANDARD = "standard"
    """Any that keeps to the Standard Webhooks specification."""
    HMAC = "hmac"
    """Any that signs with an HMAC, as the entry's `scheme` says."""


NAMED_BY_ENTRY: Final = frozenset({Provider.STANDARD, Provider.HMAC})
"""Providers whose events are named after the entry: it is not known who sends them otherwise."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value is found in a request: in a header, or at a dotted path of the JSON body.

    Exactly one of them is set. `header` is in lower case.
    """

    header: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class HmacScheme:
    """How a provider signs, and where it says what happened.

    `header` has the signature, `timestamp` is the header of a signed time, or empty; both are in
    lower case. `signed` is the signed content: text with `{body}`, `{timestamp}`, `{id}` and `{url}`,
    each of which stands for what the request has there. `url` is what `{url}` stands for. What several
    places of a type hold is joined by dots.
    """

    header: str
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    signed: str = "{body}"
    url: str = ""
    timestamp: str = ""
    id: Place | None = None
    type: tuple[Place, ...] = ()
    time: Place | None = None


@dataclass(frozen=True, slots=True)
class Inbound:
    """One entry. Any of `secrets` may verify a request, so that they can be rotated.

    `secrets_from` says where each was read from, as `SourcedSecret.source`.
    `networks` are those that requests may come from; empty, any. `types` maps the provider's types to
    relayd's, before the provider's own mapping. `scheme` is set for `Provider.HMAC` alone.
    """

    name: str
    provider: Provider
    market_id: str
    secrets: tuple[Secret, ...] = field(repr=False)
    secrets_from: tuple[str, ...] = ()
    tolerance_s: float = DEFAULT_TOLERANCE_S
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)
    allow_test_mode: bool = False
    scheme: HmacScheme | None = None

    @property
    def events_of(self) -> str:
        """Whose ids its events have: those of one provider are one event, in whatever entry."""
        return self.name if self.provider in NAMED_BY_ENTRY else self.provider.value

    @property
    def prefix(self) -> str:
        """The first word, and its dot, of types that the mapping does not name."""
        return f"{type_word(self.events_of)}."

    @property
    def source(self) -> str:
        """The name of the source of its events, as logs and commands have it."""
        return f"inbound {self.name}"

    @property
    def path(self) -> str:
        """Where the web process takes its requests."""
        return f"/in/{self.name}"

    def admits(self, address: IPv4Address | IPv6Address) -> bool:
        """Tell whether requests may come from this address."""
        return not self.networks or any(address in network for network in self.networks)


def default_tolerance_s(provider: Provider) -> float:
    """Return how old a signed time may be where the entry does not say."""
    return MAILGUN_TOLERANCE_S if provider is Provider.MAILGUN else DEFAULT_TOLERANCE_S


def type_word(name: str) -> str:
    """Return an entry's name as the first word of a type: lower case, `-` as `_`.

    A word begins with a letter: what a name has before its first one is left out, and a name
    without letters gives `inbound`.
    """
    word = name.lower().replace("-", "_").lstrip("_0123456789")
    return word or "inbound"
