"""Finds one event or delivery by its id, with all that the queue knows of it."""

from dataclasses import replace

from relayd.core.delivery import delivery_seq
from relayd.queue.snapshot_values import Attempt, DeliveryDetail, EventDetail, KeptWebhook
from relayd.queue.sqlite.deliveries import load
from relayd.queue.sqlite.earlier_causes import earlier_cause
from relayd.queue.sqlite.namesakes import find_event
from relayd.queue.sqlite.read_only import Reading


def find(reading: Reading, identifier: str, market: str | None = None) -> EventDetail | None:
    """Return the event with this id, or the event of the delivery with this id and that alone.

    Of events, that of `market`. Raises `SeveralMarketsError` where several have the id and no
    market is given.
    """
    seq = delivery_seq(identifier, reading.tag)
    if seq is not None:
        row = reading.db.execute(
            "SELECT event_seq FROM deliveries WHERE seq = ?", (seq,)
        ).fetchone()
        if row is not None:
            return _event(reading, row[0], [seq])
    event_seq = find_event(reading, identifier, market)
    if event_seq is None:
        return None
    return _event(reading, event_seq, deliveries_of(reading, event_seq))


def deliveries_of(reading: Reading, event_seq: int) -> list[int]:
    """Return the numbers of an event's deliveries, in order."""
    rows = reading.db.execute(
        "SELECT seq FROM deliveries WHERE event_seq = ? ORDER BY seq", (event_seq,)
    )
    return [seq for (seq,) in rows]


def _event(reading: Reading, event_seq: int, seqs: list[int]) -> EventDetail | None:
    row = reading.db.execute(
        "SELECT id, type, market_id, created, accepted_at, source, body, sequence, object_id"
        " FROM events WHERE seq = ?",
        (event_seq,),
    ).fetchone()
    if row is None:
        return None
    identifier, event_type, market_id, created, accepted_at, source, body, *rest = row
    sequence, object_id = rest
    return EventDetail(
        id=identifier,
        type=event_type,
        market_id=market_id,
        created=created,
        accepted_at=accepted_at,
        source=source,
        body=body,
        sequence=sequence,
        object_id=object_id,
        webhook=_webhook(reading, event_seq),
        deliveries=tuple(
            DeliveryDetail(delivery, _attempts(reading, delivery.seq))
            for delivery in reversed(load(reading, seqs))
        ),
    )


def _webhook(reading: Reading, event_seq: int) -> KeptWebhook | None:
    row = reading.db.execute(
        "SELECT e.key, e.raw_bytes, e.raw_sha256, b.headers, b.body FROM inbound_events e"
        " LEFT JOIN inbound_bodies b ON b.event_seq = e.event_seq WHERE e.event_seq = ?",
        (event_seq,),
    ).fetchone()
    return None if row is None else KeptWebhook(*row)


def _attempts(reading: Reading, seq: int) -> tuple[Attempt, ...]:
    rows = reading.db.execute(
        "SELECT number, started_at, duration_s, status, failure, detail, coalesce(answer, x''),"
        " extra, cause, coalesce(subject, '')"
        " FROM attempts WHERE delivery_seq = ? ORDER BY number",
        (seq,),
    )
    return tuple(_with_cause(Attempt(*row)) for row in rows)


def _with_cause(attempt: Attempt) -> Attempt:
    if attempt.failure is None or attempt.cause is not None:
        return attempt
    cause, subject = earlier_cause(attempt.failure, attempt.detail or "")
    return replace(attempt, cause=cause, subject=subject)
