"""The table `outbox`: own events that were written with what they report, and are not accepted as events yet."""

import json
import secrets
import sqlite3
from collections.abc import Iterable

from relayd.core.own_events import OutboxRow, OwnEvent


def put(db: sqlite3.Connection, events: Iterable[OwnEvent], wanted: frozenset[str]) -> int:
    """Keep those events that somebody wants, and return how many they are."""
    rows = [
        (f"evt_relayd_{secrets.token_hex(12)}", each.type, each.created, json.dumps(each.data))
        for each in events
        if each.type in wanted
    ]
    if rows:
        db.executemany("INSERT INTO outbox (id, type, created, data) VALUES (?, ?, ?, ?)", rows)
    return len(rows)


def read(db: sqlite3.Connection, limit: int) -> list[OutboxRow]:
    """Return the first rows."""
    rows = db.execute(
        "SELECT seq, id, type, created, data FROM outbox ORDER BY seq LIMIT ?", (limit,)
    )
    return [
        OutboxRow(seq, event_id, OwnEvent(event_type, created, json.loads(data)))
        for seq, event_id, event_type, created, data in rows
    ]


def remove(db: sqlite3.Connection, rows: Iterable[OutboxRow]) -> None:
    """Remove rows that were accepted."""
    db.executemany("DELETE FROM outbox WHERE seq = ?", [(row.seq,) for row in rows])
