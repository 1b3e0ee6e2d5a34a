"""Finds an event by its id and, where several markets used that id, by its market."""

from relayd.queue.snapshot_values import Namesake, SeveralMarketsError
from relayd.queue.sqlite.read_only import Reading

_WITH_ID = """
SELECT seq, market_id, type, accepted_at, source FROM events WHERE id = ? ORDER BY seq"""


def find_event(reading: Reading, identifier: str, market: str | None) -> int | None:
    """Return the number of the event with this id, of `market` where one is given.

    Raises `SeveralMarketsError` where several have it and none is given.
    """
    found = tuple(Namesake(*row) for row in reading.db.execute(_WITH_ID, (identifier,)))
    if market is not None:
        found = tuple(each for each in found if each.market_id == market)
    if len(found) > 1:
        raise SeveralMarketsError(identifier, found)
    return found[0].seq if found else None
