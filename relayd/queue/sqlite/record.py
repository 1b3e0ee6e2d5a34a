"""Writes what came of attempts, and what is known of subscriptions."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from relayd.core.delivery import AttemptRecord, Change, Hold, State, origins
from relayd.core.outcome import Failure
from relayd.core.release import Extra
from relayd.queue.sqlite import order, statistics
from relayd.queue.sqlite.health import write_health
from relayd.queue.values import Declared, Recording

_INSERT_ATTEMPT = """
INSERT INTO attempts
  (delivery_seq, number, started_at, duration_s, status, failure, detail, answer, extra)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""

# What the operator did while the attempt was under way stands (a cancelled one stays cancelled, a
# replayed one keeps its new schedule), but for one that succeeded: it was delivered.
_MAY_SUCCEED = ", ".join(f"'{state}'" for state in sorted(origins(Change.SUCCEED)))
_UPDATE_DELIVERY = f"""
UPDATE deliveries
SET state = ?, attempts = ?, step = ?, scheduled_at = ?, due_at = ?, ended_at = ?,
  release_seen = ?, recovery_used = 0
WHERE seq = ? AND (state = ? AND step = ? AND (state <> '{State.PENDING}' OR due_at = ?)
  OR ? AND state IN ({_MAY_SUCCEED}))"""  # noqa: S608 - constants of our own

# An extra attempt that failed. Its times are not even written: the clock may have been set since.
_KEEP_SCHEDULE = f"""
UPDATE deliveries
SET state = state, attempts = ?, release_seen = ?, recovery_used = recovery_used OR ?
WHERE seq = ? AND state = '{State.RETRYING}' AND step = ?"""  # noqa: S608 - constants of our own

# The attempt was made all the same, and the next one has the next number.
_COUNT_ATTEMPT = "UPDATE deliveries SET attempts = ? WHERE seq = ? AND attempts < ?"

_QUARANTINE_ATTEMPT = f"""
INSERT INTO attempts (delivery_seq, number, started_at, duration_s, failure, detail)
SELECT d.seq, 1 + max(d.attempts, coalesce((SELECT max(number) FROM attempts
    WHERE delivery_seq = d.seq), 0)), :now, 0.0, '{Failure.DEFECT}', :detail
FROM deliveries d WHERE d.seq = :seq AND d.due_at IS NOT NULL"""  # noqa: S608 - a constant of our own

_QUARANTINE = f"""
UPDATE deliveries SET state = '{State.EXHAUSTED}', due_at = NULL, ended_at = :now,
  attempts = (SELECT max(number) FROM attempts WHERE delivery_seq = :seq)
WHERE seq = :seq AND due_at IS NOT NULL"""  # noqa: S608 - a constant of our own

_QUARANTINED = """
SELECT e.id, e.type, s.name, d.attempts FROM deliveries d
JOIN events e ON e.seq = d.event_seq JOIN subscriptions s ON s.id = d.subscription_id
WHERE d.seq = :seq"""

# A receiver's 410 holds until its URL changes; what the operator paused stays paused. One statement
# for all, since Python's lock is given up at each, and got back late under load: thousands would
# keep others from writing for a second. `made_with` is in `:marks`, as JSON has no bytes.
_UPSERT_SUBSCRIPTIONS = """
INSERT INTO subscriptions (name, url, presence, made_with)
SELECT value ->> 0, value ->> 1, value ->> 2, substr(:marks, 1 + (value ->> 3), value ->> 4)
FROM json_each(:declared) WHERE true ORDER BY key
ON CONFLICT (name) DO UPDATE SET
  gone_at = CASE WHEN url = excluded.url THEN gone_at END,
  release = CASE WHEN url = excluded.url
    AND coalesce(made_with, excluded.made_with) = excluded.made_with THEN release ELSE :release END,
  released_at = CASE WHEN url = excluded.url
    AND coalesce(made_with, excluded.made_with) = excluded.made_with THEN released_at ELSE :now END,
  url = excluded.url,
  made_with = excluded.made_with,
  presence = excluded.presence
WHERE (url, presence) <> (excluded.url, excluded.presence) OR made_with IS NOT excluded.made_with"""

_REMOVE_OTHERS = """
UPDATE subscriptions SET presence = 'removed'
WHERE presence <> 'removed' AND name NOT IN (SELECT value ->> 0 FROM json_each(:declared))"""

_SUBSCRIPTIONS = "SELECT json_group_array(json_array(name, id, hold)) FROM subscriptions"


_RELEASED = """
SELECT name, (SELECT count(*) FROM deliveries INDEXED BY deliveries_releasable
  WHERE subscription_id = subscriptions.id AND state = 'retrying' AND recovery_used IN (0, 1)
    AND release_seen < :release)
FROM subscriptions WHERE release = :release"""


def record(db: sqlite3.Connection, recordings: Sequence[Recording]) -> list[bool]:
    """Write attempts, their deliveries' new states, and the endpoints' new health.

    Says of each whether its delivery stands as was decided: False where the operator cancelled or
    replayed it meanwhile, and the attempt did not succeed.
    """
    records = [recording.record for recording in recordings]
    db.executemany(_INSERT_ATTEMPT, [_attempt_values(each) for each in records])
    updated = db.executemany(
        _UPDATE_DELIVERY,
        [
            _delivery_values(each.record, each.release)
            for each in recordings
            if each.record.rescheduled
        ],
    ).rowcount
    kept = [
        _kept_values(each.record, each.release)
        for each in recordings
        if not each.record.rescheduled
    ]
    if kept:
        updated += db.executemany(_KEEP_SCHEDULE, kept).rowcount
    for each in recordings:
        if each.record.delivery.order_key is not None:
            order.leave(db, [each.record.delivery.seq], keeps_place=each.keeps_place)
    results = [True] * len(records)
    if updated < len(records):
        results = [not _count_attempt(db, each) for each in records]
    statistics.count(
        db,
        (
            (each.url, each.record if stands else replace(each.record, state=State.RETRYING))
            for each, stands in zip(recordings, results, strict=True)
        ),
    )
    health = {each.url: each.health() for each in recordings if each.health is not None}
    write_health(db, health)
    gone = [
        (each.record.decided_at, each.record.delivery.subscription, each.url)
        for each in recordings
        if each.record.outcome.gone
    ]
    if gone:
        # Not where a reload has led the subscription to another URL meanwhile.
        db.executemany("UPDATE subscriptions SET gone_at = ? WHERE name = ? AND url = ?", gone)
    return results


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A delivery that was ended since its attempt cannot be recorded."""

    event_id: str
    event_type: str
    subscription: str
    attempts: int


def quarantine(
    db: sqlite3.Connection, seq: int, detail: str, *, now: float, keeps_place: bool = False
) -> Quarantined | None:
    """End a delivery whose attempt cannot be recorded, and keep the reason as an attempt.

    With `keeps_place` it blocks those behind it in its order. Returns None for one that has ended already: then nothing is changed.
    """
    values = {"seq": seq, "now": now, "detail": detail}
    db.execute(_QUARANTINE_ATTEMPT, values)
    if not db.execute(_QUARANTINE, values).rowcount:
        return None
    order.leave(db, [seq], keeps_place=keeps_place)
    return Quarantined(*db.execute(_QUARANTINED, values).fetchone())


def _count_attempt(db: sqlite3.Connection, record: AttemptRecord) -> bool:
    number = record.delivery.attempts + 1
    return db.execute(_COUNT_ATTEMPT, (number, record.delivery.seq, number)).rowcount > 0


def _attempt_values(record: AttemptRecord) -> tuple[object, ...]:
    outcome = record.outcome
    return (
        record.delivery.seq,
        record.delivery.attempts + 1,
        record.started_at,
        outcome.duration_s,
        outcome.status,
        outcome.failure,
        outcome.detail or None,
        outcome.answer or None,
        record.delivery.extra,
    )


def _kept_values(record: AttemptRecord, release: int) -> tuple[object, ...]:
    delivery = record.delivery
    used = delivery.extra is Extra.RECOVERY
    return (delivery.attempts + 1, release, used, delivery.seq, delivery.step)


def _delivery_values(record: AttemptRecord, release: int) -> tuple[object, ...]:
    return (
        record.state,
        record.delivery.attempts + 1,
        record.step,
        record.decided_at,
        record.due_at,
        None if record.due_at is not None else record.decided_at,
        release,
        record.delivery.seq,
        record.delivery.state,
        record.delivery.step,
        # Cancelled and replayed during its first attempt, it is pending again, at another time.
        record.delivery.due_at,
        record.outcome.succeeded,
    )


def declare(
    db: sqlite3.Connection, declared: Iterable[Declared], *, release: int, now: float
) -> dict[str, tuple[int, Hold | None]]:
    """Bring the subscriptions up to the configuration; those not in it are removed, and hold.

    Exhausted deliveries of those that do not keep their place block nothing any more. What waits for one
    whose URL or `made_with` changed is released by the number `release`.
    Returns each subscription's number and hold by its name.
    """
    rows, marks = [], bytearray()
    skipping = []
    for each in declared:
        if not each.keeps_place:
            skipping.append(each.name)
        presence = "active" if each.active else "inactive"
        rows.append((each.name, each.url, presence, len(marks), len(each.made_with)))
        marks += each.made_with
    marks += b"\0"  # of nothing at all, substr() would make NULL
    values = {"declared": json.dumps(rows), "marks": bytes(marks), "release": release, "now": now}
    db.execute(_REMOVE_OTHERS, values)
    db.execute(_UPSERT_SUBSCRIPTIONS, values)
    order.leave(db, order.blocking(db, json.dumps(skipping)))
    (found,) = db.execute(_SUBSCRIPTIONS).fetchone()
    return {
        name: (number, None if hold is None else Hold(hold))
        for name, number, hold in json.loads(found)
    }


def count_released(db: sqlite3.Connection, release: int) -> dict[str, int]:
    """Return how many retries the release `release` of the operator's released, by subscription.

    Those of which it released none are not in it.
    """
    rows = db.execute(_RELEASED, {"release": release})
    return {name: count for name, count in rows if count}


def set_release(db: sqlite3.Connection, names: Iterable[str], *, release: int, now: float) -> None:
    """Release what waits for these subscriptions, whenever they are not held."""
    db.executemany(
        "UPDATE subscriptions SET release = ?, released_at = ? WHERE name = ?",
        [(release, now, name) for name in names],
    )
