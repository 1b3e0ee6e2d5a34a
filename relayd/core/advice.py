"""What to do about an attempt that failed: the next step, in one table for all that show it.

What happened is worded where it happened (`transport/errors.py`); here is what an operator does then.
"""

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final

from relayd.core.addresses import CLOUD_METADATA, Address
from relayd.core.outcome import Failure
from relayd.core.smtp import MAIL_SERVER

# What is true of a delivery that will be attempted again, and not of an exhausted one.
_GOES_ON: Final = "; relayd goes on by itself"
_NOTHING_HERE: Final = ". Nothing is to be done here"
_AND_RETRY: Final = " and `relayd retry {name}`"
_LIFTS_THE_WAIT: Final = ". `relayd retry {name}` lifts the wait"
_WHILE_IT_LASTS: Final = (_GOES_ON, _NOTHING_HERE, _AND_RETRY, _LIFTS_THE_WAIT)

_SECRETS = (
    "do both sides have the same secret? `relayd sign BODY --subscription {name}` prints the signature"
    " that the receiver must find over the raw body, and `relayd verify BODY --subscription {name}"
    " --signature TEXT` says what is wrong with another"
)
_ORIGIN = (
    "that is Cloudflare's answer: it does not reach the server behind it (its origin). Is that"
    " running, and does its firewall let Cloudflare in?"
)
_PROXY = "the server in front of the receiver gets no answer from it: is the receiver running?"
_OWN_FAULT = f"the receiver itself failed: its log says why{_NOTHING_HERE}"

STATUS_ADVICE: Final[Mapping[int, str]] = MappingProxyType(
    {
        400: "the receiver does not take this body, or the signature: its log says why",
        401: _SECRETS,
        403: f"{_SECRETS}. Or a firewall or CSRF protection refuses it before that",
        404: "is the path of the `url` right? Correct it in the configuration, then `relayd reload`",
        405: "the receiver takes no POST at this path: is the path of the `url` right?",
        406: "the receiver does not take this body: its log says why",
        408: _PROXY,
        413: (
            'the receiver\'s own limit for bodies: with Express, express.json({{ limit: "2mb" }});'
            " with nginx in front, client_max_body_size 2m"
        ),
        415: (
            "the receiver takes another Content-Type: `headers: {{Content-Type: …}}` of {name} sets it"
        ),
        419: "the receiver wants a form's token (CSRF): leave this route out of that protection",
        422: "the receiver does not take this body: its log says why",
        429: f"the receiver wants fewer requests: lower `rate_limit` of {{name}}{_LIFTS_THE_WAIT}",
        500: _OWN_FAULT,
        502: _PROXY,
        503: f"the receiver is overloaded or in maintenance{_GOES_ON}",
        504: _PROXY,
        520: _ORIGIN,
        521: _ORIGIN,
        522: _ORIGIN,
        523: _ORIGIN,
        524: (
            "that is Cloudflare's answer: the server behind it (its origin) took too long. The receiver"
            " should answer first, then work"
        ),
        525: (
            "that is Cloudflare's answer: TLS with the server behind it (its origin) failed. Does that"
            " have a certificate?"
        ),
        526: "that is Cloudflare's answer: the certificate of the server behind it is not valid",
        530: _ORIGIN,
    }
)
"""By the status that a receiver answered; `{name}` is the subscription's."""

FAILURE_ADVICE: Final[Mapping[Failure, str]] = MappingProxyType(
    {
        Failure.REDIRECT: (
            "redirects are not followed: put the final address into `url` of {name}, then `relayd"
            " reload`"
        ),
        Failure.TIMEOUT: (
            "is the receiver running, and does it answer before it works? Or raise `timeout` of {name}"
        ),
        Failure.NAME: (
            "is the host in `url` of {name} spelt right, and does this machine's DNS know it?"
        ),
        Failure.CONNECT: "is the receiver running, and is the port in `url` of {name} right?",
        Failure.RESET: "is the receiver running? Its log, or that of a proxy before it, says more",
        Failure.PROTOCOL: "is this a web server? Check host and port in `url` of {name}",
        Failure.TEMPLATE: (
            "correct the template of {name}, then `relayd reload`: its backlog is attempted at once"
        ),
        Failure.DEFECT: "report it, with the traceback in relayd's log",
        Failure.POISON: "report it, with what relayd's log says of it",
    }
)
"""By the kind of the failure, where no status came."""

MAIL_ADVICE: Final[Mapping[Failure, str]] = MappingProxyType(
    {
        Failure.SMTP: (
            "the mail server's own words say why: are `smtp:` (user, password, from) and the address of"
            f" {{name}} right? A code that begins with 4 is for a while{_GOES_ON}"
        ),
        Failure.TIMEOUT: (
            "does the mail server hang, or look into each message for long? Its log says more. Mail goes"
            " one at a time, so one that hangs holds up the others"
        ),
        Failure.NAME: "is `smtp.host` spelt right, and does this machine's DNS know it?",
        Failure.CONNECT: "is the mail server running, and are `smtp.host` and `smtp.port` right?",
        Failure.RESET: "the mail server's log says more; is `smtp.tls` what this port wants?",
        Failure.TLS: (
            "are `smtp.host` (the certificate's name), `smtp.port` and `smtp.tls` right? Then `relayd"
            " reload`"
        ),
    }
)
"""By the kind of the failure, where a mail server failed."""

_EXPIRED = f"the receiver's certificate must be renewed, there{_GOES_ON}"
_OTHER_NAME = (
    "put one of the certificate's names into `url` of {name}, then `relayd reload`; or have the"
    " receiver get a certificate for its name"
)
_AUTHORITY = (
    "if the receiver is yours, copy the certificate of its authority to this machine and name it:"
    " `tls: {{ca: FILE}}` of {name}, then `relayd reload`"
)
_TLS_ADVICE: Final[Sequence[tuple[str, str]]] = (
    ("certificate has expired", _EXPIRED),
    ("certificate is not for", _OTHER_NAME),
    ("certificate is self-signed", _AUTHORITY),
    ("certificate comes from an authority", _AUTHORITY),
    ("does not speak TLS on this port", "is the port in `url` of {name} right, or is it http?"),
)
"""By the beginning of the words for what went wrong with TLS, or a part of them."""

_REFUSED_ADDRESS: Final = re.compile(r"([0-9a-fA-F.:]+) is (?:not public \(|this machine's own)")


def next_step(
    status: int | None,
    failure: str | None,
    detail: str,
    subscription: str,
    *,
    unfaithful: Sequence[str] = (),
    exhausted: bool = False,
) -> str | None:
    """Return what to do after a failed attempt, as a sentence without its full stop, or None.

    With `exhausted` nothing in it relies on further attempts. `detail` is what the attempt's record has. `unfaithful` are the event's fields that JavaScript
    does not carry unchanged: a receiver that verifies over what it parsed then refuses a signature.
    """
    if failure is None:
        return None
    if status in {400, 401, 403} and unfaithful:
        return (
            f"JavaScript does not carry {', '.join(unfaithful)} unchanged, so a receiver that verifies"
            " over JSON.stringify(body) finds another signature: have it verify over the raw body, or"
            " send such numbers as text"
        )
    found = _advice(status, failure, detail)
    if found is None:
        return None
    if exhausted:
        for words in _WHILE_IT_LASTS:
            found = found.replace(words, "")
    return found.format(name=subscription)


def _advice(status: int | None, failure: str, detail: str) -> str | None:
    if MAIL_SERVER in detail and failure in MAIL_ADVICE:
        return MAIL_ADVICE[Failure(failure)]
    if failure == Failure.STATUS and status is not None:
        if status in STATUS_ADVICE:
            return STATUS_ADVICE[status]
        return _OWN_FAULT if status >= 500 else None
    if failure == Failure.TLS:
        return next((advice for words, advice in _TLS_ADVICE if words in detail), None)
    if failure == Failure.ADDRESS:
        return _address_advice(detail)
    return next((advice for kind, advice in FAILURE_ADVICE.items() if kind == failure), None)


def _address_advice(detail: str) -> str | None:
    if "is public, and http:" in detail:
        return "use https in `url` of {name}, then `relayd reload`"
    addresses = [each for text in _REFUSED_ADDRESS.findall(detail) for each in _addresses(text)]
    if not addresses:
        return None
    # Nobody should be led to open the door to what hands out a machine's secrets.
    if any(each in network for each in addresses for network in CLOUD_METADATA):
        return "nothing receives events there: correct `url` of {name}, then `relayd reload`"
    networks = " and ".join(f"{each}/{each.max_prefixlen}" for each in addresses)
    return (
        f"if the receiver is in your own network, add {networks} to `allow_networks`, then `relayd"
        f" reload`{_AND_RETRY}; otherwise correct `url` of {{name}}"
    )


def _addresses(text: str) -> list[Address]:
    try:
        return [ip_address(text)]
    except ValueError:
        return []
