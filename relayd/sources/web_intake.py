"""The intake socket: the web process hands over here what came in by HTTP.

A line is the producers' protocol with a head before it: a JSON object, a tab, and the event as
producers write it. The head has `source`, its name; `market_id`, the market of its events; `markets`,
others that an event may name, or "*" for any; `api_version`, where the configuration's is not meant;
`id`, that of an event that names none.

An event that came by an inbound webhook has `webhook` in its head (see `core.webhook`), and behind it
another tab and the raw body in base64, or nothing where that is large. Where there is `reject` too, a code and a
reason, the body is kept as rejected input; there is no event then. The answer is `{"ok":true,"rejected":true}`,
or `{"ok":true,"duplicate":true}` where an event was made of it before.

Only relayd's own user may connect.
"""

import json
from base64 import b64decode
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from typing import Final

import trio

from relayd.config.config import Config
from relayd.containment import contained
from relayd.core.event import EventDefaults, Rejection
from relayd.core.event_fields import NotAnEventError, checked_id
from relayd.core.webhook import webhook_from
from relayd.sources.event_lines import LINE_BYTES, Address, EventLines, Origin
from relayd.sources.source import (
    Source,
    SourceError,
    SourceKind,
    SourceStanding,
    Surroundings,
)
from relayd.unix_socket.line_server import LineServer
from relayd.unix_socket.listener import SocketPathError, bind_unix

NAME: Final = "web"
MODE: Final = 0o600
_HEAD_BYTES: Final = 64 * 1024
_RAW_BYTES: Final = 1024 * 1024
"""What a raw body in base64 may add to the line of an event."""


class WebIntake(Source):
    """The intake socket of a configuration with `http:`. Raises `SourceError` where it cannot be."""

    name = NAME

    def __init__(self, path: Path, config: Config, given: Surroundings) -> None:
        self._path = path
        self._lines = EventLines(given.intake, address(config), given.clock, given.at_work)
        self._listener: trio.SocketListener | None = None
        self._listen()

    def apply(self, config: Config) -> None:
        """Make events of this configuration's version from now on, where a head names none."""
        self._lines.address = address(config)

    async def run(self) -> None:
        """Answer lines until cancelled."""
        if self._listener is None:
            self._listen()
        listener, self._listener = self._listener, None
        assert listener is not None
        server = LineServer(
            self._lines.answer, name=NAME, line_bytes=LINE_BYTES + _HEAD_BYTES + _RAW_BYTES
        )
        async with listener, trio.open_nursery() as nursery:
            nursery.start_soon(contained, self._lines.run, "lines")
            nursery.start_soon(server.serve, listener)

    def standing(self) -> SourceStanding:
        """Return how it is."""
        return SourceStanding(str(self._path), None)

    def give_up(self) -> None:
        """Close the listener. Its file is removed by whoever binds there next."""
        if self._listener is not None:
            self._listener.socket.close()

    def _listen(self) -> None:
        try:
            self._listener = bind_unix(self._path, MODE)
        except SocketPathError as error:
            raise SourceError(str(error)) from error


class WebIntakeKind(SourceKind):
    """The intake socket, where the configuration has `http:`."""

    name = "web intake"

    def sources(self, config: Config) -> dict[Hashable, Callable[[], Source]]:
        """Return what makes it, by its path."""
        if config.web is None:
            return {}
        path = config.queue.intake_path
        return {path: partial(WebIntake, path, config, self.surroundings)}


def address(config: Config) -> Address:
    """Return what gives each line the origin that its head says."""
    version = config.api_version

    def of(line: bytes) -> tuple[Origin, bytes] | Rejection:
        head, tab, text = line.partition(b"\t")
        try:
            found = json.loads(head if tab and len(head) <= _HEAD_BYTES else b"")
            markets = found["markets"]
            webhook = rejection = None
            if "webhook" in found:
                text, _, encoded = text.rpartition(b"\t")
                raw = b64decode(encoded, validate=True)
                webhook = webhook_from(found["webhook"], raw)
                if "reject" in found:
                    text, rejection = raw, Rejection(*map(str, found["reject"]))
            return Origin(
                str(found["source"]),
                EventDefaults(
                    str(found["market_id"]),
                    str(found.get("api_version") or version),
                    None if markets == "*" else frozenset(map(str, markets)),
                ),
                checked_id(found["id"]) if found.get("id") else "",
                webhook,
                rejection,
            ), text
        except NotAnEventError as refused:
            return Rejection(refused.code, refused.reason)
        except (ValueError, TypeError, KeyError, RecursionError):
            return Rejection("invalid_line", "the line has no head that names its source")

    return of
