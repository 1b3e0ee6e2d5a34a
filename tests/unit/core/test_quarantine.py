"""What relayd died at: keys that name it, and when it is not tried again."""

from hypothesis import given
from hypothesis import strategies as st

from relayd.core.event import Event, EventDefaults, SpoolRow
from relayd.core.event_input import event_from_line
from relayd.core.quarantine import (
    DEATHS,
    FREE_DEATHS,
    LONGEST_READER_PAUSE_S,
    NOTHING,
    event_key,
    line_key,
    obituary,
    poisonous,
    reader_pause_s,
    recent_deaths,
    remember,
    row_key,
)

DEFAULTS = EventDefaults("market_123", "2024-01-01")


def row(seq: int, data: bytes | int | None) -> SpoolRow:
    return SpoolRow(seq, b"evt_1", b"order.created", data, 0, None, None)


def event(line: bytes, new_id: str) -> Event:
    read = event_from_line(line, DEFAULTS, new_id=new_id, now=0)
    assert isinstance(read, Event)
    return read


@given(st.lists(st.integers(-4, 4)))
def test_three_deaths_and_no_less_make_poison(deaths: list[int]) -> None:
    assert poisonous(deaths) == {key for key in set(deaths) if deaths.count(key) >= 3}


@given(st.binary(), st.integers(-(2**63), 2**63 - 1))
def test_an_inputs_key_is_a_negative_number_of_64_bits(data: bytes, seq: int) -> None:
    for key in (line_key(data), row_key(row(seq, data))):
        assert -(2**63) <= key < NOTHING


def test_keys_tell_inputs_apart_and_are_the_same_after_each_start() -> None:
    assert line_key(b"abc") == -(1 + (0x352441C2 | 3 << 32))
    assert len({line_key(b"a"), line_key(b"b"), line_key(b"aa")}) == 3
    rows = [row(1, b"{}"), row(2, b"{}"), row(1, b"[]"), row(1, None), row(2, 7)]
    assert len({row_key(each) for each in rows}) == len(rows)


def test_an_events_key_is_that_of_its_content() -> None:
    line = b'{"type":"order.created","data":{"object":{"id":1}}}'
    once, again = event(line, "evt_1"), event(line, "evt_2")
    other = event(line.replace(b"1", b"2"), "evt_1")
    assert event_key(once) == event_key(again) < NOTHING
    assert event_key(once) != event_key(other)


def test_it_is_told_how_often_and_what_comes_then() -> None:
    assert obituary(7, 1) == (
        "relayd crashed working on a delivery, once since its last clean stop; "
        "after 3 times it is quarantined"
    )
    assert obituary(-7, DEATHS) == (
        "relayd crashed reading an event, 3 times since its last clean stop; it is quarantined"
    )


@given(st.lists(st.integers(-9, 9).filter(bool), max_size=6), st.integers(-9, 9).filter(bool))
def test_deaths_are_remembered_in_order_within_their_room(deaths: list[int], key: int) -> None:
    kept = remember(deaths, key, 6)
    assert kept[0] == key
    assert len(kept) == min(len(deaths) + 1, 6)
    rest = iter(deaths)
    assert all(each in rest for each in kept[1:])


def test_a_spools_rows_do_not_push_a_delivery_out() -> None:
    deaths = [7, 7]
    for row_number in range(1, 1_000):
        deaths = remember(deaths, -row_number, 64)
    assert deaths.count(7) == 2
    assert deaths[0] == -999
    assert poisonous(remember(deaths, 7, 64)) == {7}


def test_a_source_whose_rows_kill_its_reader_waits_longer_and_longer() -> None:
    assert {reader_pause_s(count) for count in range(FREE_DEATHS + 1)} == {0.0}
    pauses = [reader_pause_s(FREE_DEATHS + count) for count in range(1, 2_000)]
    assert pauses[:6] == [2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_READER_PAUSE_S]
    assert set(pauses[5:]) == {LONGEST_READER_PAUSE_S}


def test_deaths_of_an_hour_ago_count_no_more() -> None:
    assert recent_deaths([0.0, 1.0, 3_000.0], 3_600.5) == [1.0, 3_000.0]
