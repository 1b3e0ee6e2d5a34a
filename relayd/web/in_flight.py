"""Asks the daemon which deliveries are in flight, for the pages and the API."""

from collections.abc import Iterable
from typing import Final

from relayd.control import NoDaemonError, RefusedByDaemonError
from relayd.core.absence import Absence
from relayd.core.delivery import BACKLOG
from relayd.queue.snapshot_values import ListedDelivery
from relayd.queue.values import MOST_ROWS
from relayd.views.deliveries import InFlight, in_flight_places
from relayd.web.daemon_link import DaemonLink

TIMEOUT_S: Final = 2.0


async def ask_in_flight(
    daemon: DaemonLink, deliveries: Iterable[ListedDelivery]
) -> dict[int, InFlight] | None:
    """Return what is in flight of these deliveries, by number; None where nobody says in time.

    Where no daemon runs, nothing is in flight.
    """
    seqs = [each.seq for each in deliveries if each.state in BACKLOG]
    found: dict[int, InFlight] = {}
    try:
        for start in range(0, len(seqs), MOST_ROWS):
            request = {"command": "in_flight", "deliveries": seqs[start : start + MOST_ROWS]}
            found |= in_flight_places(await daemon.ask(request, timeout_s=TIMEOUT_S))
    except NoDaemonError as error:
        return found if error.absence is Absence.NOT_RUNNING else None
    except (RefusedByDaemonError, TimeoutError):
        return None
    return found
