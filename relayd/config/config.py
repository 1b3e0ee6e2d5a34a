"""The configuration as the rest of relayd uses it: complete, checked, and never changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from types import MappingProxyType

from relayd.config.problem import Problem
from relayd.config.reading import FileRead
from relayd.config.sections import LogConfig, QueueConfig, SocketConfig, SpoolConfig
from relayd.core.endpoint import Endpoint
from relayd.core.inbound.entry import Inbound
from relayd.core.smtp import Smtp
from relayd.core.subscription import Subscription
from relayd.core.web_access import WebAccess


@dataclass(frozen=True, slots=True)
class Config:
    """One good configuration file. Every path is absolute.

    `event_types` holds every known type: the catalogue's, relayd's own and the market's; those that
    begin as one of `type_prefixes` are known as well. `inbound` has the entries by name.
    `subscriptions` are by name, in the file's order; `endpoints` by URL, each with the limits that
    its subscriptions share, also those of inactive ones. Two are equal when they mean the same,
    whatever file they came from. `files` are all that were read for it, the file itself first; `include`
    has the patterns of the files that it includes, `included` the path of the one that a subscription
    is in, `lines` the line where it begins.
    """

    path: Path = field(compare=False)
    market_id: str
    api_version: str
    spools: tuple[SpoolConfig, ...]
    socket: SocketConfig | None
    queue: QueueConfig
    log: LogConfig
    web: WebAccess | None
    allow_networks: tuple[IPv4Network | IPv6Network, ...]
    event_types: frozenset[str] = field(repr=False)
    # Header values may be secrets.
    subscriptions: Mapping[str, Subscription] = field(repr=False)
    endpoints: Mapping[str, Endpoint] = field(repr=False)  # by URL, whose path may be a secret
    warnings: tuple[Problem, ...] = field(compare=False, repr=False)
    smtp: Smtp | None = None
    inbound: Mapping[str, Inbound] = field(default_factory=lambda: MappingProxyType({}))
    type_prefixes: tuple[str, ...] = ()
    files: tuple[FileRead, ...] = field(default=(), compare=False, repr=False)
    include: tuple[Path, ...] = field(default=(), compare=False, repr=False)
    included: Mapping[str, Path] = field(
        default_factory=lambda: MappingProxyType({}), compare=False, repr=False
    )
    lines: Mapping[str, int] = field(
        default_factory=lambda: MappingProxyType({}), compare=False, repr=False
    )
