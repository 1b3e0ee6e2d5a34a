PRAGMA application_id = 1380273241; PRAGMA user_version = 3;
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE queue (
  tag TEXT NOT NULL                    -- stands in each delivery's id: a new queue repeats none
, seen_at REAL, expired_at REAL) STRICT;
INSERT INTO queue VALUES('f0f59139',NULL,NULL);
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
, release INTEGER NOT NULL DEFAULT 0, released_at REAL, made_with BLOB) STRICT;
INSERT INTO subscriptions VALUES(1,'shop','https://shop.example/','active',NULL,NULL,0,NULL,X'');
INSERT INTO subscriptions VALUES(2,'books','https://books.example/','active',NULL,NULL,0,NULL,X'');
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
  ended_at        REAL, release_seen INTEGER NOT NULL DEFAULT 0, recovery_used INTEGER NOT NULL DEFAULT 0,
  CHECK ((due_at IS NULL) = (ended_at IS NOT NULL)),
  CHECK ((due_at IS NOT NULL) = (state IN ('pending', 'retrying')))
) STRICT;
INSERT INTO deliveries VALUES(1,1,1,'delivered',1,0,1700000000.0,NULL,1700000000.0,1,0);
INSERT INTO deliveries VALUES(2,2,1,'retrying',1,1,1700000100.0,1700000220.0,NULL,1,0);
INSERT INTO deliveries VALUES(3,3,2,'exhausted',2,1,1700000320.0,NULL,1700000320.0,1,0);
INSERT INTO deliveries VALUES(4,4,2,'pending',0,0,1700000321.0,1700000321.0,NULL,0,0);
INSERT INTO deliveries VALUES(5,4,1,'delivered',1,0,1700000321.0,NULL,1700000321.0,1,0);
CREATE TABLE changes (
  seq          INTEGER PRIMARY KEY,
  delivery_seq INTEGER NOT NULL
) STRICT;
INSERT INTO changes VALUES(1,1);
INSERT INTO changes VALUES(2,2);
INSERT INTO changes VALUES(3,3);
INSERT INTO changes VALUES(4,3);
INSERT INTO changes VALUES(5,5);
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
INSERT INTO attempts VALUES(1,1,1699999999.0,0.125,204,NULL,NULL,NULL,NULL);
INSERT INTO attempts VALUES(2,1,1700000099.0,0.25,500,'status','answered 500',X'3c68313e6e6f3c2f68313e',NULL);
INSERT INTO attempts VALUES(3,1,1700000199.0,0.25,500,'status','answered 500',X'3c68313e6e6f3c2f68313e',NULL);
INSERT INTO attempts VALUES(3,2,1700000319.0,0.25,500,'status','answered 500',X'3c68313e6e6f3c2f68313e',NULL);
INSERT INTO attempts VALUES(5,1,1700000320.0,0.125,204,NULL,NULL,NULL,NULL);
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
CREATE TABLE attempt_counts (
  span_s   INTEGER NOT NULL,           -- 300 or 3600
  since    INTEGER NOT NULL,           -- when the span began
  url      TEXT NOT NULL,
  state    TEXT NOT NULL,              -- what the attempts made of their deliveries
  response INTEGER NOT NULL,           -- a class of response times; -1 where no answer came
  count    INTEGER NOT NULL,
  PRIMARY KEY (span_s, since, url, state, response)
) STRICT, WITHOUT ROWID;
INSERT INTO attempt_counts VALUES(300,1699999800,'https://shop.example/','delivered',28,1);
INSERT INTO attempt_counts VALUES(300,1700000100,'https://books.example/','exhausted',32,1);
INSERT INTO attempt_counts VALUES(300,1700000100,'https://books.example/','retrying',32,1);
INSERT INTO attempt_counts VALUES(300,1700000100,'https://shop.example/','delivered',28,1);
INSERT INTO attempt_counts VALUES(300,1700000100,'https://shop.example/','retrying',32,1);
INSERT INTO attempt_counts VALUES(3600,1699999200,'https://books.example/','exhausted',32,1);
INSERT INTO attempt_counts VALUES(3600,1699999200,'https://books.example/','retrying',32,1);
INSERT INTO attempt_counts VALUES(3600,1699999200,'https://shop.example/','delivered',28,2);
INSERT INTO attempt_counts VALUES(3600,1699999200,'https://shop.example/','retrying',32,1);
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
CREATE TABLE IF NOT EXISTS "events" (
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
INSERT INTO events VALUES(1,'market_123','evt_0','order.created',1640995200,1700000000.0,'socket',X'531a3a6fb6575b4c63c8629a7ec732b8f7217eb5d2c9e24eb1bb8f7f837b1895',X'7b226964223a226576745f30222c2274797065223a226f726465722e63726561746564222c2263726561746564223a313634303939353230302c2264617461223a7b226f626a656374223a7b226964223a226f726465725f343536227d7d2c226d61726b65745f6964223a226d61726b65745f313233222c226170695f76657273696f6e223a22323032342d30312d3031227d');
INSERT INTO events VALUES(2,'market_123','evt_1','payment.failed',1640995200,1700000100.0,'spool market',X'd450d768c9e86ea271536f2147d72308a4f779cd004b2a464ccb04144df58a6c',X'7b226964223a226576745f31222c2274797065223a227061796d656e742e6661696c6564222c2263726561746564223a313634303939353230302c2264617461223a7b226f626a656374223a7b226964223a226f726465725f343536227d7d2c226d61726b65745f6964223a226d61726b65745f313233222c226170695f76657273696f6e223a22323032342d30312d3031227d');
INSERT INTO events VALUES(3,'market_123','evt_2','order.created',1640995200,1700000200.0,'socket',X'531a3a6fb6575b4c63c8629a7ec732b8f7217eb5d2c9e24eb1bb8f7f837b1895',X'7b226964223a226576745f32222c2274797065223a226f726465722e63726561746564222c2263726561746564223a313634303939353230302c2264617461223a7b226f626a656374223a7b226964223a226f726465725f343536227d7d2c226d61726b65745f6964223a226d61726b65745f313233222c226170695f76657273696f6e223a22323032342d30312d3031227d');
INSERT INTO events VALUES(4,'market_123','evt_3','order.created',1640995200,1700000321.0,'socket',X'531a3a6fb6575b4c63c8629a7ec732b8f7217eb5d2c9e24eb1bb8f7f837b1895',X'7b226964223a226576745f33222c2274797065223a226f726465722e63726561746564222c2263726561746564223a313634303939353230302c2264617461223a7b226f626a656374223a7b226964223a226f726465725f343536227d7d2c226d61726b65745f6964223a226d61726b65745f313233222c226170695f76657273696f6e223a22323032342d30312d3031227d');
CREATE TABLE rejected_before (
  fingerprint BLOB PRIMARY KEY,
  left_at     REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE rejected_kept (
  source TEXT PRIMARY KEY,
  count  INTEGER NOT NULL,
  bytes  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE rejected_removed (
  source   TEXT NOT NULL,
  code     TEXT NOT NULL,
  count    INTEGER NOT NULL,
  bytes    INTEGER NOT NULL,
  first_at REAL NOT NULL,
  last_at  REAL NOT NULL,
  PRIMARY KEY (source, code)
) STRICT, WITHOUT ROWID;
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('events',4);
INSERT INTO sqlite_sequence VALUES('deliveries',5);
CREATE INDEX deliveries_waiting ON deliveries (subscription_id, state, due_at, scheduled_at)
  WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_of_event ON deliveries (event_seq);
CREATE INDEX deliveries_given_up ON deliveries (seq, subscription_id, state)
  WHERE state IN ('exhausted', 'cancelled');
CREATE TRIGGER deliveries_change AFTER UPDATE OF state ON deliveries BEGIN
  INSERT INTO changes (delivery_seq) VALUES (NEW.seq); DELETE FROM changes
  WHERE seq <= last_insert_rowid() - 100000; END;
CREATE INDEX events_listed ON events (accepted_at, type);
CREATE INDEX rejected_listed ON rejected (rejected_at);
CREATE INDEX rejected_before_left ON rejected_before (left_at);
CREATE INDEX deliveries_releasable
  ON deliveries (subscription_id, state, recovery_used, release_seen, due_at) WHERE state = 'retrying';
CREATE TRIGGER rejected_added AFTER INSERT ON rejected BEGIN
  INSERT OR IGNORE INTO rejected_kept (source, count, bytes) VALUES (NEW.source, 0, 0); UPDATE rejected_kept
  SET count = count + 1, bytes = bytes + (300 + coalesce(length(NEW.reason), 0) + coalesce(length(NEW.id), 0) + coalesce(length(NEW.type), 0) + coalesce(length(NEW.data), 0) + coalesce(length(NEW.created), 0) + coalesce(length(NEW.market_id), 0) + coalesce(length(NEW.api_version), 0)) WHERE source = NEW.source; END;
CREATE TRIGGER rejected_taken AFTER DELETE ON rejected BEGIN
  UPDATE rejected_kept SET count = count - 1, bytes = bytes - (300 + coalesce(length(OLD.reason), 0) + coalesce(length(OLD.id), 0) + coalesce(length(OLD.type), 0) + coalesce(length(OLD.data), 0) + coalesce(length(OLD.created), 0) + coalesce(length(OLD.market_id), 0) + coalesce(length(OLD.api_version), 0))
  WHERE source = OLD.source; END;
CREATE INDEX rejected_of_source ON rejected (source);
COMMIT;
