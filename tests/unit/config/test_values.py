"""Durations, sizes and rates, there and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.config.values import (
    format_duration,
    format_size,
    parse_duration,
    parse_mode,
    parse_rate,
    parse_size,
)
from relayd.core.token_bucket import Rate


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10.0),
        ("2m", 120.0),
        ("4h", 14_400.0),
        ("30d", 2_592_000.0),
        ("1.5h", 5400.0),
        ("500ms", 0.5),
        ("0s", 0.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "10",
        "s",
        "10 s",
        "10S",
        "-1s",
        "1h30m",
        "1e3s",
        ".5s",
        "5.s",
        "\N{ARABIC-INDIC DIGIT THREE}s",
        "1s\n",
        "9" * 5000 + "s",
        "1 min",
        "10sec",
        "infs",
    ],
)
def test_what_is_no_duration(text: str) -> None:
    assert parse_duration(text) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.5, "500ms"),
        (1.5, "1.5s"),
        (10.0, "10s"),
        (90.0, "90s"),
        (120.0, "2m"),
        (2700.0, "45m"),
        (68_400.0, "19h"),
        (86_400.0, "1d"),
        (93_784.0, "93784s"),
        (2_592_000.0, "30d"),
    ],
)
def test_durations_as_people_read_them(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(min_value=0, max_value=10**12))
def test_what_is_formatted_parses_to_the_same(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/min", Rate(100, 60.0)),
        ("5/s", Rate(5, 1.0)),
        ("1000/h", Rate(1000, 3600.0)),
        ("1/d", Rate(1, 86_400.0)),
    ],
)
def test_rates(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate
    assert str(rate) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "100",
        "0/s",
        "-1/s",
        "1.5/s",
        "100/m",
        "100 / min",
        "/min",
        "100/",
        "1000001/s",
        "9" * 5000 + "/s",
        "100/min ",
    ],
)
def test_what_is_no_rate(text: str) -> None:
    assert parse_rate(text) is None


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10MB", 10_000_000),
        ("1.5GB", 1_500_000_000),
        ("0MB", 0),
        ("10", None),
        ("10 MB", None),
        ("10mb", None),
        ("10KB", None),
        ("-1GB", None),
        ("9" * 5000 + "GB", None),
        ("unlimited", None),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (20_000, "20 KB"), (1.5e6, "2 MB"), (1.25e9, "1.2 GB")],
)
def test_sizes_in_words(size: float, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("0660", 0o660),
        ("600", 0o600),
        ("0777", 0o777),
        ("0400", None),
        ("0060", None),
        ("0o660", None),
        ("00660", None),
        ("0680", None),
        ("", None),
    ],
)
def test_modes(text: str, mode: int | None) -> None:
    assert parse_mode(text) == mode
