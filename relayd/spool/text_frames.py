"""Frames that are text alone: a reader's settings from the daemon; its state and defects from it.

Settings are trusted; what comes from a reader is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from relayd.core.event import EventDefaults
from relayd.spool.frames import NAME, REASON, BadFrameError, checked_text, cut, is_int64, printable


@dataclass(frozen=True, slots=True)
class Settings:
    """What a reader needs to know. `folder` is the real one, to which it is confined.

    `configured` is the path as configured, which must lead to `path`. `quarantined` has the keys
    of rows that are not to be read (see `core.quarantine`).
    """

    configured: str
    path: str
    table: str
    defaults: EventDefaults
    quarantined: Sequence[int] = ()
    paths: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class State:
    """How a spool is, as its reader sees it.

    `waits_for` says what keeps rows from being read or deleted. `undeleted` counts rows that are
    accepted and not deleted yet. `unconfined` says why the reader is not confined, None when it is.
    """

    waits_for: str | None
    undeleted: int
    unconfined: str | None


def settings_text(settings: Settings) -> dict[str, object]:
    """Return settings as a frame's text."""
    return {
        "configured": settings.configured,
        "path": settings.path,
        "table": settings.table,
        "defaults": [settings.defaults.market_id, settings.defaults.api_version],
        "markets": None if settings.defaults.markets is None else sorted(settings.defaults.markets),
        "quarantined": list(settings.quarantined),
        "paths": list(settings.paths),
    }


def settings_of(text: dict[str, Any]) -> Settings:
    """Return settings from a frame's text."""
    markets = text.pop("markets")
    allowed = None if markets is None else frozenset(markets)
    market_id, api_version = text["defaults"]
    return Settings(**{**text, "defaults": EventDefaults(market_id, api_version, allowed)})


def state_text(state: State) -> dict[str, object]:
    """Return a state as a frame's text."""
    waits_for = None if state.waits_for is None else cut(printable(state.waits_for), REASON)
    return {
        "waits_for": waits_for,
        "undeleted": state.undeleted,
        "unconfined": None if state.unconfined is None else cut(state.unconfined, NAME),
    }


def state_of(text: Any) -> State:  # noqa: ANN401 - JSON
    """Return a state from a frame's text. Raises `BadFrameError`."""
    try:
        waits_for, undeleted = text["waits_for"], text["undeleted"]
        unconfined = text["unconfined"]
        if not is_int64(undeleted):
            raise BadFrameError("a count that is not one")
        return State(
            None if waits_for is None else checked_text(waits_for, REASON),
            undeleted,
            None if unconfined is None else checked_text(unconfined, NAME),
        )
    except (TypeError, KeyError):
        raise BadFrameError("a state in another form") from None


def defect_of(text: Any) -> str:  # noqa: ANN401 - JSON
    """Return a traceback from a frame's text. Raises `BadFrameError`."""
    if not isinstance(text, str):
        raise BadFrameError("a defect in another form")
    return "\n".join(printable(line) for line in text[:20_000].split("\n"))
