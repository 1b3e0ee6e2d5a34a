"""Which deliveries are in flight, as the running daemon says: the queue's file does not hold that."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from relayd.cli.output import printable
from relayd.config.sections import QueueConfig
from relayd.control import NoDaemonError, connected
from relayd.core.delivery import State
from relayd.queue.snapshot_values import ListedDelivery

_ROWS: Final = 500
"""The daemon answers for so many at once."""
_ASK_TIMEOUT_S: Final = 5.0
_WAITING: Final = frozenset({State.PENDING, State.RETRYING, State.HELD})


@dataclass(frozen=True, slots=True)
class InFlight:
    """Where an attempt of a delivery is in flight: at `endpoint`, a URL without its path.

    `left` says that its subscription has another URL by now.
    """

    endpoint: str
    left: bool

    @property
    def words(self) -> str:
        """That it is in flight, in words."""
        words = f"an attempt is in flight at {printable(self.endpoint)}"
        if self.left:
            words += ", a URL that its subscription has left"
        return words


def read_in_flight(
    queue: QueueConfig, deliveries: Iterable[ListedDelivery]
) -> dict[int, InFlight] | None:
    """Return what is in flight of these deliveries, by their numbers; None where nobody says.

    Nobody says where this user may not ask the daemon, or it does not answer in time. Where no
    daemon runs, nothing is in flight.
    """
    seqs = [each.seq for each in deliveries if each.state in _WAITING]
    found: dict[int, InFlight] = {}
    if not seqs:
        return found
    try:
        with connected(queue.control_path) as daemon:
            for start in range(0, len(seqs), _ROWS):
                request = {"command": "in_flight", "deliveries": seqs[start : start + _ROWS]}
                answer = daemon.ask(request, timeout_s=_ASK_TIMEOUT_S)
                if not answer.get("ok"):  # an older relayd, which does not know the command
                    return None
                places: Mapping[str, Mapping[str, object]] = answer["in_flight"]
                for seq, place in places.items():
                    found[int(seq)] = InFlight(str(place["endpoint"]), left=bool(place["left"]))
    except NoDaemonError as error:
        return None if error.refused else found
    except TimeoutError:
        return None
    return found


def in_flight_document(
    delivery: ListedDelivery, in_flight: Mapping[int, InFlight] | None
) -> dict[str, object]:
    """Return what is known of a delivery under the keys of its document, null where it is not."""
    place = None if in_flight is None else in_flight.get(delivery.seq)
    return {
        "in_flight": None if in_flight is None else place is not None,
        "in_flight_at": None if place is None else place.endpoint,
        "in_flight_at_old_url": None if place is None else place.left,
    }
