"""Sections of the configuration that stand for themselves: spools, socket, queue and log.

Apart from `config`, so that a command that only reads the queue loads no more than this.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from relayd.core.queue_files import CONTROL, INTAKE, LOCK, WEB, WORK

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "json", "text"]

REJECTED_BYTES: Final = 64_000_000
REJECTED_SHARE: Final = 20
"""The part of `queue.max_size` that one source's rejected input may take: a twentieth."""


@dataclass(frozen=True, slots=True)
class SpoolConfig:
    """A table from which events are taken. The market and version are those of its events.

    `markets` are other markets that a row may name; None lets it name any.
    """

    name: str
    path: Path
    table: str
    market_id: str
    api_version: str
    markets: frozenset[str] | None = frozenset()

    @property
    def source(self) -> str:
        """The name of its events' source."""
        return f"spool {self.name}"


@dataclass(frozen=True, slots=True)
class SocketConfig:
    """The Unix socket from which events are taken. `mode` is the file's, as 0o660.

    The market is that of its events; `markets` are others that an event may name, None any.
    """

    path: Path
    mode: int
    market_id: str
    markets: frozenset[str] | None = frozenset()


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """relayd's own database. `max_bytes` limits what is in use of it; None is no limit."""

    path: Path
    retention_s: float
    max_bytes: int | None = None

    @property
    def rejected_bytes(self) -> int:
        """How much rejected input of one source is kept at most."""
        if self.max_bytes is None:
            return REJECTED_BYTES
        return min(REJECTED_BYTES, self.max_bytes // REJECTED_SHARE)

    @property
    def control_path(self) -> Path:
        """The socket through which commands talk to the daemon."""
        return Path(f"{self.path}{CONTROL}")

    @property
    def intake_path(self) -> Path:
        """The socket through which the web process hands over events."""
        return Path(f"{self.path}{INTAKE}")

    @property
    def web_path(self) -> Path:
        """The file with what the web process is given of the configuration in force."""
        return Path(f"{self.path}{WEB}")

    @property
    def lock_path(self) -> Path:
        """The file whose lock keeps a second daemon away."""
        return Path(f"{self.path}{LOCK}")

    @property
    def work_path(self) -> Path:
        """The file that says what the daemon was at, should it die."""
        return Path(f"{self.path}{WORK}")


@dataclass(frozen=True, slots=True)
class LogConfig:
    """The least level that is logged, and how. `auto`: json under systemd, text on a terminal."""

    level: LogLevel
    format: LogFormat
