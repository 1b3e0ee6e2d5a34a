"""What the pages that retry, replay and cancel deliveries say: what follows, and what came of it."""

from collections.abc import Mapping, Sequence
from typing import Final

from relayd.batched_change import Change
from relayd.core.hold import Hold
from relayd.views.counts import deliveries_in_words
from relayd.views.holds import HOLD_ADVICE

VERBS: Final = {"retry": "Retry", "replay": "Replay", "cancel": "Cancel"}
FOLLOWS: Final[Mapping[str, Sequence[str]]] = {
    "retry": (
        "Each gets an attempt now, beside its schedule and within the rate limit.",
        "If that fails, the schedule stays as it was.",
        "What a receiver's 429 or 503 held back is lifted. A pause, a 410 and an order stay.",
    ),
    "replay": (
        "Each is sent again with its whole retry schedule, within the rate limit, with the same ids.",
    ),
    "cancel": (
        "No further attempt is made. A replay takes that back.",
        "One that is in flight is still delivered if its attempt succeeds.",
    ),
}
NOT_ANY_MORE: Final = {
    "replay": "Meanwhile due again, or removed: {many}.",
    "cancel": "Meanwhile delivered, or ended otherwise: {many}.",
}
"""What became of those that a command did not change, though it was about them."""
SENT_AGAIN: Final = "The receiver accepted them before, and gets them again. One that remembers the events' ids skips them."


def title_of(command: str, count: int) -> str:
    """Return what was done, as the page's title."""
    many = deliveries_in_words(count)
    if command == "cancel":
        return f"{many} cancelled"
    if command == "replay":
        return f"{many} due again"
    return f"{count:,} {'retry' if count == 1 else 'retries'} released"


def sentences_of(change: Change, done: int) -> list[str]:
    """Return what came of the `done` deliveries that the daemon was asked to change."""
    found = []
    if change.command in NOT_ANY_MORE and (missed := done - change.changed) > 0:
        # What was counted may end, or be changed by somebody else, before the daemon comes to it.
        found.append(NOT_ANY_MORE[change.command].format(many=deliveries_in_words(missed)))
    if change.command == "retry":
        found.append("What was due already is sent within the rate limit, as before.")
        if change.lifted:
            names = ", ".join(sorted(change.lifted))
            found.append(f"{names}: the endpoint was held back (429 or 503); that is lifted.")
    elif change.command == "replay" and change.changed:
        found.append("They go out within the rate limit.")
    elif change.in_flight:
        found.append(
            f"{change.in_flight:,} of them were in flight: each is delivered if its attempt succeeds."
        )
    for name, hold in change.held.items():
        found.append(f"{name} is held: {HOLD_ADVICE[Hold(hold)].format(name=name)}.")
    return found
