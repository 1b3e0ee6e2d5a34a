"""Which retries are released: given an attempt before their scheduled time.

Releases are numbered in one row over the whole queue, so that no clock decides what came first. An
endpoint keeps the number of its last recovery, a subscription that of the operator's last release,
and each retry the number that was the newest when its last attempt began. A smaller number is
released: so is a retry whose attempt began before a release, and failed after it. A retry that the
operator releases alone keeps that release's number itself, negative: it is smaller than any other.
"""

from enum import StrEnum


class Extra(StrEnum):
    """Why an attempt was made before its time. Kept with the attempt."""

    RECOVERY = "recovery"
    """Its endpoint recovered: at most once for each scheduled step."""
    OPERATOR = "operator"
    """The operator asked for it, or changed what could make it succeed: each time."""


def released_by(
    release_seen: int, *, recovery_used: bool, recovery: int, operator: int
) -> Extra | None:
    """Return what released a retry, None for one that waits for its time.

    `recovery` and `operator` are the numbers of its endpoint and its subscription, 0 where there
    was none. What both released counts as the operator's, which leaves it the other.
    """
    if release_seen < operator:
        return Extra.OPERATOR
    if release_seen < recovery and not recovery_used:
        return Extra.RECOVERY
    return None


def seen_after(release_seen: int, newest: int) -> int:
    """Return the number that a retry keeps after an attempt, when `newest` was it as that began.

    Where the retry was released alone after that, this still applies.
    """
    return release_seen if release_seen < -newest else newest
