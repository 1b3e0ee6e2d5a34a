"""What came of one attempt, as a value: a network failure is not an exception here."""

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, Self

from relayd.core.value import value


class Failure(StrEnum):
    """How an attempt failed, by kind. The names are in logs, in the queue and in `--json`."""

    STATUS = "status"
    """An answer that is not 2xx."""
    REDIRECT = "redirect"
    """A 3xx answer, which is not followed."""
    TIMEOUT = "timeout"
    """No complete head of an answer within the subscription's timeout."""
    NAME = "name"
    """The host name could not be resolved."""
    ADDRESS = "address"
    """The host name led to no address that relayd may dial."""
    CONNECT = "connect"
    """No connection: refused, or no route."""
    TLS = "tls"
    """No trusted TLS connection: certificate, name or protocol."""
    RESET = "reset"
    """The connection broke off before the head of an answer was complete."""
    PROTOCOL = "protocol"
    """The answer was no valid HTTP."""
    SMTP = "smtp"
    """The mail server refused the message, or a step before it."""
    TEMPLATE = "template"
    """The subscription's template did not render: nothing was sent."""
    DEFECT = "defect"
    """relayd itself failed; the log has the traceback."""
    POISON = "quarantined"
    """relayd died at this delivery too often to try it again: see `core.quarantine`."""


class Cause(StrEnum):
    """Why an attempt failed, where its kind alone does not say what to do about it.

    The names are in the queue and in `--json`, where a failure that has none of these has its kind's
    name. They share no name with `Failure`. `failure` is which kind of failure each is.
    """

    failure: Failure

    def __new__(cls, name: str, failure: Failure) -> Self:
        """Make a member of its name and its kind."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.failure = failure
        return member

    NOT_MADE = "not_made", Failure.TIMEOUT
    """relayd did not finish making the request within the timeout."""
    PRIVATE_ADDRESS = "private_address", Failure.ADDRESS
    """The host's addresses are not public, and not in `allow_networks`."""
    OWN_ADDRESS = "own_address", Failure.ADDRESS
    """The host's addresses are this machine's own, and not in `allow_networks`."""
    METADATA_ADDRESS = "metadata_address", Failure.ADDRESS
    """An address at which a cloud hands out a machine's secrets, or one near it."""
    PUBLIC_HTTP = "public_http", Failure.ADDRESS
    """A public address, over http."""
    REFUSED = "refused", Failure.CONNECT
    """Nothing is listening at the address and port."""
    UNREACHABLE = "unreachable", Failure.CONNECT
    """No route to the address, or no reply from it."""
    NO_SOCKET = "no_socket", Failure.CONNECT
    """This machine has no file descriptor, or no local port, left for a connection."""
    CERTIFICATE_EARLY = "certificate_early", Failure.TLS
    """The receiver's certificate is not valid yet."""
    CERTIFICATE_EXPIRED = "certificate_expired", Failure.TLS
    """The receiver's certificate has expired."""
    CERTIFICATE_NAME = "certificate_name", Failure.TLS
    """The receiver's certificate is for other names."""
    CERTIFICATE_AUTHORITY = "certificate_authority", Failure.TLS
    """The receiver's certificate is self-signed, or from an authority that is not trusted here."""
    CERTIFICATE_CHAIN = "certificate_chain", Failure.TLS
    """The receiver leaves out an intermediate certificate."""
    CERTIFICATE_REVOKED = "certificate_revoked", Failure.TLS
    """The receiver's certificate was revoked."""
    CLIENT_CERTIFICATE = "client_certificate", Failure.TLS
    """The receiver asks for a client certificate, or does not accept the one that is sent."""
    NO_TLS = "no_tls", Failure.TLS
    """The receiver does not speak TLS on this port."""
    TLS_FILES = "tls_files", Failure.TLS
    """The certificates on this machine that the connection needs could not be loaded."""
    MAIL_REFUSED = "mail_refused", Failure.SMTP
    """The mail server refused the message, or a step before it."""
    MAIL_TIMEOUT = "mail_timeout", Failure.TIMEOUT
    """The mail server did not take the message in time, or was busy with other mail."""
    MAIL_NAME = "mail_name", Failure.NAME
    """The mail server's host name could not be resolved."""
    MAIL_CONNECT = "mail_connect", Failure.CONNECT
    """No connection to the mail server."""
    MAIL_TLS = "mail_tls", Failure.TLS
    """No trusted TLS connection to the mail server, or it offers none."""
    MAIL_RESET = "mail_reset", Failure.RESET
    """The connection to the mail server broke off."""


MAIL_CAUSES: Final[Mapping[Failure, Cause]] = MappingProxyType(
    {cause.failure: cause for cause in Cause if cause.startswith("mail_")}
)
"""The causes that are a mail server's, one for a kind: what to do is another thing there."""


_KNOWN_STATUSES: Final = frozenset({*HTTPStatus, 419, 420, 430, 440, 444, 449, 450, 460, 463})
_KNOWN_SERVERS: Final = frozenset({*range(494, 500), *range(509, 512), *range(520, 531), 598, 599})
"""Those of nginx, IIS, Cloudflare and others."""


def counted_status(status: int | None) -> int:
    """Return what attempts are counted under: the status of a response, or 0 where there was none.

    Of a status that nobody has defined, it is the first digit.
    """
    if status is None or status in _KNOWN_STATUSES or status in _KNOWN_SERVERS:
        return status or 0
    return status // 100


def shown_status(counted: int) -> str:
    """Return what `counted_status` returned in words: `503`, or `7xx`."""
    return f"{counted}xx" if counted < 10 else str(counted)


@value
class Outcome:
    """The result of one attempt.

    `status` is the answer's, where one came; `failure` is None exactly when the attempt succeeded.
    `cause` says more, where the kind alone is not enough: its kind is `failure`. `subject` is the host,
    the address and port, or the addresses (separated by a space) that it is about, without path or
    secret; "" where there is nothing to name. `detail` says in words what failed (no payload, no
    secret), for people alone: nothing is decided by it. `answer` is the beginning of the answer's body,
    1 KiB at most. `retry_after_s` is what the receiver asked for.
    """

    duration_s: float
    status: int | None = None
    failure: Failure | None = None
    detail: str = ""
    answer: bytes = b""
    retry_after_s: float | None = None
    cause: Cause | None = None
    subject: str = ""

    @property
    def why(self) -> Cause | Failure | None:
        """The cause as it is kept and counted: the kind of failure where nothing more is known."""
        return self.cause or self.failure

    @property
    def succeeded(self) -> bool:
        """Whether the receiver took the event."""
        return self.failure is None

    @property
    def final(self) -> bool:
        """Whether no other attempt may be made, whatever the schedule allows."""
        return self.failure is Failure.POISON

    @property
    def gone(self) -> bool:
        """Whether the receiver wants no more of this subscription (410 Gone)."""
        return self.status == 410


def failed_outcome(
    duration_s: float, why: Cause | Failure, detail: str, subject: str = ""
) -> Outcome:
    """Return the outcome of an attempt that got no response, with the kind that its cause has."""
    cause, kind = (why, why.failure) if isinstance(why, Cause) else (None, why)
    return Outcome(duration_s, failure=kind, cause=cause, detail=detail, subject=subject)
