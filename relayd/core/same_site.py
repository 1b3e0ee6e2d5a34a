"""Whether a request comes from the web process's own pages, by its Host and Origin.

A page of somebody else's can make a browser send requests here, and by DNS rebinding also read the answers:
then the Host is that page's name. It can never be an address, or the name under which this is known.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from relayd.core.web_access import WebAccess


def is_own_host(host: str, access: WebAccess) -> bool:
    """Return whether a Host header names the web process: an address, localhost or `base_url`.

    At a Unix socket without a `base_url` it may be any: only a proxy reaches it, which knows its names.
    """
    name = _name_of(host)
    if name is None:
        return False
    if name == "localhost" or name.endswith(".localhost") or _is_address(name):
        return True
    if access.base_url is None:
        return bool(access.listen.path)
    return name == _name_of(urlsplit(access.base_url).netloc)


def is_own_origin(headers: Mapping[str, str], access: WebAccess) -> bool:
    """Return whether a request that changes something was made by a page of the web process, or no page.

    `headers` have lower-case names. A browser sends an Origin with each such request.
    """
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "none") in {"none", "same-origin"}
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        return False
    if access.base_url is not None and _origin_of(access.base_url) == origin.lower():
        return True
    return parts.netloc.lower() == headers.get("host", "").lower()


def own_path(text: str) -> str:
    """Return a path to go on to that was given in a URL: `/` unless it is one of this site."""
    clean = text.isascii() and text.isprintable() and "\\" not in text
    return text if clean and text.startswith("/") and not text.startswith("//") else "/"


def client_address(
    peer: str | None, forwarded: str, trusted: tuple[IPv4Network | IPv6Network, ...]
) -> str:
    """Return who asks: the last address of X-Forwarded-For that no trusted proxy has, or the peer.

    `peer` is None at a Unix socket, where only a proxy connects.
    """
    found = peer or "unix"
    for each in reversed([part.strip() for part in forwarded.split(",")]):
        if not _is_trusted(found, peer, trusted) or not _is_address(each):
            break
        found = each
    return found


def limited_as(address: str) -> str:
    """Return what an address is limited as: an IPv6 one with its /64, which one customer has."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(IPv6Network((parsed, 64), strict=False))
    return str(parsed)


def _is_trusted(
    address: str, peer: str | None, trusted: tuple[IPv4Network | IPv6Network, ...]
) -> bool:
    if peer is None and address == "unix":
        return True
    parsed = _address(address)
    return parsed is not None and any(parsed in each for each in trusted)


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _name_of(host: str) -> str | None:
    """Return a Host header's name, in lower case and without the port; None where it is not one."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    return _address(name) is not None


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(name)
    except ValueError:
        return None
