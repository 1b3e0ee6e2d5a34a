"""Events out of lines and rows: what is accepted, what is refused, and what is said of it."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.core.event import (
    MAX_BODY_BYTES,
    MAX_INPUT_BYTES,
    Column,
    Event,
    EventDefaults,
    Rejection,
    SpoolRow,
)
from relayd.core.event_fields import MAX_CREATED
from relayd.core.event_input import event_from_line, event_from_row, own_event
from relayd.core.js_json import MAX_DEPTH, parse_json
from relayd.core.json_text import stringify

DEFAULTS = EventDefaults("market_123", "2024-01-01", None)
BOUND = EventDefaults("market_123", "2024-01-01", frozenset({"market_é"}))
ROW = SpoolRow(
    seq=1,
    id=b"evt_1",
    type=b"order.created",
    data=b'{"object":{"id":"order_456"}}',
    created=1640995200,
    market_id=None,
    api_version=None,
)


def from_line(line: bytes | dict[str, Any]) -> Event | Rejection:
    raw = line if isinstance(line, bytes) else json.dumps(line).encode()
    return event_from_line(raw, DEFAULTS, new_id="evt_new", now=1_700_000_000)


def from_row(**changes: Column) -> Event | Rejection:
    return event_from_row(replace(ROW, **changes), DEFAULTS, now=1_700_000_000)  # type: ignore[arg-type]  # all columns


def event(read: Event | Rejection) -> Event:
    assert isinstance(read, Event), read
    return read


def rejection(read: Event | Rejection) -> Rejection:
    assert isinstance(read, Rejection), read
    return read


def test_a_whole_line_becomes_an_event_in_the_contracts_order() -> None:
    read = event(
        from_line(
            b'{"api_version":"2025-02-02","data":{"object":{"total":42.50}},"market_id":"m\\u00e9",'
            b'"created":1640995200.0,"type":"order.created","id":"evt:A-1_"}'
        )
    )
    assert (
        read.body
        == (
            '{"id":"evt:A-1_","type":"order.created","created":1640995200,'
            '"data":{"object":{"total":42.5}},"market_id":"mé","api_version":"2025-02-02"}'
        ).encode()
    )
    assert read.envelope == json.loads(read.body)
    assert list(read.envelope) == list(json.loads(read.body))
    assert read.digest == hashlib.sha256(b'order.created\0{"object":{"total":42.5}}').digest()
    assert read.unfaithful == ()


@pytest.mark.parametrize(
    "absent", ["", ',"id":null,"created":null,"market_id":null,"api_version":null']
)
def test_absent_and_null_keys_take_the_defaults(absent: str) -> None:
    read = event(from_line(f'{{"type":"a.b","data":{{}}{absent}}}'.encode()))
    assert read.body == (
        b'{"id":"evt_new","type":"a.b","created":1700000000,"data":{},'
        b'"market_id":"market_123","api_version":"2024-01-01"}'
    )


def test_half_of_an_emoji_is_kept_as_javascript_prints_it_and_named() -> None:
    data = b'{"object":{"text":"cut \\uD83E"}}'
    row = event(from_row(data=data))
    assert b'"data":{"object":{"text":"cut \\ud83e"}},' in row.body
    assert row.unfaithful == ("data.object.text",)
    line = event(from_line(b'{"id":"evt_1","type":"order.created","data":' + data + b"}"))
    assert (line.digest, line.unfaithful) == (row.digest, row.unfaithful)
    # SQLite's own text with the bytes of a surrogate is not UTF-8.
    assert rejection(from_row(data=b'{"a":"\xed\xa0\xbe"}')).code == "invalid_text"


@pytest.mark.parametrize("named", [None, "market_123", "market_é"])
def test_a_source_takes_its_own_and_its_allowed_markets(named: str | None) -> None:
    raw = None if named is None else named.encode()
    row = event(event_from_row(replace(ROW, market_id=raw), BOUND, now=1))
    line = json.dumps({"type": "a.b", "data": {}, "market_id": named}).encode()
    read = event(event_from_line(line, BOUND, new_id="evt_1", now=1))
    assert row.market_id == read.market_id == (named or "market_123")


@pytest.mark.parametrize("named", ["market_124", "market_123 ", "*", "m\x7f", "MARKET_123"])
def test_another_market_is_rejected_with_the_way_to_allow_it(named: str) -> None:
    row = rejection(event_from_row(replace(ROW, market_id=named.encode()), BOUND, now=1))
    line = json.dumps({"type": "a.b", "data": {}, "market_id": named}).encode()
    read = rejection(event_from_line(line, BOUND, new_id="evt_1", now=1))
    assert row == read
    assert row.code == ("invalid_market_id" if "\x7f" in named else "wrong_market")
    assert "\x7f" in named or "markets:" in row.reason


def test_a_row_becomes_the_same_event_as_a_line() -> None:
    line = {"id": "evt_1", "type": "order.created", "created": 1640995200}
    line_read = event(from_line({**line, "data": {"object": {"id": "order_456"}}}))
    assert from_row() == line_read
    assert from_row(market_id=b"m", api_version=b"v", created=None) == event(
        from_line(
            {
                "id": "evt_1",
                "type": "order.created",
                "data": {"object": {"id": "order_456"}},
                "market_id": "m",
                "api_version": "v",
            }
        )
    )


def test_the_digest_tells_content_apart_and_nothing_else() -> None:
    read = event(from_row())
    same = event(
        from_row(
            id=b"evt_2",
            created=5,
            market_id=b"m",
            api_version=b"v",
            data=b' { "object" : {"id":"order_45\\u0036"} } ',
        )
    )
    assert same.digest == read.digest
    assert event(from_row(type=b"order.updated")).digest != read.digest
    assert event(from_row(data=b'{"object":{"id":"order_457"}}')).digest != read.digest


def test_what_javascript_cannot_carry_is_named_from_the_events_top() -> None:
    data = b'{"n":9007199254740993,"x":[1e400],"d":1,"d":2}'
    names = ("data.d", "data.n", "data.x.0")
    row = event(from_row(data=data))
    assert row.unfaithful == names
    line = event(from_line(b'{"type":"a.b","id":"1","id":"2","data":' + data + b"}"))
    assert line.unfaithful == ("id", *names)
    assert b'"data":{"n":9007199254740993,"x":[1e400],"d":2}' in line.body
    assert line.id == "2"


def test_payloads_stand_in_no_repr() -> None:
    assert "order_456" not in repr(event(from_row()))
    assert "order_456" not in repr(ROW)


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        (b"", "invalid_json", "line 1, column 1"),
        (b"{", "invalid_json", "line 1, column 2"),
        (b'{"type":"a.b","data":{"n":NaN}}', "invalid_json", "NaN"),
        (b'{"type":"a.b","data":{"n":"\xff"}}', "invalid_text", "not valid UTF-8 from byte 27 on"),
        (b'{"type":"a.b","data":{"n":"\xed\xa0\x80"}}', "invalid_text", "not valid UTF-8"),
        (b'{"type":"a.b","data":{"n":"\xed\xa0\xbe"}}', "invalid_text", "UTF-8"),
        (b'{"type":"a.b","data":{},"market_id":"m\\ud800"}', "invalid_market_id", "unprintable"),
        (b'{"type":"a.b","data":{},"api_version":"\\ud800"}', "invalid_api_version", "text"),
        (b'{"type":"a.b","data":{},"id":"e\\ud800"}', "invalid_id", "digits"),
        (b'{"type":"a.b","data":{},"\\ud800":1}', "unknown_key", "'\\ud800'"),
        (b'{"type":"a.b","data":{},"created":1640995200000}', "invalid_created", "milliseconds"),
        (b'{"type":"a.b","data":{},"created":1640995200000.0}', "invalid_created", "milliseconds"),
        (b"[" * 1_000_000, "too_deep", "128"),
        (b"[]", "not_an_object", "holds a list"),
        (b"null", "not_an_object", "holds null"),
        (b"1", "not_an_object", "holds a number"),
        (b"true", "not_an_object", "holds true or false"),
        (b'"secret"', "not_an_object", "holds text"),
        (b'{"typ":"a.b","data":{}}', "unknown_key", "did you mean type?"),
        (b'{"type":"a.b","object":{}}', "unknown_key", "an event has id, type, created, data"),
        (b'{"type":"a.b","data":{},"\\u001b[1m":0}', "unknown_key", "'\\x1b[1m'"),
        (b'{"data":{}}', "missing_key", "no type"),
        (b'{"type":null,"data":{}}', "missing_key", "no type"),
        (b'{"type":"a.b"}', "missing_key", "no data"),
        (b'{"type":"a.b","data":null}', "missing_key", "no data"),
        (b'{"type":"a.b","data":[]}', "invalid_data", "data is a list"),
        (b'{"type":"a.b","data":"{}"}', "invalid_data", "data is text"),
        (b'{"type":"a.b","data":7}', "invalid_data", "data is a number"),
    ],
)
def test_lines_that_are_no_events_are_refused(line: bytes, code: str, words: str) -> None:
    read = rejection(from_line(line))
    assert read.code == code
    assert words in read.reason
    assert "secret" not in read.reason


GOOD_IDS = ["a", "9", "-", "_", ":", "evt_1", "A:b-C_9", "x" * 128]
BAD_IDS: list[Any] = ["", "a.b", "a b", "é", "٣", "a\n", "a\0", "x" * 129, 7, True, [], {}]
GOOD_TYPES = ["a", "a.b", "order.created", "a1_.b_2.c", "relayd", "relaydx.y", "x" * 128]
BAD_TYPES: list[Any] = [
    "", ".", "a.", ".a", "a..b", "A.b", "a.B", "1a", "a.1", "_a", "a-b", "a b", "a.b\n", "é", "order.*",
    "relayd.endpoint.failing", "relayd.x", "x" * 129, 7, False, [], {},
]  # fmt: skip
GOOD_CREATED: list[Any] = [0, 1, 1640995200, 1640995200.0, MAX_CREATED]
BAD_CREATED: list[Any] = [-1, MAX_CREATED + 1, 1.5, 1e300, 10**400, "1640995200", True, [], {}]
GOOD_LABELS = ["m", "market 123", "é🍅", "x" * 256]
BAD_LABELS: list[Any] = ["", "a\nb", "a\0", "\x7f", "\x85", "x" * 257, 7, True, [], {}]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("id", value) for value in GOOD_IDS),
        *(("type", value) for value in GOOD_TYPES),
        *(("created", value) for value in GOOD_CREATED),
        *(("market_id", value) for value in GOOD_LABELS),
        *(("api_version", value) for value in GOOD_LABELS),
    ],
)
def test_good_values_are_taken(key: str, value: Any) -> None:
    read = event(from_line({"type": "a.b", "data": {}, key: value}))
    assert json.loads(read.body)[key] == value
    column = value.encode() if isinstance(value, str) else value
    assert event(from_row(**{key: column})).envelope[key] == value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("id", value) for value in BAD_IDS),
        *(("type", value) for value in BAD_TYPES),
        *(("created", value) for value in BAD_CREATED),
        *(("market_id", value) for value in BAD_LABELS),
        *(("api_version", value) for value in BAD_LABELS),
    ],
)
def test_bad_values_are_refused(key: str, value: Any) -> None:
    line = (
        json.dumps({"type": "a.b", "data": {}} | {key: value})
        if value != 10**400
        else ('{"type":"a.b","data":{},"created":1e400}')
    )
    read = rejection(from_line(line.encode()))
    assert read.code == f"invalid_{key}"
    assert read.reason.isprintable()
    assert len(read.reason) < 300
    if isinstance(value, str):
        assert rejection(from_row(**{key: value.encode()})) == read
    elif isinstance(value, int | float) and value != 10**400:
        assert rejection(from_row(**{key: value})).code == f"invalid_{key}"


def test_of_several_faults_the_first_in_key_order_is_told() -> None:
    bad: dict[str, Any] = {
        "api_version": "", "market_id": "", "data": 1, "created": -1, "type": "A", "id": ""
    }  # fmt: skip
    codes = []
    for key in ("id", "type", "created", "data", "market_id", "api_version"):
        codes.append(rejection(from_line(bad)).code)
        bad[key] = {"type": "a.b", "data": {}}.get(key)
    assert codes == [
        f"invalid_{key}" for key in ("id", "type", "created", "data", "market_id", "api_version")
    ]
    event(from_line(bad))


def test_only_the_beginning_of_a_bad_name_is_shown() -> None:
    for line in (
        {"type": "X" * 5000, "data": {}},
        {"X" * 5000: 1},
        {"type": "a", "id": "." * 5000},
    ):
        reason = rejection(from_line(line)).reason
        assert "…" in reason
        assert len(reason) < 300


@pytest.mark.parametrize("key", ["id", "type", "data", "market_id", "api_version"])
def test_text_of_a_row_that_is_no_utf8_is_refused(key: str) -> None:
    read = rejection(from_row(**{key: b"a\xff"}))
    assert read.code == "invalid_text"
    assert f"the row's {key} is not valid UTF-8 from byte 1 on" in read.reason


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"id": None}, "missing_key"),
        ({"type": None}, "missing_key"),
        ({"data": None}, "missing_key"),
        ({"data": b'{"a":1}\0'}, "invalid_json"),
        ({"data": b'{"a":"\0"}'}, "invalid_json"),
        ({"data": b""}, "invalid_json"),
        ({"data": b"[]"}, "invalid_data"),
        ({"data": b"null"}, "missing_key"),
        ({"data": b"1e400"}, "invalid_data"),
        ({"data": 5}, "invalid_data"),
        ({"data": 1.5}, "invalid_data"),
        ({"created": b"2024-01-01"}, "invalid_created"),
        ({"created": float("inf")}, "invalid_created"),
        ({"created": float("nan")}, "invalid_created"),
        ({"created": -(2**63)}, "invalid_created"),
    ],
)
def test_rows_that_are_no_events_are_refused(changes: dict[str, Column], code: str) -> None:
    assert rejection(from_row(**changes)).code == code


def filled(size: int, character: str = "x") -> dict[str, Any]:
    """Return the keys of an event whose body has `size` bytes."""
    keys: dict[str, Any] = {"id": "evt_1", "type": "a.b", "created": 1, "data": {"text": ""}}
    space = size - len(event(from_line(keys)).body)
    count, rest = divmod(space, len(character.encode()))
    keys["data"]["text"] = character * count + "x" * rest
    return keys


@pytest.mark.parametrize("character", ["x", "é", "市", "🍅", '"', "\n"])
def test_a_body_at_the_limit_is_taken_and_one_above_it_is_not(character: str) -> None:
    # Quotes and newlines take two bytes each.
    printed = stringify(character)[1:-1]
    keys = filled(MAX_BODY_BYTES, character if len(character.encode()) > 1 else "x")
    if printed != character:
        space = len(keys["data"]["text"])
        keys["data"]["text"] = character * (space // 2) + "x" * (space % 2)
    for dump in (json.dumps(keys), stringify(keys)):
        assert len(event(from_line(dump.encode())).body) == MAX_BODY_BYTES
    data = stringify(keys["data"]).encode()
    assert len(event(from_row(data=data, type=b"a.b", created=1)).body) == MAX_BODY_BYTES
    keys["data"]["text"] += "x"
    read = rejection(from_line(keys))
    assert read.code == "too_large"
    assert "1048577" in read.reason
    data = stringify(keys["data"]).encode()
    assert rejection(from_row(data=data, type=b"a.b", created=1)).code == "too_large"


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":[' + b"{}," * 500_000 + b"{}]}",
        b'{"a":"' + b"x" * MAX_INPUT_BYTES + b'"}',
        b" " * (MAX_INPUT_BYTES + 1),
    ],
)
def test_what_cannot_fit_is_refused_before_it_is_parsed(data: bytes) -> None:
    assert rejection(from_row(data=data)).code == "too_large"
    assert rejection(from_line(b'{"type":"a.b","data":' + data + b"}")).code == "too_large"


def test_a_row_and_a_line_have_the_same_depth() -> None:
    levels = MAX_DEPTH - 2
    for extra, taken in ((0, True), (1, False)):
        data = b'{"a":' + b"[" * (levels + extra) + b"]" * (levels + extra) + b"}"
        row = from_row(data=data)
        line = from_line(b'{"type":"a.b","data":' + data + b"}")
        assert isinstance(row, Event) is isinstance(line, Event) is taken
        if isinstance(row, Rejection):
            assert row.code == "too_deep"


def own(event_type: str, data: dict[str, Any]) -> Event:
    return own_event(event_type, data, event_id="evt_1", created=5, defaults=DEFAULTS)


def test_relayds_own_events() -> None:
    read = own("relayd.endpoint.failing", {"object": {"failures": 3}})
    assert read.body == (
        b'{"id":"evt_1","type":"relayd.endpoint.failing","created":5,'
        b'"data":{"object":{"failures":3}},"market_id":"market_123","api_version":"2024-01-01"}'
    )
    assert rejection(from_line(read.body)).code == "invalid_type"


def test_relayds_own_events_take_any_text() -> None:
    read = own("relayd.x", {"path": "/srv/\udcff.db"})
    assert read.data == {"path": "/srv/?.db"}
    assert read.envelope == json.loads(read.body)


def test_relayds_own_events_must_be_right() -> None:
    for event_type in ("order.created", "relayd.", "relayd"):
        with pytest.raises(ValueError, match="the type is"):
            own(event_type, {})
    with pytest.raises(ValueError, match="1 MiB"):
        own("relayd.x", {"text": "x" * MAX_BODY_BYTES})


@given(st.binary(max_size=80))
def test_no_line_raises(line: bytes) -> None:
    rejection(from_line(line))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)
key_names = st.sampled_from(["id", "type", "created", "data", "market_id", "api_version"])


@given(
    st.dictionaries(key_names | st.text(max_size=8), json_values, max_size=7),
    st.booleans(),
)
def test_any_json_is_an_event_or_refused_in_printable_words(
    keys: dict[str, Any], typed: bool
) -> None:
    if typed:
        keys = {**keys, "type": "order.created", "data": {"object": keys}}
    read = from_line(keys)
    if isinstance(read, Rejection):
        assert read.reason.isprintable()
    else:
        check_body(read)


columns = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.binary(max_size=20)
json_columns = json_values.map(lambda value: json.dumps({"a": value}).encode())


@given(columns, columns | json_columns, columns, columns | st.sampled_from([b"a.b"]))
def test_no_row_raises(event_id: Column, data: Column, other: Column, kind: Column) -> None:
    row = SpoolRow(1, event_id, kind, data, other, other, other)
    read = event_from_row(row, DEFAULTS, now=1)
    assert isinstance(read, Event) or read.reason.isprintable()


@given(json_columns)
def test_every_rows_body_is_what_it_says(data: bytes) -> None:
    read = from_row(data=data)
    if isinstance(read, Event):
        check_body(read)
    else:
        assert read.code in {"invalid_json", "invalid_text"}


def check_body(read: Event) -> None:
    """A body holds its event, and handed over again it becomes the same event."""
    parsed = parse_json(read.body.decode())
    assert not hasattr(parsed, "code")
    assert stringify(read.envelope).encode() == read.body
    again = event(from_line(read.body))
    assert again.body == read.body
    assert again.digest == read.digest
