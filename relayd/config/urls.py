"""A subscription's URL: its one normal form, and what can be seen wrong with it before dialling."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import filterfalse
from typing import Final

import httpx

from relayd.core.addresses import Address, Network, ipv6_text, literal_address, refusal
from relayd.core.conditions import listing
from relayd.core.smtp import is_mailto

MAX_LENGTH: Final = 2048

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class BadUrl:
    """Why a URL cannot be delivered to, and what would be right."""

    message: str
    hint: str = ""


PLACEHOLDER: Final = re.compile(r"\$\{|\{\{")
_UNWELCOME: Final = (
    (
        PLACEHOLDER,
        BadUrl("contains a placeholder, which is not expanded", "write the URL itself"),
    ),
    (
        re.compile(r"[\s\x00-\x1f\x7f-\xa0]"),
        BadUrl("must not contain spaces or line breaks", "write %20 for a space"),
    ),
    (re.compile(r"\\"), BadUrl("must not contain a backslash", "write /")),
    (re.compile("#"), BadUrl("must not contain a fragment", "leave out # and what follows")),
)


def normal_url(text: str, allowed: Sequence[Network]) -> str | BadUrl:
    """Return the form under which equal URLs are one endpoint, or why it cannot be one.

    The host is in lower case and ASCII, without a dot at its end (certificates and virtual hosts
    are for the name without it), an address in its usual form, a default port is left out, an
    empty path is `/`. What a name resolves to is judged when it is dialled; an address is
    judged here.
    """
    complaint = _text_complaint(text)
    if complaint is not None:
        return complaint
    try:
        url = httpx.URL(text)
        host = url.raw_host.decode("ascii").removesuffix(".")
    except (httpx.InvalidURL, UnicodeError):
        return BadUrl("is not a valid URL", "as https://your-app.com/webhooks")
    address = literal_address(host)
    complaint = _part_complaint(url) or (
        _name_complaint(host, url.scheme, allowed)
        if address is None
        else _address_complaint(address, url.scheme, allowed)
    )
    if complaint is not None:
        return complaint
    if address is not None:
        host = str(address) if isinstance(address, IPv4Address) else f"[{ipv6_text(address)}]"
    # httpx leaves out a default port only where the scheme was in lower case.
    port = "" if url.port in {None, _DEFAULT_PORTS[url.scheme]} else f":{url.port}"
    return f"{url.scheme}://{host}{port}{url.raw_path.decode('ascii')}"


def doubt(url: str, allowed: Sequence[Network]) -> BadUrl | None:
    """Return why deliveries to a URL in its normal form may never start, or None.

    Only addresses in `allowed` may be dialled over http, and where a name leads is seen then.
    """
    if is_mailto(url):
        return None
    parts = httpx.URL(url)
    host = parts.host
    if parts.scheme != "http" or literal_address(host) is not None or _is_this_machine(host):
        return None
    networks = listing(map(str, allowed), "or", most=3)
    return BadUrl(
        f"is http, which works only while {host} leads into {networks}",
        "write https://, or the address instead of the name",
    )


def family_of(url: str) -> int | None:
    """Return 4 or 6 where the host of a URL in its normal form is an address, None for a name."""
    address = None if is_mailto(url) else literal_address(httpx.URL(url).host)
    return None if address is None else address.version


_INTERNAL: Final = (
    "internal",
    "local",
    "lan",
    "home",
    "corp",
    "intranet",
    "private",
    "arpa",
    "test",
)
"""Last words of names that no public name server knows, or that are often used so."""


def idle_networks(urls: Iterable[str], allowed: Sequence[Network]) -> list[Network]:
    """Return the allowed networks into which no URL leads, as far as that can be seen.

    None where some URL has a name that only a network of one's own knows, or is http to a name.
    """
    used: set[Network] = set()
    for parts in map(httpx.URL, filterfalse(is_mailto, urls)):
        address = literal_address(parts.host)
        if address is not None:
            inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
            used.update(each for each in allowed if address in each or (inner and inner in each))
        elif _is_this_machine(parts.host):
            used.update(each for each in allowed if each.is_loopback)
        elif (
            parts.scheme == "http"
            or parts.host.rpartition(".")[2] in _INTERNAL
            or "." not in parts.host
        ):
            return []
    return [each for each in allowed if each not in used]


def _text_complaint(text: str) -> BadUrl | None:
    if len(text) > MAX_LENGTH:
        return BadUrl(f"is longer than {MAX_LENGTH} characters")
    if not text.lower().startswith(("http://", "https://")):
        return BadUrl("must begin with https://", "as https://your-app.com/webhooks")
    return next((complaint for sign, complaint in _UNWELCOME if sign.search(text)), None)


def _part_complaint(url: httpx.URL) -> BadUrl | None:
    if url.userinfo:
        return BadUrl(
            "must not contain a user or password",
            "send an Authorization header instead, under headers:",
        )
    if url.port is not None and not 1 <= url.port <= 65_535:
        return BadUrl("the port must be between 1 and 65535")
    return None


def _address_complaint(address: Address, scheme: str, allowed: Sequence[Network]) -> BadUrl | None:
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return BadUrl("must not name a zone", "leave out % and what follows")
    reason = refusal(address, allowed, scheme=scheme)
    if reason is None:
        return None
    if refusal(address, (), scheme="https") is None:
        return BadUrl(reason.words, "write https://")
    meant = inner or address
    return BadUrl(reason.words, f"to reach it, add {meant}/{meant.max_prefixlen} to allow_networks")


def _name_complaint(host: str, scheme: str, allowed: Sequence[Network]) -> BadUrl | None:
    if not host:
        return BadUrl("has no host", "as https://your-app.com/webhooks")
    if not _HOST_NAME.fullmatch(host):
        return BadUrl("is not a valid host name")
    if _is_this_machine(host) and not any(network.is_loopback for network in allowed):
        return BadUrl(
            f"{host} is this machine, which is not public",
            "to reach it, add 127.0.0.0/8 to allow_networks",
        )
    if scheme == "http" and not allowed:
        return BadUrl(
            "http: is not encrypted, and only for networks in allow_networks",
            "write https://, or add the receiver's network to allow_networks",
        )
    return None


def _is_this_machine(host: str) -> bool:
    return f".{host.removesuffix('.')}".endswith(".localhost")
