"""What a source is: what relayd asks of each one, and what relayd gives it.

A kind of source is a module with a `Source` and a `SourceKind`, and one line in `source_tasks.KINDS`.
"""

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from relayd.config.config import Config
from relayd.core.acceptance import Acceptance, Rejected, RejectedRow
from relayd.core.event import Event
from relayd.core.own_events import OutboxRow
from relayd.core.webhook import Webhook
from relayd.crash_journal import AtWork


class SourceError(Exception):
    """A source cannot be as it is configured; says why and what to do."""


class SourceIntake(Protocol):
    """A source's way into the queue. Each call returns once what it brought is durable.

    Both raise `QueueUnavailable` where the queue cannot take it now.
    """

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths below `data` at which conditions look."""

    async def accept(
        self, events: Sequence[Event], source: str, webhooks: Sequence[Webhook] = ()
    ) -> Sequence[Acceptance]:
        """Accept events, in one transaction, and return what became of each, in order.

        `webhooks` has what each was made of, or nothing.
        """

    async def reject(self, rejected: Sequence[RejectedRow]) -> Rejected:
        """Keep rows that cannot be events, with the reason, and say what became of them."""


class Outbox(Protocol):
    """The queue's own events, which one source takes from it."""

    async def outbox(self) -> Sequence[OutboxRow]:
        """Return the first own events, once there are some."""

    async def remove_from_outbox(self, rows: Sequence[OutboxRow]) -> None:
        """Remove what was accepted."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What relayd gives its sources.

    `clock` gives Unix seconds. `is_behind` tells whether more deliveries are due than can be made.
    `passed` holds the sockets that the service manager opened.
    """

    intake: SourceIntake
    outbox: Outbox
    at_work: AtWork
    clock: Callable[[], float]
    is_behind: Callable[[], bool]
    passed: Sequence[socket.socket] = ()


@dataclass(frozen=True, slots=True)
class SourceStanding:
    """How a source is, as `status` shows it.

    `waits_for` says what keeps it from taking events in, if anything. `waited_s` is for how
    long it has taken none in, whatever the reasons were. `details` are what only its kind has, as JSON.
    """

    path: str
    waits_for: str | None
    details: Mapping[str, object] = field(default_factory=dict)
    waited_s: float = 0.0


class Source(ABC):
    """One source, from when the configuration names it until it does no more.

    `name` is that of its events' source, in the queue, in logs and in `status`.
    """

    name: str

    def prepare(self, config: Config) -> None:  # noqa: B027 - most have nothing that may fail
        """Do what may fail of following a reload, before it is decided. Raises `SourceError`."""

    def withdraw(self) -> None:  # noqa: B027 - most have nothing to undo
        """Undo what `prepare` did: the reload is refused."""

    @abstractmethod
    def apply(self, config: Config) -> None:
        """Follow a configuration: once before the first run, and at each reload. Never fails."""

    @abstractmethod
    async def run(self) -> None:
        """Take events in until cancelled. After a defect it is run again."""

    @abstractmethod
    def standing(self) -> SourceStanding | None:
        """Return how it is; None for what `status` does not show."""

    def give_up(self) -> None:  # noqa: B027 - most hold nothing before they run
        """Let go of what it holds, as it will never be run."""


class SourceKind(ABC):
    """A kind of source. Lives as long as the daemon, whatever the configuration has of it."""

    name: str

    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings = surroundings

    @abstractmethod
    def sources(self, config: Config) -> Mapping[Hashable, Callable[[], Source]]:
        """Return what makes each source that the configuration has, by a key.

        A source goes on through a reload as long as its key stays. Making one may raise
        `SourceError`.
        """

    async def run(self) -> None:  # noqa: B027 - most kinds share nothing
        """Run what the sources of this kind share, until cancelled."""

    def children(self) -> list[int]:
        """Return the process numbers of this process's own children that run for this kind."""
        return []
