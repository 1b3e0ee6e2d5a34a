"""Times as people write them on a command line."""

import re
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis.strategies import from_regex

from relayd.config.moments import MOMENT_PATTERN, parse_moment, parse_seconds

NOW = 1_640_995_200.0  # 2022-01-01T00:00:00Z


@pytest.fixture(autouse=True)
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", NOW - 7200),
        ("30d", NOW - 30 * 86_400),
        ("500ms", NOW - 0.5),
        ("2022-01-01T00:00:00Z", NOW),
        ("2022-01-01T01:00", NOW),
        ("2022-01-01", NOW - 3600),
        ("2022-01-01 01:00:30.5", NOW + 30.5),
        ("2021-12-31T19:00-05:00", NOW),
        ("", None),
        ("2", None),
        ("today", NOW - 3600),
        ("yesterday", NOW - 3600 - 86_400),
        ("1h30m", NOW - 5400),
        ("1d2h3m4s", NOW - 86_400 - 7200 - 180 - 4),
        ("1640991600", NOW - 3600),
        ("1640991600.5", NOW - 3599.5),
        ("1640991600000", None),  # milliseconds
        ("30", None),
        ("1h30", None),
        ("1h 30m", None),
        ("tomorrow", None),
        ("nan", None),
        ("1..5h", None),
        ("2022-13-01", None),
        ("0001-01-01", None),
    ],
)
def test_moments(text: str, moment: float | None) -> None:
    found = parse_moment(text, NOW)
    if text == "0001-01-01":  # long before the epoch: a time, or none where the system has none
        assert found is None or found < 0
    else:
        assert found == moment


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1640995200", 1_640_995_200),
        ("1", 1),
        ("2h", int(NOW) - 7200),
        ("2022-01-01T00:00:00.9Z", int(NOW)),
        ("-1", None),
        ("\u0661", None),
        ("soon", None),
    ],
)
def test_seconds_are_given_as_such_or_as_a_moment(text: str, seconds: int | None) -> None:
    assert parse_seconds(text, NOW) == seconds


@given(from_regex(MOMENT_PATTERN, fullmatch=True))
def test_what_matches_the_pattern_is_a_moment(text: str) -> None:
    assert parse_moment(text, 1_800_000_000.0) is not None


@pytest.mark.parametrize(
    "text",
    [
        "2h",
        "1h30m",
        "today",
        "1764219000",
        "2028-02-29",
        "2026-01-31T14:00",
        "2026-12-31T23:59:59.123+05:30",
    ],
)
def test_the_pattern_has_each_form(text: str) -> None:
    assert re.fullmatch(MOMENT_PATTERN, text)


@pytest.mark.parametrize(
    "text", ["", "2026-02-29", "2026-13-01", "30", "2h ", "2h\n", "٢h", "2026-04-31"]
)
def test_the_pattern_has_nothing_else(text: str) -> None:
    assert not re.fullmatch(MOMENT_PATTERN, text)
