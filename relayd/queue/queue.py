"""The queue: accept, claim what is due, record what came of it. Each is durable when it returns.

One connection writes and another one reads, so that a claim never waits for a commit's sync.
Callers at the same time share one transaction (see `group`).
"""

import os
import secrets
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import structlog
import trio

from relayd.config.sections import REJECTED_BYTES
from relayd.core.acceptance import Acceptance, NewEvent, RejectedRow, refusal
from relayd.core.delivery import Hold, delivery_id
from relayd.core.endpoint import Health
from relayd.core.own_events import (
    EXHAUSTED,
    OutboxRow,
    OwnEvent,
    after_exhaustion,
    after_rejection,
)
from relayd.database import (
    Database,
    DatabaseBusyError,
    DatabaseFailedError,
    DatabaseFullError,
    Work,
)
from relayd.queue import acceptance, claims, operations, outbox, records
from relayd.queue.claims import Claim, Want
from relayd.queue.group import Group
from relayd.queue.handover import Step, hand_over
from relayd.queue.health import read_health, write_health
from relayd.queue.migration import finish_migration
from relayd.queue.operations import Operation
from relayd.queue.records import Declared, Recording
from relayd.queue.rejected import drop_rejected, is_rejected
from relayd.queue.rejected_limit import remove_oldest, takes_too_much
from relayd.queue.reserve import reserve_of
from relayd.queue.schema import SchemaMismatchError, migrate, read_version

_log = structlog.get_logger()

# NORMAL would return before the sync: measured, an acknowledgement left too early 20 times in 20.
_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = OFF",  # every row is written by us, in one transaction with what it names
    "trusted_schema = OFF",
    "cell_size_check = ON",
    "cache_size = -16000",  # KiB
    "journal_size_limit = 67108864",  # a WAL that grew is cut back to 64 MiB
)
_READER_PRAGMAS = ("query_only = ON", "trusted_schema = OFF", "cache_size = -16000")

T = TypeVar("T")

_ACCEPT_LIMIT = 64  # calls that share one transaction; a spool's call brings hundreds of events
_CLAIM_LIMIT = 256
_RECORD_LIMIT = 512
_OUTBOX_LIMIT = 100


class Queue:
    """The queue, open. Every method may raise `DatabaseError`: then nothing of it happened."""

    def __init__(
        self,
        writer: Database,
        reader: Database,
        *,
        tag: str,
        numbers: acceptance.Numbers,
        clock: Callable[[], float],
    ) -> None:
        self.tag = tag
        self._writer = writer
        self._reader = reader
        self._numbers = numbers
        self._clock = clock
        self._subscription_ids: dict[str, int] = {}
        self._holds: Mapping[str, Hold | None] = {}
        self._own_types: frozenset[str] = frozenset()
        # Set at the start, since a process that was killed may have left something.
        self._outbox_filled = trio.Event()
        self._outbox_filled.set()
        self._releasing: set[int] = set()  # the operator's releases that are being written
        self._accepting = Group(self._accept, _ACCEPT_LIMIT)
        self._claiming = Group(self._claim, _CLAIM_LIMIT)
        self._recording = Group(self._record, _RECORD_LIMIT)

    def next_release(self) -> int:
        """Return the number of a release from now on: see `core.release`."""
        self._numbers.release += 1
        return self._numbers.release

    @property
    def newest_release(self) -> int:
        """The newest release that an attempt which begins now is made after: see `core.release`.

        One that is still being written is not among them: the attempt is made as things were
        before it.
        """
        return min(self._releasing, default=self._numbers.release + 1) - 1

    @contextmanager
    def _operators_release(self) -> Iterator[int]:
        """Give the number of a release that is written within this block."""
        number = self.next_release()
        self._releasing.add(number)
        try:
            yield number
        finally:
            self._releasing.remove(number)

    @property
    def holds(self) -> Mapping[str, Hold | None]:
        """Each subscription's hold, as it was last committed.

        Whoever returns from a call that changed one finds it here, and nothing older: to use it
        without an `await` in between is to use the truth.
        """
        return self._holds

    async def declare(
        self, declared: Iterable[Declared], own_types: frozenset[str] = frozenset()
    ) -> Mapping[str, int]:
        """Bring the subscriptions up to the configuration; see `holds` for what holds each of them.

        What waits for a subscription whose URL or `made_with` changed is released: returns how many
        retries, by subscription.
        `own_types` are the types of relayd's own events that somebody wants.
        """
        wanted = tuple(declared)
        with self._operators_release() as release:
            found, released = await self._writer.write(
                lambda db: (
                    records.declare(db, wanted, release=release, now=self._clock()),
                    records.count_released(db, release),
                )
            )
        self._subscription_ids = {name: number for name, (number, _) in found.items()}
        self._holds = {name: hold for name, (_, hold) in found.items()}
        self._own_types = own_types
        return released

    async def pause(self, subscription: str) -> bool:
        """Hold a subscription's deliveries; return whether it was not paused before."""
        now = self._clock()
        return await self._change_hold(lambda db: operations.pause(db, subscription, now=now))

    async def resume(self, subscription: str) -> tuple[bool, int]:
        """Take back a pause, and a receiver's 410, and release the retries that wait.

        Returns whether there was either, and how many retries.
        """
        now = self._clock()
        with self._operators_release() as release:
            return await self._change_hold(
                lambda db: (
                    operations.resume(db, subscription),
                    operations.release_retries(db, subscription, release=release, now=now),
                )
            )

    async def release(self, subscription: str) -> int:
        """Release the retries that wait for a subscription; return how many."""
        now = self._clock()
        with self._operators_release() as release:
            return await self._writer.write(
                lambda db: operations.release_retries(db, subscription, release=release, now=now)
            )

    async def hand_over(self, old: str, new: str, *, after: int, in_flight: Iterable[int]) -> Step:
        """Do one step of handing `old`'s deliveries over to `new`: see `handover.hand_over`."""
        ids, now = self._subscription_ids, self._clock()
        step, self._holds = await self._writer.write(
            lambda db: (
                hand_over(db, ids[old], ids[new], after=after, in_flight=in_flight, now=now),
                operations.read_holds(db),
            )
        )
        return step

    async def _change_hold(self, change: Work[T]) -> T:
        changed, self._holds = await self._writer.write(
            lambda db: (change(db), operations.read_holds(db))
        )
        return changed

    async def health(self) -> Mapping[str, Health]:
        """Return what was last known of each endpoint, by URL."""
        return await self._reader.run(read_health)

    async def accept(self, news: Sequence[NewEvent]) -> list[Acceptance]:
        """Make events durable, with all of their deliveries, and say what became of each."""
        return await self._accepting.submit(news)

    async def reject(
        self, rejected: Sequence[RejectedRow], *, most_bytes: int = REJECTED_BYTES
    ) -> Sequence[RejectedRow]:
        """Keep rows that cannot be events in the rejected list; return those that are new to it.

        Of each source at most `most_bytes` are kept: beyond that its oldest are removed, before this
        returns, so that whoever brings too much waits for that.
        """
        now = self._clock()

        def work(db: sqlite3.Connection) -> tuple[Sequence[RejectedRow], int]:
            new = acceptance.reject(db, rejected, now=now)
            return new, outbox.put(db, after_rejection(new, now), self._own_types)

        new, told = await self._writer.write(work, grows=True)
        if told:
            self._outbox_filled.set()
        for source in dict.fromkeys(each.source for each in new):
            await self._keep_rejected_within(source, most_bytes)
        return new

    async def _keep_rejected_within(self, source: str, most_bytes: int) -> None:
        rows = size = 0
        try:
            more = await self._reader.run(lambda db: takes_too_much(db, source, most_bytes))
            while more:
                removal = await self._writer.write(
                    lambda db: remove_oldest(db, source, most_bytes=most_bytes, now=self._clock())
                )
                rows, size, more = rows + removal.count, size + removal.bytes, removal.more
        except (DatabaseBusyError, DatabaseFullError):
            pass  # what was brought is durable, and the next that is brought goes on here
        finally:
            if rows:
                _log.warning(
                    "rejected_pruned",
                    source=source,
                    rows=rows,
                    bytes=size,
                    reason="source_limit",
                    max_bytes=most_bytes,
                    detail="its rejected input took more room than one source may have, and the"
                    " oldest of it was removed: `relayd rejected list` shows the newest",
                )

    async def claim(self, want: Want) -> Claim:
        """Find deliveries that are due."""
        return await self._claiming.submit(want)

    async def record(self, recording: Recording) -> bool:
        """Write what came of an attempt, and say whether its delivery stands as was decided."""
        return await self._recording.submit(recording)

    async def quarantine(self, seq: int, detail: str) -> bool:
        """End a delivery whose attempt cannot be recorded, and keep `detail` as the reason.

        Returns whether it had not ended before; then `relayd.delivery.exhausted` is durable with it.
        """
        now = self._clock()

        def work(db: sqlite3.Connection) -> tuple[bool, int]:
            ended = records.quarantine(db, seq, detail, now=now)
            if ended is None:
                return False, 0
            own_events = after_exhaustion(
                delivery_id(self.tag, seq),
                now,
                event_id=ended.event_id,
                event_type=ended.event_type,
                subscription=ended.subscription,
                attempts=ended.attempts,
                last_failure=detail,
            )
            return True, outbox.put(db, own_events, self._own_types)

        ended, told = await self._writer.write(work)
        if told:
            self._outbox_filled.set()
        return ended

    async def record_health(
        self, url: str, health: Callable[[], Health], own_events: Sequence[OwnEvent]
    ) -> None:
        """Write an endpoint's health, as it is when it is written, and what relayd has to say of it."""

        def work(db: sqlite3.Connection) -> int:
            write_health(db, {url: health()})
            return outbox.put(db, own_events, self._own_types)

        if await self._writer.write(work):
            self._outbox_filled.set()

    async def resubmit(self, new: NewEvent, rejected: int) -> Acceptance | None:
        """Make an event of rejected input durable, and take that off the list, in one transaction.

        Returns None, and does nothing, where the list no longer has it. What is refused stays.
        """
        now = self._clock()

        def work(db: sqlite3.Connection) -> Acceptance | None:
            if not is_rejected(db, rejected):
                return None
            [result] = acceptance.accept(
                db,
                [new],
                now=now,
                numbers=self._numbers,
                subscription_ids=self._subscription_ids,
            )
            if refusal(result, new.event.id) is None:
                drop_rejected(db, [rejected], now=now)
            return result

        return await self._writer.write(work, grows=True)

    async def outbox(self) -> Sequence[OutboxRow]:
        """Return the first of relayd's own events on their way in, once there are some."""
        while True:
            # Off before the look: what is put there meanwhile sets it again.
            await self._outbox_filled.wait()
            self._outbox_filled = trio.Event()
            if rows := await self._reader.run(lambda db: outbox.read(db, _OUTBOX_LIMIT)):
                self._outbox_filled.set()
                return rows

    async def remove_from_outbox(self, rows: Sequence[OutboxRow]) -> None:
        """Remove own events that were accepted."""
        await self._writer.write(lambda db: outbox.remove(db, rows))

    async def operate(self, operation: Operation[T]) -> T:
        """Run what the operator asked for as one transaction."""
        return await self._writer.write(
            lambda db: operation(db, self._numbers, self._subscription_ids)
        )

    async def look(self, work: Work[T]) -> T:
        """Run something short that only reads."""
        return await self._reader.run(work)

    async def _accept(self, calls: Sequence[Sequence[NewEvent]]) -> list[list[Acceptance]]:
        news = [new for call in calls for new in call]
        results = iter(
            await self._writer.write(
                lambda db: acceptance.accept(
                    db,
                    news,
                    now=self._clock(),
                    numbers=self._numbers,
                    subscription_ids=self._subscription_ids,
                ),
                grows=True,
            )
        )
        return [[next(results) for _ in call] for call in calls]

    async def _claim(self, wants: Sequence[Want]) -> list[Claim]:
        return await self._reader.run(
            lambda db: claims.claim(
                db, wants, tag=self.tag, subscription_ids=self._subscription_ids
            )
        )

    async def _record(self, recordings: Sequence[Recording]) -> list[bool]:
        gone = any(recording.record.outcome.gone for recording in recordings)

        def work(db: sqlite3.Connection) -> tuple[list[bool], int, Mapping[str, Hold | None]]:
            results = records.record(db, recordings)
            own_events = [
                event
                for recording, as_decided in zip(recordings, results, strict=True)
                for event in recording.own_events
                # The operator has cancelled it meanwhile, or replayed it: it is not given up.
                if as_decided or event.type != EXHAUSTED
            ]
            told = outbox.put(db, own_events, self._own_types) if own_events else 0
            return results, told, operations.read_holds(db) if gone else self._holds

        results, told, holds = await self._writer.write(work)
        if gone:
            self._holds = holds
        if told:
            self._outbox_filled.set()
        return results


def _make_private(path: Path) -> None:
    """Take from others what a restored copy lets them read: bodies and receivers' URLs.

    Raises `DatabaseFailedError` where the file is another user's, who could give it back.
    """
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        try:
            mode = stat.S_IMODE(name.stat().st_mode)
            if mode & 0o077 == 0:
                continue
            name.chmod(0o600)
        except FileNotFoundError:
            continue
        except PermissionError:
            raise DatabaseFailedError(
                path,
                f"{name} may be read by others (mode {mode:04o}) and belongs to another user:"
                f" chown it to relayd's user, and chmod 0600 {name}",
            ) from None
        _log.warning(
            "queue_made_private",
            path=str(name),
            mode=f"{mode:04o}",
            detail="others could read it; its mode is 0600 now",
        )


@asynccontextmanager
async def open_queue(path: Path, clock: Callable[[], float]) -> AsyncIterator[Queue]:
    """Open the queue, made anew where there is no file, and migrated where it is older.

    `clock` gives Unix seconds. Raises `SchemaMismatchError` for a file that is no queue, or a
    newer one, `DatabaseError` for one that cannot be read; neither changes the file.
    """
    # SQLite would make it readable for others; its -wal and -shm take the file's mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    _make_private(path)
    async with Database.open(path, reserve=reserve_of(path)) as writer:
        try:
            version = await writer.run(read_version)
        except SchemaMismatchError as mismatch:
            raise SchemaMismatchError(f"{path}: {mismatch}") from None
        await writer.set_pragmas(_PRAGMAS)
        tag = secrets.token_hex(4)
        await writer.write(lambda db: migrate(db, version, tag))
        await finish_migration(writer)
        async with Database.open(path, pragmas=_READER_PRAGMAS) as reader:
            rows = await reader.run(lambda db: db.execute("SELECT tag FROM queue").fetchall())
            if len(rows) != 1:
                raise DatabaseFailedError(path, "it has lost the row that names it")
            numbers = await reader.run(acceptance.Numbers.read)
            yield Queue(writer, reader, tag=rows[0][0], numbers=numbers, clock=clock)
