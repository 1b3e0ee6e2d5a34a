"""Every hold with every change, and several holds at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.core.hold import (
    FREE,
    HOLD_TRANSITIONS,
    Hold,
    HoldChange,
    Holds,
    after_change,
    after_declaring,
    after_handing_over,
    ended_by,
    shown_hold,
)

# What each change makes of no hold, and of each one.
EXPECTED = {
    HoldChange.ACTIVATE: (None, None, None, Hold.PAUSED, Hold.GONE),
    HoldChange.DEACTIVATE: (Hold.INACTIVE, Hold.INACTIVE, Hold.INACTIVE, Hold.PAUSED, Hold.GONE),
    HoldChange.REMOVE: (Hold.REMOVED, Hold.REMOVED, Hold.REMOVED, Hold.PAUSED, Hold.GONE),
    HoldChange.MOVE: (None, Hold.INACTIVE, Hold.REMOVED, Hold.PAUSED, None),
    HoldChange.PAUSE: (Hold.PAUSED, Hold.INACTIVE, Hold.REMOVED, Hold.PAUSED, Hold.GONE),
    HoldChange.RESUME: (None, Hold.INACTIVE, Hold.REMOVED, None, None),
    HoldChange.ANSWER_GONE: (Hold.GONE, Hold.INACTIVE, Hold.REMOVED, Hold.PAUSED, Hold.GONE),
    HoldChange.HAND_OVER: (None, Hold.INACTIVE, Hold.REMOVED, None, None),
}

HOLDS = st.frozensets(st.sampled_from(Hold)).filter(
    lambda holds: not {Hold.INACTIVE, Hold.REMOVED} <= holds
)


@pytest.mark.parametrize("change", HoldChange)
@pytest.mark.parametrize("at", range(5))
def test_a_change_begins_and_ends_the_holds_that_the_contract_names(
    change: HoldChange, at: int
) -> None:
    hold = (None, *Hold)[at]
    begun, became = EXPECTED[change][0], EXPECTED[change][at]
    assert after_change(FREE if hold is None else Holds({hold}), change) == Holds(
        each for each in (begun, became) if each is not None
    )
    assert HOLD_TRANSITIONS.get((hold, change), hold) is became


def test_the_table_cannot_be_altered() -> None:
    with pytest.raises(TypeError):
        HOLD_TRANSITIONS[Hold.REMOVED, HoldChange.RESUME] = None  # type: ignore[index] # must fail


def test_every_transition_changes_something() -> None:
    assert all(hold is not became for (hold, _), became in HOLD_TRANSITIONS.items())


@given(HOLDS, st.sampled_from(HoldChange))
def test_what_happens_twice_changes_nothing_more(holds: Holds, change: HoldChange) -> None:
    once = after_change(holds, change)
    assert after_change(once, change) == once
    assert not {Hold.INACTIVE, Hold.REMOVED} <= once


@given(HOLDS)
def test_what_the_configuration_does_is_shown_before_what_others_did(holds: Holds) -> None:
    order = [Hold.INACTIVE, Hold.REMOVED, Hold.PAUSED, Hold.GONE]
    assert shown_hold(holds) is next((each for each in order if each in holds), None)


@given(HOLDS, st.booleans())
def test_removed_and_put_back_it_is_as_paused_as_before(holds: Holds, active: bool) -> None:
    removed = after_declaring(holds, active=None, moved=False)
    assert shown_hold(removed) is Hold.REMOVED
    back = after_declaring(removed, active=active, moved=False)
    assert back - {Hold.INACTIVE} == holds - {Hold.INACTIVE, Hold.REMOVED}
    assert (Hold.INACTIVE in back) is not active


@given(HOLDS, st.booleans())
def test_a_410_ends_with_another_url_and_a_pause_does_not(holds: Holds, active: bool) -> None:
    moved = after_declaring(holds, active=active, moved=True)
    assert Hold.GONE not in moved
    assert (Hold.PAUSED in moved) is (Hold.PAUSED in holds)


@given(HOLDS, HOLDS, st.booleans())
def test_a_pause_is_handed_over_and_a_410_only_to_the_same_url(
    old: Holds, new: Holds, same_url: bool
) -> None:
    left, there = after_handing_over(old, new, same_url=same_url)
    assert left == old - {Hold.PAUSED, Hold.GONE}
    assert there == new | (old & ({Hold.PAUSED, Hold.GONE} if same_url else {Hold.PAUSED}))


def test_the_holds_that_a_change_ends_are_those_of_the_table() -> None:
    assert ended_by(HoldChange.RESUME) == {Hold.PAUSED, Hold.GONE}
    assert ended_by(HoldChange.ACTIVATE) == {Hold.INACTIVE, Hold.REMOVED}
    assert ended_by(HoldChange.PAUSE) == FREE
