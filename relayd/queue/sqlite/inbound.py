"""What inbound webhooks brought lately, by source, for `status`.

It looks at so many of the newest, and no more: an index by source would cost each event something.
"""

import sqlite3
from typing import Final

from relayd.queue.overview_values import InboundStanding

LOOKED_AT: Final = 5_000
"""Of the newest events, and of the newest rejected input of each source. It takes some 5 ms."""

DAY_S: Final = 86_400.0
_SOURCES: Final = "inbound "

_NEWEST: Final = """
SELECT e.source, e.accepted_at FROM inbound_events i CROSS JOIN events e ON e.seq = i.event_seq
ORDER BY i.event_seq DESC LIMIT ?"""

_EVER: Final = "SELECT source, count FROM accepted_totals"
_REJECTED: Final = "SELECT source, count FROM rejected_kept"

_NEWEST_REJECTED: Final = """
SELECT seq, rejected_at, code FROM rejected INDEXED BY rejected_of_source WHERE source = ?
ORDER BY seq DESC LIMIT ?"""


def read_inbound(db: sqlite3.Connection, *, now: float) -> dict[str, InboundStanding]:
    """Return what came of the webhooks of each source that ever brought one. `now` is in Unix seconds."""
    accepted = _of_inbound(db, _EVER)
    rejected = _of_inbound(db, _REJECTED)
    since = now - DAY_S
    newest = db.execute(_NEWEST, (LOOKED_AT,)).fetchall() if accepted else []
    at_least = len(newest) == LOOKED_AT and newest[-1][1] >= since
    standings = {}
    for source in sorted({*accepted, *rejected}):
        times = [moment for each, moment in newest if each == source]
        found = db.execute(_NEWEST_REJECTED, (source, LOOKED_AT)).fetchall()
        standings[source] = InboundStanding(
            accepted=accepted.get(source, 0),
            accepted_last_day=sum(moment >= since for moment in times),
            at_least=at_least,
            last_accepted_at=max(times, default=None),
            rejected=rejected.get(source, 0),
            rejected_last_day=sum(moment >= since for _, moment, _ in found),
            last_rejected=found[0] if found else None,
        )
    return standings


def _of_inbound(db: sqlite3.Connection, counts: str) -> dict[str, int]:
    return {source: count for source, count in db.execute(counts) if source.startswith(_SOURCES)}
