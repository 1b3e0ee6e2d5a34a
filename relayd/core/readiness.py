"""Whether relayd is well, as `/healthz` and `/readyz` answer it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relayd.core.absence import Absence


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether relayd works, and what is to be said of it: `reasons` may be there although it does."""

    ok: bool
    reasons: tuple[str, ...] = ()


_ABSENT = {
    Absence.NOT_RUNNING: "the daemon is not running",
    Absence.NOT_ANSWERING: "the daemon does not answer",
    Absence.NOT_PERMITTED: "the web process may not ask the daemon",
}


def readiness(
    live: Mapping[str, Any] | None, absence: Absence | None, not_in_force: str | None = None
) -> Readiness:
    """Return it, from what the daemon says of itself, or from why it says nothing.

    `not_in_force` is a phrase for what of the configuration on disk is not in force.
    """
    if live is None:
        return Readiness(False, (_ABSENT[absence or Absence.NOT_ANSWERING],))
    reasons = []
    if live["queue"]["reserve_in_use"]:
        reasons.append("the disk is full: nothing is accepted until there is room")
    ok = not reasons
    if live["queue"]["too_large"]:
        reasons.append("the queue is larger than queue.max_size, and nothing more can be removed")
    if not_in_force is not None:
        reasons.append(not_in_force)
    return Readiness(ok, tuple(reasons))
