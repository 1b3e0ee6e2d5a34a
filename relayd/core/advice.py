"""What to do about an attempt that failed: the next step, in one table for all that show it.

What happened is worded where it happened (`transport/errors.py`); here is what an operator does then. It
goes by an attempt's cause, status and subject, never by words.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Final

from relayd.core.outcome import Cause, Failure

# What is true of a delivery that will be attempted again, and not of an exhausted one.
_GOES_ON: Final = "; relayd goes on by itself"
_NOTHING_HERE: Final = ". Nothing is to be done here"
_AND_RETRY: Final = " and `relayd retry {name}`"
_LIFTS_THE_WAIT: Final = ". `relayd retry {name}` lifts the wait"
_WHILE_IT_LASTS: Final = (_GOES_ON, _NOTHING_HERE, _AND_RETRY, _LIFTS_THE_WAIT)

_SECRETS = (
    "do both sides have the same secret? `relayd sign BODY --subscription {name}` prints the signature"
    " that the receiver must find over the raw body, and `relayd verify BODY --subscription {name}"
    " --signature TEXT` says what is wrong with another. Correct the receiver's, or `secret` of {name}"
    " and then `relayd reload`"
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
"""By the kind of the failure, where no status came and no more is known."""

_LISTENING: Final = FAILURE_ADVICE[Failure.CONNECT]
_OTHER_NAME: Final = (
    "put one of the certificate's names into `url` of {name}, then `relayd reload`; or have the"
    " receiver get a certificate for its name"
)
_AUTHORITY: Final = (
    "if the receiver is yours, copy the certificate of its authority to this machine and name it:"
    " `tls: {{ca: FILE}}` of {name}, then `relayd reload`"
)

CAUSE_ADVICE: Final[Mapping[Cause, str]] = MappingProxyType(
    {
        Cause.NOT_MADE: f"this machine is overloaded: the receiver was not asked{_GOES_ON}",
        Cause.METADATA_ADDRESS: (
            # Nobody should be led to open the door to what hands out a machine's secrets.
            "nothing receives events there: correct `url` of {name}, then `relayd reload`"
        ),
        Cause.PUBLIC_HTTP: "use https in `url` of {name}, then `relayd reload`",
        Cause.REFUSED: _LISTENING,
        Cause.UNREACHABLE: _LISTENING,
        Cause.NO_SOCKET: (
            "that is a limit of this machine, not of the receiver: `LimitNOFILE=` of relayd's unit, or"
            f" the range of its local ports{_GOES_ON}"
        ),
        Cause.CERTIFICATE_EARLY: (
            "is this machine's clock right? Otherwise the receiver needs another certificate until"
            f" then{_GOES_ON}"
        ),
        Cause.CERTIFICATE_EXPIRED: f"the receiver's certificate must be renewed, there{_GOES_ON}",
        Cause.CERTIFICATE_NAME: _OTHER_NAME,
        Cause.CERTIFICATE_AUTHORITY: _AUTHORITY,
        Cause.CERTIFICATE_CHAIN: (
            f"the receiver must send the whole chain of its certificate, not only its own{_GOES_ON}"
        ),
        Cause.CERTIFICATE_REVOKED: f"the receiver needs a new certificate, there{_GOES_ON}",
        Cause.NO_TLS: "is the port in `url` of {name} right, or is it http?",
        Cause.TLS_FILES: (
            "correct what it names (`tls:` of {name}, or the environment variable), then `relayd"
            " reload`"
        ),
        Cause.MAIL_REFUSED: (
            "the mail server's own words say why: are `smtp:` (user, password, from) and the address of"
            f" {{name}} right? A code that begins with 4 is for a while{_GOES_ON}"
        ),
        Cause.MAIL_TIMEOUT: (
            "does the mail server hang, or look into each message for long? Its log says more. Mail goes"
            " one at a time, so one that hangs holds up the others"
        ),
        Cause.MAIL_NAME: "is `smtp.host` spelt right, and does this machine's DNS know it?",
        Cause.MAIL_CONNECT: (
            "is the mail server running, and are `smtp.host` and `smtp.port` right?"
        ),
        Cause.MAIL_RESET: ("the mail server's log says more; is `smtp.tls` what this port wants?"),
        Cause.MAIL_TLS: (
            "are `smtp.host` (the certificate's name), `smtp.port` and `smtp.tls` right? Then `relayd"
            " reload`"
        ),
    }
)
"""By the cause, where more than the kind is known. What must be allowed for a private address depends
on the address; what to do about a client certificate is said with the failure."""


def next_step(
    status: int | None,
    why: str | None,
    subscription: str,
    *,
    subject: str = "",
    unfaithful: Sequence[str] = (),
    exhausted: bool = False,
) -> str | None:
    """Return what to do after a failed attempt, as a sentence without its full stop, or None.

    `why` is the attempt's cause, or the kind of its failure where nothing more is known; `subject` is what
    that is about (see `core.outcome`). With `exhausted` nothing in it relies on further attempts.
    `unfaithful` are the event's fields that JavaScript does not carry unchanged: a receiver that
    verifies over what it parsed then refuses a signature.
    """
    if why is None:
        return None
    if status in {400, 401, 403} and unfaithful:
        return (
            f"JavaScript does not carry {', '.join(unfaithful)} unchanged, so a receiver that verifies"
            " over JSON.stringify(body) finds another signature: have it verify over the raw body, or"
            " send such numbers as text"
        )
    found = _advice(status, why, subject)
    if found is None:
        return None
    if exhausted:
        for words in _WHILE_IT_LASTS:
            found = found.replace(words, "")
    return found.format(name=subscription)


def _advice(status: int | None, why: str, subject: str) -> str | None:
    if why == Failure.STATUS and status is not None:
        if status in STATUS_ADVICE:
            return STATUS_ADVICE[status]
        return _OWN_FAULT if status >= 500 else None
    if why in {Cause.PRIVATE_ADDRESS, Cause.OWN_ADDRESS}:
        return _allow(subject)
    return _BY_NAME.get(why)


_BY_NAME: Final[Mapping[str, str]] = MappingProxyType(
    {str(why): text for why, text in chain(FAILURE_ADVICE.items(), CAUSE_ADVICE.items())}
)


def _allow(addresses: str) -> str:
    """Return what lets relayd send to these addresses, which a space separates."""
    networks = " and ".join(f"{each}/{128 if ':' in each else 32}" for each in addresses.split())
    return (
        f"if the receiver is in your own network, add {networks or 'its address'} to `allow_networks`,"
        f" then `relayd reload`{_AND_RETRY}; otherwise correct `url` of {{name}}"
    )
