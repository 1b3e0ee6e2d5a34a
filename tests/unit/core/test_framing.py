"""NDJSON framing: the same lines whatever pieces the bytes arrive in."""

from hypothesis import given
from hypothesis import strategies as st

from relayd.core.framing import LineReader, TooLong

LIMIT = 8


def _whole(data: bytes) -> list[bytes | TooLong]:
    *complete, _ = data.split(b"\n")
    return [TooLong() if len(line) > LIMIT else line.removesuffix(b"\r") for line in complete]


@given(
    data=st.lists(st.sampled_from([b"a", b"\n", b"\r", b"xyz", b"\n\n"])).map(b"".join),
    cuts=st.data(),
)
def test_lines_do_not_depend_on_the_pieces(data: bytes, cuts: st.DataObject) -> None:
    reader = LineReader(LIMIT)
    lines: list[bytes | TooLong] = []
    rest = data
    while rest:
        size = cuts.draw(st.integers(1, len(rest)))
        lines += reader.feed(rest[:size])
        rest = rest[size:]
    assert lines == _whole(data)


def test_a_line_at_the_limit_passes_and_one_above_does_not() -> None:
    assert LineReader(4).feed(b"abcd\nabcde\nab\n") == [b"abcd", TooLong(), b"ab"]


def test_a_line_without_end_is_not_kept() -> None:
    reader = LineReader(1024)
    for _ in range(1000):
        assert reader.feed(b"x" * 1024) == []
        assert reader.held <= 1024
    assert reader.feed(b"\nok\n") == [TooLong(), b"ok"]


def test_lines_are_taken_in_batches() -> None:
    reader = LineReader(1024)
    reader.push(b"\n" * 1000 + b"part")
    assert reader.held == 1004
    assert reader.take(600) == [b""] * 600
    assert reader.held == 404
    assert reader.take(600) == [b""] * 400
    assert reader.take(600) == []
    assert reader.partial
    assert reader.held == 4
    reader.push(b"\n")
    assert reader.take(1) == [b"part"]
    assert not reader.partial
