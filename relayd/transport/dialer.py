"""Where relayd may connect to: resolve a host name, check each address, dial a checked one.

What is dialled is the very address object that was checked, written anew as a number, so no second
look-up, scope id or odd spelling can lead elsewhere. The check is made for every connection, and so
holds for a name that changes, too.
"""

import errno
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import chain, zip_longest
from typing import Final

import trio

from relayd.core.addresses import Address, Network, Refusal, is_allowed, refusal
from relayd.core.endpoint import IpVersion
from relayd.core.outcome import Cause, Failure
from relayd.transport.errors import (
    MOST_NAMED,
    AttemptFailed,
    dial_failed,
    dials_failed,
    shown_address,
)
from relayd.transport.resolver import Resolver

Resolve = Callable[..., Awaitable[list[Address]]]
"""Resolves a host name (in its ASCII form) for a port; raises OSError, as getaddrinfo does. With
`ip=4` or `ip=6`, only that family is looked up."""

_NO_ADDRESS: Final = {-5, -9}
"""EAI_NODATA and EAI_ADDRFAMILY (netdb.h), which Python does not name everywhere: a name that has
no address of this family."""

STAGGER_S = 0.25
"""How long one dial may hold up the next: RFC 8305, section 5, Connection Attempt Delay."""

MAX_ADDRESSES = 8
"""So many addresses of a name are dialled at most, and so many sockets opened for one attempt."""


class AddressGuard:
    """Opens TCP connections for one endpoint, to public or explicitly allowed addresses only.

    `allowed` are the networks beyond the public ones. `resolve` is the resolver that all endpoints
    share; without it, the guard has one of its own. `ip` is the one family of addresses to dial.
    """

    def __init__(
        self,
        allowed: Sequence[Network] = (),
        *,
        resolve: Resolve | None = None,
        ip: IpVersion | None = None,
    ) -> None:
        self._allowed = tuple(allowed)
        self._ip = ip
        resolve = Resolver().resolve if resolve is None else resolve
        self._resolve = resolve if ip is None else partial(resolve, ip=ip)

    def allow(self, networks: Sequence[Network]) -> bool:
        """Allow these networks beyond the public ones, and no others; return whether that is new."""
        before, self._allowed = self._allowed, tuple(networks)
        return self._allowed != before

    async def addresses(self, host: str, port: int, *, scheme: str) -> list[Address]:
        """Return the host's addresses that may be dialled, best first, both families in turn.

        `host` is a name in ASCII or an address in any spelling that the resolver takes. Raises
        AttemptFailed (NAME or ADDRESS) when there is none. Not a checkpoint where the host is an
        address in its plain form.
        """
        try:
            literal = _literal(host)
            resolved = await self._resolve(host, port) if literal is None else [literal]
        except OSError as error:
            raise _name_failed(host, error, self._ip) from error
        except UnicodeError as error:
            words = f"{host} is not a valid host name"
            raise AttemptFailed(Failure.NAME, words, host) from error
        refusals: dict[Address, Refusal] = {}
        permitted: list[Address] = []
        for address in dict.fromkeys(map(_without_scope, resolved)):
            if self._ip not in {None, address.version}:
                continue
            try:
                reason = self._refusal(address, scheme)
            except OSError as error:
                raise dial_failed(error, host) from error
            if reason is None:
                permitted.append(address)
            else:
                refusals[address] = reason
        if permitted:
            return _interleaved(permitted)[:MAX_ADDRESSES]
        if not refusals:
            raise AttemptFailed(Failure.NAME, f"{host} has no {_kind(self._ip)}", host)
        raise _refused(host, refusals)

    async def dial(self, addresses: Sequence[Address], port: int) -> trio.SocketStream:
        """Connect to the first of these checked addresses that answers, dialled in their order.

        The stream has TCP_NODELAY set. Raises AttemptFailed (CONNECT) when none does. Cancellation closes every socket.
        """
        if len(addresses) == 1:  # No nursery for what is the most common case.
            try:
                return await _dial(addresses[0], port)
            except OSError as error:
                raise dial_failed(error, shown_address(addresses[0], port)) from error
        return await _dial_in_turn(addresses, port)

    async def connect(self, host: str, port: int, *, scheme: str) -> trio.SocketStream:
        """Resolve, check and dial, as `addresses` and `dial` do."""
        return await self.dial(await self.addresses(host, port, scheme=scheme), port)

    def _refusal(self, address: Address, scheme: str) -> Refusal | None:
        reason = refusal(address, self._allowed, scheme=scheme)
        if reason is None and not is_allowed(address, self._allowed) and _is_own(address):
            return Refusal(Cause.OWN_ADDRESS, f"{address} is this machine's own address")
        return reason


def _literal(host: str) -> Address | None:
    """Return the address that a host is in its plain form; the resolver knows the odd ones."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_own(address: Address) -> bool:
    """Tell whether a connection to an address would end at this machine.

    The kernel is asked: a socket can be bound to the machine's own addresses alone. It takes 10 µs,
    sends nothing, and needs no list of interfaces that grows old. Where `ip_nonlocal_bind` is set, a
    socket can be bound to any; then an address counts as own when the kernel would speak to it from
    that same address. The public address of a NAT in front of the machine cannot be found. Raises
    OSError when there is no file descriptor left.
    """
    if not _can_bind(address):
        return False
    if not _can_bind(_NOBODYS[address.version]):
        return True
    with _datagram_socket(address) as probe:
        try:
            probe.connect((str(address), 443))
        except OSError:
            return False  # No route: it cannot be reached at all.
        source: Address = ip_address(probe.getsockname()[0])
    return source == address


_NOBODYS: Final[dict[int, Address]] = {
    4: IPv4Address("192.0.2.1"), 6: IPv6Address("2001:db8::1")
}  # fmt: skip
"""Addresses for documentation, which no machine has."""


def _can_bind(address: Address) -> bool:
    with _datagram_socket(address) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


def _datagram_socket(address: Address) -> socket.socket:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    return socket.socket(family, socket.SOCK_DGRAM)


def _without_scope(address: Address) -> Address:
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return IPv6Address(int(address))
    return address


def _interleaved(addresses: list[Address]) -> list[Address]:
    """Take both families in turn, beginning with the first address's (RFC 8305, section 4)."""
    first = [address for address in addresses if address.version == addresses[0].version]
    second = [address for address in addresses if address.version != addresses[0].version]
    pairs = zip_longest(first, second)
    return [address for address in chain.from_iterable(pairs) if address is not None]


_WORST_FIRST: Final = (
    # What is public wants https, and then works; nobody is led to allow a cloud's metadata.
    Cause.PUBLIC_HTTP, Cause.METADATA_ADDRESS, Cause.PRIVATE_ADDRESS, Cause.OWN_ADDRESS,
)  # fmt: skip


def _refused(host: str, refusals: Mapping[Address, Refusal]) -> AttemptFailed:
    """Return the failure of a host of which every address was refused."""
    causes = {each.cause for each in refusals.values()}
    cause = next(each for each in _WORST_FIRST if each in causes)
    named = list(refusals)[:MOST_NAMED]
    reasons = "; ".join(refusals[each].words for each in named)
    subject = " ".join(map(str, named))
    return AttemptFailed(cause, f"{host} may not be dialled: {reasons}", subject)


def _kind(ip: IpVersion | None) -> str:
    return "address" if ip is None else f"IPv{ip} address, and `ip: {ip}` allows no other"


def _name_failed(host: str, error: OSError, ip: IpVersion | None) -> AttemptFailed:
    if error.errno in (errno.EMFILE, errno.ENFILE) and not isinstance(error, socket.gaierror):
        return dial_failed(error, host)
    words = f"{host} could not be resolved: {error.strerror or type(error).__name__}"
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME:
        words = f"{host} does not exist, or has no {_kind(ip)}"
    elif isinstance(error, socket.gaierror) and ip is not None and error.errno in _NO_ADDRESS:
        words = f"{host} has no {_kind(ip)}"
    return AttemptFailed(Failure.NAME, words, host)


async def _dial(address: Address, port: int) -> trio.SocketStream:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    dialled = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        await dialled.connect((str(address), port))
        return trio.SocketStream(dialled)
    except BaseException:
        dialled.close()
        raise


async def _dial_in_turn(addresses: Sequence[Address], port: int) -> trio.SocketStream:
    """Start a dial each STAGGER_S, or as soon as the one before failed; the first success wins."""
    winner: trio.SocketStream | None = None
    failures: list[AttemptFailed] = []

    async def dial(address: Address, failed: trio.Event) -> None:
        nonlocal winner
        try:
            stream = await _dial(address, port)
        except OSError as error:
            failures.append(dial_failed(error, shown_address(address, port)))
            failed.set()
        else:
            if winner is None:
                winner = stream
                nursery.cancel_scope.cancel()
            else:
                stream.socket.close()

    try:
        async with trio.open_nursery() as nursery:
            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(dial, address, failed)
                with trio.move_on_after(STAGGER_S):
                    await failed.wait()
    except BaseException:
        if winner is not None:
            winner.socket.close()
        raise
    if winner is None:
        raise dials_failed(failures)
    return winner
