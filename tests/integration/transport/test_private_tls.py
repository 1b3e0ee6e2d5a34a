"""Private authorities, client certificates and one address family, with real TLS servers."""

import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path

import httpx
import pytest
import receivers
import trio
import trustme
from certificates import authority_file, client_files
from receivers import LOOPBACK, Receiver, answer, open_receiver

from relayd.config.exposure import Producers
from relayd.config.tls_files import TlsReader
from relayd.core.addresses import Address
from relayd.core.endpoint import Endpoint, IpVersion
from relayd.core.outcome import Cause, Failure, Outcome
from relayd.core.tls import Tls
from relayd.core.token_bucket import Rate
from relayd.transport import tls_contexts
from relayd.transport.client import Transport
from relayd.transport.dialer import AddressGuard
from relayd.transport.exchange import attempt
from relayd.transport.request import build_request
from relayd.transport.resolver import Resolver
from relayd.transport.tls_contexts import EndpointTls, TlsContexts
from relayd.transport.transports import Transports

NETWORKS = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
NAME = "localhost"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def clients() -> trustme.CA:
    """Return the authority of the clients, which is not that of the servers."""
    return trustme.CA()


@pytest.fixture(scope="module")
def transports() -> Transports:
    return Transports()


def setting(
    ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> Tls:
    found = TlsReader(Producers()).read(ca, certificate, key)
    assert found.errors == []
    assert found.tls is not None
    return found.tls


def wants_certificates(
    authority: trustme.CA, clients: trustme.CA, most: ssl.TLSVersion
) -> ssl.SSLContext:
    """Return a server's context that takes no client without a certificate of `clients`."""
    context = receivers.server_tls(authority.issue_cert(NAME))
    context.maximum_version = most
    context.verify_mode = ssl.CERT_REQUIRED
    clients.configure_trust(context)
    return context


async def send(transport: Transport, receiver: Receiver, timeout_s: float = 10.0) -> Outcome:
    request = build_request(httpx.URL(receiver.url), [], b"{}")
    return await attempt(transport, request, timeout_s=timeout_s, now=0.0)


@asynccontextmanager
async def opened(
    transports: Transports, receiver: Receiver, tls: Tls | None, ip: IpVersion | None = None
) -> AsyncIterator[Transport]:
    endpoint = Endpoint(receiver.url, Rate(100, 60.0), 8, ip, tls)
    async with transports.make(endpoint, NETWORKS) as transport:
        assert isinstance(transport, Transport)
        yield transport


async def outcome(
    transports: Transports, server: ssl.SSLContext, tls: Tls | None, name: str = NAME
) -> Outcome:
    async with (
        open_receiver(tls=server, name=name) as receiver,
        opened(transports, receiver, tls) as transport,
    ):
        return await send(transport, receiver)


# a private authority


async def test_a_private_authority_is_trusted_where_it_is_named(
    tmp_path: Path, authority: trustme.CA, transports: Transports
) -> None:
    server = receivers.server_tls(authority.issue_cert(NAME))
    failed = await outcome(transports, server, None)
    assert (failed.failure, failed.why) == (Failure.TLS, Cause.CERTIFICATE_AUTHORITY)
    assert failed.subject == "localhost"
    assert failed.detail == (
        "certificate comes from an authority that is not trusted here, or the receiver leaves out"
        " an intermediate certificate; to trust a private authority, name its certificate in"
        " `tls: {ca: FILE}`"
    )
    tls = setting(authority_file(tmp_path, authority))
    assert (await outcome(transports, server, tls)).succeeded


async def test_no_other_authority_is_trusted_then(
    tmp_path: Path, authority: trustme.CA, transports: Transports
) -> None:
    server = receivers.server_tls(authority.issue_cert(NAME))
    ca = authority_file(tmp_path, trustme.CA())
    failed = await outcome(transports, server, setting(ca))
    assert failed.failure is Failure.TLS
    assert f"; only those in {ca} are trusted, which `tls: {{ca:}}` names" in failed.detail


async def test_the_name_is_verified_all_the_same(
    tmp_path: Path, authority: trustme.CA, transports: Transports
) -> None:
    server = receivers.server_tls(authority.issue_cert("other.example"))
    failed = await outcome(transports, server, setting(authority_file(tmp_path, authority)))
    assert (failed.failure, failed.why, failed.detail) == (
        Failure.TLS,
        Cause.CERTIFICATE_NAME,
        "certificate is not for localhost, only for other.example",
    )


async def test_an_intermediate_or_the_receivers_own_certificate_may_be_named(
    tmp_path: Path, authority: trustme.CA, transports: Transports
) -> None:
    """What the operator named is trusted, also where it is not the last of its chain."""
    intermediate = authority.create_child_ca()
    issued = intermediate.issue_cert(NAME)
    server = receivers.server_tls(issued)
    for name, pem in [
        ("intermediate", intermediate.cert_pem.bytes()),
        ("own", issued.cert_chain_pems[0].bytes()),
    ]:
        path = tmp_path / name
        path.write_bytes(pem)
        assert (await outcome(transports, server, setting(path))).succeeded


async def test_a_self_signed_certificate_names_the_key_that_helps(
    tmp_path: Path, transports: Transports
) -> None:
    own = trustme.CA()
    path = authority_file(tmp_path, own)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    key = tmp_path / "key"
    key.write_bytes(own.private_key_pem.bytes())
    context.load_cert_chain(path, key)
    failed = await outcome(transports, context, None)
    assert failed.detail.startswith("certificate is self-signed, so it is not trusted; to trust a")
    assert "`tls: {ca: FILE}`" in failed.detail
    # With the key that it names, what is wrong next is said: the name.
    failed = await outcome(transports, context, setting(path))
    assert failed.detail.startswith("certificate is not for localhost")


# a client certificate


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("key_type", list(trustme.KeyType))
async def test_a_client_certificate(
    tmp_path: Path,
    authority: trustme.CA,
    clients: trustme.CA,
    transports: Transports,
    *,
    version: ssl.TLSVersion,
    key_type: trustme.KeyType,
) -> None:
    server = wants_certificates(authority, clients, version)
    ca = authority_file(tmp_path, authority)
    names: list[object] = []

    async def who(conversation: receivers.Conversation) -> None:
        assert isinstance(conversation.stream, trio.SSLStream)
        names.append(dict(conversation.stream.getpeercert())["subjectAltName"])
        await answer(200)(conversation)

    tls = setting(ca, *client_files(tmp_path, clients, key_type=key_type))
    async with (
        open_receiver(who, tls=server, name=NAME) as receiver,
        opened(transports, receiver, tls) as transport,
    ):
        assert (await send(transport, receiver)).succeeded
        assert (await send(transport, receiver)).succeeded
        assert receiver.accepted == 1
    assert names == [(("DNS", "client.market.example"),)] * 2


@pytest.mark.parametrize("version", VERSIONS)
async def test_one_that_is_missing_or_refused_names_the_keys_to_set(
    tmp_path: Path,
    authority: trustme.CA,
    clients: trustme.CA,
    transports: Transports,
    version: ssl.TLSVersion,
) -> None:
    server = wants_certificates(authority, clients, version)
    ca = authority_file(tmp_path, authority)
    failed = await outcome(transports, server, setting(ca))
    # TLS 1.2 does not tell it from other trouble.
    alert = version is ssl.TLSVersion.TLSv1_3
    assert failed.why is (Cause.CLIENT_CERTIFICATE if alert else Failure.TLS)
    assert "asks for a client certificate" in failed.detail
    assert failed.detail.endswith(": name one in `tls: {certificate: FILE, key: FILE}`")

    certificate, key = client_files(tmp_path, authority)
    failed = await outcome(transports, server, setting(ca, certificate, key))
    assert failed.failure is Failure.TLS
    assert failed.detail == (
        f"the receiver does not trust the client certificate's authority ({certificate})"
    )


async def test_one_that_has_expired_is_said_to_be(
    tmp_path: Path, authority: trustme.CA, clients: trustme.CA, transports: Transports
) -> None:
    server = wants_certificates(authority, clients, ssl.TLSVersion.TLSv1_3)
    files = client_files(tmp_path, clients, expires_in=timedelta(days=-1))
    tls = setting(authority_file(tmp_path, authority), *files)
    failed = await outcome(transports, server, tls)
    assert (
        failed.detail == f"the receiver says that the client certificate has expired ({files[0]})"
    )


async def test_the_public_authorities_are_trusted_beside_a_client_certificate(
    tmp_path: Path,
    authority: trustme.CA,
    clients: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority_file(tmp_path, authority)))
    server = wants_certificates(authority, clients, ssl.TLSVersion.TLSv1_3)
    tls = setting(None, *client_files(tmp_path, clients))
    assert (await outcome(Transports(), server, tls)).succeeded


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
async def test_where_a_variable_names_what_has_gone_since_the_start_the_attempt_fails(
    tmp_path: Path,
    authority: trustme.CA,
    clients: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    named = trusted = authority_file(tmp_path, authority)
    if variable == "SSL_CERT_DIR":
        (named := tmp_path / "folder").mkdir()
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    monkeypatch.setenv(variable, str(named))
    contexts = Transports()
    tls = setting(None, *client_files(tmp_path, clients))
    server = wants_certificates(authority, clients, ssl.TLSVersion.TLSv1_3)
    away = named.rename(tmp_path / "away")
    async with (
        open_receiver(tls=server, name=NAME) as receiver,
        opened(contexts, receiver, tls) as transport,
    ):
        for _ in range(2):
            failed = await send(transport, receiver)
            assert (failed.failure, failed.why) == (Failure.TLS, Cause.TLS_FILES)
            assert variable in failed.detail
            assert str(named) in failed.detail
        away.rename(named)
        assert (await send(transport, receiver)).succeeded


# contexts


async def test_a_setting_has_one_context_however_many_endpoints_have_it(
    tmp_path: Path,
    authority: trustme.CA,
    clients: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    contexts = TlsContexts()
    ca = authority_file(tmp_path, authority)
    tls, same = setting(ca), setting(ca)
    with_client = setting(ca, *client_files(tmp_path, clients))
    many = [EndpointTls(contexts, tls if n % 2 else same) for n in range(1000)]
    here = threading.get_ident()
    made_in: list[int] = []
    make = tls_contexts._private_context

    def noted(setting: Tls) -> ssl.SSLContext:
        made_in.append(threading.get_ident())
        return make(setting)

    monkeypatch.setattr(tls_contexts, "_private_context", noted)
    made = set()

    async def one(each: EndpointTls) -> None:
        made.add(id(await each.context("a.example")))

    async with trio.open_nursery() as nursery:
        for each in many:
            nursery.start_soon(one, each)
    assert len(made) == len(made_in) == 1
    assert await contexts.of(with_client) is not await contexts.of(tls)
    assert await contexts.of(tls) is await many[0].context("a.example")
    assert here not in made_in


async def test_a_context_that_nothing_uses_is_gone(tmp_path: Path, authority: trustme.CA) -> None:
    contexts = TlsContexts()
    tls = EndpointTls(contexts, setting(authority_file(tmp_path, authority)))
    await tls.context("a.example")
    assert len(contexts._private) == 1
    del tls
    with trio.fail_after(5):  # the thread that made it may still be about to let go of it
        while contexts._private:
            await trio.sleep(0.01)


async def test_without_a_file_descriptor_an_attempt_fails_and_the_next_one_does_not(
    tmp_path: Path,
    authority: trustme.CA,
    clients: trustme.CA,
    transports: Transports,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = wants_certificates(authority, clients, ssl.TLSVersion.TLSv1_3)
    ca = authority_file(tmp_path, authority)
    tls = setting(ca, *client_files(tmp_path, clients, "lacking"))

    def no_more(*_: object) -> int:
        raise OSError(24, os.strerror(24))

    async with (
        open_receiver(tls=server, name=NAME) as receiver,
        opened(transports, receiver, tls) as transport,
    ):
        with monkeypatch.context() as patched:
            patched.setattr(os, "memfd_create", no_more)
            failed = await send(transport, receiver)
        assert failed.failure is Failure.CONNECT
        assert "no file descriptor was left" in failed.detail
        assert (await send(transport, receiver)).succeeded


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_loading_a_client_certificate_leaves_no_file_open(
    tmp_path: Path, clients: trustme.CA
) -> None:
    tls = setting(None, *client_files(tmp_path, clients))
    before = open_files()
    context = await TlsContexts().of(tls)
    assert open_files() == before
    assert context.verify_mode is ssl.CERT_REQUIRED


async def test_a_change_is_for_new_connections(
    tmp_path: Path, authority: trustme.CA, transports: Transports
) -> None:
    server = receivers.server_tls(authority.issue_cert(NAME))
    go = trio.Event()

    async def wait_and_answer(conversation: receivers.Conversation) -> None:
        await go.wait()
        await answer(200)(conversation)

    tls = setting(authority_file(tmp_path, authority))
    outcomes: list[Outcome] = []
    async with (
        open_receiver(answer(200), wait_and_answer, answer(200), tls=server, name=NAME) as receiver,
        opened(transports, receiver, tls) as transport,
        opened(transports, receiver, None) as other,
        trio.open_nursery() as nursery,
    ):
        assert (await send(transport, receiver)).succeeded

        async def in_use() -> None:
            outcomes.append(await send(transport, receiver))

        nursery.start_soon(in_use)
        await until(lambda: receiver.acts_begun == 2)
        transport.follow(other)
        go.set()
        await until(lambda: bool(outcomes))
        assert outcomes[0].succeeded, "what is under way ends as it began"
        failed = await send(transport, receiver)
        assert failed.failure is Failure.TLS
        assert "`tls: {ca: FILE}`" in failed.detail


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(10):
        while not holds():
            await trio.sleep(0.005)


# one address family


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def both(host: str, port: int, *, ip: IpVersion | None = None) -> list[Address]:
    """Resolve to both loopback addresses, whatever was asked for: the guard looks again."""
    await trio.lowlevel.checkpoint()
    return [ip_address(LOOPBACK), ip_address("::1")]


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
async def test_one_family_is_dialled() -> None:
    families: tuple[IpVersion, IpVersion] = (4, 6)
    async with (
        open_receiver(host="::1", name=NAME) as six,
        open_receiver(host=LOOPBACK, port=six.port, name=NAME) as four,
    ):
        for ip, dialled in zip(families, (four, six), strict=True):
            guard = AddressGuard(NETWORKS, resolve=both, ip=ip)
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            async with Transport(httpx.URL(four.url), guard=guard, tls=tls) as transport:
                assert (await send(transport, four)).succeeded
            assert len(dialled.requests) == 1


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
async def test_tls_over_ipv6(tmp_path: Path, authority: trustme.CA, transports: Transports) -> None:
    server = receivers.server_tls(authority.issue_cert("::1"))
    tls = setting(authority_file(tmp_path, authority))
    async with (
        open_receiver(tls=server, host="::1", name="[::1]") as receiver,
        opened(transports, receiver, tls) as transport,
    ):
        assert (await send(transport, receiver)).succeeded


async def test_a_name_without_an_address_of_the_family() -> None:
    async def only_four(host: str, port: int, *, ip: IpVersion | None = None) -> list[Address]:
        await trio.lowlevel.checkpoint()
        return [ip_address(LOOPBACK)]

    guard = AddressGuard(NETWORKS, resolve=only_four, ip=6)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    url = httpx.URL("http://shop.example/")
    async with Transport(url, guard=guard, tls=tls) as transport:
        request = build_request(url, [], b"{}")
        failed = await attempt(transport, request, timeout_s=10, now=0.0)
    assert failed.failure is Failure.NAME
    assert failed.detail == "shop.example has no IPv6 address, and `ip: 6` allows no other"


@pytest.mark.parametrize("errno", [socket.EAI_NODATA, socket.EAI_ADDRFAMILY, socket.EAI_NONAME])
async def test_a_resolver_that_knows_no_address_of_the_family(errno: int) -> None:
    async def none(host: str, port: int, *, ip: IpVersion | None = None) -> list[Address]:
        await trio.lowlevel.checkpoint()
        raise socket.gaierror(errno, "No address associated with hostname")

    guard = AddressGuard(NETWORKS, resolve=none, ip=4)
    with pytest.raises(httpx.TransportError, match="has no IPv4 address, and `ip: 4` allows no"):
        await guard.addresses("shop.example", 443, scheme="https")


async def test_the_resolver_is_asked_for_that_family_alone() -> None:
    asked: list[tuple[str, int | None]] = []

    def look_up(host: str, ip: int | None) -> list[str]:
        asked.append((host, ip))
        return ["198.41.0.4"] if ip != 6 else ["2001:503:ba3e::2:30"]

    resolver = Resolver(look_up)
    four = AddressGuard(resolve=resolver.resolve, ip=4)
    six = AddressGuard(resolve=resolver.resolve, ip=6)
    async with trio.open_nursery() as nursery:
        for guard in (four, four, six):
            nursery.start_soon(partial(guard.addresses, "a.example", 443, scheme="https"))
    assert sorted(asked, key=str) == [("a.example", 4), ("a.example", 6)]
