"""The queue's tables since version 5, and all versions' scripts in their order. Times are Unix seconds."""

from typing import Final

from relayd.queue.sqlite.early_tables import (
    VERSION_1,
    VERSION_2,
    VERSION_3,
    VERSION_4,
    rejected_size,
)


def kept_size(row: str) -> str:
    """Return the SQL for what a rejected row takes since version 7, as `rejected_size` does."""
    return f"({rejected_size(row)} + coalesce(length({row}.webhook), 0))"


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

_VERSION_6_TOTALS = f"""
-- What the counters of /metrics are made of: nothing is ever taken off, whatever is removed. In an older
-- queue they begin with what it still holds. (Events of version 1 are added as they are moved.)
CREATE TABLE attempt_totals (
  subscription_id INTEGER NOT NULL,
  state           TEXT NOT NULL,       -- what the attempts made of their deliveries
  within_ms       INTEGER NOT NULL,    -- a bound of core.durations that they took at most; 0 for longer
  count           INTEGER NOT NULL,
  seconds         REAL NOT NULL,       -- that they took together
  PRIMARY KEY (subscription_id, state, within_ms)
) STRICT, WITHOUT ROWID;
INSERT INTO attempt_totals (subscription_id, state, within_ms, count, seconds)
  SELECT d.subscription_id,
    CASE WHEN a.failure IS NULL THEN 'delivered'
         WHEN d.state = 'exhausted' AND a.number = d.attempts THEN 'exhausted' ELSE 'retrying' END,
    CASE WHEN a.duration_s * 1000 <= 5 THEN 5 WHEN a.duration_s * 1000 <= 10 THEN 10
         WHEN a.duration_s * 1000 <= 25 THEN 25 WHEN a.duration_s * 1000 <= 50 THEN 50
         WHEN a.duration_s * 1000 <= 100 THEN 100 WHEN a.duration_s * 1000 <= 250 THEN 250
         WHEN a.duration_s * 1000 <= 500 THEN 500 WHEN a.duration_s * 1000 <= 1000 THEN 1000
         WHEN a.duration_s * 1000 <= 2500 THEN 2500 WHEN a.duration_s * 1000 <= 5000 THEN 5000
         WHEN a.duration_s * 1000 <= 10000 THEN 10000 WHEN a.duration_s * 1000 <= 30000 THEN 30000
         ELSE 0 END,
    count(*), total(a.duration_s)
  FROM attempts a JOIN deliveries d ON d.seq = a.delivery_seq GROUP BY 1, 2, 3;
CREATE TABLE accepted_totals (
  source TEXT PRIMARY KEY,
  count  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO accepted_totals (source, count) SELECT source, count(*) FROM events GROUP BY source;
ALTER TABLE rejected_kept ADD COLUMN ever INTEGER NOT NULL DEFAULT 0;
UPDATE rejected_kept SET ever = count + (SELECT coalesce(sum(r.count), 0) FROM rejected_removed r
  WHERE r.source = rejected_kept.source);
DROP TRIGGER rejected_added;
CREATE TRIGGER rejected_added AFTER INSERT ON rejected BEGIN
  INSERT OR IGNORE INTO rejected_kept (source, count, bytes) VALUES (NEW.source, 0, 0); UPDATE rejected_kept
  SET count = count + 1, ever = ever + 1, bytes = bytes + {rejected_size("NEW")}
  WHERE source = NEW.source; END;
"""  # noqa: S608 - constants of our own

_VERSION_6_FEED = """
-- The removals of bodies, as far as the feed's readers have to hear of them: see core/feed.py.
CREATE TABLE feed_removals (
  number  INTEGER PRIMARY KEY,         -- grows with each removal
  through INTEGER NOT NULL             -- the greatest sequence number of which the body was removed
) STRICT;
"""

_VERSION_6 = _VERSION_6_TOTALS + _VERSION_6_FEED

_VERSION_7_INBOUND = """
-- What an event that came by an inbound webhook was made of; the row goes with the event's.
CREATE TABLE inbound_events (
  event_seq  INTEGER PRIMARY KEY,
  key        TEXT NOT NULL UNIQUE,     -- of the provider and its id, which alone tell a duplicate: see core.webhook
  raw_bytes  INTEGER NOT NULL,
  raw_sha256 BLOB NOT NULL
) STRICT;
-- The raw body and its headers, as long as the event has its own body; not of a large one.
CREATE TABLE inbound_bodies (
  event_seq INTEGER PRIMARY KEY,
  headers   TEXT NOT NULL,             -- a JSON object
  body      BLOB NOT NULL
) STRICT;
-- The tokens that came with signatures (Mailgun's), each with what it came with; with another one it is
-- refused. Written with what it came with, or not at all.
CREATE TABLE inbound_tokens (
  token   TEXT PRIMARY KEY,            -- its SHA-256, with its provider's name
  key     TEXT NOT NULL,               -- as in inbound_events, of an event or of rejected input
  seen_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX inbound_tokens_seen ON inbound_tokens (seen_at);
-- A JSON object where `data` is the raw body of a webhook: its headers, its key, its token.
ALTER TABLE rejected ADD COLUMN webhook TEXT;
"""

_VERSION_7_REJECTED = f"""
-- What a webhook leaves on the list counts for its source's limit, too.
DROP TRIGGER rejected_added;
CREATE TRIGGER rejected_added AFTER INSERT ON rejected BEGIN
  INSERT OR IGNORE INTO rejected_kept (source, count, bytes) VALUES (NEW.source, 0, 0); UPDATE rejected_kept
  SET count = count + 1, ever = ever + 1, bytes = bytes + {kept_size("NEW")}
  WHERE source = NEW.source; END;
DROP TRIGGER rejected_taken;
CREATE TRIGGER rejected_taken AFTER DELETE ON rejected BEGIN
  UPDATE rejected_kept SET count = count - 1, bytes = bytes - {kept_size("OLD")}
  WHERE source = OLD.source; END;
"""  # noqa: S608 - constants of our own

_VERSION_7_CAUSES = """
-- Why an attempt failed, and at what: see core/outcome.py. NULL where it succeeded; and where an older
-- relayd recorded it, which had words alone: then see earlier_causes.
ALTER TABLE attempts ADD COLUMN cause TEXT;
ALTER TABLE attempts ADD COLUMN subject TEXT;
-- Failed attempts by hour and cause: see failures. In an older queue they begin with the newest deliveries,
-- and with some of those that are waiting or exhausted: to count all might take minutes.
CREATE TABLE failure_counts (
  since           INTEGER NOT NULL,    -- when the hour began; 0 for all that are no longer told apart
  subscription_id INTEGER NOT NULL,
  cause           TEXT NOT NULL,
  status          INTEGER NOT NULL,    -- of the responses; 0 where there was none
  count           INTEGER NOT NULL,
  last_at         REAL NOT NULL,       -- when the last of them began
  delivery_seq    INTEGER NOT NULL,    -- its delivery
  detail          TEXT NOT NULL,       -- its words
  PRIMARY KEY (since, subscription_id, cause, status)
) STRICT, WITHOUT ROWID;
INSERT INTO failure_counts (since, subscription_id, cause, status, count, last_at, delivery_seq, detail)
  SELECT CAST(a.started_at / 3600 AS INTEGER) * 3600, d.subscription_id,
    relayd_earlier_cause(a.failure, coalesce(a.detail, '')), coalesce(a.status, 0),
    count(*), max(a.started_at), a.delivery_seq, coalesce(a.detail, '')
  FROM deliveries d CROSS JOIN attempts a ON a.delivery_seq = d.seq AND a.failure IS NOT NULL
  WHERE d.seq IN (SELECT seq FROM (SELECT seq FROM deliveries ORDER BY seq DESC LIMIT 5000)
    UNION SELECT seq FROM (SELECT seq FROM deliveries WHERE state = 'retrying' LIMIT 5000)
    UNION SELECT seq FROM (SELECT seq FROM deliveries WHERE state = 'exhausted' LIMIT 5000))
  GROUP BY 1, 2, 3, 4;
-- When an older queue was brought to this: from then on, all are counted. NULL in a newer one.
ALTER TABLE queue ADD COLUMN failures_from REAL;
UPDATE queue SET failures_from = CAST(strftime('%s', 'now') AS REAL);
"""

_VERSION_7 = _VERSION_7_INBOUND + _VERSION_7_REJECTED + _VERSION_7_CAUSES

MIGRATIONS: tuple[str, ...] = (
    VERSION_1,
    VERSION_2,
    VERSION_3,
    VERSION_4,
    _VERSION_5,
    _VERSION_6,
    _VERSION_7,
)
"""The script at index n makes version n + 1 of version n. Scripts that were released never change."""

VERSION = len(MIGRATIONS)
