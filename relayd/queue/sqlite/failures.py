"""Counts failed attempts by cause and hour, of the deliveries that matter now.

Attempts have no index by time, since each would pay for it when it is recorded. So it looks at the newest
deliveries, and at older ones that are waiting for a retry or exhausted: a few thousand each.
"""

import itertools
from dataclasses import replace
from typing import Any

from relayd.queue.overview_values import FailureCount, Failures
from relayd.queue.sqlite.read_only import Reading

MOST = 5_000
"""Deliveries of each kind that are looked at: some 10 ms."""

_NEWEST = "SELECT coalesce(max(seq), 0) FROM deliveries"

_RETRYING = """
SELECT d.seq FROM deliveries d INDEXED BY deliveries_releasable
WHERE d.state = 'retrying' AND d.seq <= :after LIMIT :most"""

_EXHAUSTED = """
SELECT d.seq FROM deliveries d INDEXED BY deliveries_exhausted
WHERE d.state = 'exhausted' AND d.ended_at >= :since AND d.seq <= :after LIMIT :most"""

_OLDEST = """
SELECT e.accepted_at FROM deliveries d JOIN events e ON e.seq = d.event_seq
WHERE d.seq > :after ORDER BY d.seq LIMIT 1"""

# A column beside max() is that of the row which has it.
_COUNT = """
SELECT CAST(a.started_at / 3600 AS INTEGER) * 3600, s.name, a.failure, a.status, count(*),
  max(a.started_at), a.delivery_seq, coalesce(a.detail, '')
FROM attempts a JOIN deliveries d ON d.seq = a.delivery_seq
JOIN subscriptions s ON s.id = d.subscription_id
WHERE {which} AND a.failure IS NOT NULL AND a.started_at >= :since
GROUP BY 1, s.id, a.failure, a.status"""

_COUNT_NEWEST = _COUNT.format(which="a.delivery_seq > :after")
_COUNT_OLDER = _COUNT.format(
    which=f"a.delivery_seq IN (SELECT seq FROM ({_RETRYING}) UNION SELECT seq FROM ({_EXHAUSTED}))"  # noqa: S608 - the texts above
)


def read_failures(reading: Reading, *, since: float) -> Failures:
    """Count the failed attempts that began at `since` (Unix seconds) or later."""
    db = reading.db
    [newest] = db.execute(_NEWEST).fetchone()
    asked = {"since": since, "after": max(0, newest - MOST), "most": MOST}
    rows = [*db.execute(_COUNT_NEWEST, asked), *db.execute(_COUNT_OLDER, asked)]
    return Failures(_joined(rows), complete=_is_complete(reading, asked))


def _joined(rows: list[tuple[Any, ...]]) -> tuple[FailureCount, ...]:
    found: dict[tuple[int, str, str, int | None], FailureCount] = {}
    for each in itertools.starmap(FailureCount, rows):
        key = (each.since, each.subscription, each.failure, each.status)
        other = found.get(key, each)
        latest = max(each, other, key=lambda one: one.last_at)
        count = each.count if other is each else each.count + other.count
        found[key] = replace(latest, count=count)
    return tuple(found[key] for key in sorted(found, key=lambda key: key[:3]))


def _is_complete(reading: Reading, asked: dict[str, float]) -> bool:
    """Return whether nothing older than the newest deliveries can have failed since, and ended well."""
    if not asked["after"]:
        return True
    oldest = reading.db.execute(_OLDEST, asked).fetchone()
    few = all(
        len(reading.db.execute(sql, asked).fetchall()) < MOST for sql in (_RETRYING, _EXHAUSTED)
    )
    return few and oldest is not None and oldest[0] < asked["since"]
