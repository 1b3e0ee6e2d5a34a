"""What the daemon asks the queue beside its deliveries, on a connection of its own."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from relayd.core.expiry import Evidence
from relayd.database import Database
from relayd.queue.overview_values import Contents
from relayd.queue.snapshot_values import RejectedInput
from relayd.queue.sqlite import prune, shift_times
from relayd.queue.sqlite.clock_marks import read_evidence, read_seen_at
from relayd.queue.sqlite.contents import read_contents
from relayd.queue.sqlite.operate import read_bodies
from relayd.queue.sqlite.rejected import read_rejected
from relayd.queue.sqlite.subscriptions import read_waiting
from relayd.queue.values import Cursor, Horizon, PruneStep, Retries, Waiting

_PRAGMAS: Final = ("query_only = ON", "trusted_schema = OFF", "cache_size = -2000")


class Connected:
    """Something that asks over one connection."""

    def __init__(self, database: Database) -> None:
        self._database = database


class Looks(Connected):
    """See `interface.QueueLooks`."""

    async def waiting(self, names: Iterable[str]) -> Mapping[str, Waiting]:
        """Return the backlog of those of these subscriptions that the queue has ever heard of."""
        return await self._database.run(lambda db: read_waiting(db, names))

    async def bodies(self, event_seqs: Sequence[int], most_bytes: int) -> list[tuple[int, bytes]]:
        """Return the events that still have a body, with it, in order of their numbers."""
        return await self._database.run(lambda db: read_bodies(db, event_seqs, most_bytes))

    async def rejected(self, seq: int) -> RejectedInput | None:
        """Return one rejected row, or None where there is none."""
        return await self._database.run(lambda db: read_rejected(db, seq))

    async def clock_seen_at(self) -> float | None:
        """Return when the clock was last looked at."""
        return await self._database.run(read_seen_at)

    async def newest_decision(self) -> float:
        """Return the newest time at which something was decided that waits."""
        return await self._database.run(shift_times.newest_decision)

    async def newest_retry_before(self, moment: float) -> float:
        """Return when the last retry until `moment` was scheduled."""
        return await self._database.run(lambda db: shift_times.newest_retry_before(db, moment))

    async def retries_before_step(
        self, step: float, stepped_at: float, *, now: float, certain: bool
    ) -> Retries:
        """Return the retries that were scheduled before a step of the clock."""
        return await self._database.run(
            lambda db: shift_times.retries_before_step(
                db, step, stepped_at, now=now, certain=certain
            )
        )


class SQLiteSurvey(Connected):
    """See `interface.Survey`."""

    async def evidence(self) -> Evidence:
        """Return what the queue knows of time."""
        return await self._database.run(read_evidence)

    async def used_bytes(self) -> int:
        """Return how much room is in use."""
        return await self._database.run(prune.used_bytes)

    async def contents(self) -> Contents:
        """Estimate what fills the queue."""
        return await self._database.run(read_contents)

    async def prunable(self, horizon: Horizon, cursor: Cursor) -> PruneStep:
        """Find the next events that may go."""
        return await self._database.run(lambda db: prune.find_step(db, horizon, cursor))


@asynccontextmanager
async def open_looks(path: Path) -> AsyncIterator[Looks]:
    """Open the connection for looks. Raises `QueueError`."""
    async with Database.open(path, pragmas=_PRAGMAS) as database:
        yield Looks(database)


@asynccontextmanager
async def open_survey(path: Path) -> AsyncIterator[SQLiteSurvey]:
    """Open the connection for a survey. Raises `QueueError`."""
    async with Database.open(path, pragmas=_PRAGMAS) as database:
        yield SQLiteSurvey(database)
