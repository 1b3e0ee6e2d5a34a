"""Who makes room on a socket: bytes and places are shared, and the user with the most gives way."""

from hypothesis import given
from hypothesis import strategies as st

from relayd.core.peers import Doing, Peer, Peers


def peers(connections: int = 4, total: int = 100, share: int = 60) -> Peers:
    return Peers(connections, total=total, share=share, gives_way_s=60.0)


def joined(among: Peers, uid: int, since: float = 0.0, held: int = 0) -> Peer:
    peer = Peer(uid, since)
    assert among.admit(peer, since) == (True, None)
    assert among.hold(peer, held) == []
    return peer


def test_the_largest_of_a_user_above_its_share_goes_the_oldest_first() -> None:
    among = peers()
    joined(among, 1, since=1.0, held=20)
    old = joined(among, 1, since=2.0, held=30)
    new = joined(among, 1, since=3.0)
    assert among.hold(new, 30) == [old]
    assert old.gone
    assert not new.gone


def test_whoever_asks_for_too_much_alone_goes_itself() -> None:
    among = peers()
    one = joined(among, 1, held=60)
    assert among.hold(one, 61) == [one]
    assert among.hold(one, 5) == [], "once is enough"
    assert among.count == 0


def test_the_user_who_holds_the_most_gives_way_to_others() -> None:
    among = peers()
    first = joined(among, 1, held=30)
    second = joined(among, 1, held=25)
    other = joined(among, 2, held=40)
    assert among.hold(other, 46) == [first]
    assert not second.gone


def test_what_is_being_accepted_is_left_alone() -> None:
    among = peers()
    busy = joined(among, 1, held=50)
    busy.doing = Doing.ANSWERING
    asking = joined(among, 1, held=5)
    assert among.hold(asking, 20) == [asking]
    assert not busy.gone


def test_any_number_of_small_ones_go_for_one_that_is_left_alone() -> None:
    among = peers(connections=1_001, total=2_000, share=1_000)
    small = [joined(among, 1, since=float(number), held=1) for number in range(1_000)]
    busy = joined(among, 1)
    busy.doing = Doing.ANSWERING
    assert among.hold(busy, 1_000) == small
    assert not busy.gone
    assert among.count == 1


def test_a_full_socket_takes_a_user_with_fewer_connections_for_the_longest_idle_one() -> None:
    among = peers()
    partial = joined(among, 1, since=0.0, held=1)
    idle = joined(among, 1, since=1.0)
    joined(among, 1, since=2.0)
    busy = joined(among, 1, since=0.5)
    busy.doing = Doing.ANSWERING
    assert among.admit(Peer(1, 3.0), 3.0) == (False, None), "its own user has no more room"
    assert among.admit(Peer(2, 3.0), 3.0) == (True, idle)
    assert among.count == 4
    assert among.admit(Peer(2, 4.0), 4.0)[0], "as long as one of the others has more"
    assert among.admit(Peer(2, 5.0), 5.0) == (False, None)
    assert not partial.gone, "a line that has begun is the last to go"


def test_a_connection_that_was_idle_for_long_makes_room_for_its_own_user() -> None:
    among = peers()
    oldest = joined(among, 1, since=0.0)
    for since in (1.0, 2.0, 3.0):
        joined(among, 1, since=since)
    assert among.admit(Peer(1, 59.0), 59.0) == (False, None)
    assert among.admit(Peer(1, 60.0), 60.0) == (True, oldest)


def test_each_of_many_connections_gets_less_room() -> None:
    among = peers(connections=100, share=60_000)
    assert among.room(7, 100, 20_000) == 20_000
    for _ in range(10):
        joined(among, 1)
    assert among.room(1, 100, 20_000) == 3_000
    for _ in range(90):
        joined(among, 1)
    assert among.room(1, 500, 20_000) == 500


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 80), st.sampled_from(Doing)),
        max_size=60,
    )
)
def test_no_bound_is_ever_passed(steps: list[tuple[int, int, int, Doing]]) -> None:
    among = peers(connections=5)
    here: list[Peer] = []
    for now, (uid, which, size, doing) in enumerate(steps):
        if which >= len(here):
            peer = Peer(uid, now)
            admitted, gone = among.admit(peer, now)
            if gone is not None:
                assert gone.doing is not Doing.ANSWERING
                assert gone.gone
            if admitted:
                here.append(peer)
        else:
            here[which].doing = Doing.READING
            among.hold(here[which], size)
            here[which].doing = doing
        here = [peer for peer in here if not peer.gone]
        assert among.count == len(here) <= 5
        assert sum(peer.held for peer in here) <= 100
        for user in range(4):
            assert sum(peer.held for peer in here if peer.uid == user) <= 60
