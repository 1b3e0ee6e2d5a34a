"""A subscription: which events go to which URL, and how."""

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from relayd.core.endpoint import Endpoint
from relayd.core.form import Format
from relayd.core.matching import Selection
from relayd.core.secret import SourcedSecret
from relayd.core.template import Template

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
    `format` is that of the sentence which is sent instead of the event, and `template` what the body is
    rendered from; both are None where the event is sent.
    With a mailto URL it is `mail`, and `mail_from` is the address that mail comes from. Only with a format
    may `secret` be None: then nothing is signed.
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
    format: Format | Literal["mail"] | None = None
    mail_from: str = ""
    template: Template | None = None

    def made_with(self, key: bytes, endpoint: Endpoint) -> bytes:
        """Return a mark of what requests are made with, besides the URL: another one may succeed.

        The queue keeps it, so that a change is seen across a restart: a secret from the
        environment changes in no other way. Of a keyed digest it is so little that it tells
        nothing of the secret to whoever guesses; one change in four thousand million is missed.
        """
        mac = hmac.new(key, digestmod="sha256")
        for values in MADE_WITH.values():
            for value in values(self, endpoint):
                part = value if isinstance(value, bytes) else value.encode()
                mac.update(b"%d:" % len(part))
                mac.update(part)
        return mac.digest()[:4]


def _signature(subscription: Subscription, _: Endpoint) -> Sequence[str]:
    scheme = subscription.signature
    return (scheme,) if isinstance(scheme, str) else (scheme.header, scheme.prefix, scheme.encoding)


def _smtp(_: Subscription, endpoint: Endpoint) -> Sequence[str | bytes]:
    smtp = endpoint.smtp
    if smtp is None:
        return ()
    login = b"" if smtp.password is None else smtp.password.secret.key
    values = (smtp.host, str(smtp.port), smtp.tls, smtp.sender, smtp.user or "", login)
    return (f"smtp {values[0]}", *values[1:])


MADE_WITH: Final[Mapping[str, Callable[[Subscription, Endpoint], Sequence[str | bytes]]]] = (
    MappingProxyType(
        {
            "secret": lambda each, _: (b"" if each.secret is None else each.secret.secret.key,),
            "signature": _signature,
            "headers": lambda each, _: tuple(part for header in each.headers for part in header),
            "ip": lambda _, endpoint: () if endpoint.ip is None else (f"ip {endpoint.ip}",),
            "tls": lambda _, endpoint: (
                () if endpoint.tls is None else (f"tls {endpoint.tls.digest.hex()}",)
            ),
            "format": lambda each, _: () if each.format is None else (f"format {each.format}",),
            "smtp": _smtp,
            "template": lambda each, _: (
                () if each.template is None else ("template", each.template.digest)
            ),
        }
    )
)
"""The configuration's keys with which, besides `url`, an attempt may succeed that failed before, each with
what it makes of a request. This list alone decides which changed keys release a backlog.

A key that is added comes last, and gives nothing where it is not set: so a mark that an older relayd made
stays. Its first value names it ("ip 4"), so that no two keys make the same of different values.
"""
