"""The producers' socket: a line in is an event, and its answer comes once the event is durable."""

from collections.abc import Callable, Hashable
from functools import partial

import structlog
import trio

from relayd.config.config import Config
from relayd.config.sections import SocketConfig
from relayd.containment import contained
from relayd.core.event import EventDefaults
from relayd.sources.event_lines import LINE_BYTES, Address, EventLines, Origin
from relayd.sources.source import (
    Source,
    SourceError,
    SourceKind,
    SourceStanding,
    Surroundings,
)
from relayd.unix_socket.line_server import LineServer
from relayd.unix_socket.listener import SocketPathError, bind_unix, passed_listener

_log = structlog.get_logger()

SOURCE = "socket"


class ProducersSocket(Source):
    """The socket at one path. Raises `SourceError` when it cannot listen there.

    `passed` says that the listener is the service manager's, whose file is left as it is.
    """

    name = SOURCE

    def __init__(self, config: Config, wanted: SocketConfig, given: Surroundings) -> None:
        self._config = wanted
        self._given = given
        self._lines = EventLines(given.intake, _address(config, wanted), given.clock, given.at_work)
        self._passed = False
        self._prepared = False
        self._listener: trio.SocketListener | None = None
        self._listen()

    def prepare(self, config: Config) -> None:
        """Give the socket's file its new mode. Raises `SourceError`."""
        wanted = config.socket
        if wanted is None or self._passed or wanted.mode == self._config.mode:
            return
        try:
            wanted.path.chmod(wanted.mode)
        except OSError as error:
            raise SourceError(
                f"{wanted.path}: its mode cannot be changed: {error.strerror}"
            ) from error
        self._prepared = True

    def withdraw(self) -> None:
        """Give the socket's file its mode back."""
        if not self._prepared:
            return
        self._prepared = False
        try:
            self._config.path.chmod(self._config.mode)
        except OSError as error:
            _log.error(
                "socket_mode_not_restored", path=str(self._config.path), detail=error.strerror
            )

    def apply(self, config: Config) -> None:
        """Make events of this configuration's market and version from now on."""
        assert config.socket is not None
        self._prepared = False
        self._config = config.socket
        self._lines.address = _address(config, config.socket)

    async def run(self) -> None:
        """Answer producers' lines until cancelled."""
        if self._listener is None:
            self._listen()
        listener, self._listener = self._listener, None
        assert listener is not None
        server = LineServer(self._lines.answer, name=SOURCE, line_bytes=LINE_BYTES)
        async with listener, trio.open_nursery() as nursery:
            nursery.start_soon(contained, self._lines.run, "lines")
            nursery.start_soon(server.serve, listener)

    def standing(self) -> SourceStanding:
        """Return how it is."""
        return SourceStanding(str(self._config.path), None)

    def give_up(self) -> None:
        """Close the listener. Its file is removed by whoever binds there next."""
        if self._listener is not None:
            self._listener.socket.close()

    def _listen(self) -> None:
        wanted = self._config
        passed = passed_listener(wanted.path, self._given.passed)
        self._passed = passed is not None
        if passed is None:
            _report_unused(self._given)
        try:
            self._listener = passed or bind_unix(wanted.path, wanted.mode)
        except SocketPathError as error:
            raise SourceError(str(error)) from error


class SocketKind(SourceKind):
    """The producers' socket, where one is configured."""

    name = "socket"

    def sources(self, config: Config) -> dict[Hashable, Callable[[], Source]]:
        """Return what makes it, by its path."""
        wanted = config.socket
        if wanted is None:
            _report_unused(self.surroundings)
            return {}
        return {wanted.path: partial(ProducersSocket, config, wanted, self.surroundings)}


def _address(config: Config, wanted: SocketConfig) -> Address:
    """Return what gives each line its origin: all of them the same."""
    origin = Origin(SOURCE, EventDefaults(wanted.market_id, config.api_version, wanted.markets))
    return lambda line: (origin, line)


def _report_unused(given: Surroundings) -> None:
    for unused in given.passed:
        # Those who connect there would wait without end.
        _log.warning(
            "systemd_socket_unused",
            path=str(unused.getsockname()),
            detail="systemd listens there, which is not what socket.path says",
        )
