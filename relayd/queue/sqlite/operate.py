"""What the operator does to deliveries: replay, retry, cancel, backfill.

Each is a function of one transaction over a bounded number of rows, and looks at the rows anew: it
changes only what is still as it must be. So a command that was cut off half-way can be given again,
and does the rest.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence

from relayd.core.admission import FRESH_FOR_S
from relayd.core.delivery import TRANSITIONS, Change, State, origins
from relayd.queue.sqlite import order
from relayd.queue.sqlite.numbers import Numbers
from relayd.queue.values import Changed


def _states(change: Change) -> str:
    return ", ".join(f"'{state}'" for state in sorted(origins(change)))


# Due since a while, so that what is replayed counts as backlog: it then takes turns with what is
# fresh, instead of standing in its way.
_REPLAY = f"""
UPDATE deliveries
SET state = '{TRANSITIONS[State.EXHAUSTED, Change.REPLAY]}', step = 0, recovery_used = 0,
  release_seen = 0, scheduled_at = :now, due_at = :due_at, ended_at = NULL
WHERE seq IN (SELECT value FROM json_each(:seqs)) AND (state IN ({_states(Change.REPLAY)})
  OR :delivered AND state IN ({_states(Change.RESEND)}))
RETURNING subscription_id"""  # noqa: S608 - constants of our own

# What is behind another one in its order keeps its turn: no claim finds it. What is pending needs no
# release, and keeps its number, which Numbers reads of retries alone.
_RETRY = f"""
UPDATE deliveries SET state = state,
  release_seen = CASE state WHEN '{State.RETRYING}' THEN -:release ELSE release_seen END
WHERE seq IN (SELECT value FROM json_each(:seqs)) AND due_at IS NOT NULL
RETURNING subscription_id, state = '{State.RETRYING}' AND behind IS NULL"""  # noqa: S608 - constants of our own

_CANCEL = f"""
UPDATE deliveries
SET state = '{TRANSITIONS[State.PENDING, Change.CANCEL]}', due_at = NULL, ended_at = :now
WHERE seq IN (SELECT value FROM json_each(:seqs)) AND (state IN ({_states(Change.CANCEL)})
  OR state IN ({_states(Change.GIVE_UP)}) AND order_key IS NOT NULL)
RETURNING subscription_id, seq, order_key IS NOT NULL"""  # noqa: S608 - constants of our own

_LACKING = """
SELECT seq FROM events e
WHERE seq IN (SELECT value FROM json_each(?)) AND body IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event_seq = e.seq AND subscription_id = ?)
ORDER BY seq"""

_INSERT_DELIVERY = f"""
INSERT INTO deliveries
  (seq, event_seq, subscription_id, state, attempts, step, scheduled_at, due_at)
VALUES (?, ?, ?, '{State.PENDING}', 0, 0, ?, ?)"""  # noqa: S608 - a constant of our own


def replay(
    db: sqlite3.Connection,
    ids: Mapping[str, int],
    seqs: Sequence[int],
    *,
    now: float,
    delivered: bool = False,
) -> Changed:
    """Make ended deliveries due again, with their whole retry schedule; attempts go on counting.

    What was delivered is sent again only with `delivered`.
    """
    values = {
        "now": now,
        "due_at": now - FRESH_FOR_S,
        "seqs": json.dumps(list(seqs)),
        "delivered": delivered,
    }
    return _changed(db.execute(_REPLAY, values).fetchall(), ids)


def retry(
    db: sqlite3.Connection, ids: Mapping[str, int], seqs: Sequence[int], *, release: int
) -> Changed:
    """Release those of these deliveries that are retries by the number `release`, each alone.

    Returns how many, and the subscriptions of all that wait.
    """
    rows = db.execute(_RETRY, {"release": release, "seqs": json.dumps(list(seqs))}).fetchall()
    waiting = _changed([(number,) for number, _ in rows], ids)
    return Changed(sum(retrying for _, retrying in rows), waiting.subscriptions)


def cancel(
    db: sqlite3.Connection, ids: Mapping[str, int], seqs: Sequence[int], *, now: float
) -> Changed:
    """End waiting deliveries, and exhausted ones that block others in their order.

    An attempt that is under way may still deliver one of them.
    """
    rows = db.execute(_CANCEL, {"now": now, "seqs": json.dumps(list(seqs))}).fetchall()
    order.leave(db, [seq for _, seq, ordered in rows if ordered])
    return _changed([(number,) for number, _, _ in rows], ids)


def _changed(rows: Sequence[tuple[int]], ids: Mapping[str, int]) -> Changed:
    touched = {number for (number,) in rows}
    names = frozenset(name for name, number in ids.items() if number in touched)
    return Changed(len(rows), names)


def backfill(
    db: sqlite3.Connection,
    numbers: Numbers,
    subscription_id: int,
    event_seqs: Sequence[int],
    *,
    now: float,
) -> int:
    """Make the deliveries of these events that the subscription does not have; return how many."""
    lacking = db.execute(_LACKING, (json.dumps(list(event_seqs)), subscription_id)).fetchall()
    rows = []
    for (event_seq,) in lacking:
        rows.append((numbers.delivery, event_seq, subscription_id, now, now - FRESH_FOR_S))
        numbers.delivery += 1
    db.executemany(_INSERT_DELIVERY, rows)
    return len(rows)


def read_bodies(
    db: sqlite3.Connection, event_seqs: Sequence[int], most_bytes: int
) -> list[tuple[int, bytes]]:
    """Return the events that still have a body, with it, in order of their numbers.

    Stops before more than `most_bytes` of bodies are in memory, but returns at least one event.
    """
    read: list[tuple[int, bytes]] = []
    size = 0
    for seq, body in db.execute(
        "SELECT seq, body FROM events WHERE seq IN (SELECT value FROM json_each(?))"
        " AND body IS NOT NULL ORDER BY seq",
        (json.dumps(list(event_seqs)),),
    ):
        size += len(body)
        if read and size > most_bytes:
            break
        read.append((seq, body))
    return read
