"""What a command leaves as it is, and the command that it names instead."""

from dataclasses import replace

import pytest
from listed_deliveries import RETRYING

from relayd.core.delivery import ENDED, WAITING, State
from relayd.core.hold import Hold
from relayd.queue.snapshot_values import Place
from relayd.views.refusals import instead_of, refusal_line

BOOKS = replace(RETRYING, subscription="books")
REPLAY, RESEND, RETRY = (
    "relayd replay dlv_1",
    "relayd replay dlv_1 --state delivered",
    "relayd retry dlv_1",
)
INSTEAD = {
    ("replay", State.PENDING): RETRY,
    ("replay", State.RETRYING): RETRY,
    ("replay", State.DELIVERED): RESEND,
    ("replay", State.EXHAUSTED): REPLAY,  # where --state leaves it out
    ("replay", State.CANCELLED): REPLAY,
    ("retry", State.DELIVERED): RESEND,
    ("retry", State.EXHAUSTED): REPLAY,
    ("retry", State.CANCELLED): REPLAY,
    ("cancel", State.DELIVERED): None,
    ("cancel", State.EXHAUSTED): REPLAY,
    ("cancel", State.CANCELLED): REPLAY,
}


def test_each_case_is_there() -> None:
    assert INSTEAD.keys() == {("replay", state) for state in WAITING | ENDED} | {
        (command, state) for command in ("retry", "cancel") for state in ENDED
    }


@pytest.mark.parametrize(("command", "state"), INSTEAD)
def test_a_refusal_names_the_command_that_does_what_was_meant(command: str, state: State) -> None:
    delivery = replace(BOOKS, id="dlv_1", state=state)
    expected = INSTEAD[command, state]
    assert instead_of(command, delivery) == expected
    line = refusal_line(command, delivery)
    assert line.startswith("dlv_1 to books ")
    assert "{" not in line
    assert ("`" in line) == (expected is not None)
    if expected is not None:
        assert f"`{expected}`" in line


@pytest.mark.parametrize(
    ("hold", "instead"),
    [
        (Hold.PAUSED, "relayd resume books"),
        (Hold.GONE, "relayd resume books"),
        (Hold.REMOVED, "relayd rename books NEW"),
        (Hold.INACTIVE, None),
    ],
)
def test_of_what_is_held_it_names_what_ends_the_hold(hold: Hold, instead: str | None) -> None:
    delivery = replace(BOOKS, id="dlv_1", state=State.HELD, hold=hold)
    assert instead_of("replay", delivery) == instead
    assert (instead or "`relayd reload`") in refusal_line("replay", delivery)


def test_of_what_is_behind_another_it_names_the_first() -> None:
    delivery = replace(BOOKS, id="dlv_3", state=State.PENDING, place=Place("k", "dlv_2", "dlv_1"))
    assert refusal_line("replay", delivery) == (
        "dlv_3 to books is behind dlv_2 in its order; `relayd explain dlv_1` says what comes first."
    )
    assert instead_of("replay", delivery) == "relayd explain dlv_1"
