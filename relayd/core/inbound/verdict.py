"""What becomes of a provider's request: an event, rejected input, or nothing."""

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from relayd.core.event import Rejection

_PLAIN_ID: Final = 128
"""Characters of a provider's id that a duplicate's key has as they are."""


class RefusalCode(StrEnum):
    """Why a request is refused, as metrics and the dashboard count it."""

    NO_SIGNATURE = "no_signature"
    WRONG_SIGNATURE = "wrong_signature"
    STALE = "stale"
    """The signed time is too far from now."""
    UNREADABLE = "unreadable"
    """The signature is in the body, which cannot be read."""
    TEST_MODE = "test_mode"


STATUS: Final = dict.fromkeys(RefusalCode, 401) | {RefusalCode.TEST_MODE: 403}


@dataclass(frozen=True, slots=True)
class ProviderEvent:
    """Which of a provider's events it is: `id` alone decides what is a duplicate, across entries.

    `token` is Mailgun's, whose signature covers it and not the event: it may come again with the
    same event, and with no other.
    """

    provider: str
    id: str
    token: str | None = field(default=None, repr=False)

    @property
    def key(self) -> str:
        """The provider and its id, as one text of 200 characters at most."""
        plain = len(self.id) <= _PLAIN_ID and self.id.isascii() and self.id.isprintable()
        return f"{self.provider}:{self.id if plain else f'sha256:{text_digest(self.id)}'}"


Headers = tuple[tuple[str, str], ...]
"""Headers that are kept with an event: names in lower case, and values."""


@dataclass(frozen=True, slots=True)
class Verified:
    """It is an event. `line` is what a producer would write to the socket, without the line break.

    `livemode` is Stripe's; None where a provider has no test mode.
    """

    of: ProviderEvent
    event_id: str
    type: str
    line: bytes = field(repr=False)
    headers: Headers = field(default=(), repr=False)
    livemode: bool | None = None


@dataclass(frozen=True, slots=True)
class Unmappable:
    """Its signature is right, and it cannot be an event: it is kept as rejected input, answered 200.

    Where it has no id of the provider's, `of.id` is made of its body, so that a retry is known.
    """

    of: ProviderEvent
    rejection: Rejection
    headers: Headers = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """It is not the provider's, or not wanted here. `reason` is for the operator, never for the sender.

    It quotes nothing of the request or of a secret.
    """

    code: RefusalCode
    reason: str

    @property
    def status(self) -> int:
        """The status of the answer."""
        return STATUS[self.code]


Verdict = Verified | Unmappable | Refused


def text_digest(text: str) -> str:
    """Return the SHA-256 of a text, in hex; halves of surrogate pairs count as they are."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
