"""Asks the running daemon which deliveries are in flight; by itself, so that `pause` loads no queue."""

from collections.abc import Iterable
from typing import Final

from relayd.config.sections import QueueConfig
from relayd.control import NoDaemonError, RefusedByDaemonError, connected
from relayd.core.absence import Absence
from relayd.core.delivery import BACKLOG
from relayd.queue.snapshot_values import ListedDelivery
from relayd.views.deliveries import InFlight, in_flight_places

_ROWS: Final = 500
"""The daemon answers for so many at once."""
_TIMEOUT_S: Final = 5.0


def read_in_flight(
    queue: QueueConfig, deliveries: Iterable[ListedDelivery]
) -> dict[int, InFlight] | None:
    """Return what is in flight of these deliveries, by their numbers; None where nobody says.

    Nobody says where this user may not ask the daemon, or it does not answer in time. Where no
    daemon runs, nothing is in flight.
    """
    seqs = [each.seq for each in deliveries if each.state in BACKLOG]
    found: dict[int, InFlight] = {}
    if not seqs:
        return found
    try:
        with connected(queue.control_path) as daemon:
            for start in range(0, len(seqs), _ROWS):
                request = {"command": "in_flight", "deliveries": seqs[start : start + _ROWS]}
                found |= in_flight_places(daemon.ask(request, timeout_s=_TIMEOUT_S))
    except NoDaemonError as error:
        return found if error.absence is Absence.NOT_RUNNING else None
    except (TimeoutError, RefusedByDaemonError):  # an older relayd does not know the command
        return None
    return found
