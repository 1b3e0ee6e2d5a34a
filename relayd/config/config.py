"""The configuration as the rest of relayd uses it: complete, checked, and never changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal

from relayd.config.problem import Problem
from relayd.core.endpoint import Endpoint
from relayd.core.subscription import Subscription

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "json", "text"]


@dataclass(frozen=True, slots=True)
class SpoolConfig:
    """A table from which events are taken. The market and version are those of its events."""

    name: str
    path: Path
    table: str
    market_id: str
    api_version: str


@dataclass(frozen=True, slots=True)
class SocketConfig:
    """The Unix socket from which events are taken. `mode` is the file's, as 0o660."""

    path: Path
    mode: int


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """relayd's own database. `max_bytes` limits what is in use of it; None is no limit."""

    path: Path
    retention_s: float
    max_bytes: int | None = None

    @property
    def control_path(self) -> Path:
        """The socket through which commands talk to the daemon."""
        return Path(f"{self.path}.control")

    @property
    def lock_path(self) -> Path:
        """The file whose lock keeps a second daemon away."""
        return Path(f"{self.path}.lock")


@dataclass(frozen=True, slots=True)
class LogConfig:
    """The least level that is logged, and how. `auto`: json under systemd, text on a terminal."""

    level: LogLevel
    format: LogFormat


@dataclass(frozen=True, slots=True)
class Config:
    """One good configuration file. Every path is absolute.

    `event_types` holds every known type: the catalogue's, relayd's own and the market's.
    `subscriptions` are by name, in the file's order; `endpoints` by URL, each with the limits that
    its subscriptions share, also those of inactive ones. Two are equal when they mean the same,
    whatever file they came from.
    """

    path: Path = field(compare=False)
    market_id: str
    api_version: str
    spools: tuple[SpoolConfig, ...]
    socket: SocketConfig | None
    queue: QueueConfig
    log: LogConfig
    allow_networks: tuple[IPv4Network | IPv6Network, ...]
    event_types: frozenset[str] = field(repr=False)
    # Header values may be secrets.
    subscriptions: Mapping[str, Subscription] = field(repr=False)
    endpoints: Mapping[str, Endpoint]
    warnings: tuple[Problem, ...] = field(compare=False, repr=False)
