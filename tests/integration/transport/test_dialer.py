"""The guard: what it resolves, checks and dials, and what it says when it does not."""

import errno
import os
import resource
import socket
from collections.abc import AsyncIterator
from ipaddress import ip_address, ip_network

import pytest
import trio
from receivers import LOOPBACK, open_receiver, unused_port
from trio.testing import MockClock

from relayd.core.addresses import Address
from relayd.core.outcome import Cause, Failure
from relayd.transport import dialer
from relayd.transport.dialer import MAX_ADDRESSES, AddressGuard, Resolve
from relayd.transport.errors import AttemptFailed, dial_failed, dials_failed

THIS_MACHINE = [ip_network("127.0.0.0/8")]
PUBLIC = "198.41.0.4"
PUBLIC_6 = "2001:503:ba3e::2:30"


def resolver(*answers: list[str]) -> Resolve:
    """Resolve any name to the first list, then to the second, and at last always to the last."""
    left = list(answers)

    async def resolve(host: str, port: int) -> list[Address]:
        await trio.lowlevel.checkpoint()
        found = left.pop(0) if len(left) > 1 else left[0]
        return [ip_address(text) for text in found]

    return resolve


class Dials:
    """In place of real dials: records them, and does for each address as `behaviour` says."""

    def __init__(self) -> None:
        self.behaviour: dict[str, float | OSError] = {}
        self.started: list[tuple[str, float]] = []
        self.connected: list[tuple[str, trio.SocketStream]] = []

    async def dial(self, address: Address, _port: int) -> trio.SocketStream:
        text = str(address)
        self.started.append((text, trio.current_time()))
        behaviour = self.behaviour.get(text, 0.0)
        if isinstance(behaviour, OSError):
            await trio.lowlevel.checkpoint()
            raise behaviour
        await trio.sleep(behaviour)
        stream = trio.SocketStream(trio.socket.socket())
        self.connected.append((text, stream))
        return stream

    @property
    def addresses(self) -> list[str]:
        return [address for address, _ in self.started]


@pytest.fixture
async def dials(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Dials]:
    made = Dials()
    monkeypatch.setattr(dialer, "_dial", made.dial)
    yield made
    for _, stream in made.connected:  # Within trio, which a socket tells that it closes.
        stream.socket.close()


async def failure_of(guard: AddressGuard, host: str, *, scheme: str = "https") -> AttemptFailed:
    with pytest.raises(AttemptFailed) as caught:
        await guard.connect(host, 443, scheme=scheme)
    return caught.value


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "0",
        "localhost",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "::ffff:100.64.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "fec0::1",
        "fe80::1",
        "fe80::1%lo",
        "::1%lo",
        "fd00:ec2::254",
        "ff02::1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "192.88.99.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "168.63.129.16",
        "::ffff:168.63.129.16",
        "64:ff9b::a83f:8110",
        "fe80::1%25lo",
        "::1%25",
    ],
)
async def test_what_is_not_public_is_never_dialled(host: str, dials: Dials) -> None:
    failed = await failure_of(AddressGuard(), host)

    # Some forms are no address for the system's resolver: then there is nothing to dial either.
    assert failed.failure in (Failure.ADDRESS, Failure.NAME)
    assert dials.addresses == []


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "::ffff:127.0.0.1", "169.254.169.254"])
async def test_a_refused_address_is_named_with_its_reason(host: str, dials: Dials) -> None:
    failed = await failure_of(AddressGuard(), host)

    assert failed.failure is Failure.ADDRESS
    assert failed.detail.startswith(f"{host} may not be dialled: ")
    assert "is not public" in failed.detail


async def test_a_scope_id_cannot_bypass_the_check(dials: Dials) -> None:
    for text in ("::1%1", "fe80::1%eth0", "::ffff:127.0.0.1%2"):
        failed = await failure_of(AddressGuard(resolve=resolver([text])), "scoped.example")
        assert failed.failure is Failure.ADDRESS
    # What is dialled of an address that may be is the address without the zone.
    await AddressGuard(resolve=resolver([f"{PUBLIC_6}%3"])).connect("s.example", 1, scheme="https")
    assert dials.addresses == [PUBLIC_6]


async def test_the_machines_own_addresses_are_refused_unless_allowed(
    dials: Dials, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Loopback, as if it were a public address of this machine: only the kernel knows that it is.
    monkeypatch.setattr(dialer, "refusal", lambda *_, **__: None)
    for own in ("127.0.0.1", "127.0.0.9", "::1", "::ffff:127.0.0.1"):
        failed = await failure_of(AddressGuard(resolve=resolver([own])), "own.example")
        assert failed.failure is Failure.ADDRESS
        assert "this machine's own address" in failed.detail
    assert dials.addresses == []
    await AddressGuard(THIS_MACHINE, resolve=resolver(["127.0.0.1"])).connect(
        "own.example", 443, scheme="https"
    )
    await AddressGuard(resolve=resolver([PUBLIC])).connect("other.example", 443, scheme="https")
    assert dials.addresses == ["127.0.0.1", PUBLIC]


async def test_only_the_permitted_addresses_of_a_name_are_dialled(dials: Dials) -> None:
    guard = AddressGuard(resolve=resolver(["10.0.0.1", PUBLIC, "::1"]))

    await guard.connect("mixed.example", 443, scheme="https")

    assert dials.addresses == [PUBLIC]


async def test_a_name_that_changes_is_refused_at_the_dial(dials: Dials) -> None:
    guard = AddressGuard(resolve=resolver([PUBLIC], ["127.0.0.1"]))

    await guard.connect("rebinding.example", 443, scheme="https")
    failed = await failure_of(guard, "rebinding.example")

    assert failed.failure is Failure.ADDRESS
    assert dials.addresses == [PUBLIC]


async def test_the_checked_address_is_dialled_whatever_the_name_says_by_then() -> None:
    looked_up = 0

    async def resolve(host: str, port: int) -> list[Address]:
        nonlocal looked_up
        looked_up += 1
        await trio.lowlevel.checkpoint()
        return [ip_address(LOOPBACK)]

    async with open_receiver() as receiver:
        guard = AddressGuard(THIS_MACHINE, resolve=resolve)
        stream = await guard.connect("no-such-name.invalid", receiver.port, scheme="https")
        assert stream.socket.getpeername() == (LOOPBACK, receiver.port)
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await stream.aclose()

    assert looked_up == 1


async def test_http_reaches_allowed_networks_only(dials: Dials) -> None:
    guard = AddressGuard(THIS_MACHINE, resolve=resolver([PUBLIC], [LOOPBACK]))

    failed = await failure_of(guard, "plain.example", scheme="http")
    await guard.connect("plain.example", 80, scheme="http")

    assert failed.failure is Failure.ADDRESS
    assert dials.addresses == [LOOPBACK]


async def test_families_take_turns_and_few_addresses_are_dialled(dials: Dials) -> None:
    fours = [f"198.41.0.{number}" for number in range(1, 20)]
    sixes = ["2001:503:ba3e::1", "2001:503:ba3e::2"]
    refused = OSError(errno.ECONNREFUSED, "refused")
    dials.behaviour.update(dict.fromkeys([*fours, *sixes], refused))

    failed = await failure_of(AddressGuard(resolve=resolver([*sixes, *fours])), "many.example")

    assert dials.addresses == [sixes[0], fours[0], sixes[1], *fours[1 : MAX_ADDRESSES - 2]]
    assert failed.failure is Failure.CONNECT
    assert failed.detail.startswith(
        "nothing is listening at [2001:503:ba3e::1]:443 (connection refused); nothing is listening at"
        " 198.41.0.1:443"
    )


async def test_a_silent_address_holds_up_the_next_by_250_ms(
    dials: Dials, autojump_clock: MockClock
) -> None:
    dials.behaviour.update({PUBLIC_6: 3600.0, PUBLIC: 0.1})

    stream = await AddressGuard(resolve=resolver([PUBLIC_6, PUBLIC])).connect(
        "slow.example", 443, scheme="https"
    )

    assert dials.connected == [(PUBLIC, stream)]
    begun = [moment - dials.started[0][1] for _, moment in dials.started]
    assert begun == pytest.approx([0.0, 0.25])


async def test_a_second_winner_is_closed(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    made: list[trio.SocketStream] = []

    async def dial(address: Address, port: int) -> trio.SocketStream:
        # Both come about in the same instant, and neither can be cancelled any more.
        with trio.CancelScope(shield=True):
            await trio.sleep_until(moment)
        made.append(trio.SocketStream(trio.socket.socket()))
        return made[-1]

    moment = trio.current_time() + 1.0
    monkeypatch.setattr(dialer, "_dial", dial)

    winner = await AddressGuard(resolve=resolver([PUBLIC_6, PUBLIC])).connect(
        "both.example", 443, scheme="https"
    )

    assert len(made) == 2
    assert [stream.socket.fileno() != -1 for stream in made].count(True) == 1
    assert winner.socket.fileno() != -1
    winner.socket.close()


async def test_a_refusal_moves_on_at_once() -> None:
    async with open_receiver() as receiver:
        guard = AddressGuard(THIS_MACHINE, resolve=resolver(["127.0.0.2", LOOPBACK]))
        with trio.fail_after(5):
            stream = await guard.connect("two.example", receiver.port, scheme="https")
        assert stream.socket.getpeername()[0] == LOOPBACK
        await stream.aclose()


async def test_a_refused_connection_names_the_address() -> None:
    port = unused_port()
    guard = AddressGuard(THIS_MACHINE)

    with pytest.raises(AttemptFailed) as caught:
        await guard.connect(LOOPBACK, port, scheme="https")

    failed = caught.value
    assert (failed.failure, failed.why) == (Failure.CONNECT, Cause.REFUSED)
    assert failed.subject == f"127.0.0.1:{port}"
    assert failed.detail == f"nothing is listening at 127.0.0.1:{port} (connection refused)"


async def test_several_addresses_have_one_cause_where_all_have_the_same() -> None:
    refused = [dial_failed(OSError(errno.ECONNREFUSED, ""), f"10.0.0.{n}:443") for n in range(5)]
    failed = dials_failed(refused)
    assert failed.why is Cause.REFUSED
    assert failed.subject == "10.0.0.0:443 10.0.0.1:443 10.0.0.2:443"
    away = dial_failed(OSError(errno.EHOSTUNREACH, ""), "[fd12::1]:443")
    assert away.why is Cause.UNREACHABLE
    failed = dials_failed([refused[0], away])
    assert (failed.why, failed.subject) == (Failure.CONNECT, "10.0.0.0:443 [fd12::1]:443")


@pytest.mark.parametrize(
    ("addresses", "scheme", "cause"),
    [
        (["10.0.0.5", "fd12::1"], "https", Cause.PRIVATE_ADDRESS),
        (["10.0.0.5", "127.0.0.1"], "https", Cause.PRIVATE_ADDRESS),
        (["10.0.0.5", "fd12::1", "10.0.0.6", "169.254.169.254"], "https", Cause.METADATA_ADDRESS),
        (["8.8.8.8"], "http", Cause.PUBLIC_HTTP),
        (["10.0.0.5", "8.8.8.8"], "http", Cause.PUBLIC_HTTP),
    ],
)
async def test_a_refused_address_has_its_cause_and_is_the_subject(
    addresses: list[str], scheme: str, cause: Cause
) -> None:
    guard = AddressGuard(resolve=resolver(addresses))
    with pytest.raises(AttemptFailed) as caught:
        await guard.addresses("shop.example", 443, scheme=scheme)
    assert (caught.value.failure, caught.value.why) == (Failure.ADDRESS, cause)
    assert caught.value.subject == " ".join(addresses[:3])


@pytest.mark.parametrize(
    ("error", "why", "words"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), Failure.NAME, "does not exist"),
        (socket.gaierror(socket.EAI_AGAIN, "Try again"), Failure.NAME, "resolved: Try again"),
        (UnicodeEncodeError("ascii", "ü", 0, 1, "no"), Failure.NAME, "not a valid host name"),
        (OSError(errno.EMFILE, "Too many open files"), Cause.NO_SOCKET, "no file descriptor"),
    ],
)
async def test_a_failed_look_up_is_named(
    error: Exception, why: Failure | Cause, words: str
) -> None:
    async def resolve(host: str, port: int) -> list[Address]:
        await trio.lowlevel.checkpoint()
        raise error

    failed = await failure_of(AddressGuard(resolve=resolve), "lost.example")

    assert (failed.why, failed.subject) == (why, "lost.example")
    assert words in failed.detail


async def test_a_name_without_addresses_is_a_failed_name() -> None:
    failed = await failure_of(AddressGuard(resolve=resolver([])), "empty.example")

    assert (failed.failure, failed.detail) == (Failure.NAME, "empty.example has no address")


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example", "bücher.example", "nul\0.example"])
async def test_a_host_that_no_resolver_takes_is_a_failed_name(host: str) -> None:
    assert (await failure_of(AddressGuard(), host)).failure is Failure.NAME


async def test_no_file_descriptor_left_is_a_failed_attempt_that_says_so() -> None:
    guard = AddressGuard(THIS_MACHINE)
    addresses = await guard.addresses(LOOPBACK, 443, scheme="https")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        with pytest.raises(AttemptFailed) as alone:
            await guard.dial(addresses, 443)
        with pytest.raises(AttemptFailed) as in_turn:
            await guard.dial([*addresses, ip_address("127.0.0.2")], 443)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    for caught in (alone, in_turn):
        assert caught.value.failure is Failure.CONNECT
        assert caught.value.why is Cause.NO_SOCKET
        assert caught.value.detail == "no file descriptor was left for a connection"
