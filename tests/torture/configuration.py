"""What relayd is told under torture: who wants what, with which limits."""

from collections.abc import Mapping
from pathlib import Path

from torture.recording import TYPES

SECRET = "a-secret-for-torture-only"
MAX_IN_FLIGHT = 8

LIMIT, PERIOD_S = 3000, 60.0
"""The limited receiver's: 30 at once and 49.4 a second, and so 3,000 in any minute."""

WANTED: Mapping[str, tuple[str, ...]] = {
    "all": tuple(TYPES.values()),
    "unruly": ("order.created",),
    "limited": ("user.created",),
    "hopeless": ("inventory.updated",),
}
"""What each receiver subscribed to."""

HOPELESS_RETRIES_S = (0.2, 0.4, 0.8)
"""The schedule of the receiver that refuses everything. It never recovers, so that nothing of it is
ever due before its time: what the schedule promises can be seen there."""

_TEXT = """\
market_id: market_123
api_version: "2024-01-01"
spools:
  wal: {{path: {spools}/wal.db}}
  rollback: {{path: {spools}/rollback.db}}
socket: {{path: {socket}}}
queue: {{path: queue.db, retention: 60s}}
log: {{level: warning, format: json}}
allow_networks: [127.0.0.0/8]
defaults:
  timeout: 2s
  max_in_flight: {in_flight}
  retry: [{retries}]
subscriptions:
  all: {{url: "{urls[all]}", events: ["order.*", "user.*", "inventory.*"], secret: {secret}, rate_limit: {rate}/s}}
  unruly: {{url: "{urls[unruly]}", events: order.created, secret: {secret}, rate_limit: 100000/s}}
  limited: {{url: "{urls[limited]}", events: user.created, secret: {secret}, rate_limit: {limit}/min}}
  hopeless:
    url: "{urls[hopeless]}"
    events: inventory.updated
    secret: {secret}
    rate_limit: 100000/s
    retry: [{hopeless}]
"""


def configuration(spools: Path, socket: Path, urls: Mapping[str, str], change: int) -> str:
    """Return the file's text. Each `change` is another one, and changes nothing that matters."""
    return _TEXT.format(
        spools=spools,
        socket=socket,
        urls=urls,
        secret=SECRET,
        in_flight=MAX_IN_FLIGHT,
        retries=", ".join(["200ms"] * 50),
        hopeless=", ".join(f"{each * 1000:.0f}ms" for each in HOPELESS_RETRIES_S),
        rate=100_000 + change,
        limit=LIMIT,
    )
