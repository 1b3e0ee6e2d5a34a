"""Finds an event by its id and, where several markets used that id, by its market."""

from dataclasses import dataclass

from relayd.queue.sqlite.read_only import Reading

_WITH_ID = """
SELECT seq, market_id, type, accepted_at, source FROM events WHERE id = ? ORDER BY seq"""


@dataclass(frozen=True, slots=True)
class Namesake:
    """An event with an id that others have, too. `accepted_at` is in Unix seconds.

    `market_id` is "" where an older relayd kept the id alone.
    """

    seq: int
    market_id: str
    type: str
    accepted_at: float
    source: str


class SeveralMarketsError(Exception):
    """Several markets have an event with this id, and which is meant was not said."""

    def __init__(self, identifier: str, events: tuple[Namesake, ...]) -> None:
        super().__init__(identifier)
        self.identifier = identifier
        self.events = events


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
