"""One spool: what its reader hands over is made durable, and the reader is answered.

Only the reader opens the file, since it is somebody else's. A row is answered when it is durable in
the queue, or in its rejected list, and deleted by the reader then; a crash between the two accepts
nothing twice.

Logged: `reader_exited` (warning) with how, and what `spool_condition` logs. A reader that ended while it
read a row counts for that row; one that ended otherwise is started again after 1 s, 2 s, 4 s … 60 s. So
is one that has died more than nine times within an hour, at whatever rows.
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import structlog
import trio

from relayd.config.config import Config
from relayd.config.sections import SpoolConfig
from relayd.containment import is_defect
from relayd.core.acceptance import Acceptance, RejectedRow, refusal
from relayd.core.event import Event, EventDefaults
from relayd.core.quarantine import NOTHING, obituary, reader_pause_s, recent_deaths
from relayd.crash_journal import AtWork
from relayd.queue.interface import QueueUnavailable
from relayd.sources.one_reader import other_owner
from relayd.sources.pace import Pace
from relayd.sources.reader_process import Frame, ReaderEndedError, ReaderProcess
from relayd.sources.readers import Readers
from relayd.sources.source import Source, SourceIntake, SourceStanding
from relayd.sources.spool_condition import SpoolCondition
from relayd.spool.event_frames import EventChecks
from relayd.spool.exit_status import EXIT_BARRED, EXIT_MOVED
from relayd.spool.files import access_problem, missing_words
from relayd.spool.frames import BadFrameError, Kind
from relayd.spool.rejected_frames import rejected_of
from relayd.spool.text_frames import Settings, defect_of, state_of

_log = structlog.get_logger()

_RETRY_S: Final = 1.0
_LONGEST_RETRY_S: Final = 60.0
_SOUND_S: Final = 60.0  # a reader that ran so long is started again at once, should it end

T = TypeVar("T")
R = TypeVar("R")


class Spool(Source):
    """One spool."""

    def __init__(
        self,
        config: SpoolConfig,
        intake: SourceIntake,
        readers: Readers,
        pace: Pace,
        at_work: AtWork,
    ) -> None:
        self.name = config.source
        self._config = config
        self._intake = intake
        self._readers = readers
        self._pace = pace
        self._at_work = at_work
        self._defaults = EventDefaults(config.market_id, config.api_version, config.markets)
        self._checks = EventChecks(self._defaults)
        self._log = _log.bind(source=self.name, path=str(config.path))
        self._paths: tuple[str, ...] = ()
        self._barred: Callable[[str], str | None] = lambda _place: None
        """Says why a real path must not be read, if other parts of the configuration forbid it."""
        self._reloads = 0
        self._place: str | None = None
        """The real path, to which the configured one led when the configuration was read."""
        self._place_of = 0
        """The reload at which that was."""
        self._condition = SpoolCondition(config.path, self._log)
        self._deaths: list[float] = []

    def apply(self, config: Config) -> None:
        """Follow a reload: other paths at which conditions look, and where the spool's path leads."""
        self._paths = self._intake.paths
        self._barred = partial(
            other_owner, self._config, spools=config.spools, queue=config.queue.path
        )
        self._reloads += 1

    @property
    def waits_for(self) -> str | None:
        """What keeps it from being read, if anything."""
        return self._condition.waits_for

    def standing(self) -> SourceStanding:
        """Return how it is."""
        return self._condition.standing()

    async def run(self) -> None:
        """Read the spool until cancelled. Raises `QueueBroken` of the queue only."""
        retry_s = _RETRY_S
        while True:
            began = trio.current_time()
            try:
                problem = await self._read()
            except Exception as error:
                if not is_defect(error):
                    raise
                # It stays with this spool: the other sources and all deliveries go on.
                self._log.exception("spool_internal_error")
                problem = "a defect in relayd, see the log"
            if problem is None or trio.current_time() - began >= _SOUND_S:
                retry_s = _RETRY_S
            if problem is None:
                await trio.sleep(_RETRY_S)
                continue
            pause_s = max(retry_s, reader_pause_s(len(self._deaths)))
            self._condition.wait_for(f"{problem}; it is tried again in {pause_s:.0f} s")
            await trio.sleep(pause_s)
            retry_s = min(2 * retry_s, _LONGEST_RETRY_S)

    async def _read(self) -> str | None:
        """Run a reader to its end. Returns what is wrong, when that is more than one row."""
        # Before anything is looked at: a reload meanwhile has it looked at again.
        reloads = self._reloads
        place = await self._find(reloads)
        if place is None:
            return None
        settings = Settings(
            configured=str(self._config.path),
            path=place,
            table=self._config.table,
            defaults=self._defaults,
            quarantined=[key for key in self._at_work.poison if key < NOTHING],
            paths=self._paths,
        )
        key = NOTHING
        try:
            async with self._readers.reader(settings) as reader:
                try:
                    await self._follow(reader, settings, reloads)
                except BadFrameError as error:
                    self._log.error("reader_protocol_error", detail=f"it sent {error}")
                    return f"its reader sent {error}, and was killed"
                finally:
                    key = reader.at_work()
        except ReaderEndedError as ended:
            return self._ended(ended, key)
        except OSError as error:
            return f"no reader could be started: {error.strerror}"
        return None

    async def _find(self, reloads: int) -> str | None:
        """Return the spool's real path as it was when the configuration was read, at reload `reloads`.

        None while it is another spool's, this user may not write there, or there is no folder to
        which a reader could be confined; then it is noted.
        """
        place = self._place
        if place is None or self._place_of != reloads:
            place = await trio.to_thread.run_sync(os.path.realpath, self._config.path)
            self._place, self._place_of = place, reloads
        for problem in (
            await trio.to_thread.run_sync(self._barred, place),
            await trio.to_thread.run_sync(access_problem, Path(place)),
        ):
            if problem is not None:
                self._condition.wait_for(problem)
                return None
        if not await trio.to_thread.run_sync(_has_folder, place):
            self._condition.wait_for(missing_words(self._config.path))
            return None
        return place

    async def _follow(self, reader: ReaderProcess, settings: Settings, reloads: int) -> None:
        """Take what a reader hands over, until a reload asks for another one."""
        generation, place = 0, settings.path
        known = {generation: tuple(settings.paths)}
        while True:
            async with reader.frame() as frame:
                await self._take(reader, frame, known)
            if reloads != self._reloads:
                reloads = self._reloads
                if await trio.to_thread.run_sync(os.path.realpath, self._config.path) != place:
                    return
                self._place_of = reloads
                if await trio.to_thread.run_sync(self._barred, place) is not None:
                    return
                if self._paths != known[generation]:
                    generation += 1
                    known[generation] = self._paths
                    await reader.send(Kind.PATHS, generation, self._paths)

    async def _take(
        self, reader: ReaderProcess, frame: Frame, paths_of: dict[int, tuple[str, ...]]
    ) -> None:
        match frame.kind:
            case Kind.EVENTS:
                events = self._checks.events(frame.text, frame.blob, paths_of)
                began = trio.current_time()
                refused = await self._accept(events)
                took_s = trio.current_time() - began
                await reader.send(Kind.DONE, frame.number, refused)
                await self._pace.rest(len(events), took_s)
            case Kind.REJECTED:
                found = rejected_of(frame.text, frame.blob)
                frame.blob = memoryview(b"")  # SQLite is about to copy up to 16 MiB twice
                await self._durable(
                    self._intake.reject,
                    [
                        RejectedRow(self.name, each.row, each.rejection, known_as=each.known_as)
                        for each in found
                    ],
                )
                await reader.send(Kind.DONE, frame.number, [])
            case Kind.STATE:
                self._condition.note(state_of(frame.text))
            case _:
                self._log.error("reader_internal_error", traceback=defect_of(frame.text))
                raise ReaderEndedError("a defect in relayd, see the log")

    async def _accept(self, events: Sequence[Event]) -> list[tuple[int, str, str]]:
        """Accept events, and return what was refused: its place, and why."""

        async def accept(events: Sequence[Event]) -> Sequence[Acceptance]:
            return await self._intake.accept(events, self.name)

        refused = []
        for place, result in enumerate(await self._durable(accept, events)):
            if rejection := refusal(result, events[place].id):
                refused.append((place, rejection.code, rejection.reason))
        return refused

    async def _durable(self, write: Callable[[T], Awaitable[R]], what: T) -> R:
        """Write to the queue, however long that takes."""
        while True:
            try:
                return await write(what)
            except QueueUnavailable as error:
                # The rows stay where they are, and are the producers' until there is room.
                self._condition.wait_for(f"the queue: {error}")
            await trio.sleep(_RETRY_S)

    def _ended(self, ended: ReaderEndedError, key: int) -> str | None:
        """Note a reader's end, and return what is wrong when it is more than one row."""
        if ended.status in {EXIT_MOVED, EXIT_BARRED}:
            return None  # why is found before the next reader is started
        now = trio.current_time()
        self._deaths = recent_deaths([*self._deaths, now], now)
        # The reader wrote it: one that was taken over might blame a delivery, whose key is positive.
        if key >= NOTHING:
            self._log.warning("reader_exited", detail=str(ended))
            return f"its reader ended: {ended}"
        deaths = self._at_work.note_death(key)
        self._log.warning("reader_exited", detail=f"{ended}; {obituary(key, deaths)}")
        if not reader_pause_s(len(self._deaths)):
            return None
        return f"its reader crashed {len(self._deaths)} times within an hour, lately at a row of it"


def _has_folder(place: str) -> bool:
    return os.path.isdir(os.path.dirname(place))  # noqa: PTH112, PTH120
