"""Hands one subscription's deliveries over to another, some at a time, each step one transaction.

A step may be cut off and given again at any time: it looks at the rows as they are. An event of
which the other has a delivery already stays where it is, so that nobody gets it twice; so does what
is in flight, until its attempt has ended.
"""

import json
import sqlite3
from collections.abc import Iterable
from typing import Final

from relayd.queue.sqlite import notices, order
from relayd.queue.sqlite.subscriptions import hand_over_holds
from relayd.queue.values import HandoverStep

WINDOW: Final = 2_000
"""How many deliveries, of any subscription, one step looks through: those that have ended are in no
index by subscription. That is 5 ms where all of them are handed over."""

# What was released stays released, and what goes to another URL or with another secret may succeed: -1 is less than
# any release's number, so the new one's own retries are not released with it.
_MOVE = """
UPDATE deliveries SET subscription_id = :new,
  release_seen = CASE WHEN :another OR release_seen < :release THEN -1 ELSE release_seen END
WHERE seq BETWEEN :first AND :through AND subscription_id = :old
  AND (due_at IS NULL OR seq NOT IN (SELECT value FROM json_each(:in_flight)))
  AND (order_key IS NULL OR order_key NOT IN (SELECT value FROM json_each(:busy_keys)))
  AND NOT EXISTS (SELECT 1 FROM deliveries o
    WHERE o.event_seq = deliveries.event_seq AND o.subscription_id = :new)
RETURNING seq, due_at IS NOT NULL, order_key"""

_LEFT = """
SELECT due_at IS NOT NULL AND seq IN (SELECT value FROM json_each(:in_flight))
  OR coalesce(order_key IN (SELECT value FROM json_each(:busy_keys)), 0) FROM deliveries
WHERE seq BETWEEN :first AND :through AND subscription_id = :old"""

# What is behind a delivery in flight stays behind it, where it is.
_BUSY_KEYS = """
SELECT json_group_array(DISTINCT order_key) FROM deliveries
WHERE subscription_id = :old AND order_key IS NOT NULL
  AND seq IN (SELECT value FROM json_each(:in_flight))"""

_RELEASED = """
SELECT count(*) FROM json_each(:moved) AS moved CROSS JOIN deliveries d ON d.seq = moved.value
WHERE d.state = 'retrying' AND d.behind IS NULL AND d.release_seen < :newest"""

_OLD = """
SELECT o.release, o.url <> n.url OR coalesce(o.made_with <> n.made_with, 0), n.release
FROM subscriptions o, subscriptions n
WHERE o.id = :old AND n.id = :new"""

_RELEASE = """
UPDATE subscriptions SET release = max(release, 1), released_at = :now WHERE id = :new"""


def hand_over(
    db: sqlite3.Connection,
    old: int,
    new: int,
    *,
    after: int,
    in_flight: Iterable[int],
    now: float,
) -> HandoverStep:
    """Do one step from subscription `old` to `new`, by their numbers, behind delivery `after`.

    Retries are released where `old`'s were, and where `new` has another URL or secret. `now` is in Unix
    seconds. Nothing may claim deliveries of `old` meanwhile.
    """
    [(first, last)] = db.execute(
        "SELECT (SELECT min(seq) FROM deliveries WHERE seq > ?),"
        " coalesce((SELECT max(seq) FROM deliveries), 0)",
        (after,),
    )
    # What was pruned away is passed over.
    through = last if first is None else min(first + WINDOW - 1, last)
    values = {
        "old": old,
        "new": new,
        "first": after + 1,
        "through": through,
        "in_flight": json.dumps(sorted(in_flight)),
        "now": now,
    }
    [(values["busy_keys"],)] = db.execute(_BUSY_KEYS, values)
    [(release, another, newest)] = db.execute(_OLD, values)
    values |= {"release": release, "another": another}
    # With the first of the deliveries: what is held must not go out.
    holds_moved = hand_over_holds(db, old, new)
    notices.rename(db, *_names(db, old, new))
    moved = db.execute(_MOVE, values).fetchall()
    keys = dict.fromkeys(key for *_, key in moved if key is not None)
    # An exhausted one blocks where it is now only as the configuration says there.
    order.leave(db, (seq for seq, due, key in moved if key is not None and not due))
    order.settle(db, ((number, key) for number in (old, new) for key in keys))
    if moved and (release or another):
        db.execute(_RELEASE, values)
        newest = max(newest, 1)
    left = db.execute(_LEFT, values).fetchall()
    busy = sum(flag for (flag,) in left)
    waiting = sum(flag for _, flag, _ in moved)
    values |= {"moved": json.dumps([seq for seq, *_ in moved]), "newest": newest}
    [(released,)] = db.execute(_RELEASED, values)
    return HandoverStep(
        moved=len(moved),
        waiting=waiting,
        released=released,
        through=through,
        last=last,
        in_flight=busy,
        kept=len(left) - busy,
        holds_moved=holds_moved,
    )


def _names(db: sqlite3.Connection, *numbers: int) -> list[str]:
    find = "SELECT name FROM subscriptions WHERE id = ?"
    return [db.execute(find, (number,)).fetchone()[0] for number in numbers]
