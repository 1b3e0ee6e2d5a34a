"""A subscription: which events go to which URL, and how."""

import hmac
from dataclasses import dataclass, field
from typing import Literal

from relayd.core.endpoint import Endpoint
from relayd.core.form import Format
from relayd.core.matching import Selection
from relayd.core.secret import SourcedSecret

SignatureScheme = Literal["locallygrown", "standard"]
"""`locallygrown` sends the `X-LocallyGrown-*` headers; `standard` adds those of the Standard
Webhooks specification."""


@dataclass(frozen=True, slots=True)
class HeaderSignature:
    """One more header, for receivers that exist already: `prefix` and the body's HMAC-SHA256.

    It is made with `secret` alone, beside the `X-LocallyGrown-*` headers.
    """

    header: str
    prefix: str = ""
    encoding: Literal["hex", "base64"] = "hex"


@dataclass(frozen=True, slots=True)
class Subscription:
    """A named entry of the configuration, ready to use.

    `url` also names its endpoint; `url_source` is where it was read from, as for a secret: unless
    it is `text`, the URL itself is a secret. `retry` holds the waits before each retry, in seconds.
    `format` is that of the sentence which is sent instead of the event, None where the event is.
    Only with a format may `secret` be None: then nothing is signed.
    """

    name: str
    url: str = field(repr=False)  # its path may be a secret
    selection: Selection
    active: bool
    secret: SourcedSecret | None
    previous_secret: SourcedSecret | None
    signature: SignatureScheme | HeaderSignature
    timeout_s: float
    retry: tuple[float, ...]
    headers: tuple[tuple[str, str], ...] = field(repr=False)  # a value may be a secret
    url_source: str = "text"
    format: Format | None = None

    def made_with(self, key: bytes, endpoint: Endpoint) -> bytes:
        """Return a mark of what requests are made with, besides the URL: another one may succeed.

        The queue keeps it, so that a change is seen across a restart: a secret from the
        environment changes in no other way. Of a keyed digest it is so little that it tells
        nothing of the secret to whoever guesses; one change in four thousand million is missed.
        """
        scheme = self.signature
        named = (
            [scheme] if isinstance(scheme, str) else [scheme.header, scheme.prefix, scheme.encoding]
        )
        parts = [*named, *(part for header in self.headers for part in header)]
        # Behind the others, and only where they are set: a mark that an older relayd made stays.
        if endpoint.ip is not None:
            parts.append(f"ip {endpoint.ip}")
        if endpoint.tls is not None:
            parts.append(f"tls {endpoint.tls.digest.hex()}")
        if self.format is not None:
            parts.append(f"format {self.format}")
        secret = b"" if self.secret is None else self.secret.secret.key
        mac = hmac.new(key, digestmod="sha256")
        for part in (secret, *(each.encode() for each in parts)):
            mac.update(b"%d:" % len(part))
            mac.update(part)
        return mac.digest()[:4]
