"""Retries, outages and recoveries in a queue that an older relayd wrote: they go on as they were."""

import sqlite3
from contextlib import closing
from pathlib import Path

from relayd.core.delivery import State
from relayd.core.release import Extra
from relayd.database import sqlite_loop
from relayd.queue.sqlite.open_queue import open_queue
from relayd.queue.sqlite.schema import APPLICATION_ID
from relayd.queue.sqlite.tables import MIGRATIONS, VERSION
from relayd.queue.values import Declared, Want

NOW = 1_700_000_000.0
UP, DOWN = "https://up.example/", "https://down.example/"

ROWS = f"""
INSERT INTO queue VALUES ('tag1');
INSERT INTO events (seq, id, type, created, accepted_at, source, digest, body)
  VALUES (1, 'evt_1', 'order.created', 1, {NOW - 900}, 'socket', x'00', x'7b7d');
INSERT INTO subscriptions (id, name, url, presence)
  VALUES (1, 'up', '{UP}', 'active'), (2, 'down', '{DOWN}', 'active');
INSERT INTO endpoints (url, failures, failed_at, failing_since, last_failure, released_at,
    held_until, ramp)
  VALUES ('{UP}', 0, NULL, NULL, '', {NOW - 100}, 0.0, 4),
         ('{DOWN}', 5, {NOW - 800}, {NOW - 800}, 'refused', NULL, {NOW + 50}, 1);
INSERT INTO deliveries
    (seq, event_seq, subscription_id, state, attempts, step, scheduled_at, due_at, ended_at)
  VALUES (1, 1, 1, 'retrying', 2, 2, {NOW - 200}, {NOW + 400}, NULL),
         (2, 1, 1, 'retrying', 1, 1, {NOW - 50}, {NOW + 70}, NULL),
         (3, 1, 2, 'retrying', 5, 5, {NOW - 300}, {NOW + 60_000}, NULL),
         (4, 1, 2, 'pending', 0, 0, {NOW - 900}, {NOW - 900}, NULL),
         (5, 1, 2, 'exhausted', 6, 5, {NOW - 900}, NULL, {NOW - 900});
INSERT INTO attempts (delivery_seq, number, started_at, duration_s, status, failure, detail, answer)
  VALUES (1, 1, {NOW - 900}, 0.1, 503, 'status', 'answered 503', NULL)
"""


def write_first_version(path: Path) -> None:
    """Write a queue as version 1 of the schema had it: an endpoint that has recovered a moment ago,
    one that is failing, and what waits for both."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript(MIGRATIONS[0])
        db.executescript(ROWS)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
        db.commit()


async def test_a_queue_of_the_first_version_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    write_first_version(path)
    async with sqlite_loop(), open_queue(path, lambda: NOW) as queue:
        await queue.declare([Declared("up", UP, True), Declared("down", DOWN, True)])
        health = await queue.health()
        assert (health[DOWN].failing_since, health[DOWN].failed_since) == (NOW - 800, NOW - 800)
        assert (health[DOWN].failures, health[DOWN].held_until) == (5, NOW + 50)
        # It was reported, so its end will be.
        assert health[DOWN].reported
        assert (health[UP].reported, health[UP].ramp, health[UP].recent) == (False, 4, ())

        # What waited for the recovery goes on, and what failed since then waits for its time.
        want = Want(("up",), 9, NOW, frozenset(), health[UP].release, backlog_first=False)
        claim = await queue.claim(want)
        assert [(each.seq, each.extra) for each in claim.deliveries] == [(1, Extra.RECOVERY)]
        assert claim.deliveries[0].due_at == NOW + 400
        assert claim.next_due == {"up": NOW + 70}
        want = Want(("down",), 9, NOW, frozenset(), health[DOWN].release, backlog_first=False)
        claim = await queue.claim(want)
        assert [(each.seq, each.state) for each in claim.deliveries] == [(4, State.PENDING)]
        # Another release comes after that one.
        assert queue.next_release() > health[UP].release
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT extra FROM attempts").fetchall() == [(None,)]
