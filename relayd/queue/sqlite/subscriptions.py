"""The subscriptions as the queue knows them: what holds them, what is released, what waits for them.

The rules of holds are in `core.hold`; its table makes the statements here. `presence` is of the
configuration, and the holds in `_SINCE` have a column each, with the time at which they began.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from relayd.core.hold import Hold, HoldChange, Holds, ended_by
from relayd.queue.sqlite import order
from relayd.queue.values import Declared, Waiting

_SINCE: Final[Mapping[Hold, str]] = MappingProxyType(
    {Hold.PAUSED: "paused_at", Hold.GONE: "gone_at"}
)


_ACTIVE: Final = "active"


def _columns_ended_by(change: HoldChange) -> tuple[str, ...]:
    ended = ended_by(change)
    return tuple(column for hold, column in _SINCE.items() if hold in ended)


_RESUMED = _columns_ended_by(HoldChange.RESUME)
_HANDED_OVER = _columns_ended_by(HoldChange.HAND_OVER)
_URLS_OWN = _columns_ended_by(HoldChange.MOVE)


def _cleared(columns: Iterable[str]) -> str:
    return ", ".join(f"{column} = NULL" for column in columns)


def _any_set(columns: Iterable[str]) -> str:
    return " OR ".join(f"{column} IS NOT NULL" for column in columns)


# What the operator paused stays paused. One statement for all, since Python's lock is given up at each,
# and got back late under load: thousands would keep others from writing for a second. `made_with` is in
# `:marks`, as JSON has no bytes.
_ENDS_WITH_URL = "".join(f"  {c} = CASE WHEN url = excluded.url THEN {c} END,\n" for c in _URLS_OWN)
_UPSERT_SUBSCRIPTIONS = f"""
INSERT INTO subscriptions (name, url, presence, made_with, keeps_place)
SELECT value ->> 0, value ->> 1, value ->> 2, substr(:marks, 1 + (value ->> 3), value ->> 4),
  value ->> 5
FROM json_each(:declared) WHERE true ORDER BY key
ON CONFLICT (name) DO UPDATE SET
{_ENDS_WITH_URL}  release = CASE WHEN url = excluded.url
    AND coalesce(made_with, excluded.made_with) = excluded.made_with THEN release ELSE :release END,
  released_at = CASE WHEN url = excluded.url
    AND coalesce(made_with, excluded.made_with) = excluded.made_with THEN released_at ELSE :now END,
  url = excluded.url,
  made_with = excluded.made_with,
  presence = excluded.presence,
  keeps_place = excluded.keeps_place
WHERE (url, presence, keeps_place) <> (excluded.url, excluded.presence, excluded.keeps_place)
  OR made_with IS NOT excluded.made_with"""  # noqa: S608 - constants of our own

_REMOVE_OTHERS = f"""
UPDATE subscriptions SET presence = '{Hold.REMOVED}'
WHERE presence <> '{Hold.REMOVED}'
  AND name NOT IN (SELECT value ->> 0 FROM json_each(:declared))"""  # noqa: S608 - constants of our own

_SUBSCRIPTIONS = "SELECT json_group_array(json_array(name, id, hold)) FROM subscriptions"

_RELEASED = """
SELECT name, (SELECT count(*) FROM deliveries INDEXED BY deliveries_releasable
  WHERE subscription_id = subscriptions.id AND state = 'retrying' AND behind IS NULL
    AND recovery_used IN (0, 1) AND release_seen < :release)
FROM subscriptions WHERE release = :release"""

_PAUSE = f"""
UPDATE subscriptions SET {_SINCE[Hold.PAUSED]} = :now
WHERE name = :name AND {_SINCE[Hold.PAUSED]} IS NULL"""  # noqa: S608 - constants of our own

_RESUME = f"""
UPDATE subscriptions SET {_cleared(_RESUMED)}
WHERE name = :name AND ({_any_set(_RESUMED)})"""  # noqa: S608 - constants of our own

# Not where a reload has led the subscription to another URL meanwhile. The first answer is the one that counts.
_ANSWER_GONE = f"""
UPDATE subscriptions SET {_SINCE[Hold.GONE]} = ?
WHERE name = ? AND url = ? AND {_SINCE[Hold.GONE]} IS NULL"""  # noqa: S608 - constants of our own

_HOLDS_MOVE = f"""
SELECT 1 FROM subscriptions WHERE id = :old AND ({_any_set(_HANDED_OVER)})"""  # noqa: S608 - constants of our own

# A hold moves along once: where the operator takes it back in between, it does not come again. What ends
# with another URL does not go to one.
_MOVE_HOLDS = (
    *(
        f"""
UPDATE subscriptions SET {column} = (SELECT {column} FROM subscriptions WHERE id = :old)
WHERE id = :new AND {column} IS NULL
  AND {"url = (SELECT url FROM subscriptions WHERE id = :old)" if column in _URLS_OWN else "true"}"""  # noqa: S608 - constants of our own
        for column in _HANDED_OVER
    ),
    f"UPDATE subscriptions SET {_cleared(_HANDED_OVER)} WHERE id = :old",  # noqa: S608 - constants of our own
)

_WAITING = f"""
SELECT name, (SELECT count(*) FROM deliveries INDEXED BY deliveries_waiting
              WHERE subscription_id = subscriptions.id AND due_at IS NOT NULL),
  url, presence, {", ".join(f"{column} IS NOT NULL" for column in _SINCE.values())}
FROM subscriptions WHERE name IN (SELECT value FROM json_each(?))"""  # noqa: S608 - constants of our own


def declare(
    db: sqlite3.Connection, declared: Iterable[Declared], *, release: int, now: float
) -> dict[str, tuple[int, Hold | None]]:
    """Bring the subscriptions up to the configuration; those not in it are removed, and hold.

    Exhausted deliveries of those without `keeps_place` block nothing any more. What waits for one
    whose URL or `made_with` changed is released by the number `release`.
    Returns each subscription's number and hold by its name.
    """
    rows, marks = [], bytearray()
    for each in declared:
        presence = _ACTIVE if each.active else Hold.INACTIVE
        mark = (len(marks), len(each.made_with))
        rows.append((each.name, each.url, presence, *mark, int(each.keeps_place)))
        marks += each.made_with
    marks += b"\0"  # of nothing at all, substr() would make NULL
    values = {"declared": json.dumps(rows), "marks": bytes(marks), "release": release, "now": now}
    db.execute(_REMOVE_OTHERS, values)
    db.execute(_UPSERT_SUBSCRIPTIONS, values)
    order.leave_blocking(db)
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


def release_retries(db: sqlite3.Connection, name: str, *, release: int, now: float) -> int:
    """Release the retries that wait for a subscription; return how many.

    Each gets an attempt before its time, once the subscription is not held.
    """
    set_release(db, [name], release=release, now=now)
    return count_released(db, release).get(name, 0)


def pause(db: sqlite3.Connection, name: str, *, now: float) -> bool:
    """Hold a subscription's deliveries; return whether it was not paused before."""
    return db.execute(_PAUSE, {"name": name, "now": now}).rowcount > 0


def resume(db: sqlite3.Connection, name: str) -> bool:
    """End a pause, and a receiver's 410; return whether there was either."""
    return db.execute(_RESUME, {"name": name}).rowcount > 0


def note_gone(db: sqlite3.Connection, name: str, url: str, *, now: float) -> bool:
    """Hold a subscription whose receiver answered 410 from `url`; return whether it was not held so before."""
    return db.execute(_ANSWER_GONE, (now, name, url)).rowcount > 0


def hand_over_holds(db: sqlite3.Connection, old: int, new: int) -> bool:
    """Have what holds subscription `old` hold `new`, by their numbers; return whether anything did."""
    values = {"old": old, "new": new}
    if db.execute(_HOLDS_MOVE, values).fetchone() is None:
        return False
    for statement in _MOVE_HOLDS:
        db.execute(statement, values)
    return True


def read_holds(db: sqlite3.Connection) -> dict[str, Hold | None]:
    """Return the hold that is shown of each subscription, by its name."""
    rows = db.execute("SELECT name, hold FROM subscriptions")
    return {name: None if hold is None else Hold(hold) for name, hold in rows}


def read_waiting(db: sqlite3.Connection, names: Iterable[str]) -> dict[str, Waiting]:
    """Return the backlog and the holds of those of these subscriptions that the queue knows."""
    rows = db.execute(_WAITING, (json.dumps(list(names)),))
    return {
        name: Waiting(count, _holds(presence, since), url)
        for name, count, url, presence, *since in rows
    }


def _holds(presence: str, since: Sequence[int]) -> Holds:
    found = {hold for hold, there in zip(_SINCE, since, strict=True) if there}
    return frozenset(found if presence == _ACTIVE else {Hold(presence), *found})
