"""The table `notices`: what is counted until it makes one own event; the rules are in `core.notices`.

What a subscription nobody has any more, or a removed source, was counted for is reported like the rest, and its row
is removed ten minutes later: the table has no more rows than there are subscriptions and sources.
"""

import json
import sqlite3
from collections.abc import Iterable
from typing import Final

from relayd.core.clock_step import STEP_S
from relayd.core.notices import (
    INTERVAL_S,
    Notice,
    after_happening,
    after_renaming,
    summed,
    when_due,
)
from relayd.core.own_events import EXHAUSTED, Counted, OwnEvent, Report
from relayd.queue.sqlite import outbox

MOST_DUE: Final = 100
"""So many notices are reported in one transaction, so that what is delivered meanwhile waits little."""

_FIND = """
SELECT kind, subject, last_sent_at, count, since, ids, details FROM notices
WHERE kind = ? AND subject = ?"""

# See core.notices.is_due. There are few rows: no index.
_IS_DUE = f"(last_sent_at + {INTERVAL_S} <= :now OR last_sent_at > :now + {STEP_S})"
_DUE = f"""
SELECT kind, subject, last_sent_at, count, since, ids, details FROM notices
WHERE {_IS_DUE} LIMIT :limit"""  # noqa: S608 - constants of our own
_ANY_DUE = f"SELECT EXISTS (SELECT 1 FROM notices WHERE {_IS_DUE})"  # noqa: S608 - constants of our own

_WRITE = """
INSERT OR REPLACE INTO notices (kind, subject, last_sent_at, count, since, ids, details)
VALUES (?, ?, ?, ?, ?, ?, ?)"""

_DELETE = "DELETE FROM notices WHERE kind = ? AND subject = ?"


def report(
    db: sqlite3.Connection, reports: Iterable[Report], wanted: frozenset[str], *, now: float
) -> int:
    """Keep own events, or count them, of those types that somebody wants; return how many events that made."""
    events: list[OwnEvent] = []
    counted: list[Counted] = []
    for each in reports:
        if isinstance(each, OwnEvent):
            events.append(each)
        elif each.type in wanted:
            counted.append(each)
    for happened in summed(counted):
        notice, reported = after_happening(
            _find(db, happened.type, happened.subject), happened, now
        )
        _write(db, happened.type, happened.subject, notice)
        if reported is not None:
            events.append(reported.event(now))
    return outbox.put(db, events, wanted)


def any_due(db: sqlite3.Connection, now: float) -> bool:
    """Tell whether a notice's ten minutes are over."""
    return bool(db.execute(_ANY_DUE, {"now": now}).fetchone()[0])


def report_due(db: sqlite3.Connection, wanted: frozenset[str], *, now: float) -> tuple[int, bool]:
    """Report what was counted and is due, up to `MOST_DUE`; return how many events, and whether there may be more."""
    rows = db.execute(_DUE, {"now": now, "limit": MOST_DUE}).fetchall()
    events = []
    for row in rows:
        kind, subject, *_ = row
        notice, reported = when_due(_notice(row), now)
        if reported is None or kind not in wanted:
            notice = None
        else:
            events.append(reported.event(now))
        if notice is None:
            db.execute(_DELETE, (kind, subject))
        else:
            _write(db, kind, subject, notice)
    return outbox.put(db, events, wanted), len(rows) == MOST_DUE


def rename(db: sqlite3.Connection, old: str, new: str) -> None:
    """Have a subscription's new name take over what was counted for its old one."""
    if (taken := _find(db, EXHAUSTED, old)) is not None:
        _write(db, EXHAUSTED, new, after_renaming(taken, _find(db, EXHAUSTED, new), new))
        db.execute(_DELETE, (EXHAUSTED, old))


def read_outages(db: sqlite3.Connection) -> dict[str, float]:
    """Return the sources that were reported as unavailable, with since when they were."""
    return dict(db.execute("SELECT source, since FROM source_outages").fetchall())


def begin_outage(db: sqlite3.Connection, source: str, since: float) -> None:
    """Note that a source was reported as unavailable."""
    db.execute("INSERT OR REPLACE INTO source_outages VALUES (?, ?)", (source, since))


def end_outage(db: sqlite3.Connection, source: str) -> None:
    """Note that a source was reported as recovered, or is no longer there."""
    db.execute("DELETE FROM source_outages WHERE source = ?", (source,))


def _find(db: sqlite3.Connection, kind: str, subject: str) -> Notice | None:
    row = db.execute(_FIND, (kind, subject)).fetchone()
    return None if row is None else _notice(row)


def _notice(row: tuple[str, str, float, int, float | None, str, str]) -> Notice:
    kind, subject, last_sent_at, count, since, ids, details = row
    if since is None:
        return Notice(last_sent_at)
    found = Counted(kind, subject, count, since, tuple(json.loads(ids)), json.loads(details))
    return Notice(last_sent_at, found)


def _write(db: sqlite3.Connection, kind: str, subject: str, notice: Notice) -> None:
    counted = notice.counted
    found: tuple[object, ...] = (0, None, "[]", "{}")
    if counted is not None:
        ids, details = json.dumps(counted.ids), json.dumps(dict(counted.details))
        found = (counted.count, counted.since, ids, details)
    db.execute(_WRITE, (kind, subject, notice.last_sent_at, *found))
