"""The sources' tasks: one for each spool and one for the producers' socket, as configured."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from relayd.config.config import Config, SocketConfig, SpoolConfig
from relayd.core.event import EventDefaults
from relayd.intake import Intake
from relayd.sources.line_server import LineServer
from relayd.sources.socket import LINE_BYTES, SOURCE, EventLines
from relayd.sources.spool import Spool
from relayd.sources.unix_socket import bind_unix


@dataclass(frozen=True, slots=True)
class _RunningSpool:
    spool: Spool
    scope: trio.CancelScope


@dataclass(frozen=True, slots=True)
class _RunningSocket:
    config: SocketConfig
    scope: trio.CancelScope


@dataclass(frozen=True, slots=True)
class PreparedSocket:
    """A listener that was bound for a configuration, or none where nothing new is needed."""

    listener: trio.SocketListener | None


class SourceTasks:
    """Starts and stops sources inside `nursery`; whoever cancels that stops all of them."""

    def __init__(
        self, nursery: trio.Nursery, intake: Intake, config: Config, clock: Callable[[], float]
    ) -> None:
        self._nursery = nursery
        self._intake = intake
        self._clock = clock
        self._spools: dict[SpoolConfig, _RunningSpool] = {}
        self._socket: _RunningSocket | None = None
        self._lines = EventLines(intake, _defaults(config), clock)

    def prepare(self, config: Config) -> PreparedSocket:
        """Do what may fail: bind the socket, where its path is new. Raises `SocketPathError`."""
        wanted = config.socket
        current = self._socket.config if self._socket is not None else None
        if wanted is None or (current is not None and current.path == wanted.path):
            return PreparedSocket(None)
        return PreparedSocket(bind_unix(wanted.path, wanted.mode))

    def apply(self, config: Config, prepared: PreparedSocket) -> None:
        """Run the sources of this configuration, and no others. What is unchanged goes on."""
        for spool_config in self._spools.keys() - set(config.spools):
            self._spools.pop(spool_config).scope.cancel()
        for spool_config in config.spools:
            if spool_config not in self._spools:
                self._start_spool(spool_config)
        self._lines.defaults = _defaults(config)
        self._apply_socket(config.socket, prepared.listener)

    def waiting(self) -> dict[str, str]:
        """Return what each spool that cannot be read waits for, by the spool's name."""
        return {
            config.name: running.spool.waits_for
            for config, running in self._spools.items()
            if running.spool.waits_for is not None
        }

    def _start_spool(self, config: SpoolConfig) -> None:
        running = _RunningSpool(Spool(config, self._intake, self._clock), trio.CancelScope())
        self._spools[config] = running
        self._nursery.start_soon(_within, running.scope, running.spool.run)

    def _apply_socket(
        self, wanted: SocketConfig | None, listener: trio.SocketListener | None
    ) -> None:
        if self._socket is not None and (wanted is None or listener is not None):
            # The path is left to whoever may have taken it since; a stale one is removed by bind.
            self._socket.scope.cancel()
            self._socket = None
        if wanted is None:
            return
        if listener is None:
            wanted.path.chmod(wanted.mode)
            return
        server = LineServer(self._lines.answer, name=SOURCE, line_bytes=LINE_BYTES)
        self._socket = _RunningSocket(wanted, trio.CancelScope())
        self._nursery.start_soon(_within, self._socket.scope, server.serve, listener)


def _defaults(config: Config) -> EventDefaults:
    return EventDefaults(config.market_id, config.api_version)


async def _within(
    scope: trio.CancelScope, run: Callable[..., Awaitable[None]], *arguments: object
) -> None:
    with scope:
        await run(*arguments)
