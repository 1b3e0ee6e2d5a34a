"""The queue's tables since version 5, and all versions' scripts in their order. Times are Unix seconds."""

from typing import Final

from relayd.queue.sqlite.early_tables import VERSION_1, VERSION_2, VERSION_3, VERSION_4

OLD_TABLE: Final = "events_1"
"""The events of version 1 that are still to be moved; it is there until all are."""

UNKNOWN_MARKET: Final = ""
"""The market of an event of which version 1 kept the id alone. The id is that of any market: no
event with it is accepted again, whoever sends it, until it is forgotten."""

_VERSION_5 = """
-- 1 where an exhausted delivery keeps its place in its order, and blocks those behind it (on_exhausted: hold).
ALTER TABLE subscriptions ADD COLUMN keeps_place INTEGER NOT NULL DEFAULT 0 CHECK (keeps_place IN (0, 1));
-- Only such a subscription has an exhausted delivery with a key. One that is not declared now keeps them.
UPDATE subscriptions SET keeps_place = 1 WHERE id IN
  (SELECT subscription_id FROM deliveries WHERE state = 'exhausted' AND order_key IS NOT NULL);
-- A rename may put a retry behind another one: then no release is for it.
DROP INDEX deliveries_releasable;
CREATE INDEX deliveries_releasable
  ON deliveries (subscription_id, state, behind, recovery_used, release_seen, due_at)
  WHERE state = 'retrying';
-- What is exhausted, counted without reading another row; and first among it, by their order_key, those
-- that keep their place in an order. Others than these pay nothing for it.
DROP INDEX deliveries_blocking;
CREATE INDEX deliveries_exhausted ON deliveries (subscription_id, order_key, ended_at)
  WHERE state = 'exhausted';
-- What only the latest one has, a JSON object.
ALTER TABLE notices ADD COLUMN details TEXT NOT NULL DEFAULT '{}';
-- The sources that were reported as unavailable, and not as recovered yet.
CREATE TABLE source_outages (
  source TEXT PRIMARY KEY,
  since  REAL NOT NULL
) STRICT, WITHOUT ROWID;
"""

MIGRATIONS: tuple[str, ...] = (VERSION_1, VERSION_2, VERSION_3, VERSION_4, _VERSION_5)
"""The script at index n makes version n + 1 of version n. Scripts that were released never change."""

VERSION = len(MIGRATIONS)
