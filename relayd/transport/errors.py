"""Network failures by cause and in words: what goes wrong below one attempt, told to an operator.

Words name hosts, addresses and reasons. They never hold a payload, a header, a URL's path or query,
or text that the receiver chose, except the host that it redirects to, cleaned.
"""

import errno
import re
import ssl
import time
from collections.abc import Sequence
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx

from relayd.core.addresses import Address
from relayd.core.endpoint import endpoint_name
from relayd.core.outcome import MAIL_CAUSES, Cause, Failure
from relayd.core.tls import Tls
from relayd.transport.refused_certificate import RefusedCertificate

_MAX_LOCATION_CHARACTERS = 200

MOST_NAMED = 3
"""So many addresses of one host are named."""


class AttemptFailed(httpx.TransportError):
    """One attempt failed on the way: `why` is its cause, or its kind, and `detail` says it in words.

    `subject` is as in `Outcome`: the host or the addresses that it is about.
    """

    def __init__(self, why: Cause | Failure, detail: str, subject: str = "") -> None:
        super().__init__(detail)
        self.why = why
        self.detail = detail
        self.subject = subject

    @property
    def failure(self) -> Failure:
        """Which kind of failure it is."""
        return self.why.failure if isinstance(self.why, Cause) else self.why


class MailServerFailed(AttemptFailed):
    """The mail server failed in one of the ways that `MAIL_CAUSES` has; `detail` names it."""

    def __init__(self, failure: Failure, detail: str, place: str) -> None:
        super().__init__(MAIL_CAUSES.get(failure, failure), detail, place)


# From the most special to the most general: the first that fits is taken.
_HTTPX_FAILURES: tuple[tuple[type[httpx.TransportError], Failure, str], ...] = (
    (httpx.TimeoutException, Failure.TIMEOUT, "the transport's own time limit passed"),
    (httpx.ConnectError, Failure.CONNECT, "no connection"),
    (httpx.ProxyError, Failure.CONNECT, "no connection through the proxy"),
    (httpx.UnsupportedProtocol, Failure.CONNECT, "no connection: not an http or https URL"),
    (httpx.RemoteProtocolError, Failure.PROTOCOL, "the answer is not valid HTTP"),
    (httpx.NetworkError, Failure.RESET, "the connection broke off before a whole answer"),
)


def named(error: httpx.TransportError) -> AttemptFailed:
    """Return the named failure for any transport's error.

    An httpx.LocalProtocolError is raised again: a request that cannot be sent is a defect here,
    and says nothing of the receiver.
    """
    if isinstance(error, AttemptFailed):
        return error
    for kind, failure, detail in _HTTPX_FAILURES:
        if isinstance(error, kind):
            return AttemptFailed(failure, detail)
    raise error


_DIAL_FAILURES: dict[int, tuple[Cause | Failure, str]] = {
    errno.ECONNREFUSED: (Cause.REFUSED, "nothing is listening at {place} (connection refused)"),
    errno.ECONNRESET: (Failure.CONNECT, "reset by {place}"),
    errno.ENETUNREACH: (Cause.UNREACHABLE, "no route to {place}"),
    errno.EHOSTUNREACH: (Cause.UNREACHABLE, "no route to {place}"),
    errno.ETIMEDOUT: (Cause.UNREACHABLE, "no reply from {place}"),
    errno.EADDRNOTAVAIL: (
        Cause.NO_SOCKET,
        "no local address or port was left to reach {place} from",
    ),
    errno.EMFILE: (Cause.NO_SOCKET, "no file descriptor was left for a connection"),
    errno.ENFILE: (Cause.NO_SOCKET, "no file descriptor was left for a connection"),
}


def shown_address(address: Address, port: int) -> str:
    """Return `203.0.113.7:443` or `[2001:db8::7]:443`."""
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def dial_failed(error: OSError, place: str) -> AttemptFailed:
    """Return why no connection to `place`, an address and port, came about."""
    why, words = _DIAL_FAILURES.get(
        error.errno or 0,
        (Failure.CONNECT, f"no connection to {{place}}: {error.strerror or type(error).__name__}"),
    )
    return AttemptFailed(why, words.format(place=place), place)


def dials_failed(failures: Sequence[AttemptFailed]) -> AttemptFailed:
    """Return what several dials of one host came to: their cause, where all have the same."""
    whys = {each.why for each in failures}
    words = "; ".join(dict.fromkeys(each.detail for each in failures))
    subject = " ".join(dict.fromkeys(each.subject for each in failures[:MOST_NAMED]))
    return AttemptFailed(whys.pop() if len(whys) == 1 else Failure.CONNECT, words, subject)


# OpenSSL's X509_V_ERR_* numbers, which the ssl module does not name (openssl/x509_vfy.h).
_CERTIFICATE_FAILURES = {
    9: (Cause.CERTIFICATE_EARLY, "certificate is not valid yet"),
    10: (Cause.CERTIFICATE_EXPIRED, "certificate has expired{ends}"),
    18: (
        Cause.CERTIFICATE_AUTHORITY,
        "certificate is self-signed, so it is not trusted{ca}",
    ),
    19: (
        Cause.CERTIFICATE_AUTHORITY,
        "certificate comes from an authority that is not trusted here{ca}",
    ),
    20: (
        Cause.CERTIFICATE_AUTHORITY,
        (
            "certificate comes from an authority that is not trusted here,"
            " or the receiver leaves out an intermediate certificate{ca}"
        ),
    ),
    21: (
        Cause.CERTIFICATE_CHAIN,
        "certificate cannot be verified: the receiver leaves out an intermediate certificate{ca}",
    ),
    23: (Cause.CERTIFICATE_REVOKED, "certificate was revoked"),
    62: (Cause.CERTIFICATE_NAME, "certificate is not for {host}{names}"),
    64: (Cause.CERTIFICATE_NAME, "certificate is not for {host}{names}"),
}

# For the keys above: with and without an authority of the operator's own.
TRUST_IT = "; to trust a private authority, name its certificate in `tls: {ca: FILE}`"
_TRUSTED_ALONE = "; only those in {ca} are trusted, which `tls: {{ca:}}` names"

# OpenSSL's reasons, of ours and of the other side's alerts (openssl/sslerr.h).
_CLOSED = "the receiver closed the connection in the TLS handshake"
_NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST"}
_TLS_WORDS = {
    "TLSV1_ALERT_PROTOCOL_VERSION": "the receiver speaks neither TLS 1.2 nor 1.3",
    "UNSUPPORTED_PROTOCOL": "the receiver speaks neither TLS 1.2 nor 1.3",
    "WRONG_VERSION_NUMBER": "the receiver does not speak TLS on this port",
    "HTTP_REQUEST": "the receiver does not speak TLS on this port",
    "UNEXPECTED_EOF_WHILE_READING": _CLOSED,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the receiver shares no TLS parameters with relayd",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "the receiver does not speak HTTP/1.1 over TLS",
    "TLSV1_UNRECOGNIZED_NAME": "the receiver knows no {host}",
}

# The other side's alerts about a client certificate, with one and without.
_CLIENT_WORDS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "asks for a client certificate",
    "SSLV3_ALERT_NO_CERTIFICATE": "asks for a client certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "does not accept the client certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "does not accept this kind of client certificate",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "says that the client certificate was revoked",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "says that the client certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "does not accept the client certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "does not trust the client certificate's authority",
    "TLSV1_ALERT_ACCESS_DENIED": "does not let the client certificate in",
}
_NAME_ONE = "name one in `tls: {certificate: FILE, key: FILE}`"


# From Python 3.14 on, with OpenSSL's number behind an error that OpenSSL has no words for.
_OPENSSL_WORDS = re.compile(r"\[SSL[^]]*\] ([^()]+?)(?: \(0x[0-9a-f]+\))? \(_ssl\.c")


def tls_failed(
    error: BaseException | None,
    host: str,
    setting: Tls | None = None,
    came: RefusedCertificate | None = None,
    trust: str = TRUST_IT,
) -> AttemptFailed:
    """Return why TLS with `host` failed; its words name the key of the configuration that helps.

    `error` is what broke the stream: an ssl.SSLError, or other trouble of the connection. `setting`
    is what the endpoint has of its own, `came` the certificate that was not accepted, `trust` how to
    trust another authority.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        found = _CERTIFICATE_FAILURES.get(error.verify_code)
        if found is None:
            words = f"certificate was not accepted: {error.verify_message}"
            return AttemptFailed(Failure.TLS, words, host)
        cause, words = found
        ca = None if setting is None else setting.ca
        trust = trust if ca is None else _TRUSTED_ALONE.format(ca=ca)
        came = came or RefusedCertificate()
        names = came.names_in_words
        words = words.format(
            host=host,
            ca=trust,
            ends=_ended(came.ends),
            names=f", only for {names}" if names else "",
        )
        return AttemptFailed(cause, words, host)
    if isinstance(error, ssl.SSLEOFError):
        return AttemptFailed(Failure.TLS, _CLOSED, host)
    if isinstance(error, ssl.SSLError):
        return _tls_failed(error.reason or _reason_in_words(error), host, setting)
    return AttemptFailed(Failure.TLS, "the connection broke off in the TLS handshake", host)


def _tls_failed(reason: str, host: str, setting: Tls | None) -> AttemptFailed:
    """Return what a reason of OpenSSL's, by its name, means."""
    if reason in _CLIENT_WORDS:
        words = _client_words(_CLIENT_WORDS[reason], setting)
        return AttemptFailed(Cause.CLIENT_CERTIFICATE, words, host)
    words = _TLS_WORDS.get(reason, f"TLS failed: {reason.replace('_', ' ').lower()}")
    if reason == "SSLV3_ALERT_HANDSHAKE_FAILURE" and not _has_certificate(setting):
        # TLS 1.2 has no alert of its own for it.
        words += f", or asks for a client certificate: {_NAME_ONE}"
    why = Cause.NO_TLS if reason in _NO_TLS else Failure.TLS
    return AttemptFailed(why, words.replace("{host}", host), host)


def _ended(ends: float | None) -> str:
    """Return when a certificate expired; nothing where another one of its chain did."""
    if ends is None or ends > time.time():
        return ""
    return time.strftime(" (on %Y-%m-%d at %H:%M UTC)", time.gmtime(ends))


def _has_certificate(setting: Tls | None) -> bool:
    return setting is not None and setting.client is not None


def _client_words(words: str, setting: Tls | None) -> str:
    if setting is not None and setting.client is not None:
        if words.startswith("asks"):
            words = f"{words}, and does not take the one that is sent"
        return f"the receiver {words} ({setting.certificate})"
    if not words.startswith("asks"):
        words = f"asks for a client certificate ({words})"
    return f"the receiver {words}: {_NAME_ONE}"


def _reason_in_words(error: ssl.SSLError) -> str:
    """Return a reason for which Python has no name, in a name's form, out of OpenSSL's words.

    `[SSL] tlsv1 alert no application protocol (_ssl.c:1006)` is one.
    """
    match = _OPENSSL_WORDS.search(str(error))
    return match[1].upper().replace(" ", "_") if match else "no reason given"


def shown_location(location: str, url: str) -> str:
    """Return where the Location of a response from `url` points, fit to be shown.

    For many services the path is the secret, and a redirect repeats it: the place is named as
    `core.endpoint.endpoint_name` names it, or by what differs from `url`. No control character,
    and 200 characters at most.
    """
    try:
        here, target = urlsplit(url), urlsplit(urljoin(url, location.strip()))
        if (target.scheme, target.netloc) == (here.scheme, here.netloc):
            return _another_path(here, target)
        if target.netloc:
            return _cleaned(endpoint_name(target.geturl()))
        return _cleaned(f"something that is not a web address ({target.scheme}:…)")
    except ValueError:
        return "something that is not a URL"


def _another_path(here: SplitResult, target: SplitResult) -> str:
    if target.path == f"{here.path}/":
        return "its own path with a / behind it"
    if here.path == f"{target.path}/":
        return "its own path without the / at its end"
    if target.path != here.path:
        return "another path on the same host"
    return "itself" if target.query == here.query else "its own path with another query"


def _cleaned(place: str) -> str:
    shown = "".join(
        char if " " <= char <= "~" or char == "…" else char.encode("unicode_escape").decode()
        for char in place[:_MAX_LOCATION_CHARACTERS]
    )
    if max(len(shown), len(place)) > _MAX_LOCATION_CHARACTERS:
        shown = shown[: _MAX_LOCATION_CHARACTERS - 1] + "…"
    return shown
