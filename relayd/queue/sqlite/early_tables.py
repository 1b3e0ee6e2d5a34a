"""The queue's tables up to version 4, as the statements that make each version of the one before.

These scripts never change. Times are Unix seconds.
"""

from typing import Final

VERSION_1 = """
CREATE TABLE queue (
  tag TEXT NOT NULL                    -- stands in each delivery's id: a new queue repeats none
) STRICT;

CREATE TABLE events (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  id          TEXT NOT NULL UNIQUE,
  type        TEXT NOT NULL,
  created     INTEGER NOT NULL,
  accepted_at REAL NOT NULL,
  source      TEXT NOT NULL,           -- "socket", or "spool NAME"
  digest      BLOB NOT NULL,           -- of type and data: tells a duplicate from a conflict
  body        BLOB                     -- what every attempt sends; NULL when only the id is kept
) STRICT;
CREATE INDEX events_listed ON events (accepted_at, type);

CREATE TABLE subscriptions (
  id        INTEGER PRIMARY KEY,
  name      TEXT NOT NULL UNIQUE,
  url       TEXT NOT NULL,
  presence  TEXT NOT NULL CHECK (presence IN ('active', 'inactive', 'removed')),
  paused_at REAL,
  gone_at   REAL,                      -- when its receiver answered 410
  hold      TEXT GENERATED ALWAYS AS (
    CASE WHEN presence <> 'active' THEN presence
         WHEN paused_at IS NOT NULL THEN 'paused'
         WHEN gone_at IS NOT NULL THEN 'gone' END) VIRTUAL
) STRICT;

CREATE TABLE deliveries (
  seq             INTEGER PRIMARY KEY AUTOINCREMENT,
  event_seq       INTEGER NOT NULL REFERENCES events (seq),
  subscription_id INTEGER NOT NULL REFERENCES subscriptions (id),
  state           TEXT NOT NULL
    CHECK (state IN ('pending', 'retrying', 'delivered', 'exhausted', 'cancelled')),
  attempts        INTEGER NOT NULL,    -- made so far
  step            INTEGER NOT NULL,    -- retries scheduled since it was made or replayed
  scheduled_at    REAL NOT NULL,       -- when due_at was decided
  due_at          REAL,                -- of the next attempt; NULL once it has ended
  ended_at        REAL,
  CHECK ((due_at IS NULL) = (ended_at IS NOT NULL)),
  CHECK ((due_at IS NOT NULL) = (state IN ('pending', 'retrying')))
) STRICT;
-- What waits, and nothing else: claims cost the same with ten deliveries ended and ten million.
CREATE INDEX deliveries_waiting ON deliveries (subscription_id, state, due_at, scheduled_at)
  WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_of_event ON deliveries (event_seq);
-- What the operator looks for among millions that were delivered.
CREATE INDEX deliveries_given_up ON deliveries (seq, subscription_id, state)
  WHERE state IN ('exhausted', 'cancelled');

-- Which deliveries changed last, in order, for those who follow them. New ones are known by their
-- numbers. What is older than the last hundred thousand changes goes with each new one.
CREATE TABLE changes (
  seq          INTEGER PRIMARY KEY,
  delivery_seq INTEGER NOT NULL
) STRICT;
CREATE TRIGGER deliveries_change AFTER UPDATE OF state ON deliveries BEGIN
  INSERT INTO changes (delivery_seq) VALUES (NEW.seq); DELETE FROM changes
  WHERE seq <= last_insert_rowid() - 100000; END;

CREATE TABLE attempts (
  delivery_seq INTEGER NOT NULL REFERENCES deliveries (seq),
  number       INTEGER NOT NULL,       -- 1, 2, 3…
  started_at   REAL NOT NULL,
  duration_s   REAL NOT NULL,
  status       INTEGER,                -- of the answer, where one came
  failure      TEXT,                   -- NULL where it succeeded
  detail       TEXT,
  answer       BLOB,                   -- its first 1 KiB
  PRIMARY KEY (delivery_seq, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE endpoints (
  url           TEXT PRIMARY KEY,
  failures      INTEGER NOT NULL,
  failed_at     REAL,
  failing_since REAL,
  last_failure  TEXT NOT NULL,
  released_at   REAL,
  held_until    REAL NOT NULL,
  ramp          INTEGER
) STRICT, WITHOUT ROWID;

-- How many attempts came to what, so that nobody has to count them when asked.
CREATE TABLE attempt_counts (
  span_s   INTEGER NOT NULL,           -- 300 or 3600
  since    INTEGER NOT NULL,           -- when the span began
  url      TEXT NOT NULL,
  state    TEXT NOT NULL,              -- what the attempts made of their deliveries
  response INTEGER NOT NULL,           -- a class of response times; -1 where no answer came
  count    INTEGER NOT NULL,
  PRIMARY KEY (span_s, since, url, state, response)
) STRICT, WITHOUT ROWID;

-- relayd's own events on their way in.
CREATE TABLE outbox (
  seq     INTEGER PRIMARY KEY AUTOINCREMENT,
  id      TEXT NOT NULL UNIQUE,
  type    TEXT NOT NULL,
  created INTEGER NOT NULL,
  data    TEXT NOT NULL
) STRICT;

CREATE TABLE rejected (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  source      TEXT NOT NULL,
  rejected_at REAL NOT NULL,
  code        TEXT NOT NULL,
  reason      TEXT NOT NULL,
  fingerprint BLOB NOT NULL UNIQUE,    -- of source and row: a crash rejects nothing twice
  id          ANY,                     -- the row as it was found, whatever it held
  type        ANY,
  data        ANY,
  created     ANY,
  market_id   ANY,
  api_version ANY
) STRICT;
"""

# The block of ids and markets. `events` is made again, since a UNIQUE constraint cannot be removed;
# its rows follow in bounded steps, see `migration`: until then they are in `events_1`.
_VERSION_2_EVENTS = """
CREATE TABLE events_2 (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  market_id   TEXT NOT NULL,           -- '' where it is not known: then the id is that of any market
  id          TEXT NOT NULL,
  type        TEXT NOT NULL,
  created     INTEGER NOT NULL,
  accepted_at REAL NOT NULL,
  source      TEXT NOT NULL,           -- "socket", or "spool NAME"
  digest      BLOB NOT NULL,           -- of type and data: tells a duplicate from a conflict
  body        BLOB,                    -- what every attempt sends; NULL when only the id is kept
  UNIQUE (id, market_id)               -- in this order, so that an id alone is found, too
) STRICT;
INSERT INTO sqlite_sequence (name, seq)
  SELECT 'events_2', seq FROM sqlite_sequence WHERE name = 'events';
DROP INDEX events_listed;
ALTER TABLE events RENAME TO events_1;
ALTER TABLE events_2 RENAME TO events;
CREATE INDEX events_listed ON events (accepted_at, type);
CREATE INDEX rejected_listed ON rejected (rejected_at);
-- What the clock said when relayd last looked, and the time by which it last removed what expired:
-- see core.expiry. NULL before the first time.
ALTER TABLE queue ADD COLUMN seen_at REAL;
ALTER TABLE queue ADD COLUMN expired_at REAL;
-- Rejected rows that were resubmitted or dropped. One may still be in its spool, and is read again: it
-- must not make a second event, nor come back.
CREATE TABLE rejected_before (
  fingerprint BLOB PRIMARY KEY,
  left_at     REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX rejected_before_left ON rejected_before (left_at);
"""

# The block of releases and health.
_VERSION_2_RELEASES = """
-- The newest release when its last attempt began, and whether its endpoint's recovery gave it an attempt in
-- this step: see core/release.py.
ALTER TABLE deliveries ADD COLUMN release_seen INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN recovery_used INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN extra TEXT CHECK (extra IN ('recovery', 'operator'));

-- The operator's last release, and when that was.
ALTER TABLE subscriptions ADD COLUMN release INTEGER NOT NULL DEFAULT 0;
ALTER TABLE subscriptions ADD COLUMN released_at REAL;
-- What it was last declared with: see Subscription.made_with. NULL where an older relayd did.
ALTER TABLE subscriptions ADD COLUMN made_with BLOB;

-- The fields of core.endpoint.Health.
ALTER TABLE endpoints RENAME COLUMN failed_at TO failed_since;
ALTER TABLE endpoints ADD COLUMN recent TEXT NOT NULL DEFAULT '[]';
ALTER TABLE endpoints ADD COLUMN reported INTEGER NOT NULL DEFAULT 0;
ALTER TABLE endpoints ADD COLUMN succeeded_at REAL;
ALTER TABLE endpoints ADD COLUMN release INTEGER NOT NULL DEFAULT 0;
ALTER TABLE endpoints ADD COLUMN throttled INTEGER NOT NULL DEFAULT 0;
UPDATE endpoints SET reported = failing_since IS NOT NULL, release = released_at IS NOT NULL;
UPDATE deliveries SET release_seen = 1
  WHERE state = 'retrying' AND scheduled_at > (SELECT p.released_at FROM subscriptions s
    JOIN endpoints p ON p.url = s.url WHERE s.id = subscription_id);

-- Finds what a release is for by one seek, however many retries wait that it is not for.
CREATE INDEX deliveries_releasable
  ON deliveries (subscription_id, state, recovery_used, release_seen, due_at) WHERE state = 'retrying';
"""

VERSION_2 = _VERSION_2_EVENTS + _VERSION_2_RELEASES

REJECTED_ROW_BYTES: Final = 300
"""What a rejected row takes beside its values and its reason: the other columns, and its entries in the
indexes."""


def rejected_size(row: str) -> str:
    """Return the SQL for what a rejected row takes, in bytes; `row` is its table's name there."""
    names = ("reason", "id", "type", "data", "created", "market_id", "api_version")
    lengths = (f"coalesce(length({row}.{name}), 0)" for name in names)
    return f"({REJECTED_ROW_BYTES} + {' + '.join(lengths)})"


VERSION_3 = f"""
-- What is kept of each source's rejected input, so that it has a limit: see rejected_limit.
CREATE TABLE rejected_kept (
  source TEXT PRIMARY KEY,
  count  INTEGER NOT NULL,
  bytes  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO rejected_kept (source, count, bytes)
  SELECT source, count(*), sum({rejected_size("rejected")}) FROM rejected GROUP BY source;
CREATE TRIGGER rejected_added AFTER INSERT ON rejected BEGIN
  INSERT OR IGNORE INTO rejected_kept (source, count, bytes) VALUES (NEW.source, 0, 0); UPDATE rejected_kept
  SET count = count + 1, bytes = bytes + {rejected_size("NEW")} WHERE source = NEW.source; END;
CREATE TRIGGER rejected_taken AFTER DELETE ON rejected BEGIN
  UPDATE rejected_kept SET count = count - 1, bytes = bytes - {rejected_size("OLD")}
  WHERE source = OLD.source; END;
CREATE INDEX rejected_of_source ON rejected (source);
-- What was removed for that limit, for the operator to see.
CREATE TABLE rejected_removed (
  source   TEXT NOT NULL,
  code     TEXT NOT NULL,
  count    INTEGER NOT NULL,
  bytes    INTEGER NOT NULL,
  first_at REAL NOT NULL,
  last_at  REAL NOT NULL,
  PRIMARY KEY (source, code)
) STRICT, WITHOUT ROWID;
"""  # noqa: S608 - constants of our own

# The events' sequence numbers and object ids. Those of events that are there already follow in bounded
# steps, see `migration`: until then they have 0.
_VERSION_4_EVENTS = """
-- Grows with each accepted event, as seq does: see core/sequence.py. Found by `sequences`, without an index.
ALTER TABLE events ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0;
-- The string or number at data.object.id, as text: see core/object_id.py. It is in the index of what is
-- listed, which is read whole for one id: 0.1 s for a million events. An index of its own cost a fifth of
-- accepting an event, and as much again in the -wal where ids are random.
ALTER TABLE events ADD COLUMN object_id TEXT;
DROP INDEX events_listed;
CREATE INDEX events_listed ON events (accepted_at, type, object_id);
-- The newest sequence number of an event that was removed.
ALTER TABLE queue ADD COLUMN sequence_removed INTEGER NOT NULL DEFAULT 0;
"""

_VERSION_4_ORDER = """
-- The deliveries of a subscription with the same key are sent one after the other. NULL: unordered, or it
-- has left the order, since it ended.
ALTER TABLE deliveries ADD COLUMN order_key TEXT;
-- 1 while another delivery with its key is ahead of it.
ALTER TABLE deliveries ADD COLUMN behind INTEGER CHECK (behind = 1);
DROP INDEX deliveries_waiting;
-- What waits, and nothing else: claims cost the same with ten deliveries ended and ten million, and with
-- ten behind another one and ten million.
CREATE INDEX deliveries_waiting ON deliveries (subscription_id, state, behind, due_at, scheduled_at)
  WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_in_order ON deliveries (subscription_id, order_key) WHERE order_key IS NOT NULL;
-- Those that are exhausted, and still have others behind them.
CREATE INDEX deliveries_blocking ON deliveries (subscription_id)
  WHERE order_key IS NOT NULL AND state = 'exhausted';
"""

_VERSION_4_NOTICES = """
-- relayd's own events that are counted: at most one in ten minutes of each kind for each subject.
CREATE TABLE notices (
  kind         TEXT NOT NULL,          -- the own event's type
  subject      TEXT NOT NULL,          -- the subscription or the source
  last_sent_at REAL NOT NULL,
  count        INTEGER NOT NULL,       -- what has happened since then, and is not reported yet
  since        REAL,                   -- when the first of these happened; NULL where there is none
  ids          TEXT NOT NULL,          -- up to 10 of their ids, a JSON list
  PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;
"""

VERSION_4 = _VERSION_4_EVENTS + _VERSION_4_ORDER + _VERSION_4_NOTICES
