"""Who is logged in: sessions in memory, which a restart of the web process ends."""

import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from relayd.core.web_access import digest

IDLE_S: Final = 12 * 3600.0
LONGEST_S: Final = 7 * 24 * 3600.0
MOST: Final = 1_000
"""Sessions at a time; one more ends the one that was used the longest ago, of the token that has the most."""


@dataclass(slots=True)
class Session:
    """One login. It is as good as its token, whose digest it keeps: it ends when that one goes.

    `form_key` is in each form that acts, so that no other site's page can have one. Times are seconds of a
    monotonic clock.
    """

    token: str = field(repr=False)
    form_key: str = field(repr=False)
    began: float
    used: float


class Sessions:
    """The sessions, by the digests of what is in the browsers' cookies."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def begin(self, token_digest: str) -> str:
        """Begin a session for a token's holder; return what goes into the cookie."""
        key = secrets.token_urlsafe(32)
        now = self._clock()
        self._sessions[digest(key)] = Session(token_digest, secrets.token_urlsafe(32), now, now)
        if len(self._sessions) > MOST:
            # Whoever logs in without end ends their own sessions, and nobody else's.
            [(most, _)] = Counter(each.token for each in self._sessions.values()).most_common(1)
            oldest = next(name for name, each in self._sessions.items() if each.token == most)
            del self._sessions[oldest]
        return key

    def find(self, key: str, *, used: bool = True) -> Session | None:
        """Return the session of a cookie; None where there is none. It is not `used` by a page that asks by itself."""
        name = digest(key)
        session = self._sessions.get(name)
        if session is None:
            return None
        now = self._clock()
        if now - session.used > IDLE_S or now - session.began > LONGEST_S:
            del self._sessions[name]
            return None
        if used:
            session.used = now
            self._sessions.move_to_end(name)
        return session

    def end(self, key: str) -> None:
        """End a session, if there is one."""
        self._sessions.pop(digest(key), None)
