"""When a guest deletes in a database that others write to: values in, a decision out, no I/O.

A deletion is a commit. In WAL mode it makes every transaction of the market fail that has read and
not yet written (SQLITE_BUSY_SNAPSHOT, at once, whatever its timeout). Another's commit does the
same, so right behind one hardly anything is left to be hurt: only what began in between. That is
the moment to delete, and seldom, since what it hurts is counted in deletions: one per second in
the middle of transactions of 4 ms is 0.4 % of them, however many there are.
"""

from dataclasses import dataclass
from typing import Final

INTERVAL_S: Final = 3.0
"""Between two deletions while others write."""
BUSY_INTERVAL_S: Final = 1.0
"""The same where one deletion was not enough, or MANY rows wait to be deleted: commits follow each
other in less than a millisecond then, and a deletion hurts few of them."""
MANY: Final = 5000

QUIET_S: Final = 0.25
"""After so long without another's commit nobody is writing."""
HUNT_S: Final = 1.0
"""So long the right moment is waited for, then any will do."""
OVERDUE_S: Final = 5.0
"""After so long without a deletion the lock may be waited for."""
PATIENCE_S: Final = 0.05
"""How long then."""
FIRST_PAUSE_S: Final = 0.005
LONGEST_PAUSE_S: Final = 0.1
"""Between two attempts at a lock that another writer holds."""
LONGEST_COMMIT_PAUSE_S: Final = 1.0
"""The same where readers hold up a COMMIT, since each attempt keeps new readers out meanwhile."""


@dataclass(slots=True)
class Manners:
    """What is known of the others, and of relayd's own deletions. Times are monotonic seconds."""

    others_at: float | None = None
    """When another's commit was last seen, and None before the first."""
    deleted_at: float = float("-inf")
    due_since: float | None = None
    """When rows first became due to be deleted after the last deletion."""
    next_at: float = float("-inf")
    """When to ask `may_delete` again without a commit of others."""
    refused_until: float = float("-inf")
    """Not before then, whatever others do."""
    _is_behind: bool = False
    _pause_s: float = FIRST_PAUSE_S

    def due(self, now: float) -> None:
        """Note that rows are due to be deleted."""
        if self.due_since is None:
            self.due_since = now

    def commit_seen(self, now: float) -> None:
        """Note that another connection has committed."""
        self.others_at = now

    def deleted(self, now: float, *, rest: bool) -> None:
        """Note a deletion; `rest` says that more rows are due."""
        self.deleted_at = now
        self.due_since = now if rest else None
        self.next_at = now
        self._is_behind = rest
        self._pause_s = FIRST_PAUSE_S

    def lock_refused(self, now: float, *, commit: bool) -> None:
        """Note that another writer holds the lock, or that readers hold up our COMMIT."""
        self.next_at = self.refused_until = now + self._pause_s
        longest_s = LONGEST_COMMIT_PAUSE_S if commit else LONGEST_PAUSE_S
        self._pause_s = min(2 * self._pause_s, longest_s)

    def failed(self, now: float, pause_s: float) -> None:
        """Note that a deletion failed for another reason, and is not to be tried for a while."""
        self.next_at = self.refused_until = now + pause_s

    def patience_s(self, now: float) -> float:
        """Return how long to wait for a lock, at most."""
        since = self.due_since
        return PATIENCE_S if since is not None and now - since >= OVERDUE_S else 0.0

    def is_quiet(self, now: float) -> bool:
        """Whether nobody else is writing."""
        return self.others_at is None or now - self.others_at >= QUIET_S

    def may_delete(self, now: float, rows: int, *, fresh: bool) -> bool:
        """Whether to delete `rows` rows now. `fresh`: another's commit has only just happened."""
        if now < (self.refused_until if fresh else self.next_at):
            return False
        is_quiet = self.is_quiet(now)
        if is_quiet and (self.others_at is None or self.others_at < self.deleted_at):
            return True  # nobody has written since the last deletion
        interval_s = BUSY_INTERVAL_S if self._is_behind or rows >= MANY else INTERVAL_S
        since = now - self.deleted_at
        if since < interval_s:
            self.next_at = min(self.deleted_at + interval_s, now + QUIET_S)
            return False
        looked_s = now - max(
            now if self.due_since is None else self.due_since, self.deleted_at + interval_s
        )
        if fresh or rows >= MANY or is_quiet or looked_s >= HUNT_S:
            return True
        self.next_at = now + QUIET_S / 2
        return False
