"""How everything in the queue stands, for `status`: what waits, for what, and how receivers do.

It reads what waits, an index of what is exhausted and a few counts, never what else has ended, however
much that is.
"""

from collections import defaultdict
from pathlib import Path

from relayd.core.endpoint import Health
from relayd.core.hold import Hold
from relayd.queue.overview_values import (
    EndpointStanding,
    Overview,
    QueueStanding,
    SubscriptionStanding,
    Tallies,
    Tally,
)
from relayd.queue.sqlite.contents import read_contents
from relayd.queue.sqlite.effective_due import HELD_UNTIL
from relayd.queue.sqlite.health import read_health
from relayd.queue.sqlite.inbound import read_inbound
from relayd.queue.sqlite.read_only import Reading
from relayd.queue.sqlite.rejected_limit import read_removed
from relayd.queue.sqlite.statistics import read_tallies

# What waits is counted in an index that does not hold the releases: whether some of it is released
# is two seeks in the one that does (as `effective_due` has it for a single delivery).
_OPERATORS = """
FROM deliveries d INDEXED BY deliveries_releasable
WHERE d.subscription_id = s.id AND d.state = 'retrying' AND d.behind IS NULL
  AND d.recovery_used IN (0, 1) AND d.release_seen < s.release"""
_RECOVERIES = """
FROM deliveries d INDEXED BY deliveries_releasable
WHERE d.subscription_id = s.id AND d.state = 'retrying' AND d.behind IS NULL
  AND d.recovery_used = 0 AND d.release_seen < p.release AND d.release_seen >= s.release"""

_WAITING = f"""
SELECT s.name, count(*), min(d.seq), total(d.behind), total(d.state = 'retrying'),
  (SELECT count(*) FROM deliveries b INDEXED BY deliveries_exhausted
   WHERE b.subscription_id = s.id AND b.order_key IS NOT NULL AND b.state = 'exhausted'
   AND EXISTS (SELECT 1 FROM deliveries o INDEXED BY deliveries_in_order
     WHERE o.subscription_id = b.subscription_id AND o.order_key = b.order_key AND o.seq > b.seq)),
  max({HELD_UNTIL}, min(
    min(CASE WHEN d.behind IS NULL THEN d.due_at END),
    coalesce((SELECT coalesce(s.released_at, d.scheduled_at) {_OPERATORS} LIMIT 1), 9e9),
    coalesce((SELECT p.released_at {_RECOVERIES} LIMIT 1), 9e9)))
FROM subscriptions s
CROSS JOIN deliveries d INDEXED BY deliveries_waiting
  ON d.subscription_id = s.id AND d.due_at IS NOT NULL
LEFT JOIN endpoints p ON p.url = s.url
GROUP BY s.id"""  # noqa: S608 - made of texts of our own

_DUE = f"""
SELECT s.url, sum(
  (SELECT count(*) FROM deliveries d INDEXED BY deliveries_waiting
   WHERE d.subscription_id = s.id AND d.state IN ('pending', 'retrying') AND d.behind IS NULL
     AND d.due_at <= :now)
  + (SELECT count(*) {_OPERATORS} AND d.due_at > :now)
  + (SELECT count(*) {_RECOVERIES} AND d.due_at > :now))
FROM subscriptions s
LEFT JOIN endpoints p ON p.url = s.url
WHERE s.hold IS NULL
GROUP BY s.url"""  # noqa: S608 - made of texts of our own

# Those that keep their place in an order are few; all others have no key.
_EXHAUSTED = """
SELECT s.name,
  (SELECT count(*) FROM deliveries d INDEXED BY deliveries_exhausted
   WHERE d.subscription_id = s.id AND d.state = 'exhausted'),
  {since}
FROM subscriptions s"""

_EXHAUSTED_SINCE = """
(SELECT count(*) FROM deliveries d INDEXED BY deliveries_exhausted
 WHERE d.subscription_id = s.id AND d.state = 'exhausted' AND d.order_key IS NULL
   AND d.ended_at >= :since)
+ (SELECT count(*) FROM deliveries d INDEXED BY deliveries_exhausted
 WHERE d.subscription_id = s.id AND d.state = 'exhausted' AND d.order_key IS NOT NULL
   AND d.ended_at >= :since)"""

_REJECTED_SINCE = "SELECT count(*) FROM rejected INDEXED BY rejected_listed WHERE rejected_at >= ?"

_OLDEST_EVENT = "SELECT min(accepted_at) FROM events INDEXED BY events_listed"

_ACCEPTED = """
SELECT e.accepted_at FROM deliveries d JOIN events e ON e.seq = d.event_seq WHERE d.seq = ?"""


def read_overview(
    reading: Reading,
    path: Path,
    *,
    now: float,
    since: float | None = None,
    tallied: bool = True,
) -> Overview:
    """Read how everything stands. `now` is in Unix seconds.

    What was exhausted or rejected from `since` on (Unix seconds) is counted where that is given. Without
    `tallied`, the tallies and `inbound` are empty: with a thousand endpoints they take longer than all else.
    """
    standings = _subscriptions(reading, since)
    health = read_health(reading.db)
    tallies = read_tallies(reading.db, now=now) if tallied else {}
    nothing = Tallies(Tally(), Tally())
    # One that is gone from the configuration is shown as long as something is left of it to be done.
    shown: defaultdict[str, list[SubscriptionStanding]] = defaultdict(list)
    for each in standings:
        if each.hold is not Hold.REMOVED or each.waiting or each.exhausted:
            shown[each.url].append(each)
    return Overview(
        endpoints=tuple(
            EndpointStanding(
                url=url,
                health=health.get(url, Health()),
                subscriptions=tuple(subscriptions),
                tallies=tallies.get(url, nothing),
            )
            for url, subscriptions in sorted(shown.items())
        ),
        queue=_queue(reading, path, sum(each.waiting for each in standings), since),
        inbound=read_inbound(reading.db, now=now) if tallied else {},
    )


def count_due(reading: Reading, *, now: float) -> dict[str, int]:
    """Return how many deliveries are due at each URL, of those that are not held."""
    rows = reading.db.execute(_DUE, {"now": now})
    return {url: count for url, count in rows if count}


def _subscriptions(reading: Reading, since: float | None) -> list[SubscriptionStanding]:
    counted = _EXHAUSTED.format(since="0" if since is None else _EXHAUSTED_SINCE)
    found = reading.db.execute(counted, {"since": since})
    exhausted = {name: rest for name, *rest in found}
    waiting = {name: rest for name, *rest in reading.db.execute(_WAITING)}
    standings: list[SubscriptionStanding] = []
    for known in reading.subscriptions.values():
        count, oldest, behind, retrying, blocking, next_due_at = waiting.get(
            known.name, (0, None, 0, 0, 0, None)
        )
        given_up, given_up_since = exhausted.get(known.name, (0, 0))
        accepted_at = None
        if oldest is not None:
            [accepted_at] = reading.db.execute(_ACCEPTED, (oldest,)).fetchone()
        standings.append(
            SubscriptionStanding(
                name=known.name,
                url=known.url,
                hold=known.hold,
                waiting=count,
                oldest_accepted_at=accepted_at,
                next_due_at=None if known.hold is not None else next_due_at,
                behind=int(behind),
                blocking=blocking,
                retrying=int(retrying),
                exhausted=given_up,
                exhausted_since=given_up_since,
            )
        )
    return standings


def _queue(reading: Reading, path: Path, waiting: int, since: float | None) -> QueueStanding:
    def number(sql: str) -> int:
        [value] = reading.db.execute(sql).fetchone()
        return int(value)

    page_bytes = number("PRAGMA page_size")
    rejected_since = 0
    if since is not None:
        [rejected_since] = reading.db.execute(_REJECTED_SINCE, (since,)).fetchone()
    [oldest_event_at] = reading.db.execute(_OLDEST_EVENT).fetchone()
    return QueueStanding(
        size_bytes=_size(path) + _size(Path(f"{path}-wal")),
        free_bytes=number("PRAGMA freelist_count") * page_bytes,
        # To count events would take ten times as long: what is in their indexes is larger.
        oldest_event_at=oldest_event_at,
        deliveries=number("SELECT count(*) FROM deliveries"),
        waiting=waiting,
        rejected=number("SELECT count(*) FROM rejected"),
        contents=read_contents(reading.db),
        removed=tuple(read_removed(reading.db)),
        rejected_since=rejected_since,
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
