"""The producers' socket: a line in is an event, and its answer comes once the event is durable."""

import secrets
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Final

import structlog
import trio

from relayd.config.config import Config
from relayd.config.sections import SocketConfig
from relayd.containment import contained
from relayd.core.acceptance import Acceptance, refusal
from relayd.core.event import MAX_INPUT_BYTES, Event, EventDefaults, Rejection
from relayd.core.event_input import event_from_line, event_from_line_in_slices
from relayd.core.framing import TooLong
from relayd.core.parts import Parts
from relayd.core.quarantine import POISON, line_key
from relayd.crash_journal import AtWork
from relayd.queue.interface import QueueUnavailable
from relayd.sources.line_memory import batches, takes_long
from relayd.sources.loop_time import SLICE_S, LoopTime
from relayd.sources.source import (
    Source,
    SourceError,
    SourceIntake,
    SourceKind,
    SourceStanding,
    Surroundings,
)
from relayd.unix_socket.line_server import LineServer
from relayd.unix_socket.listener import SocketPathError, bind_unix, passed_listener
from relayd.unix_socket.shares import Shares

_log = structlog.get_logger()

SOURCE = "socket"

LINE_BYTES = MAX_INPUT_BYTES
"""A line may be longer than the event's body in it: escapes and spaces shrink."""

MEMORY_BYTES: Final = 40 * 1024 * 1024
"""What the lines of all connections may take as objects, from when they are read until they are
durable. A line of 1 MiB takes up to 45 MB alone; it waits until it can have what one user may."""

MEMORY_OF_ONE_USER: Final = 32 * 1024 * 1024

_TOO_LONG = Rejection(
    "too_large", f"the line is longer than {LINE_BYTES} bytes; an event has at most 1 MiB"
)


def new_event_id() -> str:
    """Return an id for an event that came without one, as the spool's table makes them."""
    return f"evt_{secrets.token_hex(16)}"


class EventLines:
    """Answers producers' lines. `defaults` may be replaced by a reload.

    The lines of all connections together are bounded in the memory and in the loop's time that they
    take: until an event is durable it is held as objects, 30 times the size of its line or more.
    """

    def __init__(
        self,
        intake: SourceIntake,
        defaults: EventDefaults,
        clock: Callable[[], float],
        at_work: AtWork,
    ) -> None:
        self.defaults = defaults
        self._intake = intake
        self._clock = clock
        self._at_work = at_work
        self._memory = Shares(MEMORY_BYTES, MEMORY_OF_ONE_USER)
        self._time = LoopTime()

    async def run(self) -> None:
        """Give lines their turns on the loop, until cancelled. Without it nothing large is read."""
        await self._time.run()

    async def answer(self, lines: Sequence[bytes | TooLong], uid: int) -> list[dict[str, object]]:
        """Accept the events in these lines of a user, and answer each line.

        They are accepted together, as far as the memory that they take allows.
        """
        answers: list[dict[str, object]] = []
        for batch, memory in batches(lines):
            async with self._memory.taken(uid, memory):
                answers += await self._accept(batch, uid)
        return answers

    async def _accept(self, lines: Sequence[bytes | TooLong], uid: int) -> list[dict[str, object]]:
        now = int(self._clock())
        if self._time.is_up():
            await self._time.turn(uid)
        read: list[Event | Rejection] = []
        began = self._time.clock()
        for line in lines:
            if isinstance(line, bytes) and takes_long(line):
                self._time.charge(self._time.clock() - began)
                read.append(await self._read_in_slices(line, now, uid))
                began = self._time.clock()
                continue
            read.append(self._read(line, now))
            took = self._time.clock() - began
            if took >= SLICE_S:
                self._time.charge(took)
                await self._time.turn(uid)
                began = self._time.clock()
        self._time.charge(self._time.clock() - began)
        events = [each for each in read if isinstance(each, Event)]
        try:
            accepted = iter(await self._intake.accept(events, SOURCE) if events else ())
        except QueueUnavailable as error:
            unavailable = _unavailable(error)
            return [unavailable if isinstance(each, Event) else _refused(each) for each in read]
        return [
            _answer(each, next(accepted)) if isinstance(each, Event) else _refused(each)
            for each in read
        ]

    def _read(self, line: bytes | TooLong, now: int) -> Event | Rejection:
        if isinstance(line, TooLong):
            return _TOO_LONG
        if (key := line_key(line)) in self._at_work.poison:
            return POISON
        return self._at_work.call(
            key, event_from_line, line, self.defaults, new_id=new_event_id(), now=now
        )

    async def _read_in_slices(self, line: bytes, now: int, uid: int) -> Event | Rejection:
        if (key := line_key(line)) in self._at_work.poison:
            return POISON
        reading = event_from_line_in_slices(line, self.defaults, new_id=new_event_id(), now=now)
        return await self._at_work.drive(key, self._in_turns(reading, uid))

    async def _in_turns(self, reading: Parts[Event | Rejection], uid: int) -> Event | Rejection:
        clock = self._time.clock
        began = clock()
        while True:
            try:
                next(reading)
            except StopIteration as end:
                self._time.charge(clock() - began)
                result: Event | Rejection = end.value
                return result
            took = clock() - began
            if took >= SLICE_S:
                self._time.charge(took)
                await self._time.turn(uid)
                began = clock()


def _answer(event: Event, acceptance: Acceptance) -> dict[str, object]:
    if refused := refusal(acceptance, event.id):
        return _refused(refused)
    duplicate = {"duplicate": True} if acceptance is Acceptance.DUPLICATE else {}
    return {"ok": True, "id": event.id, **duplicate}


def _refused(rejection: Rejection) -> dict[str, object]:
    return {"ok": False, "code": rejection.code, "error": rejection.reason}


def _unavailable(error: QueueUnavailable) -> dict[str, object]:
    return {
        "ok": False,
        "code": "unavailable",
        "error": f"relayd cannot store events now ({error.reason}); try again later",
    }


class ProducersSocket(Source):
    """The socket at one path. Raises `SourceError` when it cannot listen there.

    `passed` says that the listener is the service manager's, whose file is left as it is.
    """

    name = SOURCE

    def __init__(self, config: Config, wanted: SocketConfig, given: Surroundings) -> None:
        self._config = wanted
        self._given = given
        self._lines = EventLines(
            given.intake, _defaults(config, wanted), given.clock, given.at_work
        )
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
        self._lines.defaults = _defaults(config, config.socket)

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


def _defaults(config: Config, wanted: SocketConfig) -> EventDefaults:
    return EventDefaults(wanted.market_id, config.api_version, wanted.markets)


def _report_unused(given: Surroundings) -> None:
    for unused in given.passed:
        # Those who connect there would wait without end.
        _log.warning(
            "systemd_socket_unused",
            path=str(unused.getsockname()),
            detail="systemd listens there, which is not what socket.path says",
        )
