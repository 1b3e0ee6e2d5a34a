"""Makes events durable: an event and all of its deliveries, in one transaction, or neither."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from hashlib import sha256

from relayd.core.acceptance import Acceptance, NewEvent, RejectedRow
from relayd.core.delivery import State
from relayd.core.sequence import next_sequence
from relayd.queue.sqlite import order, totals, webhooks
from relayd.queue.sqlite.sequences import last_sequence
from relayd.queue.sqlite.tables import UNKNOWN_MARKET

_INSERT_EVENT = """
INSERT INTO events (seq, market_id, id, type, created, accepted_at, source, digest, body,
  sequence, object_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

_KNOWN = """
SELECT id, market_id, digest, source, created FROM events
WHERE id IN (SELECT value FROM json_each(?))"""

_INSERT_DELIVERY = f"""
INSERT INTO deliveries
  (seq, event_seq, subscription_id, state, attempts, step, scheduled_at, due_at)
VALUES (?, ?, ?, '{State.PENDING}', 0, 0, ?, ?)"""  # noqa: S608 - a constant of our own

_INSERT_ORDERED = f"""
INSERT INTO deliveries
  (seq, event_seq, subscription_id, state, attempts, step, scheduled_at, due_at, order_key, behind)
VALUES (?, ?, ?, '{State.PENDING}', 0, 0, ?, ?, ?, ?)"""  # noqa: S608 - a constant of our own

_INSERT_REJECTED = """
INSERT OR IGNORE INTO rejected
  (source, rejected_at, code, reason, fingerprint, webhook,
  id, type, data, created, market_id, api_version)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12
WHERE NOT EXISTS (SELECT 1 FROM rejected_before WHERE fingerprint = ?5)"""

# Retries may know of a release that was never written: the process died before.
_LAST_RELEASE = """
SELECT max(release) FROM (
  SELECT max(release) AS release FROM subscriptions
  UNION ALL SELECT max(release) FROM endpoints
  UNION ALL SELECT max(max(release_seen), -min(release_seen)) FROM deliveries INDEXED BY deliveries_releasable
    WHERE state = 'retrying')"""


class Numbers:
    """The next numbers of events and deliveries, the last release's, and the last sequence number.

    The daemon is the queue's only writer, so it gives them out itself; those of a transaction that
    failed are never used.
    """

    def __init__(self, event: int, delivery: int, release: int = 0, sequence: int = 0) -> None:
        self.event = event
        self.delivery = delivery
        self.release = release
        self.sequence = sequence

    @classmethod
    def read(cls, db: sqlite3.Connection) -> "Numbers":
        """Read where the queue stands. AUTOINCREMENT remembers numbers of rows long removed."""
        used: dict[str, int] = dict(db.execute("SELECT name, seq FROM sqlite_sequence"))
        [(release,)] = db.execute(_LAST_RELEASE)
        return cls(
            used.get("events", 0) + 1,
            used.get("deliveries", 0) + 1,
            release or 0,
            last_sequence(db),
        )


def accept(
    db: sqlite3.Connection,
    news: Sequence[NewEvent],
    *,
    now: float,
    numbers: Numbers,
    subscription_ids: Mapping[str, int],
) -> list[Acceptance]:
    """Write the events that are new, and say of each what became of it, in order."""
    accepted = _Accepted(db, news)
    results: list[Acceptance] = []
    sequence = next_sequence(numbers.sequence, now)
    events: list[tuple[object, ...]] = []
    deliveries: list[tuple[object, ...]] = []
    ordered: list[tuple[object, ...]] = []
    taken: set[tuple[int, str]] = set()
    for new in news:
        found = _as_before(db, new, accepted, now=now)
        if found is not None:
            results.append(found)
            continue
        event, webhook = new.event, new.webhook
        accepted.note(new)
        results.append(Acceptance.ACCEPTED)
        seq = numbers.event
        numbers.event += 1
        numbers.sequence = sequence
        sequence += 1  # as `next_sequence` has it at the same time
        if webhook is not None:
            webhooks.keep(db, seq, webhook, now=now)
        events.append(
            (
                seq,
                event.market_id,
                event.id,
                event.type,
                event.created,
                now,
                new.source,
                event.digest,
                event.body,
                numbers.sequence,
                event.object_id,
            )
        )
        if new.order_keys:
            for number, *place in _placed(db, new, subscription_ids, taken):
                ordered.append((numbers.delivery, seq, number, now, now, *place))
                numbers.delivery += 1
            continue
        for name in new.subscriptions:
            deliveries.append((numbers.delivery, seq, subscription_ids[name], now, now))
            numbers.delivery += 1
    if events:
        db.executemany(_INSERT_EVENT, events)
        totals.count_accepted(
            db,
            (
                new.source
                for new, result in zip(news, results, strict=True)
                if result is Acceptance.ACCEPTED
            ),
        )
    if deliveries:
        db.executemany(_INSERT_DELIVERY, deliveries)
    if ordered:
        db.executemany(_INSERT_ORDERED, ordered)
    return results


_Row = tuple[str, str, int, bytes]
"""An event's source, id, time and digest: all by which a row is known, whatever its market."""


class _Accepted:
    """What was accepted under the ids of these events, before them and, as it is noted, among them."""

    def __init__(self, db: sqlite3.Connection, news: Sequence[NewEvent]) -> None:
        self._digests: dict[tuple[str, str], bytes] = {}
        self._rows: set[_Row] = set()
        ids = json.dumps([new.event.id for new in news])
        for event_id, market, digest, source, created in db.execute(_KNOWN, (ids,)):
            self._digests[event_id, market] = digest
            self._rows.add((source, event_id, created, digest))

    def note(self, new: NewEvent) -> None:
        """Note that an event is accepted."""
        self._digests[new.event.id, new.event.market_id] = new.event.digest
        if new.market_bound:
            self._rows.add(_row_of(new))

    def answer(self, new: NewEvent) -> Acceptance | None:
        """Return what becomes of an event because of one that was accepted; None where there is none.

        A row that was not deleted yet when its source was given another market is read again.
        """
        event, digests = new.event, self._digests
        known = digests.get((event.id, event.market_id)) or digests.get((event.id, UNKNOWN_MARKET))
        if known is None:
            is_known = new.market_bound and _row_of(new) in self._rows
            return Acceptance.DUPLICATE if is_known else None
        return Acceptance.DUPLICATE if known == event.digest else Acceptance.CONFLICT


def _row_of(new: NewEvent) -> _Row:
    return new.source, new.event.id, new.event.created, new.event.digest


def _as_before(
    db: sqlite3.Connection, new: NewEvent, accepted: _Accepted, *, now: float
) -> Acceptance | None:
    """Return what becomes of an event because of one before it; None where there is none."""
    webhook = new.webhook
    if webhook is not None and (found := webhooks.look_up(db, webhook, now=now)) is not None:
        return found
    found = accepted.answer(new)
    if webhook is not None and found is Acceptance.DUPLICATE:
        webhooks.keep_token(db, webhook, now=now)
    return found


def _placed(
    db: sqlite3.Connection,
    new: NewEvent,
    subscription_ids: Mapping[str, int],
    taken: set[tuple[int, str]],
) -> list[tuple[int, str | None, bool | None]]:
    """Return an event's subscriptions by their numbers, with its key there, and whether it is behind.

    `taken` are the orders in which this call has put a delivery.
    """
    keys = dict(new.order_keys)
    found: list[tuple[int, str | None, bool | None]] = []
    for name in new.subscriptions:
        number, key = subscription_ids[name], keys.get(name)
        behind = None
        if key is not None:
            behind = (number, key) in taken or order.is_taken(db, number, key) or None
            taken.add((number, key))
        found.append((number, key, behind))
    return found


def reject(
    db: sqlite3.Connection, rejected: Sequence[RejectedRow], *, now: float
) -> list[tuple[int, RejectedRow]]:
    """Keep rows that cannot be events, with the reason, for the operator to fix.

    Returns those that are new, with their numbers on the list. The others are on the list already, or were: a row stays in its
    spool until it is deleted there, and may be read again after a crash. A webhook's token is used up.
    """
    new = []
    for each in rejected:
        if each.webhook is not None:
            webhooks.keep_token(db, each.webhook, now=now)
        cursor = db.execute(_INSERT_REJECTED, _rejected_values(each, now))
        if cursor.rowcount > 0 and cursor.lastrowid is not None:
            new.append((cursor.lastrowid, each))
    return new


def _rejected_values(rejected: RejectedRow, now: float) -> tuple[object, ...]:
    row = rejected.row
    found = (row.id, row.type, row.data, row.created, row.market_id, row.api_version)
    rejection = rejected.rejection
    kept = (rejected.source, now, rejection.code, rejection.reason, _fingerprint(rejected, found))
    return (*kept, webhooks.rejected_text(rejected.webhook), *found)


def _fingerprint(rejected: RejectedRow, found: Sequence[object]) -> bytes:
    if rejected.webhook is not None:
        return rejected.webhook.fingerprint
    fingerprint = sha256(repr((rejected.source, rejected.row.seq)).encode())
    for value in found:
        # A value may have 16 MiB: `repr` would take four times that.
        if isinstance(value, bytes):
            fingerprint.update(f";{len(value)}:".encode())
            fingerprint.update(value)
        else:
            fingerprint.update(f";{value!r}".encode())
    return fingerprint.digest()
