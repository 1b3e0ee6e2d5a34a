PRAGMA application_id = 1380273241; PRAGMA user_version = 6;
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE accepted_totals (
  source TEXT PRIMARY KEY,
  count  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "accepted_totals" VALUES('socket',3);
INSERT INTO "accepted_totals" VALUES('spool market',1);
CREATE TABLE attempt_counts (
  span_s   INTEGER NOT NULL,           -- 300 or 3600
  since    INTEGER NOT NULL,           -- when the span began
  url      TEXT NOT NULL,
  state    TEXT NOT NULL,              -- what the attempts made of their deliveries
  response INTEGER NOT NULL,           -- a class of response times; -1 where no answer came
  count    INTEGER NOT NULL,
  PRIMARY KEY (span_s, since, url, state, response)
) STRICT, WITHOUT ROWID;
INSERT INTO "attempt_counts" VALUES(300,1699999800,'https://shop.example/','delivered',28,1);
INSERT INTO "attempt_counts" VALUES(300,1700000100,'https://books.example/','exhausted',-1,1);
INSERT INTO "attempt_counts" VALUES(300,1700000100,'https://books.example/','retrying',32,1);
INSERT INTO "attempt_counts" VALUES(300,1700000100,'https://shop.example/','delivered',28,1);
INSERT INTO "attempt_counts" VALUES(300,1700000100,'https://shop.example/','retrying',32,1);
INSERT INTO "attempt_counts" VALUES(3600,1699999200,'https://books.example/','exhausted',-1,1);
INSERT INTO "attempt_counts" VALUES(3600,1699999200,'https://books.example/','retrying',32,1);
INSERT INTO "attempt_counts" VALUES(3600,1699999200,'https://shop.example/','delivered',28,2);
INSERT INTO "attempt_counts" VALUES(3600,1699999200,'https://shop.example/','retrying',32,1);
CREATE TABLE attempt_totals (
  subscription_id INTEGER NOT NULL,
  state           TEXT NOT NULL,       -- what the attempts made of their deliveries
  within_ms       INTEGER NOT NULL,    -- a bound of core.durations that they took at most; 0 for longer
  count           INTEGER NOT NULL,
  seconds         REAL NOT NULL,       -- that they took together
  PRIMARY KEY (subscription_id, state, within_ms)
) STRICT, WITHOUT ROWID;
INSERT INTO "attempt_totals" VALUES(1,'delivered',250,2,0.25);
INSERT INTO "attempt_totals" VALUES(1,'retrying',250,1,0.25);
INSERT INTO "attempt_totals" VALUES(2,'exhausted',0,1,40.0);
INSERT INTO "attempt_totals" VALUES(2,'retrying',250,1,0.25);
CREATE TABLE attempts (
  delivery_seq INTEGER NOT NULL REFERENCES deliveries (seq),
  number       INTEGER NOT NULL,       -- 1, 2, 3…
  started_at   REAL NOT NULL,
  duration_s   REAL NOT NULL,
  status       INTEGER,                -- of the answer, where one came
  failure      TEXT,                   -- NULL where it succeeded
  detail       TEXT,
  answer       BLOB, extra TEXT CHECK (extra IN ('recovery', 'operator')),                   -- its first 1 KiB
  PRIMARY KEY (delivery_seq, number)
) STRICT, WITHOUT ROWID;
INSERT INTO "attempts" VALUES(1,1,1699999999.0,0.125,204,NULL,NULL,NULL,NULL);
INSERT INTO "attempts" VALUES(2,1,1700000099.0,0.25,500,'status','answered 500',X'3C68313E6E6F3C2F68313E',NULL);
INSERT INTO "attempts" VALUES(3,1,1700000199.0,0.25,500,'status','answered 500',X'3C68313E6E6F3C2F68313E',NULL);
INSERT INTO "attempts" VALUES(3,2,1700000319.0,40.0,NULL,'timeout','timed out after 40 s',NULL,NULL);
INSERT INTO "attempts" VALUES(5,1,1700000320.0,0.125,204,NULL,NULL,NULL,NULL);
CREATE TABLE changes (
  seq          INTEGER PRIMARY KEY,
  delivery_seq INTEGER NOT NULL
) STRICT;
INSERT INTO "changes" VALUES(1,1);
INSERT INTO "changes" VALUES(2,2);
INSERT INTO "changes" VALUES(3,3);
INSERT INTO "changes" VALUES(4,3);
INSERT INTO "changes" VALUES(5,5);
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
  ended_at        REAL, release_seen INTEGER NOT NULL DEFAULT 0, recovery_used INTEGER NOT NULL DEFAULT 0, order_key TEXT, behind INTEGER CHECK (behind = 1),
  CHECK ((due_at IS NULL) = (ended_at IS NOT NULL)),
  CHECK ((due_at IS NOT NULL) = (state IN ('pending', 'retrying')))
) STRICT;
INSERT INTO "deliveries" VALUES(1,1,1,'delivered',1,0,1700000000.0,NULL,1700000000.0,1,0,NULL,NULL);
INSERT INTO "deliveries" VALUES(2,2,1,'retrying',1,1,1700000100.0,1700000220.0,NULL,1,0,NULL,NULL);
INSERT INTO "deliveries" VALUES(3,3,2,'exhausted',2,1,1700000320.0,NULL,1700000320.0,1,0,'order_456',NULL);
INSERT INTO "deliveries" VALUES(4,4,2,'pending',0,0,1700000321.0,1700000321.0,NULL,0,0,'order_456',1);
INSERT INTO "deliveries" VALUES(5,4,1,'delivered',1,0,1700000321.0,NULL,1700000321.0,1,0,NULL,NULL);
CREATE TABLE endpoints (
  url           TEXT PRIMARY KEY,
  failures      INTEGER NOT NULL,
  failed_since     REAL,
  failing_since REAL,
  last_failure  TEXT NOT NULL,
  released_at   REAL,
  held_until    REAL NOT NULL,
  ramp          INTEGER
, recent TEXT NOT NULL DEFAULT '[]', reported INTEGER NOT NULL DEFAULT 0, succeeded_at REAL, release INTEGER NOT NULL DEFAULT 0, throttled INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
CREATE TABLE "events" (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  market_id   TEXT NOT NULL,           -- '' where it is not known: then the id is that of any market
  id          TEXT NOT NULL,
  type        TEXT NOT NULL,
  created     INTEGER NOT NULL,
  accepted_at REAL NOT NULL,
  source      TEXT NOT NULL,           -- "socket", or "spool NAME"
  digest      BLOB NOT NULL,           -- of type and data: tells a duplicate from a conflict
  body        BLOB, sequence INTEGER NOT NULL DEFAULT 0, object_id TEXT,                    -- what every attempt sends; NULL when only the id is kept
  UNIQUE (id, market_id)               -- in this order, so that an id alone is found, too
) STRICT;
INSERT INTO "events" VALUES(1,'market_123','evt_0','order.created',1640995200,1700000000.0,'socket',X'531A3A6FB6575B4C63C8629A7EC732B8F7217EB5D2C9E24EB1BB8F7F837B1895',X'7B226964223A226576745F30222C2274797065223A226F726465722E63726561746564222C2263726561746564223A313634303939353230302C2264617461223A7B226F626A656374223A7B226964223A226F726465725F343536227D7D2C226D61726B65745F6964223A226D61726B65745F313233222C226170695F76657273696F6E223A22323032342D30312D3031227D',1700000000000000,'order_456');
INSERT INTO "events" VALUES(2,'market_123','evt_1','payment.failed',1640995200,1700000100.0,'spool market',X'D450D768C9E86EA271536F2147D72308A4F779CD004B2A464CCB04144DF58A6C',X'7B226964223A226576745F31222C2274797065223A227061796D656E742E6661696C6564222C2263726561746564223A313634303939353230302C2264617461223A7B226F626A656374223A7B226964223A226F726465725F343536227D7D2C226D61726B65745F6964223A226D61726B65745F313233222C226170695F76657273696F6E223A22323032342D30312D3031227D',1700000100000000,'order_456');
INSERT INTO "events" VALUES(3,'market_123','evt_2','order.created',1640995200,1700000200.0,'socket',X'531A3A6FB6575B4C63C8629A7EC732B8F7217EB5D2C9E24EB1BB8F7F837B1895',X'7B226964223A226576745F32222C2274797065223A226F726465722E63726561746564222C2263726561746564223A313634303939353230302C2264617461223A7B226F626A656374223A7B226964223A226F726465725F343536227D7D2C226D61726B65745F6964223A226D61726B65745F313233222C226170695F76657273696F6E223A22323032342D30312D3031227D',1700000200000000,'order_456');
INSERT INTO "events" VALUES(4,'market_123','evt_3','order.created',1640995200,1700000321.0,'socket',X'531A3A6FB6575B4C63C8629A7EC732B8F7217EB5D2C9E24EB1BB8F7F837B1895',X'7B226964223A226576745F33222C2274797065223A226F726465722E63726561746564222C2263726561746564223A313634303939353230302C2264617461223A7B226F626A656374223A7B226964223A226F726465725F343536227D7D2C226D61726B65745F6964223A226D61726B65745F313233222C226170695F76657273696F6E223A22323032342D30312D3031227D',1700000321000000,'order_456');
CREATE TABLE feed_removals (
  number  INTEGER PRIMARY KEY,         -- grows with each removal
  through INTEGER NOT NULL             -- the greatest sequence number of which the body was removed
) STRICT;
INSERT INTO "feed_removals" VALUES(1,17);
CREATE TABLE notices (
  kind         TEXT NOT NULL,          -- the own event's type
  subject      TEXT NOT NULL,          -- the subscription or the source
  last_sent_at REAL NOT NULL,
  count        INTEGER NOT NULL,       -- what has happened since then, and is not reported yet
  since        REAL,                   -- when the first of these happened; NULL where there is none
  ids          TEXT NOT NULL, details TEXT NOT NULL DEFAULT '{}',          -- up to 10 of their ids, a JSON list
  PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;
CREATE TABLE outbox (
  seq     INTEGER PRIMARY KEY AUTOINCREMENT,
  id      TEXT NOT NULL UNIQUE,
  type    TEXT NOT NULL,
  created INTEGER NOT NULL,
  data    TEXT NOT NULL
) STRICT;
CREATE TABLE queue (
  tag TEXT NOT NULL                    -- stands in each delivery's id: a new queue repeats none
, seen_at REAL, expired_at REAL, sequence_removed INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "queue" VALUES('0641c4cd',NULL,NULL,0);
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
INSERT INTO "rejected" VALUES(2,'spool market',1700000321.0,'invalid_type','the type is ''Order'', 2',X'61FFD0A6BB9C0F0B8773306ECFE6265D43613AF5916A94DFDFB12F31502AB451',X'6576745F626164',X'4F72646572',X'7B7D',NULL,NULL,NULL);
INSERT INTO "rejected" VALUES(3,'spool market',1700000321.0,'invalid_type','the type is ''Order'', 3',X'063C31422C714AC4BD26DE018DD156ABE28DDF3EC5B15C4B45C91554476FCB53',X'6576745F626164',X'4F72646572',X'7B7D',NULL,NULL,NULL);
CREATE TABLE rejected_before (
  fingerprint BLOB PRIMARY KEY,
  left_at     REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE rejected_kept (
  source TEXT PRIMARY KEY,
  count  INTEGER NOT NULL,
  bytes  INTEGER NOT NULL
, ever INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
INSERT INTO "rejected_kept" VALUES('spool market',2,672,3);
CREATE TABLE rejected_removed (
  source   TEXT NOT NULL,
  code     TEXT NOT NULL,
  count    INTEGER NOT NULL,
  bytes    INTEGER NOT NULL,
  first_at REAL NOT NULL,
  last_at  REAL NOT NULL,
  PRIMARY KEY (source, code)
) STRICT, WITHOUT ROWID;
INSERT INTO "rejected_removed" VALUES('spool market','invalid_type',1,336,1700000321.0,1700000321.0);
CREATE TABLE source_outages (
  source TEXT PRIMARY KEY,
  since  REAL NOT NULL
) STRICT, WITHOUT ROWID;
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
, release INTEGER NOT NULL DEFAULT 0, released_at REAL, made_with BLOB, keeps_place INTEGER NOT NULL DEFAULT 0 CHECK (keeps_place IN (0, 1))) STRICT;
INSERT INTO "subscriptions" VALUES(1,'shop','https://shop.example/','active',NULL,NULL,0,NULL,X'',0);
INSERT INTO "subscriptions" VALUES(2,'books','https://books.example/','active',NULL,NULL,0,NULL,X'',1);
CREATE INDEX deliveries_of_event ON deliveries (event_seq);
CREATE INDEX deliveries_given_up ON deliveries (seq, subscription_id, state)
  WHERE state IN ('exhausted', 'cancelled');
CREATE TRIGGER deliveries_change AFTER UPDATE OF state ON deliveries BEGIN
  INSERT INTO changes (delivery_seq) VALUES (NEW.seq); DELETE FROM changes
  WHERE seq <= last_insert_rowid() - 100000; END;
CREATE INDEX rejected_listed ON rejected (rejected_at);
CREATE INDEX rejected_before_left ON rejected_before (left_at);
CREATE TRIGGER rejected_taken AFTER DELETE ON rejected BEGIN
  UPDATE rejected_kept SET count = count - 1, bytes = bytes - (300 + coalesce(length(OLD.reason), 0) + coalesce(length(OLD.id), 0) + coalesce(length(OLD.type), 0) + coalesce(length(OLD.data), 0) + coalesce(length(OLD.created), 0) + coalesce(length(OLD.market_id), 0) + coalesce(length(OLD.api_version), 0))
  WHERE source = OLD.source; END;
CREATE INDEX rejected_of_source ON rejected (source);
CREATE INDEX events_listed ON events (accepted_at, type, object_id);
CREATE INDEX deliveries_waiting ON deliveries (subscription_id, state, behind, due_at, scheduled_at)
  WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_in_order ON deliveries (subscription_id, order_key) WHERE order_key IS NOT NULL;
CREATE INDEX deliveries_releasable
  ON deliveries (subscription_id, state, behind, recovery_used, release_seen, due_at)
  WHERE state = 'retrying';
CREATE INDEX deliveries_exhausted ON deliveries (subscription_id, order_key, ended_at)
  WHERE state = 'exhausted';
CREATE TRIGGER rejected_added AFTER INSERT ON rejected BEGIN
  INSERT OR IGNORE INTO rejected_kept (source, count, bytes) VALUES (NEW.source, 0, 0); UPDATE rejected_kept
  SET count = count + 1, ever = ever + 1, bytes = bytes + (300 + coalesce(length(NEW.reason), 0) + coalesce(length(NEW.id), 0) + coalesce(length(NEW.type), 0) + coalesce(length(NEW.data), 0) + coalesce(length(NEW.created), 0) + coalesce(length(NEW.market_id), 0) + coalesce(length(NEW.api_version), 0))
  WHERE source = NEW.source; END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',4);
INSERT INTO "sqlite_sequence" VALUES('deliveries',5);
INSERT INTO "sqlite_sequence" VALUES('rejected',3);
COMMIT;
