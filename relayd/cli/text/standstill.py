"""Why deliveries that somebody follows do not change, in sentences."""

from collections.abc import Collection, Iterator, Mapping

from relayd.cli.terminal import printable
from relayd.core.absence import Absence
from relayd.core.hold import Hold
from relayd.queue.snapshot_values import KnownSubscription
from relayd.views.holds import HOLD_ADVICE


def standstill_lines(
    subscriptions: Mapping[str, KnownSubscription],
    followed: Collection[str],
    absence: Absence | None,
) -> Iterator[str]:
    """Yield a sentence for each reason. `followed` are subscriptions by name; none of them means all.

    What is no longer in the configuration is a reason only where it is named: nobody waits for it otherwise.
    """
    if absence is Absence.NOT_RUNNING:
        yield "relayd is not running: nothing is attempted before it runs."
    for name, each in subscriptions.items():
        named = name in followed
        if each.hold is None or (followed and not named):
            continue
        if each.hold is not Hold.REMOVED or named:
            shown = printable(name)
            yield f"{shown}: nothing is attempted; {HOLD_ADVICE[each.hold].format(name=shown)}."
