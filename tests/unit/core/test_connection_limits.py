"""Who makes room where there are too many connections."""

import pytest

from relayd.core.connection_limits import Phase, Place, makes_room

H, B, A, S = Phase.HEAD, Phase.BODY, Phase.ANSWER, Phase.SENDING


@pytest.mark.parametrize(
    ("places", "client", "goes"),
    [
        # The longest idle one of the client that has the most, whoever comes.
        ([("a", H, 3), ("a", H, 1), ("b", H, 0)], "b", 2),
        ([("a", H, 3), ("a", H, 1), ("b", H, 0)], "a", 1),
        # What waits for its client, where nothing of it is idle: nobody holds all places by not reading.
        ([("a", S, 0), ("a", S, 1), ("b", S, 0)], "c", 0),
        ([("a", S, 0), ("a", B, 9), ("a", A, 0)], "b", 1),
        # An answer that is being made goes for another client, and never for its own.
        ([("a", A, 0), ("a", A, 1)], "b", 0),
        ([("a", A, 0), ("a", A, 1)], "a", None),
        # One more of the client that would have the most takes its own place.
        ([("a", H, 5), ("b", H, 0)], "a", 0),
        ([("a", H, 5), ("b", H, 0)], "b", 1),
        ([("a", H, 5), ("b", H, 0)], "c", 1),
    ],
)
def test_the_client_with_the_most_makes_room(
    places: list[tuple[str, Phase, float]], client: str, goes: int | None
) -> None:
    assert makes_room([Place(*each) for each in places], client) == goes
