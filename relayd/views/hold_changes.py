"""What `pause` and `resume` did, in words for people."""

from collections.abc import Iterator, Mapping
from typing import Any

from relayd.core.hold import Hold
from relayd.views.holds import HOLD_REASONS


def paused_words(name: str, answer: Mapping[str, Any]) -> str:
    """Return what the daemon's answer to `pause` says."""
    said = "is paused" if answer["changed"] else "was paused already"
    return f"{name} {said}; its deliveries wait for `relayd resume {name}`."


def resumed_words(name: str, answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the daemon's answer to `resume` says, the main thing first."""
    if answer["hold"] is not None:
        yield f"{name} is still held: {HOLD_REASONS[Hold(answer['hold'])]}."
    elif answer["changed"]:
        yield f"{name} is resumed."
    else:
        yield f"{name} was not held."
    if answer["lifted"]:
        yield "Its endpoint was held back (429 or 503): that is lifted."
    if answer["released"]:
        number = answer["released"]
        what = "1 retry is" if number == 1 else f"{number:,} retries are"
        then = "now" if answer["hold"] is None else "once it is no longer held"
        yield f"{what} attempted {then}, beside the schedule."
