"""What relayd is configured with under torture: who wants what, where, with which limits."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torture.recording import TYPES

from relayd.core.token_bucket import Rate

SECRET = "a-secret-for-torture-only"
MAX_IN_FLIGHT = 8

LIMIT, PERIOD_S = 3000, 60.0
"""The limited receiver's: 30 at once and 49.4 a second, and so 3,000 in any minute."""

OPERATED_TYPES = (TYPES["p"], TYPES["y"])
"""Of the events that only those subscriptions want which the operator acts on."""

WANTED: Mapping[str, tuple[str, ...]] = {
    "all": tuple(each for each in TYPES.values() if each not in OPERATED_TYPES),
    "unruly": ("order.created",),
    "limited": ("user.created",),
    "hopeless": ("inventory.updated",),
    "ordered": ("order.completed", "user.created"),
}
"""What each receiver subscribed to that the operator leaves alone."""

OPERATED: Mapping[str, tuple[str, ...]] = {
    "m0": (TYPES["p"],),
    "m1": (TYPES["y"],),
    "m2": OPERATED_TYPES,
    "m3": OPERATED_TYPES,
}
"""What the subscriptions want that the operator moves, pauses, and so on."""

PLACES = ("p0", "p1", "p2", "p3")
"""The receivers between which the operator moves them."""

_FAST, _SLOW = Rate(100_000, 1.0), Rate(300, 60.0)
RATES = (_FAST, _FAST, _FAST, Rate(6000, 60.0), Rate(100, 1.0), Rate(1200, 60.0), _SLOW)
IN_FLIGHT = (1, 2, 4, 8, 16)

TIMEOUT_S = 2.0

HOPELESS_RETRIES_S = (0.2, 0.4, 0.8)
"""The schedule of the receiver that refuses everything. It never recovers, so that nothing of it is
ever due before its time: what the schedule promises can be seen there."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What the operator changes by reloads: where each subscription leads, and with which limits.

    `url` and `active` are by subscription; `rate` and `in_flight` by place.
    """

    url: Mapping[str, str]
    active: Mapping[str, bool]
    rate: Mapping[str, Rate]
    in_flight: Mapping[str, int]


FIRST = Layout(
    url=dict(zip(OPERATED, PLACES, strict=True)),
    active=dict.fromkeys(OPERATED, True),
    rate=dict.fromkeys(PLACES, Rate(6000, 60.0)),
    in_flight=dict.fromkeys(PLACES, MAX_IN_FLIGHT),
)
LAST = Layout(
    url=FIRST.url,
    active=FIRST.active,
    rate=dict.fromkeys(PLACES, _FAST),
    in_flight=dict.fromkeys(PLACES, max(IN_FLIGHT)),
)
"""With which all that waits is delivered at the end."""

_TEXT = """\
market_id: market_123
api_version: "2024-01-01"
spools:
  wal: {{path: {spools}/wal.db}}
  rollback: {{path: {spools}/rollback.db}}
socket: {{path: {socket}}}
queue: {{path: {queue}, retention: {retention:.0f}s}}
log: {{level: warning, format: json}}
allow_networks: [127.0.0.0/8]
defaults:
  timeout: {timeout:.0f}s
  max_in_flight: {in_flight}
  retry: [{retries}]
subscriptions:
  all: {{url: "{urls[all]}", events: ["order.*", "user.*", "inventory.*"], secret: {secret}, rate_limit: {rate}/s}}
  unruly: {{url: "{urls[unruly]}", events: order.created, secret: {secret}, rate_limit: 100000/s}}
  limited: {{url: "{urls[limited]}", events: user.created, secret: {secret}, rate_limit: {limit}/min}}
  ordered:
    url: "{urls[ordered]}"
    events: [order.completed, user.created]
    secret: {secret}
    rate_limit: 100000/s
    order_by: data.object.lane
  hopeless:
    url: "{urls[hopeless]}"
    events: inventory.updated
    secret: {secret}
    rate_limit: 100000/s
    retry: [{hopeless}]
"""

_OPERATED_TEXT = """\
  {name}:
    url: "{url}"
    events: [{events}]
    secret: {secret}
    headers: {{X-Subscription: {name}}}
    active: {active}
    rate_limit: {rate}
    max_in_flight: {in_flight}
"""


class ConfigFile:
    """relayd's configuration file, which the faults and the operator both write."""

    def __init__(
        self,
        path: Path,
        *,
        spools: Path,
        socket: Path,
        queue: Path,
        urls: Mapping[str, str],
        retention_s: float,
    ) -> None:
        self.path = path
        self.queue = queue
        self.layout = FIRST
        self.lock = threading.Lock()
        """Held by whoever changes the file, for as long as it is not as `layout` says."""
        self._spools = spools
        self._socket = socket
        self._urls = urls
        self._retention_s = retention_s
        self._changes = 0

    def write(self, *, good: bool = True) -> None:
        """Write it again, with a change that does not matter, or unreadable. Needs the lock."""
        self._changes += 1
        text = self._text()
        if not good:
            text = text[: len(text) // 3]
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.replace(self.path)

    def _text(self) -> str:
        layout = self.layout
        common = _TEXT.format(
            spools=self._spools,
            socket=self._socket,
            queue=self.queue,
            retention=self._retention_s,
            urls=self._urls,
            secret=SECRET,
            timeout=TIMEOUT_S,
            in_flight=MAX_IN_FLIGHT,
            retries=", ".join(["200ms"] * 50),
            hopeless=", ".join(f"{each * 1000:.0f}ms" for each in HOPELESS_RETRIES_S),
            rate=100_000 + self._changes,
            limit=LIMIT,
        )
        operated = "".join(
            _OPERATED_TEXT.format(
                name=name,
                url=self._urls[place],
                events=", ".join(OPERATED[name]),
                secret=SECRET,
                active=str(layout.active[name]).lower(),
                rate=layout.rate[place],
                in_flight=layout.in_flight[place],
            )
            for name, place in layout.url.items()
        )
        return common + operated
