"""relayd's queue as a file: built in bulk with what waits and what has ended, and looked into.

All that the benchmarks know of the queue's tables stands here. Files are built through relayd's own
schema, by SQL alone, since to accept ten million events would take longer than all the rest.
"""

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from benchmarks.errors import RefusedError
from benchmarks.events import CREATED, EVENT_TYPE, body
from relayd.queue.sqlite.schema import migrate
from relayd.queue.sqlite.tables import OLD_TABLE

_NUMBERS = "WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers LIMIT ?1)"

_BATCH = 500
"""So many events are accepted, and so become due, at the same moment: a spool's batch."""

_EVENTS = f"""
INSERT INTO events
  (seq, market_id, id, type, created, accepted_at, source, digest, body, sequence, object_id)
{_NUMBERS} SELECT ?2 + n, 'market_123', printf('%s_%08d', ?3, n), '{EVENT_TYPE}', {CREATED}, ?4,
  'spool market', randomblob(32), CAST(?5 || printf('%s_%08d', ?3, n) || ?6 AS BLOB), ?2 + n,
  'order_456' FROM numbers"""  # noqa: S608 - constants of our own

_WAITING = f"""
INSERT INTO deliveries
  (seq, event_seq, subscription_id, state, attempts, step, scheduled_at, due_at)
{_NUMBERS} SELECT ?2 + n, ?3 + n, ?4, ?5, ?6, ?6, ?7, ?8 + n / {_BATCH} * 0.05 FROM numbers"""  # noqa: S608 - constants of our own

_ENDED = f"""
INSERT INTO deliveries
  (seq, event_seq, subscription_id, state, attempts, step, scheduled_at, due_at, ended_at)
{_NUMBERS} SELECT ?2 + n, ?3 + n / ?5, ?4, 'delivered', 1, 0, ?6, NULL, ?6 FROM numbers"""  # noqa: S608 - constants of our own

_ATTEMPTS = f"""
INSERT INTO attempts (delivery_seq, number, started_at, duration_s, status, failure, detail)
{_NUMBERS} SELECT ?2 + n, 1, ?3, 0.01, ?4, ?5, ?6 FROM numbers"""  # noqa: S608 - constants of our own

DELIVERIES_OF_AN_ENDED_EVENT = 10
"""So many subscriptions got each event that has ended: ten million deliveries fit in 2 GB so."""

_HOUR_S = 3600.0


class QueueFile:
    """A queue that is being built. Subscriptions get the numbers 1, 2, 3… in their order."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._event = 1
        self._delivery = 1
        self._prefixes = 0

    def waiting(self, count: int, data_text: str, *, subscription: int = 1) -> list[str]:
        """Add deliveries that were never attempted and are long due; return their events' ids."""
        return self._add_waiting(count, data_text, subscription, "pending", -_HOUR_S)

    def retrying(self, count: int, data_text: str, *, subscription: int = 1) -> list[str]:
        """Add deliveries that failed once and are due in an hour; return their events' ids."""
        first = self._delivery
        found = self._add_waiting(count, data_text, subscription, "retrying", _HOUR_S)
        self._db.execute(
            _ATTEMPTS, (count, first, time.time() - 600, None, "connect", "refused by 127.0.0.1")
        )
        return found

    def ended(self, count: int, data_text: str, *, subscription: int = 1) -> None:
        """Add deliveries that were delivered yesterday."""
        at = time.time() - 24 * _HOUR_S
        each = DELIVERIES_OF_AN_ENDED_EVENT
        first_event = self._event
        self._add_events(-(-count // each), data_text, at)
        self._db.execute(_ENDED, (count, self._delivery, first_event, subscription, each, at))
        self._db.execute(_ATTEMPTS, (count, self._delivery, at, 204, None, None))
        self._delivery += count

    def failing(self, url: str) -> None:
        """Let an endpoint be one that has failed for ten minutes."""
        since = time.time() - 600
        self._db.execute(
            "INSERT INTO endpoints (url, failures, recent, failed_since, failing_since, reported,"
            " last_failure, held_until, ramp) VALUES (?, 9, ?, ?, ?, 1, 'refused', 0, 1)",
            (url, str([int(since)] * 9), since, since),
        )

    def _add_waiting(
        self, count: int, data_text: str, subscription: int, state: str, due_in_s: float
    ) -> list[str]:
        now = time.time()
        first = self._event
        prefix = self._add_events(count, data_text, now - _HOUR_S)
        attempts = 0 if state == "pending" else 1
        scheduled_at, due_at = now - _HOUR_S, now + due_in_s
        self._db.execute(
            _WAITING,
            (count, self._delivery, first, subscription, state, attempts, scheduled_at, due_at),
        )
        self._delivery += count
        return [f"{prefix}_{index:08d}" for index in range(count)]

    def _add_events(self, count: int, data_text: str, accepted_at: float) -> str:
        self._prefixes += 1
        prefix = f"evt_b{self._prefixes:03d}"
        before, after = body("\0", data_text).split("\0")
        self._db.execute(_EVENTS, (count, self._event, prefix, accepted_at, before, after))
        self._event += count
        return prefix


@contextmanager
def building(path: Path, urls: Mapping[str, str]) -> Iterator[QueueFile]:
    """Make a queue with these subscriptions and their URLs."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA cache_size = -200000")
        db.execute("BEGIN")
        migrate(db, 0, "be9c0000")
        # The events of version 1 that relayd would move first: there are none.
        db.execute(f"DROP TABLE IF EXISTS {OLD_TABLE}")
        db.executemany(
            "INSERT INTO subscriptions (name, url, presence) VALUES (?, ?, 'active')", urls.items()
        )
        yield QueueFile(db)
        db.execute("COMMIT")
        db.execute("PRAGMA journal_mode = WAL")
    path.chmod(0o600)
    # Or the disk is busy with it while relayd is measured: syncs took up to 0.6 s then.
    os.sync()


def is_waiting(path: Path) -> bool:
    """Tell whether any delivery has not ended. One seek, however many wait."""
    with _reading(path) as db:
        waits = db.execute("SELECT 1 FROM deliveries WHERE due_at IS NOT NULL LIMIT 1").fetchone()
    return waits is not None


def check_recorded(path: Path, delivered: int) -> None:
    """Refuse to go on unless so many deliveries are recorded, each with one attempt and its 204."""
    with _reading(path) as db:
        [found] = db.execute(
            "SELECT count(*) FROM deliveries d JOIN attempts a ON a.delivery_seq = d.seq"
            " WHERE d.state = 'delivered' AND a.status = 204"
        ).fetchone()
        [attempts] = db.execute("SELECT count(*) FROM attempts").fetchone()
    if found != delivered or attempts != delivered:
        raise RefusedError(
            f"{found} deliveries and {attempts} attempts are recorded, and not {delivered}"
        )


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    uri = f"file:{quote(str(path))}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=60)) as db:
        yield db
