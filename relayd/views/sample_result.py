"""What a sample that was sent past the queue sets going, in words for people."""

from collections.abc import Mapping
from typing import Any, Final

from relayd.core.hold import Hold
from relayd.views.counts import deliveries_in_words
from relayd.views.holds import HOLD_ADVICE
from relayd.views.moments import clock_time

_NOT_RUNNING: Final = "relayd is not running, so nothing was released."


def moves_words(sent: Mapping[str, Any]) -> str:
    """Return what a success released, or why nothing moves."""
    name, number, waiting = sent["subscription"], sent["released"], sent["waiting"]
    if sent["hold"] is not None:
        advice = HOLD_ADVICE[Hold(sent["hold"])].format(name=name)
        pending = "" if waiting is None else f", with {deliveries_in_words(waiting)} pending"
        held = f"{name} is held{pending}: {advice}."
        return held if waiting is not None else f"{_NOT_RUNNING} From its start on, {held}"
    if waiting is None:
        return _NOT_RUNNING
    if not waiting:
        return "Nothing is pending for it."
    retries = "1 retry" if number == 1 else f"{number:,} retries"
    if not sent["succeeded"]:
        then = f"; nothing was released. `relayd retry {name}` attempts them all the same"
    elif sent["held_until"] is not None:
        until = clock_time(sent["held_until"])
        then = f", held back until {until}: its endpoint answered 429 or 503 again"
    elif number:
        then = f": {retries} released, attempted now, in addition to the schedule"
    else:
        then = ", and due: they go out within the rate limit"
    return f"{waiting:,} of its deliveries {'is' if waiting == 1 else 'are'} pending{then}."
