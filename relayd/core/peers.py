"""Who is connected to a socket, what each holds, and who makes room when there is none left.

All connections together have one number and one budget of bytes. A user who wants more than others
loses to them: the user with the most gives way first, so that no user can keep another one out.
"""

from dataclasses import dataclass, field
from enum import Enum


class Doing(Enum):
    """What a connection does, which says whether it can give way."""

    READING = "reading"
    """It waits for bytes: nothing of it is under way. It can be told and closed."""
    ANSWERING = "answering"
    """Its lines are being accepted: it is left alone."""
    SENDING = "sending"
    """Its answers are being sent: it can be closed, but not told."""


@dataclass(eq=False, slots=True)
class Peer:
    """A connection of user `uid`.

    `since` is the moment since which it has been idle, or at which its unfinished line began.
    """

    uid: int
    since: float
    doing: Doing = Doing.READING
    held: int = field(default=0, init=False)
    gone: bool = field(default=False, init=False)


class Peers:
    """The connections of one socket: at most `connections`, holding at most `total` bytes.

    One user's connections hold at most `share` bytes. When there are `connections` already, a user
    with fewer than the user with the most takes the place of that user's longest idle one; within
    one user, a connection that has been idle for `gives_way_s` makes room.
    """

    def __init__(self, connections: int, *, total: int, share: int, gives_way_s: float) -> None:
        self._limit = connections
        self._total = total
        self._share = share
        self._gives_way_s = gives_way_s
        self._peers: dict[int, set[Peer]] = {}
        self._held: dict[int, int] = {}
        self._all_held = 0
        self.count = 0

    def admit(self, peer: Peer, now: float) -> tuple[bool, Peer | None]:
        """Return whether it may stay, and who goes for it."""
        gives_way = None
        if self.count >= self._limit:
            gives_way = self._place_for(peer.uid, now)
            if gives_way is None:
                return False, None
            self.remove(gives_way)
        self._peers.setdefault(peer.uid, set()).add(peer)
        self.count += 1
        return True, gives_way

    def room(self, uid: int, least: int, most: int) -> int:
        """Return what each of a user's connections may hold while half of the share is free."""
        return max(least, min(most, self._share // (2 * len(self._peers.get(uid, (None,))))))

    def remove(self, peer: Peer) -> None:
        """Forget a connection; once is enough, and more is harmless."""
        if peer.gone:
            return
        self._note(peer, 0)
        peer.gone = True
        own = self._peers[peer.uid]
        own.remove(peer)
        self.count -= 1
        if not own:
            del self._peers[peer.uid]
            self._held.pop(peer.uid, None)

    def hold(self, peer: Peer, size: int) -> list[Peer]:
        """Note how many bytes a connection holds now, and return those that must go for it.

        They have been removed. `peer` may be one of them.
        """
        if peer.gone:
            return []
        self._note(peer, size)
        if self._held[peer.uid] <= self._share and self._all_held <= self._total:
            return []
        return self._make_room(peer)

    def _note(self, peer: Peer, size: int) -> None:
        self._held[peer.uid] = self._held.get(peer.uid, 0) + size - peer.held
        self._all_held += size - peer.held
        peer.held = size

    def _make_room(self, peer: Peer) -> list[Peer]:
        going: list[Peer] = []
        while self._held.get(peer.uid, 0) > self._share or self._all_held > self._total:
            if self._held.get(peer.uid, 0) > self._share:
                uid = peer.uid
            else:
                uid = max(self._held, key=self._held.__getitem__)
            can = [each for each in self._peers[uid] if each.held and _can_go(each)]
            victim = max(can, key=lambda each: (each.held, -each.since), default=peer)
            if victim.gone:
                break
            self.remove(victim)
            going.append(victim)
        return going

    def _place_for(self, uid: int, now: float) -> Peer | None:
        most = max(self._peers, key=lambda each: len(self._peers[each]))
        if len(self._peers.get(uid, ())) + 1 < len(self._peers[most]):
            can = [each for each in self._peers[most] if _can_go(each)]
            return min(can, key=lambda each: (each.held > 0, each.since), default=None)
        idle = [
            each
            for each in self._peers.get(uid, ())
            if each.doing is Doing.READING
            and not each.held
            and now - each.since >= self._gives_way_s
        ]
        return min(idle, key=lambda each: each.since, default=None)


def _can_go(peer: Peer) -> bool:
    return peer.doing is not Doing.ANSWERING
