"""Writes the outcomes of attempts."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

from relayd.core.delivery import AttemptRecord, Change, State, origins
from relayd.core.outcome import Failure
from relayd.core.release import Extra
from relayd.queue.sqlite import attempt_counts, order
from relayd.queue.sqlite.health import write_health
from relayd.queue.sqlite.subscriptions import note_gone
from relayd.queue.values import Recording

_INSERT_ATTEMPT = """
INSERT INTO attempts
  (delivery_seq, number, started_at, duration_s, status, failure, cause, subject, detail, answer,
  extra)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

# As `core.release.seen_after` has it.
_SEEN = "CASE WHEN release_seen < -{newest} THEN release_seen ELSE {newest} END"

# What the operator did while the attempt was under way stands (a cancelled one stays cancelled, a
# replayed one keeps its new schedule), but for one that succeeded: it was delivered.
_MAY_SUCCEED = ", ".join(f"'{state}'" for state in sorted(origins(Change.SUCCEED)))
_UPDATE_DELIVERY = f"""
UPDATE deliveries
SET state = ?1, attempts = ?2, step = ?3, scheduled_at = ?4, due_at = ?5, ended_at = ?6,
  release_seen = {_SEEN.format(newest="?7")}, recovery_used = 0
WHERE seq = ?8 AND (state = ?9 AND step = ?10 AND (state <> '{State.PENDING}' OR due_at = ?11)
  OR ?12 AND state IN ({_MAY_SUCCEED}))"""  # noqa: S608 - constants of our own

# An extra attempt that failed. Its times are not even written: the clock may have been set since.
_KEEP_SCHEDULE = f"""
UPDATE deliveries
SET state = state, attempts = ?1, release_seen = {_SEEN.format(newest="?2")},
  recovery_used = recovery_used OR ?3
WHERE seq = ?4 AND state = '{State.RETRYING}' AND step = ?5"""  # noqa: S608 - constants of our own

# The attempt was made all the same, and the next one has the next number.
_COUNT_ATTEMPT = "UPDATE deliveries SET attempts = ? WHERE seq = ? AND attempts < ?"

# It was cancelled, and its event removed, while its attempt went on for longer than it was kept.
_REMOVE_LEFT = """
DELETE FROM attempts WHERE delivery_seq = ?1
  AND NOT EXISTS (SELECT 1 FROM deliveries WHERE seq = ?1)"""

_QUARANTINE_ATTEMPT = f"""
INSERT INTO attempts (delivery_seq, number, started_at, duration_s, failure, cause, detail)
SELECT d.seq, 1 + max(d.attempts, coalesce((SELECT max(number) FROM attempts
    WHERE delivery_seq = d.seq), 0)), :now, 0.0, '{Failure.DEFECT}', '{Failure.DEFECT}', :detail
FROM deliveries d WHERE d.seq = :seq AND d.due_at IS NOT NULL"""  # noqa: S608 - a constant of our own

_QUARANTINE = f"""
UPDATE deliveries SET state = '{State.EXHAUSTED}', due_at = NULL, ended_at = :now,
  attempts = (SELECT max(number) FROM attempts WHERE delivery_seq = :seq)
WHERE seq = :seq AND due_at IS NOT NULL"""  # noqa: S608 - a constant of our own

_QUARANTINED = """
SELECT e.type, s.name, d.attempts FROM deliveries d
JOIN events e ON e.seq = d.event_seq JOIN subscriptions s ON s.id = d.subscription_id
WHERE d.seq = :seq"""


def record(db: sqlite3.Connection, recordings: Sequence[Recording]) -> tuple[list[bool], list[int]]:
    """Write attempts, their deliveries' new states, and the endpoints' new health.

    Says of each whether its delivery stands as was decided: False where the operator cancelled or
    replayed it meanwhile, and the attempt did not succeed. Also returns the places of those that hold
    their subscription from now on.
    """
    records = [recording.record for recording in recordings]
    db.executemany(_INSERT_ATTEMPT, [_attempt_values(each) for each in records])
    updated = db.executemany(
        _UPDATE_DELIVERY,
        [
            _delivery_values(each.record, each.newest_release)
            for each in recordings
            if each.record.rescheduled
        ],
    ).rowcount
    kept = [
        _kept_values(each.record, each.newest_release)
        for each in recordings
        if not each.record.rescheduled
    ]
    if kept:
        updated += db.executemany(_KEEP_SCHEDULE, kept).rowcount
    for each in recordings:
        if each.record.delivery.order_key is not None and each.record.due_at is None:
            order.leave(db, [each.record.delivery.seq])
    results = [True] * len(records)
    if updated < len(records):
        results = [not _count_attempt(db, each) for each in records]
        db.executemany(_REMOVE_LEFT, [(each.delivery.seq,) for each in records])
    counted = [
        (each.url, each.record if stands else replace(each.record, state=State.RETRYING))
        for each, stands in zip(recordings, results, strict=True)
    ]
    held = [
        place
        for place, each in enumerate(recordings)
        if each.record.outcome.gone
        and note_gone(db, each.record.delivery.subscription, each.url, now=each.record.decided_at)
    ]
    health = {each.url: each.health() for each in recordings if each.health is not None}
    attempt_counts.count_attempts(db, counted)
    write_health(db, health)
    return results, held


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A delivery that was ended since its attempt cannot be recorded."""

    event_type: str
    subscription: str
    attempts: int


def quarantine(db: sqlite3.Connection, seq: int, detail: str, *, now: float) -> Quarantined | None:
    """End a delivery whose attempt cannot be recorded, and keep the reason as an attempt.

    Returns None for one that has ended already: then nothing is changed.
    """
    values = {"seq": seq, "now": now, "detail": detail}
    db.execute(_QUARANTINE_ATTEMPT, values)
    if not db.execute(_QUARANTINE, values).rowcount:
        return None
    order.leave(db, [seq])
    found = Quarantined(*db.execute(_QUARANTINED, values).fetchone())
    attempt_counts.count_defect(db, found.subscription, seq, detail, now=now)
    return found


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
        outcome.why,
        outcome.subject or None,
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
