"""The sources' tasks: one for each spool and one for the producers' socket, as configured."""

import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import structlog
import trio

from relayd.at_work import AtWork
from relayd.config.config import Config
from relayd.config.sections import SocketConfig, SpoolConfig
from relayd.containment import contained
from relayd.core.event import EventDefaults
from relayd.intake import Intake
from relayd.sources.line_server import LineServer
from relayd.sources.one_reader import other_owner
from relayd.sources.own_events import Outbox, OwnEvents
from relayd.sources.pace import Pace
from relayd.sources.readers import Readers
from relayd.sources.socket import LINE_BYTES, SOURCE, EventLines
from relayd.sources.spool import Spool, SpoolStanding
from relayd.sources.unix_socket import SocketPathError, bind_unix, passed_listener

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _RunningSpool:
    spool: Spool
    scope: trio.CancelScope


@dataclass(frozen=True, slots=True)
class PreparedSocket:
    """A listener that was made for a configuration, or none where nothing new is needed.

    `passed` says that it is the service manager's, whose file is left as it is.
    """

    listener: trio.SocketListener | None
    passed: bool = False

    async def give_up(self) -> None:
        """Close a listener that nobody will use. Its file is removed by whoever binds there next."""
        if self.listener is not None:
            await self.listener.aclose()


@dataclass(frozen=True, slots=True)
class _RunningSocket:
    config: SocketConfig
    passed: bool
    scope: trio.CancelScope


class SourceTasks:
    """Starts and stops sources inside `nursery`; whoever cancels that stops all of them.

    `outbox` has relayd's own events. `is_behind` tells whether more deliveries are due than
    can be made. `passed` holds the sockets that the service manager opened: one
    at the configured path is used.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        intake: Intake,
        config: Config,
        *,
        outbox: Outbox,
        at_work: AtWork,
        clock: Callable[[], float],
        is_behind: Callable[[], bool],
        passed: Sequence[socket.socket] = (),
        readers: Readers | None = None,
    ) -> None:
        self._nursery = nursery
        self._intake = intake
        self._at_work = at_work
        self._config = config
        self._passed = passed
        self._readers = readers or Readers()
        self._pace = Pace(is_behind)
        self._spools: dict[SpoolConfig, _RunningSpool] = {}
        self._socket: _RunningSocket | None = None
        self._lines = EventLines(intake, _socket_defaults(config), clock, at_work)
        self._own_events = OwnEvents(outbox, intake.accept, _defaults(config))
        nursery.start_soon(contained, self._own_events.run, "own events")
        nursery.start_soon(contained, self._lines.run, "lines")
        nursery.start_soon(contained, self._readers.run, "readers")

    def prepare(self, config: Config) -> PreparedSocket:
        """Do what may fail: make the socket, where its path is new. Raises `SocketPathError`."""
        wanted, current = config.socket, self._socket
        if wanted is not None and current is not None and current.config.path == wanted.path:
            if not current.passed and current.config.mode != wanted.mode:
                _change_mode(wanted)
            return PreparedSocket(None)
        listener = None if wanted is None else passed_listener(wanted.path, self._passed)
        if listener is not None:
            return PreparedSocket(listener, passed=True)
        for unused in self._passed:
            # Those who connect there would wait without end.
            _log.warning(
                "passed_socket_unused",
                path=str(unused.getsockname()),
                detail="systemd listens there, which is not what socket.path says",
            )
        return PreparedSocket(None if wanted is None else bind_unix(wanted.path, wanted.mode))

    def apply(self, config: Config, prepared: PreparedSocket) -> None:
        """Run the sources of this configuration, and no others. What is unchanged goes on."""
        self._config = config
        for spool_config in self._spools.keys() - set(config.spools):
            self._spools.pop(spool_config).scope.cancel()
        for spool_config in config.spools:
            if spool_config in self._spools:
                self._spools[spool_config].spool.apply(self._intake.paths)
            else:
                self._start_spool(spool_config)
        self._lines.defaults = _socket_defaults(config)
        self._own_events.defaults = _defaults(config)
        self._apply_socket(config.socket, prepared)

    def children(self) -> list[int]:
        """Return the process numbers of this process's own children that run now."""
        return self._readers.children()

    def standing(self) -> dict[str, SpoolStanding]:
        """Return how each spool is, by its name."""
        return {config.name: running.spool.standing() for config, running in self._spools.items()}

    def _start_spool(self, config: SpoolConfig) -> None:
        spool = Spool(
            config,
            self._intake,
            self._readers,
            self._pace,
            self._at_work,
            paths=self._intake.paths,
            barred=self._barred,
        )
        running = _RunningSpool(spool, trio.CancelScope())
        self._spools[config] = running
        self._nursery.start_soon(_within, running.scope, running.spool.run)

    def _barred(self, spool: SpoolConfig, place: str) -> str | None:
        config = self._config
        return other_owner(spool, place, config.spools, config.queue.path)

    def _apply_socket(self, wanted: SocketConfig | None, prepared: PreparedSocket) -> None:
        current, listener = self._socket, prepared.listener
        if current is not None and (wanted is None or listener is not None):
            # The path is left to whoever may have taken it since; a stale one is removed by bind.
            current.scope.cancel()
            self._socket = None
        if wanted is None:
            return
        if listener is None:
            if current is not None:
                self._socket = replace(current, config=wanted)
            return
        server = LineServer(self._lines.answer, name=SOURCE, line_bytes=LINE_BYTES)
        self._socket = _RunningSocket(wanted, prepared.passed, trio.CancelScope())
        self._nursery.start_soon(_within, self._socket.scope, server.serve, listener)


def _change_mode(socket_config: SocketConfig) -> None:
    try:
        socket_config.path.chmod(socket_config.mode)
    except OSError as error:
        raise SocketPathError(
            f"{socket_config.path}: its mode cannot be changed: {error.strerror}"
        ) from error


def _defaults(config: Config) -> EventDefaults:
    return EventDefaults(config.market_id, config.api_version)


def _socket_defaults(config: Config) -> EventDefaults:
    if config.socket is None:
        return _defaults(config)
    return EventDefaults(config.socket.market_id, config.api_version, config.socket.markets)


async def _within(
    scope: trio.CancelScope, run: Callable[..., Awaitable[None]], *arguments: object
) -> None:
    with scope:
        await run(*arguments)
