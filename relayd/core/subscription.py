"""A subscription: which events go to which URL, and how."""

import hmac
from dataclasses import dataclass, field
from typing import Literal

from relayd.core.matching import Selection
from relayd.core.secret import SourcedSecret

SignatureScheme = Literal["locallygrown", "standard"]
"""`locallygrown` sends the `X-LocallyGrown-*` headers; `standard` adds those of the Standard
Webhooks specification."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """A named entry of the configuration, ready to use.

    `url` also names its endpoint. `retry` holds the waits before each retry, in seconds.
    """

    name: str
    url: str
    selection: Selection
    active: bool
    secret: SourcedSecret
    previous_secret: SourcedSecret | None
    signature: SignatureScheme
    timeout_s: float
    retry: tuple[float, ...]
    headers: tuple[tuple[str, str], ...] = field(repr=False)  # a value may be a secret

    def made_with(self, key: bytes) -> bytes:
        """Return a mark of what requests are made with, besides the URL: another one may succeed.

        The queue keeps it, so that a change is seen across a restart: a secret from the
        environment changes in no other way. Of a keyed digest it is so little that it tells
        nothing of the secret to whoever guesses; one change in four thousand million is missed.
        """
        parts = [self.signature, *(part for header in self.headers for part in header)]
        mac = hmac.new(key, digestmod="sha256")
        for part in (self.secret.secret.key, *(each.encode() for each in parts)):
            mac.update(b"%d:" % len(part))
            mac.update(part)
        return mac.digest()[:4]
