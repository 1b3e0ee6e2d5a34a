"""The process that reads one spool: it hands rows over to the daemon, and deletes what is durable.

It knows no secret, is confined to the spool's folder, and may be killed at any moment: a row that
was handed over and not deleted comes again, and is known by its id.

While code runs for one row, the page that the daemon gave holds that row's key: should the process
end there, the daemon knows what it died at. While it holds nothing, the spool is to blame.
"""

import os
import signal
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from relayd.core.acceptance import KnownRow
from relayd.core.conditions import Parts, parts_of, values_at
from relayd.core.event import Event, Rejection, SpoolRow
from relayd.core.event_fields import WRONG_MARKET
from relayd.core.event_input import event_from_row
from relayd.core.quarantine import NOTHING, POISON, row_key
from relayd.file_identity import folder_identity
from relayd.spool.confinement import UnconfinedError, confine, limit
from relayd.spool.daemon_channel import DaemonChannel
from relayd.spool.event_frames import EventFrames, refused_of
from relayd.spool.file_watch import FileWatch
from relayd.spool.files import barred_places, missing_words
from relayd.spool.frames import Kind, frame
from relayd.spool.guest import Guest, Row
from relayd.spool.rejected_frames import FoundRow, rejected_frames
from relayd.spool.super_journal import SuperJournalError, check_journal
from relayd.spool.table import SpoolUnusableError, left_words
from relayd.spool.text_frames import Settings, State, state_text
from relayd.sqlite_errors import NOT_UTF_8, damaged_in_words, in_words, is_damaged

TURN_S: Final = 10
"""The kernel ends the process when one turn of its loop, or one row, takes longer."""
STATE_S: Final = 3.0
"""The daemon hears from a reader at least so often."""

_RETRY_S: Final = 1.0
_LEAST_S: Final = 0.001  # between two turns that find nothing
# Frames that may be handed over and not answered yet, before the next look, while there are rows
# enough to fill them. Otherwise it waits for the answer: what is committed meanwhile goes together.
# Measured at 200 rows/s: p99 50 ms became 20 ms, since a daemon that was held up catches up at once.
_WINDOW: Final = 6

# The folder tells of a write before its commit can be seen, so it is looked for at growing
# distances. Measured: `data_version` alone every 20 ms took 10 ms in the median and 1.8 % of a core
# when idle; the folder alone up to 1 s.
_PAUSES_S: Final = tuple(0.0005 * 2**step for step in range(9))


class FolderMovedError(Exception):
    """The folder is no longer the one to which this process is confined, or as it was."""


class BarredError(Exception):
    """The user that relayd runs as may not open the spool to write."""


class Reader:
    """Reads one spool until the daemon closes its end of the channel.

    `page` has cells of 64-bit integers; the first one holds what this process is at.
    """

    def __init__(self, daemon: DaemonChannel, page: memoryview, settings: Settings) -> None:
        self._page = page
        self._settings = settings
        self._daemon = daemon
        self._path = Path(settings.path)
        self._guest = Guest(self._path, settings.table)
        self._frames = EventFrames(settings.defaults)
        self._quarantined = frozenset(settings.quarantined)
        self._generation = 0
        self._parts: list[Parts] = []
        self._follow(settings.paths)
        self._number = 0
        self._unanswered: dict[int, list[Row]] = {}
        """The rows of each frame of events that was not answered yet, in its order."""
        self._rejected: dict[int, list[int]] = {}
        """The keys of each frame of rejected rows that was not answered yet. A row may be large."""
        self._folder: tuple[int, ...] | None = None
        self._unconfined: str | None = None
        self._waits_for: str | None = None
        self._told: tuple[str | None, str | None] | None = None
        self._told_at = 0.0

    def confine(self) -> None:
        """Give up all that is not needed. Raises `OSError` when the folder is not there."""
        limit()
        self._folder = folder_identity(self._path.parent)
        try:
            confine(self._path.parent)
        except UnconfinedError as refused:
            self._unconfined = str(refused)

    def run(self) -> None:
        """Read until the daemon closes the socket.

        Raises `ClosedError`, `FolderMovedError` or `BarredError`.
        """
        while True:
            try:
                self._read_file()
            except (SpoolUnusableError, SuperJournalError) as problem:
                self._waits_for = str(problem)
            except sqlite3.Error as error:
                self._waits_for = self._explain(error)
            except UnicodeDecodeError:
                if self._page[0] != NOTHING:
                    raise  # it is about a row, in our own code
                self._waits_for = f"{self._path}: SQLite reports an error {NOT_UTF_8}"
            except OSError as error:
                self._waits_for = f"{self._path}: {error.strerror}"
            finally:
                self._guest.close()
            # Answers to what was handed over before count no more: it comes again.
            self._unanswered = {number: [] for number in self._unanswered}
            self._rejected = {number: [] for number in self._rejected}
            self._pause(_RETRY_S)

    def _read_file(self) -> None:
        """Read the file until it is replaced, or cannot be read."""
        with FileWatch(self._path) as watch:
            if folder_identity(self._path.parent) != self._folder:
                raise FolderMovedError
            if barred_places(self._path):
                raise BarredError
            self._check_place()
            self._guest.open()
            self._daemon.also(watch.descriptor)
            try:
                self._read(watch)
            finally:
                self._daemon.also(None)

    def _read(self, watch: FileWatch) -> None:
        pauses: Iterator[float] = iter(())
        version = None
        more = False  # a look found more rows than one batch
        stirred = False  # somebody wrote, and the commit cannot be seen yet
        while watch.same_file():
            signal.alarm(TURN_S)
            self._check_place()
            undeleted = self._guest.undeleted
            self._guest.tend(stirred=stirred)
            pause_s: float | None = None
            if len(self._unanswered) + len(self._rejected) < (_WINDOW if more else 1):
                look = self._guest.look(stirred=stirred)
                more = look.more
                self._waits_for = self._guest.waits_for or left_words(look.oversized)
                if look.rows or look.version != version:
                    version, pauses, stirred = look.version, iter(()), False
                    self._tell()
                    self._hand_over(look.rows)
                    del look  # its rows may be large, and the next ones are read soon
                    self._listen(0)
                    continue
                pause_s = next(pauses, None)
                stirred = stirred and pause_s is not None
            self._tell()
            if self._guest.undeleted < undeleted and watch.touched():
                # That was us; a commit that came between is looked for all the same.
                pauses = iter(_PAUSES_S)
            due_s = max(self._guest.next_at() - time.monotonic(), _LEAST_S)
            self._listen(min(STATE_S, due_s if pause_s is None else min(pause_s, due_s)))
            if watch.touched():
                pauses, stirred = iter(_PAUSES_S), True

    def _check_place(self) -> None:
        """Raise `SpoolUnusableError` or `SuperJournalError` where the file may not be opened."""
        leads_to = os.path.realpath(self._settings.configured)
        if leads_to != self._settings.path:
            raise SpoolUnusableError(
                f"{self._settings.configured} leads to {leads_to} now, and led to"
                f" {self._settings.path} when the configuration was read; `relayd reload` follows it"
            )
        check_journal(self._path, confined=self._unconfined is None)

    def _hand_over(self, rows: Sequence[Row]) -> None:
        now = int(time.time())
        handed: list[Row] = []
        rejected: list[tuple[Row, Rejection]] = []
        for row in rows:
            read = self._read_row(row.columns, now)
            if isinstance(read, Rejection):
                rejected.append((row, read))
                continue
            event, text = read
            if not self._frames.fits(text, event):
                self._send_events(handed)
                handed = []
            self._frames.add(text, event)
            handed.append(row)
        if handed:
            self._send_events(handed)
        self._reject(rejected)

    def _read_row(self, columns: SpoolRow, now: int) -> tuple[Event, str] | Rejection:
        """Return an event, and its part of a frame's text, or why there is none."""
        key = row_key(columns)
        if key in self._quarantined:
            return POISON
        if time.monotonic() - self._told_at > STATE_S:
            self._tell()
        signal.alarm(TURN_S)
        self._page[0] = key
        # Left as it is by an exception, which ends the process.
        event = event_from_row(columns, self._settings.defaults, now=now)
        if isinstance(event, Rejection):
            self._page[0] = NOTHING
            return event
        head: dict[str, Any] = {"data": event.data}
        text = self._frames.text(event, [values_at(parts, head) for parts in self._parts])
        self._page[0] = NOTHING
        return event, text

    def _known(self, columns: SpoolRow, why: Rejection) -> KnownRow | None:
        """Return what a row is known by that may have been accepted when its spool had another market."""
        if why.code != WRONG_MARKET:
            return None
        signal.alarm(TURN_S)
        self._page[0] = row_key(columns)
        event = event_from_row(columns, replace(self._settings.defaults, markets=None), now=0)
        self._page[0] = NOTHING
        return KnownRow(event.id, event.created, event.digest) if isinstance(event, Event) else None

    def _send_events(self, rows: list[Row]) -> None:
        self._number += 1
        self._unanswered[self._number] = rows
        self._send(self._frames.take(self._number, self._generation))

    def _reject(self, rejected: Sequence[tuple[Row, Rejection]]) -> None:
        keys = iter([row.key for row, _ in rejected])
        found = (FoundRow(row.columns, why, self._known(row.columns, why)) for row, why in rejected)
        for text, blob, count in rejected_frames(found):
            self._number += 1
            self._rejected[self._number] = list(islice(keys, count))
            self._send(frame(Kind.REJECTED, self._number, text, blob))

    def _answered(self, number: int, refused: dict[int, Rejection]) -> None:
        rows = self._unanswered.pop(number, [])
        confirmed = self._rejected.pop(number, [])
        rejected: list[tuple[Row, Rejection]] = []
        for place, row in enumerate(rows):
            if place in refused:
                rejected.append((row, refused[place]))
            else:
                confirmed.append(row.key)
        if confirmed:
            self._guest.confirm(confirmed)
        self._reject(rejected)

    def _listen(self, timeout_s: float) -> None:
        """Do what the daemon says, after waiting for it or for a change of the file."""
        for kind, number, text in self._daemon.receive(timeout_s):
            if kind == Kind.DONE:
                self._answered(number, refused_of(text))
            elif kind == Kind.PATHS:
                self._generation = number
                self._follow(text)

    def _follow(self, paths: Sequence[str]) -> None:
        self._parts = [parts_of(path) for path in paths]

    def _pause(self, duration_s: float) -> None:
        end = time.monotonic() + duration_s
        while (left_s := end - time.monotonic()) > 0:
            signal.alarm(TURN_S)
            self._tell()
            self._listen(left_s)

    def _tell(self) -> None:
        """Send how the spool is, when that has changed, or nothing was sent for a while."""
        said = (self._waits_for, self._unconfined)
        now = time.monotonic()
        if said != self._told or now - self._told_at >= STATE_S:
            self._told, self._told_at = said, now
            state = State(self._waits_for, self._guest.undeleted, self._unconfined)
            self._send(frame(Kind.STATE, 0, state_text(state)))

    def _send(self, raw: bytes) -> None:
        signal.alarm(0)  # the daemon may take its time
        self._daemon.send(raw)
        signal.alarm(TURN_S)

    def _explain(self, error: sqlite3.Error) -> str:
        path = self._path
        if not os.path.lexists(path):
            return missing_words(path)
        if is_damaged(error):
            return f"{path}: {damaged_in_words(path, in_words(error))}"
        return f"{path}: {in_words(error)}"
