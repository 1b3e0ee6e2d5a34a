"""Who may do what of the web process, by the digests of its tokens, and where it listens."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

SHORTEST_TOKEN: Final = 16
"""Characters of a token. Whoever may try them all over a network soon has a shorter one."""

_MAX_PORT: Final = 65_535
_TCP = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<four>[0-9.]+)):(?P<port>\d{1,5})")


class Role(StrEnum):
    """What a token's holder may do. `EVERYTHING` includes what `READ` may."""

    EVERYTHING = "everything"
    READ = "read"
    PRODUCER = "producer"
    """Hands events over, under the name of an entry of `http.producers`."""
    FEED = "feed"
    """Reads the feed of one subscription."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose token it is; `name` is that of a producer, or of a feed's subscription."""

    role: Role
    name: str = ""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the web process listens: at an address and a port, or at a Unix socket's `path`."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_private(self) -> bool:
        """Whether only programs on this machine reach it."""
        return bool(self.path) or ip_address(self.host).is_loopback

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(text: str) -> Listen | None:
    """Return what `127.0.0.1:8787`, `[::1]:8787` or `unix:PATH` says, or None."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        return Listen(path=path) if path and "\0" not in path else None
    match = _TCP.fullmatch(text)
    if match is None:
        return None
    try:
        host = ip_address(match["six"] or match["four"])
    except ValueError:
        return None
    port = int(match["port"])
    if not 1 <= port <= _MAX_PORT or (host.version == 6) != (match["six"] is not None):
        return None
    return Listen(str(host), port)


@dataclass(frozen=True, slots=True)
class WebProducer:
    """The market of the events that a program hands over by HTTP.

    `markets` are others that an event may name, None any.
    """

    market_id: str
    markets: frozenset[str] | None = frozenset()


@dataclass(frozen=True, slots=True)
class WebAccess:
    """Where the web process listens, and which tokens it takes.

    `open`: whoever reaches `listen`, which is private then, may do everything. `public` serves
    `/in/` and `/v1/events` alone. `tokens` are by their digests, see `digest`.
    """

    listen: Listen
    public: Listen | None = None
    base_url: str | None = None
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    open: bool = False
    tokens: Mapping[str, Holder] = field(default_factory=dict, repr=False)
    producers: Mapping[str, WebProducer] = field(default_factory=dict)

    def holder(self, token: str) -> Holder | None:
        """Return whose token it is, or None. How long it takes tells nothing of other tokens."""
        return self.tokens.get(digest(token))


def digest(token: str) -> str:
    """Return the SHA-256 of a token, in hex. A token is long and random: it needs no slow digest."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
