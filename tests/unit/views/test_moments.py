"""Times as people write and read them."""

import time
from collections.abc import Iterator

import pytest

from relayd.cli.moments import parse_moment, parse_seconds
from relayd.views.moments import about, clock_time, iso, short_time

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
        ("yesterday", None),
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


def test_for_programs() -> None:
    assert iso(NOW + 0.0625) == "2022-01-01T00:00:00.062Z"
    assert iso(None) is None


def test_for_people() -> None:
    assert clock_time(NOW) == "2022-01-01 01:00:00"
    assert short_time(NOW, NOW + 3600) == "01:00:00"
    assert short_time(NOW, NOW + 86_400) == "Jan 01"
    assert short_time(NOW, NOW + 400 * 86_400) == "2022-01"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1.0, "0s"),
        (0.4, "0s"),
        (59.0, "59s"),
        (60.0, "1m"),
        (119.0, "2m"),
        (3600.0, "1h"),
        (86_400.0, "24h"),
        (172_800.0, "2d"),
    ],
)
def test_lengths(seconds: float, text: str) -> None:
    assert about(seconds) == text


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
