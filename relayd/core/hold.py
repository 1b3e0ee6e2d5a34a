"""What holds a subscription's deliveries, and everything that begins or ends a hold, in one table.

Several holds may be in force at once, and each ends by itself: what was paused, and is removed from the
configuration and put back, is still paused. The first of them in the order of `Hold` is the one that is
shown. Holds are stored with the subscription, never with its deliveries.

`make docs` writes the table and the descriptions below into docs/architecture.md.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Hold(StrEnum):
    """Why deliveries are held: what begins the hold, what ends it, what is accepted, what a crash leaves."""

    INACTIVE = "inactive"
    """The configuration has `active: false`; `active: true` and a reload end it. No new event is accepted
    for it, and its backlog is held. A crash changes nothing; the next start reads the file again."""
    REMOVED = "removed"
    """The configuration no longer has its name. A reload with that name ends it, or `relayd rename` hands
    its backlog over to another one. No new event is accepted for it. A crash changes nothing; the next
    start reads the file again."""
    PAUSED = "paused"
    """The operator paused it (`pause`), and ends it (`resume`). New events are accepted and held. It is
    durable before the command is answered, so a crash changes nothing."""
    GONE = "gone"
    """Its receiver answered 410 Gone. The operator ends it (`resume`), or a reload with another URL. New
    events are accepted and held. It is written with the attempt: a crash before that leaves neither, and
    the delivery is attempted again."""


class HoldChange(StrEnum):
    """What can happen to a subscription, and who does it."""

    ACTIVATE = "activate"
    """A start or a reload: the configuration has the subscription, and it is active."""
    DEACTIVATE = "deactivate"
    """A start or a reload: the configuration has the subscription with `active: false`."""
    REMOVE = "remove"
    """A start or a reload: the configuration does not have the subscription."""
    MOVE = "move"
    """A start or a reload: the subscription has another URL."""
    PAUSE = "pause"
    """The operator: `relayd pause`."""
    RESUME = "resume"
    """The operator: `relayd resume`."""
    ANSWER_GONE = "answer_gone"
    """An attempt got 410 Gone from the URL that the subscription has now. From a URL that it has left, it
    changes nothing."""
    HAND_OVER = "hand_over"
    """The operator: `relayd rename`. A pause goes to the new name, and a 410 too if both have the same
    URL."""


HOLD_TRANSITIONS: Mapping[tuple[Hold | None, HoldChange], Hold | None] = MappingProxyType(
    {
        (None, HoldChange.DEACTIVATE): Hold.INACTIVE,
        (None, HoldChange.REMOVE): Hold.REMOVED,
        (None, HoldChange.PAUSE): Hold.PAUSED,
        (None, HoldChange.ANSWER_GONE): Hold.GONE,
        (Hold.INACTIVE, HoldChange.ACTIVATE): None,
        (Hold.INACTIVE, HoldChange.REMOVE): Hold.REMOVED,
        (Hold.REMOVED, HoldChange.ACTIVATE): None,
        (Hold.REMOVED, HoldChange.DEACTIVATE): Hold.INACTIVE,
        (Hold.PAUSED, HoldChange.RESUME): None,
        (Hold.PAUSED, HoldChange.HAND_OVER): None,
        (Hold.GONE, HoldChange.RESUME): None,
        (Hold.GONE, HoldChange.MOVE): None,
        (Hold.GONE, HoldChange.HAND_OVER): None,
    }
)
"""Every transition, of each hold by itself; None is no hold. What is not in this table changes nothing."""

Holds = frozenset[Hold]
"""All that holds one subscription."""

FREE: Holds = frozenset()


def shown_hold(holds: Holds) -> Hold | None:
    """Return the hold to show, the first in the order of `Hold`; None where nothing is held."""
    return next((hold for hold in Hold if hold in holds), None)


def after_change(holds: Holds, change: HoldChange) -> Holds:
    """Return what holds a subscription after this has happened to it."""
    after = (HOLD_TRANSITIONS.get((each, change), each) for each in (None, *holds))
    return frozenset(each for each in after if each is not None)


def after_declaring(holds: Holds, *, active: bool | None, moved: bool) -> Holds:
    """Return what holds a subscription after a start or a reload.

    `active` is None where the configuration does not have it; `moved` says that it has another URL.
    """
    if active is None:
        return after_change(holds, HoldChange.REMOVE)
    if moved:
        holds = after_change(holds, HoldChange.MOVE)
    return after_change(holds, HoldChange.ACTIVATE if active else HoldChange.DEACTIVATE)


def after_handing_over(old: Holds, new: Holds, *, same_url: bool) -> tuple[Holds, Holds]:
    """Return what holds two subscriptions after the first one's deliveries went to the second one."""
    left = after_change(old, HoldChange.HAND_OVER)
    moved = old - left
    return left, new | (moved if same_url else after_change(moved, HoldChange.MOVE))


def ended_by(change: HoldChange) -> Holds:
    """Return the holds that this ends."""
    found = (at for (at, each), to in HOLD_TRANSITIONS.items() if each is change and to is None)
    return frozenset(hold for hold in found if hold is not None)
