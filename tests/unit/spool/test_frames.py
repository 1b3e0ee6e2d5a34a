"""Frames: what a reader packs comes out again, and what no reader of ours sends is refused."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.core.event import Event, EventDefaults, Rejection, SpoolRow
from relayd.core.event_input import event_from_row
from relayd.spool.event_frames import EVENTS, EventChecks, EventFrames
from relayd.spool.frames import (
    EVENTS_BYTES,
    HEAD,
    ROWS_BYTES,
    TEXT_BYTES,
    BadFrameError,
    Kind,
    frame,
    head_of,
    text_of,
)
from relayd.spool.rejected_frames import FoundRow, rejected_frames, rejected_of
from relayd.spool.text_frames import (
    Settings,
    State,
    defect_of,
    settings_of,
    settings_text,
    state_of,
    state_text,
)

DEFAULTS = EventDefaults("market_123", "2024-01-01", frozenset({"market_9"}))
FROM_READER = (Kind.EVENTS, Kind.REJECTED, Kind.STATE, Kind.DEFECT)
PATHS = ("data.object.total", "data.object.items.*.sku")


def event(event_id: str = "evt_1", data: str = "{}", **columns: Any) -> Event:
    row = {"created": 7, "market_id": None, "api_version": None, **columns}
    read = event_from_row(
        SpoolRow(1, event_id.encode(), b"order.created", data.encode(), **row), DEFAULTS, now=0
    )
    assert isinstance(read, Event)
    return read


def packed(*events: Event, values: Sequence[list[object]] = ()) -> tuple[Any, bytes]:
    """Return the text and bytes of a frame with these events."""
    frames = EventFrames(DEFAULTS)
    for each in events:
        text = frames.text(each, values)
        assert frames.fits(text, each)
        frames.add(text, each)
    return opened(frames.take(3, 0))


def opened(raw: bytes) -> tuple[Any, bytes]:
    head = head_of(raw[: HEAD.size], FROM_READER)
    assert len(raw) == HEAD.size + head.size
    text = raw[HEAD.size :][: head.text_bytes]
    return text_of(text), raw[HEAD.size + head.text_bytes :]


def checked(text: Any, blob: bytes, paths: tuple[str, ...] = ()) -> list[Event]:
    return EventChecks(DEFAULTS).events(text, memoryview(blob), {0: paths})


def test_events_come_out_as_they_went_in() -> None:
    events = [
        event(data='{"object":{"id":1,"name":"Zoë 🥕"}}'),
        event("evt_2", '{"object":{"id":"order_7"}}', market_id=b"market_9", api_version=b"v2"),
        event("evt_3", data='{"n":12345678901234567890}'),
    ]
    text, blob = packed(*events)
    for read, sent in zip(checked(text, blob), events, strict=True):
        assert read.body == sent.body
        assert read.digest == sent.digest
        assert read.unfaithful == sent.unfaithful
        assert (read.id, read.type, read.created) == (sent.id, sent.type, sent.created)
        assert (read.market_id, read.api_version) == (sent.market_id, sent.api_version)
        assert read.data is None
        assert read.object_id == sent.object_id
        assert read.envelope == sent.envelope
    assert [each.object_id for each in events] == ["1", "order_7", None]


def test_values_at_the_conditions_paths_come_with_an_event() -> None:
    values: list[list[object]] = [[12900, 1.5, True, None, "x\ud83e"], [{"a": 1}, [1]]]
    text, blob = packed(event(), values=values)
    [read] = checked(text, blob, PATHS)
    # Of lists and objects only that they are.
    assert read.values == {PATHS[0]: [12900, 1.5, True, None, "x\ud83e"], PATHS[1]: [{}, {}]}


def test_numbers_past_all_bounds_are_infinite_at_a_path() -> None:
    huge = event(data='{"a":1e999,"b":-1e400,"c":' + "9" * 5000 + "}").data
    assert huge is not None
    text, blob = packed(event(), values=[list(huge.values())])
    [read] = checked(text, blob, PATHS[:1])
    assert read.values == {PATHS[0]: [float("inf"), float("-inf"), float("inf")]}


def test_values_that_are_too_long_stay_at_home() -> None:
    text, blob = packed(event(), values=[["x" * 100_000], []])
    [read] = checked(text, blob, PATHS)
    assert read.values == {}


def test_a_frame_takes_no_more_than_it_may_hold() -> None:
    frames, large = EventFrames(DEFAULTS), event(data=json.dumps({"a": "x" * 600_000}))
    text = frames.text(large, [])
    frames.add(text, large)
    assert not frames.fits(text, large)
    assert len(opened(frames.take(1, 0))[1]) <= EVENTS_BYTES
    small = event()
    text = frames.text(small, [])
    for _ in range(EVENTS):
        assert frames.fits(text, small)
        frames.add(text, small)
    assert not frames.fits(text, small)


def test_the_largest_event_fits_into_a_frame_of_its_own() -> None:
    room = 1_048_576 - len(event(data='{"a":""}').body)
    largest = event(data=json.dumps({"a": "x" * room}))
    assert len(largest.body) == 1_048_576
    [read] = checked(*packed(largest))
    assert read.body == largest.body


GOOD = ["evt_1", "order.created", 7, None, None, len(event().body), None, None, 0]


def lying(**changes: object) -> Any:
    keys = ("id", "type", "created", "market", "version", "size", "flaws", "object_id", "values")
    return [0, [[changes.get(key, value) for key, value in zip(keys, GOOD, strict=True)]]]


@pytest.mark.parametrize(
    "text",
    [
        lying(id="evt.1"), lying(id=None), lying(id=7), lying(id="evt_2"), lying(id="e" * 129),
        lying(type="relayd.endpoint.failing"), lying(type="Order"), lying(type="user.created"),
        lying(created=-1), lying(created=True), lying(created=7.0), lying(created="7"),
        lying(created=2**53), lying(created=8), lying(market="market_9"), lying(market="market_8"), lying(market=7),
        lying(market="a\x1b[31m"), lying(market="\ud800"), lying(version=["v"]),
        lying(version="v2"), lying(size=10**9), lying(size=-5), lying(size=0), lying(size=True),
        lying(size=len(event().body) - 1), lying(size="90"), lying(flaws="data.a"),
        lying(object_id=7), lying(object_id=""), lying(object_id="x" * 257), lying(object_id="\ud800"),
        lying(object_id=["a"]), lying(flaws=[]), lying(flaws=["a"] * 21), lying(flaws=["a" * 501]), lying(flaws=[7]),
        lying(values=[[1]]), lying(values=7), lying(values=[1]),
        [1, lying()[1]], [None, lying()[1]], [[0], lying()[1]], [0, []], [0], [], {}, None, 7,
        [0, [[]]], [0, [None]], [0, lying()[1] * 2], [0, [GOOD[:-1]]],
        [0, [GOOD] * (EVENTS + 1)],
    ],
)  # fmt: skip
def test_an_event_that_lies_is_refused(text: Any) -> None:
    _, blob = packed(event())
    with pytest.raises(BadFrameError):
        checked(text, blob)


def test_the_lies_are_lies() -> None:
    assert len(checked(lying(), packed(event())[1])) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"id":"evt_1"', b'"id":"evt_9"'),
        (b'"data":{}', b'"data":[]'),
        (b'market_123"', b'market_124"'),
        (b'01"}', b'01" '),
    ],
)
def test_a_body_that_is_not_its_events_is_refused(old: bytes, new: bytes) -> None:
    text, blob = packed(event())
    with pytest.raises(BadFrameError):
        checked(text, blob.replace(old, new))
    with pytest.raises(BadFrameError):
        checked(text, blob + b"x")


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
), st.binary(max_size=200))  # fmt: skip
def test_no_text_raises_anything_else(text: Any, blob: bytes) -> None:
    for check in (checked, lambda t, b: rejected_of(t, memoryview(b)), lambda t, _: state_of(t),
                  lambda t, _: defect_of(t)):  # fmt: skip
        for each in (text, [0, [text]], [[1, "c", "r", text]], [text]):
            try:
                check(each, blob)
            except BadFrameError:
                continue


@pytest.mark.parametrize("raw", [b"", b"{", b"[" * 100_000, b"\xff", b"1" * 5000, b'{"a":1}x'])
def test_text_that_is_not_json_is_refused(raw: bytes) -> None:
    with pytest.raises(BadFrameError):
        text_of(raw)


@pytest.mark.parametrize(
    ("kind", "text_bytes", "blob_bytes"),
    [
        (0, 1, 0), (99, 1, 0), (Kind.SETTINGS, 1, 0), (Kind.DONE, 1, 0),
        (Kind.EVENTS, TEXT_BYTES + 1, 0), (Kind.EVENTS, 1, EVENTS_BYTES + 1),
        (Kind.REJECTED, 1, ROWS_BYTES + 1), (Kind.STATE, 1, 1), (Kind.STATE, 2**32 - 1, 0),
        (Kind.DEFECT, 1, 1),
    ],
)  # fmt: skip
def test_a_head_that_promises_too_much_is_refused(
    kind: int, text_bytes: int, blob_bytes: int
) -> None:
    with pytest.raises(BadFrameError):
        head_of(HEAD.pack(kind, 1, text_bytes, blob_bytes), FROM_READER)


def rows(*found: SpoolRow) -> list[FoundRow]:
    return [FoundRow(each, Rejection("invalid_type", "the type is wrong")) for each in found]


def test_rejected_rows_come_out_as_they_were_found() -> None:
    found = rows(
        SpoolRow(1, b"evt_1", b"\xff\0", b"x" * 900_000, 1.5, None, b""),
        SpoolRow(-(2**63), None, 7, b"y" * 900_000, float("inf"), -(2**63), b"v"),
        *(SpoolRow(number, None, None, None, None, None, None) for number in range(45)),
    )
    frames = list(rejected_frames(found))
    assert sum(count for *_, count in frames) == len(found)
    assert all(
        len(blob) <= 1_100_000 and len(json.dumps(text)) < TEXT_BYTES for text, blob, _ in frames
    )
    read = [
        each
        for text, blob, _ in frames
        for each in rejected_of(json.loads(json.dumps(text)), memoryview(blob))
    ]
    assert read == found


def test_the_longest_reasons_fit_into_a_frame() -> None:
    why = Rejection("invalid_type", "🥕" * 5000)
    found = [FoundRow(SpoolRow(1, None, None, None, None, None, None), why)] * 60
    for text, blob, _ in rejected_frames(found):
        raw = frame(Kind.REJECTED, 1, text, blob)
        head_of(raw[: HEAD.size], FROM_READER)


@pytest.mark.parametrize(
    "text",
    [
        [], None, {}, [[1, "c", "r"]], [["1", "c", "r", [None] * 6]], [[2**63, "c", "r", [None] * 6]],
        [[1, "", "r", [None] * 6]], [[1, "c d", "r", [None] * 6]], [[1, "c" * 65, "r", [None] * 6]],
        [[1, "c", "r" * 2001, [None] * 6]], [[1, "c", 7, [None] * 6]], [[1, "c", "r", [None] * 5]],
        [[1, "c", "r", [None] * 7]], [[1, "c", "r", [2**63, *[None] * 5]]],
        [[1, "c", "r", ["text", *[None] * 5]]], [[1, "c", "r", [True, *[None] * 5]]],
        [[1, "c", "r", [[5], *[None] * 5]]], [[1, "c", "r", [[-1], *[None] * 5]]],
        [[1, "c", "r", [[1, 2], *[None] * 5]]], [[1, "c", "r", [{}, *[None] * 5]]],
        [[1, "c", "r", [[3], *[None] * 5]]],
    ],
)  # fmt: skip
def test_rejected_rows_that_lie_are_refused(text: Any) -> None:
    with pytest.raises(BadFrameError):
        rejected_of(text, memoryview(b"abcd"))


def test_states_and_settings_come_out_as_they_went_in() -> None:
    for state in (State(None, 0, None), State("it waits", 12, "no Landlock")):
        assert state_of(json.loads(json.dumps(state_text(state)))) == state
    for markets in (None, frozenset[str](), frozenset({"a", "b"})):
        defaults = EventDefaults("market_123", "2024-01-01", markets)
        settings = Settings("/a/b", "/c/b", "relayd_spool", defaults, [-5], ["data.a"])
        assert settings_of(json.loads(json.dumps(settings_text(settings)))) == settings


def test_an_event_of_a_market_that_its_source_may_not_name_is_refused() -> None:
    text, blob = packed(event(market_id=b"market_9"))
    assert checked(text, blob)
    others = EventDefaults("market_123", "2024-01-01")
    with pytest.raises(BadFrameError, match="wrong_market"):
        EventChecks(others).events(text, memoryview(blob), {0: ()})


def test_a_state_brings_no_control_characters_and_no_novel() -> None:
    said = state_of(state_text(State("a\x1b[31m\nb", 0, None)))
    assert said.waits_for == "a?[31m?b"
    with pytest.raises(BadFrameError):
        state_of({"waits_for": "x" * 2001, "undeleted": 0, "unconfined": None})
    assert "\x1b" not in defect_of("a\x1b\nb")
