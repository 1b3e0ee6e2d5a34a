"""The file's models -> a Config: what needs several keys, or the world outside the file."""

import os
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Final

from relayd.config.build_http import build_access
from relayd.config.build_inbound import build_inbound, type_prefixes, warn_of_unselected
from relayd.config.build_secrets import SecretBuilder
from relayd.config.build_smtp import build_smtp
from relayd.config.build_subscriptions import SubscriptionBuilder
from relayd.config.config import Config
from relayd.config.exposure import producers_of
from relayd.config.findings import Findings
from relayd.config.markets import markets_of
from relayd.config.models import File, SocketSection, SpoolSection
from relayd.config.problem import KeyPath, in_order
from relayd.config.queue_reach import owner_above_queue
from relayd.config.sections import LogConfig, QueueConfig, SocketConfig, SpoolConfig
from relayd.config.urls import idle_networks
from relayd.config.values import parse_duration, parse_size
from relayd.core.catalogue import EVENT_TYPES, RELAYD_TYPES
from relayd.core.inbound.entry import Inbound
from relayd.core.patterns import OWN_PREFIX
from relayd.core.queue_files import queue_files, sqlite_files
from relayd.core.secret import SourcedSecret
from relayd.core.smtp import Smtp
from relayd.core.subscription import Subscription

MAX_SOCKET_PATH: Final = 107
"""Bytes of a Unix socket's path: `sun_path` holds 108 with the NUL (unix(7))."""

_EVERYTHING: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))


def build_config(
    file: File,
    path: Path,
    environ: Mapping[str, str],
    findings: Findings,
) -> Config:
    """Return the Config that `file` means; it may be used only if no error is in `findings`.

    `path` is the file's own, absolute; other paths are taken from its directory. Reads secrets
    from files, so it blocks on the disk.
    """
    directory = path.parent
    allowed = _allowed(file, findings)
    event_types = _event_types(file, findings)
    queue = QueueConfig(
        directory / file.queue.path,
        parse_duration(file.queue.retention) or 0.0,
        parse_size(file.queue.max_size),
    )
    _check_socket_path(("queue", "path"), queue.control_path, findings, "the control socket's")
    spools = tuple(
        _spool(name, section, file, directory, findings) for name, section in file.spools.items()
    )
    socket = None if file.socket is None else _socket(file.socket, file, directory, findings)
    _check_paths(spools, socket, queue, findings)
    if not spools and socket is None and not file.inbound:
        _complain_of_no_source(findings)
    producers = producers_of(spools, socket, queue, path)
    secrets = SecretBuilder(
        directory=directory, environ=environ, producers=producers, findings=findings
    )
    smtp = None if file.smtp is None else build_smtp(file.smtp, secrets, findings)
    if findings.is_doubtful(("inbound",)):
        # Which types it makes known is in doubt.
        event_types = None
    inbound = build_inbound(file, secrets, event_types, findings)
    prefixes = type_prefixes(inbound)
    builder = SubscriptionBuilder(
        defaults=file.defaults,
        directory=directory,
        allowed=allowed,
        event_types=event_types,
        type_prefixes=prefixes,
        producers=producers,
        findings=findings,
        secrets=secrets,
        smtp=smtp,
    )
    for name, section in file.subscriptions.items():
        builder.add(name, section)
    if not file.subscriptions and not findings.is_doubtful(("subscriptions",)):
        findings.warning(
            ("subscriptions",), "no subscriptions", "events are kept, but not delivered"
        )
    web = build_access(file, directory, secrets, findings)
    _warn_of_networks(file, builder.endpoints, findings)
    warn_of_unselected(inbound, builder.subscriptions.values(), findings)
    _warn_of_readers(builder.subscriptions, smtp, inbound, findings)
    return Config(
        path=path,
        market_id=file.market_id,
        api_version=file.api_version,
        spools=spools,
        socket=socket,
        queue=queue,
        log=LogConfig(file.log.level, file.log.format),
        web=web,
        inbound=MappingProxyType(dict(inbound)),
        allow_networks=allowed,
        event_types=event_types or frozenset(),
        type_prefixes=prefixes,
        subscriptions=MappingProxyType(builder.subscriptions),
        endpoints=MappingProxyType(builder.endpoints),
        warnings=in_order(findings.warnings),
        smtp=smtp,
        include=tuple(directory / pattern for pattern in file.include),
        included=MappingProxyType(findings.included),
        lines=MappingProxyType(
            {name: findings.line_of(("subscriptions", name)) for name in builder.subscriptions}
        ),
    )


def _allowed(file: File, findings: Findings) -> tuple[IPv4Network | IPv6Network, ...]:
    if findings.is_doubtful(("allow_networks",)):
        # Which addresses were to be allowed is not known, so none is complained of.
        return _EVERYTHING
    return tuple(dict.fromkeys(ip_network(text) for text in file.allow_networks))


def _event_types(file: File, findings: Findings) -> frozenset[str] | None:
    """Return every known type, or None while the market's own are not known."""
    for position, own in enumerate(file.event_types):
        if own.startswith(OWN_PREFIX):
            findings.error(
                ("event_types", position),
                "begins with relayd., which is reserved for relayd's own events",
                "rename it",
            )
    if findings.is_doubtful(("event_types",)):
        return None
    return frozenset(EVENT_TYPES) | frozenset(RELAYD_TYPES) | frozenset(file.event_types)


def _spool(
    name: str, section: SpoolSection, file: File, directory: Path, findings: Findings
) -> SpoolConfig:
    return SpoolConfig(
        name=name,
        path=directory / section.path,
        table=section.table,
        market_id=section.market_id or file.market_id,
        api_version=section.api_version or file.api_version,
        markets=markets_of(("spools", name, "markets"), section.markets, findings),
    )


def _socket(
    section: SocketSection, file: File, directory: Path, findings: Findings
) -> SocketConfig:
    path = directory / section.path
    _check_socket_path(("socket", "path"), path, findings, "a socket's")
    return SocketConfig(
        path,
        int(section.mode, 8),
        market_id=section.market_id or file.market_id,
        markets=markets_of(("socket", "markets"), section.markets, findings),
    )


def _check_socket_path(key: KeyPath, path: Path, findings: Findings, whose: str) -> None:
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH:
        findings.error(
            key,
            f"makes {whose} path {length} bytes long; the maximum is {MAX_SOCKET_PATH}",
            "choose a shorter one",
        )


def _check_paths(
    spools: tuple[SpoolConfig, ...],
    socket: SocketConfig | None,
    queue: QueueConfig,
    findings: Findings,
) -> None:
    """One file must not be two things, nor one table two spools."""
    taken = queue_files(_same(queue.path))
    tables: dict[tuple[str, str], str] = {}
    for spool in spools:
        key = ("spools", spool.name, "path")
        if findings.is_bad(key):
            continue
        if not set(sqlite_files(_same(spool.path))).isdisjoint(taken):
            findings.error(key, "is a file of the queue's", "a spool needs its own database")
        elif owner := owner_above_queue(spool, queue):
            findings.error(
                key,
                f"is in a folder of user {owner} that holds the queue, which that user could"
                " replace",
                "give the queue a folder of relayd's own (queue.path), or the spool another one",
            )
        first = tables.setdefault((_same(spool.path), spool.table.lower()), spool.name)
        if first != spool.name:
            other = findings.place_words(("spools", first))
            findings.error(key, f"the same table is already a spool: {other}")
    if socket is not None and not findings.is_bad(("socket", "path")):
        others = [file for spool in spools for file in sqlite_files(_same(spool.path))]
        if _same(socket.path) in {*taken, *others}:
            findings.error(("socket", "path"), "is the queue's or a spool's file", "choose another")


def _same(path: Path) -> str:
    return os.path.normpath(path)


def _complain_of_no_source(findings: Findings) -> None:
    if any(findings.is_doubtful((part,)) for part in ("spools", "socket", "inbound")):
        return
    findings.error(
        (), "no source of events", "add `spools: {market: {path: spool.db}}` or `socket:`"
    )


def _warn_of_networks(file: File, urls: Iterable[str], findings: Findings) -> None:
    """`allow_networks` opens one's own network to whoever controls a receiver's name."""
    if findings.errors:
        return  # a URL may be missing
    networks = [ip_network(text) for text in file.allow_networks]
    idle = idle_networks(urls, networks)
    for position, network in enumerate(networks):
        path = ("allow_networks", position)
        if network.prefixlen == 0:
            findings.warning(
                path,
                "allows every address: this machine's services and a cloud's metadata as well",
                "name the receivers' networks",
            )
        elif network in idle:
            findings.warning(
                path,
                f"no URL leads into {network} as far as can be seen; while it is listed, a"
                " receiver's name may lead there",
                "leave it out if all receivers are public",
            )


def _warn_of_readers(
    subscriptions: Mapping[str, Subscription],
    smtp: Smtp | None,
    inbound: Mapping[str, Inbound],
    findings: Findings,
) -> None:
    """Warn of secrets in files that everybody may read: once for each file."""
    said: set[str] = set()
    main = findings.main_file_if_open
    sources: list[tuple[KeyPath, str | None, str | None]] = [
        (("smtp", "password"), _source(None if smtp is None else smtp.password), main),
        *(
            (("inbound", name, "secret"), source, main)
            for name, each in inbound.items()
            for source in each.secrets_from
        ),
        *(
            (("subscriptions", name, "secret"), _source(each.secret), findings.open_file(name))
            for name, each in subscriptions.items()
        ),
    ]
    for key, source, file in sources:
        if source == "text" and file is not None and file not in said:
            said.add(file)
            findings.warning(
                key,
                "is in a file that everybody on this machine may read",
                f"chmod o= {file}, or write {{file: PATH}}",
            )


def _source(secret: SourcedSecret | None) -> str | None:
    return None if secret is None else secret.source
