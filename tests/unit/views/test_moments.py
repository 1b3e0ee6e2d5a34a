"""Times as programs and people read them."""

import time
from collections.abc import Iterator

import pytest

from relayd.views.moments import about, clock_time, iso, short_time

NOW = 1_640_995_200.0  # 2022-01-01T00:00:00Z


@pytest.fixture(autouse=True)
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_for_programs() -> None:
    assert iso(NOW + 0.0625) == "2022-01-01T00:00:00.062Z"
    assert iso(None) is None


def test_for_people() -> None:
    assert clock_time(NOW) == "2022-01-01 01:00:00 CET"
    assert short_time(NOW, NOW + 3600) == "01:00:00"
    assert short_time(NOW, NOW + 86_400) == "Jan 01"
    assert short_time(NOW, NOW + 400 * 86_400) == "2022-01"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1.0, "0s"),
        (0.4, "0s"),
        (59.0, "59s"),
        (59.6, "1m"),
        (60.0, "1m"),
        (119.0, "2m"),
        (3569.0, "59m"),
        (3590.0, "1h"),
        (3600.0, "1h"),
        (86_400.0, "24h"),
        (172_800.0, "2d"),
    ],
)
def test_lengths(seconds: float, text: str) -> None:
    assert about(seconds) == text
