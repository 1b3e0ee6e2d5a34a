"""Whose turn it is among a subscription's deliveries with the same order key.

Those that have the key now are in the order, by their numbers, and all but the first are `behind`,
which no claim finds. What ends leaves the order, and then the next one has its turn: in the same
transaction, so that a kill leaves exactly one first. An exhausted one of a subscription that
`keeps_place`, as it was declared last, stays in the order until it is replayed with success or
cancelled, and blocks the others.
"""

import sqlite3
from collections.abc import Iterable

_TAKEN = """
SELECT 1 FROM deliveries INDEXED BY deliveries_in_order
WHERE subscription_id = ? AND order_key = ? LIMIT 1"""

_PLACE = """
SELECT d.subscription_id, d.order_key FROM deliveries d
JOIN subscriptions s ON s.id = d.subscription_id
WHERE d.seq = ? AND d.order_key IS NOT NULL AND d.due_at IS NULL
  AND (d.state <> 'exhausted' OR NOT s.keeps_place)"""

_LEAVE = "UPDATE deliveries SET order_key = NULL, behind = NULL WHERE seq = ?"

_FIRST = """
SELECT seq FROM deliveries INDEXED BY deliveries_in_order
WHERE subscription_id = :subscription AND order_key = :key ORDER BY seq LIMIT 1"""

_NEXT = f"UPDATE deliveries SET behind = NULL WHERE behind = 1 AND seq = ({_FIRST})"  # noqa: S608 - a text of our own

_BEHIND = f"""
UPDATE deliveries SET behind = 1
WHERE subscription_id = :subscription AND order_key = :key AND behind IS NULL AND seq > ({_FIRST})"""  # noqa: S608 - a text of our own

_BLOCKING = """
SELECT d.seq FROM subscriptions s
CROSS JOIN deliveries d INDEXED BY deliveries_exhausted
  ON d.subscription_id = s.id AND d.order_key IS NOT NULL AND d.state = 'exhausted'
WHERE NOT s.keeps_place ORDER BY d.seq"""


def is_taken(db: sqlite3.Connection, subscription_id: int, key: str) -> bool:
    """Tell whether a subscription has a delivery in the order of this key."""
    return db.execute(_TAKEN, (subscription_id, key)).fetchone() is not None


def leave(db: sqlite3.Connection, seqs: Iterable[int]) -> None:
    """Take those of the deliveries that have ended out of their orders, and give the next one its turn.

    An exhausted one stays where its subscription `keeps_place`.
    """
    for seq in seqs:
        place = db.execute(_PLACE, (seq,)).fetchone()
        if place is not None:
            db.execute(_LEAVE, (seq,))
            db.execute(_NEXT, {"subscription": place[0], "key": place[1]})


def settle(db: sqlite3.Connection, places: Iterable[tuple[int, str]]) -> None:
    """Let the first one of each of these orders, by subscription and key, have its turn, and no other."""
    for subscription_id, key in places:
        values = {"subscription": subscription_id, "key": key}
        db.execute(_BEHIND, values)
        db.execute(_NEXT, values)


def leave_blocking(db: sqlite3.Connection) -> None:
    """Take out the exhausted ones that stayed in their orders, where none may any more."""
    leave(db, [seq for (seq,) in db.execute(_BLOCKING)])
