"""Which IP addresses relayd may dial: public ones, and those that the operator allowed.

`ipaddress.is_global` is not asked: Python 3.11's passes multicast, 6to4, site-local and IPv6
addresses with a private IPv4 address inside. The tables here follow IANA's registries of
special-purpose addresses (RFC 6890 and its successors), and for IPv6 start from what is public.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple

from relayd.core.outcome import Cause

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_SPECIAL_IPV4: Final = tuple(
    (IPv4Network(network), purpose)
    for network, purpose in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "a provider's shared space"),
        ("127.0.0.0/8", "this machine"),
        ("168.63.129.16/32", "Azure's platform, which hands out secrets"),
        ("169.254.0.0/16", "link-local, where clouds keep their metadata"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)

CLOUD_METADATA: Final[tuple[Network, ...]] = (
    IPv4Network("169.254.0.0/16"),
    IPv4Network("168.63.129.16/32"),
    IPv6Network("fe80::/10"),
    IPv6Network("fd00:ec2::/32"),
)
"""Where clouds hand out a machine's secrets, and the link-local networks around it."""

_PUBLIC_IPV6: Final = IPv6Network("2000::/3")
_SPECIAL_IPV6: Final = tuple(
    (IPv6Network(network), purpose)
    for network, purpose in (
        # Inside 2000::/3. 2001::/23 holds a few anycast services that are public; none of them
        # receives webhooks, and Teredo, which tunnels to any IPv4 address, is in it.
        ("2001::/23", "reserved for protocols"),
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "6to4, which tunnels to an IPv4 address"),
        ("3fff::/20", "for documentation"),
        # Outside it, only to say what they are.
        ("::/128", "no address"),
        ("::1/128", "this machine"),
        ("::/96", "an IPv4 address in a form given up long ago"),
        ("64:ff9b:1::/48", "a private translation to IPv4"),
        ("100::/64", "a black hole"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private, in a form given up long ago"),
        ("ff00::/8", "multicast"),
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")

_IPV4_PART = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+", re.ASCII)
_LONGEST_PART = 20


class Refusal(NamedTuple):
    """Why an address may not be dialled: its cause, and in words, which begin with the address."""

    cause: Cause
    words: str


def refusal(address: Address, allowed: Sequence[Network], *, scheme: str) -> Refusal | None:
    """Return why relayd may not dial `address`, or None if it may.

    `allowed` holds the operator's networks and wins over every table, also for the IPv4 address
    inside an IPv4-mapped one, which the kernel dials as that. Over `http` only they may be
    dialled.
    """
    if is_allowed(address, allowed):
        return None
    purpose = _special_purpose(address)
    if purpose is not None:
        metadata = _within(address, CLOUD_METADATA)
        cause = Cause.METADATA_ADDRESS if metadata else Cause.PRIVATE_ADDRESS
        return Refusal(cause, f"{address} is not public ({purpose})")
    if scheme == "http":
        words = f"{address} is public, and http: is not encrypted"
        return Refusal(Cause.PUBLIC_HTTP, words)
    return None


def is_allowed(address: Address, allowed: Sequence[Network]) -> bool:
    """Tell whether an address, or the IPv4 address mapped in it, is in the operator's networks."""
    inner = _mapped(address)
    return _within(address, allowed) or (inner is not None and _within(inner, allowed))


def literal_address(host: str) -> Address | None:
    """Return the address that `host` is written as, or None when it is a name.

    Beside the usual forms it knows those that `inet_aton`, and through it `getaddrinfo`, take for
    IPv4: `127.1`, `2130706433`, `0x7f000001`, `0177.0.0.1`. IPv6 comes without brackets, and may
    name a zone as `fe80::1%eth0` or, as URLs write it (RFC 6874), `fe80::1%25eth0`.
    """
    if ":" in host:
        text, _, zone = host.partition("%")
        zone = zone.removeprefix("25")
        try:
            address = ip_address(text)
            # A zone that cannot be one changes nothing: it is an address, and no name.
            return ip_address(f"{text}%{zone}") if zone and "%" not in zone else address
        except ValueError:
            return None
    return _inet_aton(host.removesuffix("."))


def ipv6_text(address: IPv6Address) -> str:
    """Return the address as URLs have it, in hexadecimal, whatever Python runs.

    From Python 3.13 on, `str` writes `::ffff:127.0.0.1`. An endpoint is known by its URL, which
    another Python must not change.
    """
    if address.ipv4_mapped is None:
        return str(address)
    high, low = divmod(int(address.ipv4_mapped), 0x1_0000)
    return f"::ffff:{high:x}:{low:x}"


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _mapped(address: Address) -> IPv4Address | None:
    return address.ipv4_mapped if isinstance(address, IPv6Address) else None


def _special_purpose(address: Address) -> str | None:
    """Return what an address that is not public is for, or None for a public one."""
    if isinstance(address, IPv4Address):
        return next((purpose for network, purpose in _SPECIAL_IPV4 if address in network), None)
    if address.ipv4_mapped is not None:
        return _special_purpose(address.ipv4_mapped)
    if address in _NAT64:
        return _special_purpose(IPv4Address(int(address) & 0xFFFF_FFFF))
    for network, purpose in _SPECIAL_IPV6:
        if address in network:
            return purpose
    return None if address in _PUBLIC_IPV6 else "not in 2000::/3"


def _inet_aton(host: str) -> IPv4Address | None:
    """Read one to four numbers: each but the last is a byte, the last fills the bytes left."""
    parts = host.split(".")
    if len(parts) > 4 or not all(_IPV4_PART.fullmatch(part) for part in parts):
        return None
    if any(len(part) > _LONGEST_PART for part in parts):
        return None
    try:
        *leading, last = (_number(part) for part in parts)
    except ValueError:
        return None
    if any(number > 0xFF for number in leading) or last >= 1 << 8 * (4 - len(leading)):
        return None
    value = last
    for position, number in enumerate(leading):
        value |= number << 8 * (3 - position)
    return IPv4Address(value)


def _number(text: str) -> int:
    if text[:2] in {"0x", "0X"}:
        return int(text[2:] or "0", 16)
    return int(text, 8) if text.startswith("0") else int(text)
