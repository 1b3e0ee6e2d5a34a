"""One POST of a body on its way: what is sent, and how far it has come."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import httpx

from relayd import __version__
from relayd.transport.response import AnswerReader, Headers

AnotherToken = Callable[[], Awaitable[bool]]
"""Waits for a token of the endpoint's bucket, beyond the one that the attempt was given; False when
the endpoint starts nothing any more."""

_FIXED_HEADERS = [
    (b"User-Agent", f"relayd/{__version__}".encode()),
    (b"Accept", b"*/*"),
    (b"Accept-Encoding", b"identity"),
    (b"Content-Type", b"application/json"),
    # It is HTTP/1.1's default, but Apache says how long it waits only to those who ask.
    (b"Connection", b"keep-alive"),
]


@dataclass(slots=True)
class Request:
    """A request, and its progress.

    `headers` are raw, in the order in which they are sent. `another_token` is awaited before it is
    sent once more; without it, nothing limits that. `waiting_for` says what it waits for, as a noun,
    so that an attempt that runs into its deadline can say what was missing. `response` is the reader
    of the response once its head is complete: from then on, nothing that happens to the body is a
    failure. `begins` is called, and gone, once its turn has come, where it has to wait for one.
    `mail_server` is the address and port of the mail server by which it goes; None without one.
    """

    url: httpx.URL = field(repr=False)
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)
    another_token: AnotherToken | None = None
    waiting_for: str = "answer"
    begins: Callable[[], None] | None = None
    response: AnswerReader | None = None
    mail_server: str | None = None


def build_request(
    url: httpx.URL,
    headers: list[tuple[str, str]],
    body: bytes,
    another_token: AnotherToken | None = None,
    *,
    own: Sequence[tuple[str, str]] = (),
) -> Request:
    """Return the POST of a body, with the headers that every attempt has and `headers` after them.

    `own` are those of `headers` that the operator chose: one of the same name is left out before.
    """
    raw = [
        (b"Host", url.netloc),
        *(_fixed_headers_without(own) if own else _FIXED_HEADERS),
        (b"Content-Length", b"%d" % len(body)),
        *[(name.encode("ascii"), value.encode()) for name, value in headers],
    ]
    return Request(url, raw, body, another_token)


def _fixed_headers_without(own: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    names = {name.lower().encode("ascii") for name, _ in own}
    return [header for header in _FIXED_HEADERS if header[0].lower() not in names]
