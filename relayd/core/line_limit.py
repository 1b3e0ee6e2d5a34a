"""How many lines of one kind the log takes: enough to see what happens, never a flood of it.

journald drops whatever a service writes beyond 10,000 lines in 30 s (RateLimitBurst= and
RateLimitIntervalSec= of journald.conf(5)), the line that says why it ended among them. So lines of
one kind are counted from a certain number on, and the count is written instead.
"""

from dataclasses import dataclass

LINES = 500
WINDOW_S = 10.0
"""1,500 lines of a kind in 30 s: six kinds at full flow, of which relayd has no more, stay below."""


@dataclass(slots=True)
class _Window:
    began_at: float
    admitted: int
    left_out: int


class LineLimit:
    """Admits the first `LINES` lines of each kind in `WINDOW_S` seconds."""

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}

    def admit(self, kind: str, now: float) -> int | None:
        """Say whether a line may be written: None if not.

        Otherwise how many of its kind were left out before it, and not told yet. `now` is a moment
        of a monotonic clock in seconds.
        """
        window = self._windows.get(kind)
        if window is None or now - window.began_at >= WINDOW_S:
            left_out = 0 if window is None else window.left_out
            self._windows[kind] = _Window(now, 1, 0)
            return left_out
        if window.admitted < LINES:
            window.admitted += 1
            return 0
        window.left_out += 1
        return None

    def left_out(self) -> dict[str, int]:
        """Return how many lines were left out and not told yet, by kind, and forget them."""
        found = {kind: window.left_out for kind, window in self._windows.items() if window.left_out}
        for kind in found:
            self._windows[kind].left_out = 0
        return found
