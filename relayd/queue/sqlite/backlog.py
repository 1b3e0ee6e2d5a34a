"""What waits for each subscription and what holds it, to tell what a reload would do to it."""

import json
import sqlite3
from collections.abc import Iterable

from relayd.queue.values import Waiting

_WAITING = """
SELECT name, (SELECT count(*) FROM deliveries INDEXED BY deliveries_waiting
              WHERE subscription_id = subscriptions.id AND due_at IS NOT NULL),
  hold IS NOT NULL, paused_at IS NOT NULL, gone_at IS NOT NULL, url
FROM subscriptions WHERE name IN (SELECT value FROM json_each(?))"""


def read_waiting(db: sqlite3.Connection, names: Iterable[str]) -> dict[str, Waiting]:
    """Return what waits for those of these subscriptions that the queue has ever heard of."""
    rows = db.execute(_WAITING, (json.dumps(list(names)),))
    return {
        name: Waiting(count, bool(held), bool(paused), bool(gone), url)
        for name, count, held, paused, gone, url in rows
    }
