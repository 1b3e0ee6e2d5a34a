"""The waits between attempts, and every form of Retry-After."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.core.retry import JITTER, retry_wait_s
from relayd.core.retry_after import MAX_RETRY_AFTER_S, parse_retry_after

DEFAULT = (120.0, 600.0, 2700.0, 14_400.0, 68_400.0)
NOW = 1_700_000_000.0
AT_NOW = datetime.fromtimestamp(NOW, UTC)


def test_each_step_has_its_wait_and_then_none_is_left() -> None:
    assert [retry_wait_s(DEFAULT, step, 0.0) for step in range(7)] == [*DEFAULT, None, None]
    assert retry_wait_s((), 0, 0.5) is None


@given(st.sampled_from(range(len(DEFAULT))), st.floats(-1, 1))
def test_jitter_shifts_a_wait_by_a_tenth_at_most(step: int, jitter: float) -> None:
    wait_s = retry_wait_s(DEFAULT, step, jitter)
    assert wait_s is not None
    assert 0.9 * DEFAULT[step] <= wait_s <= 1.1 * DEFAULT[step] * (1 + 1e-12)


def test_jitter_reaches_both_sides() -> None:
    assert retry_wait_s((100.0,), 0, 1.0) == pytest.approx(100 * (1 + JITTER))
    assert retry_wait_s((100.0,), 0, -1.0) == pytest.approx(100 * (1 - JITTER))
    assert retry_wait_s((100.0,), 0, 0.5) == pytest.approx(105)


@given(st.lists(st.floats(-1, 1), min_size=5, max_size=5))
def test_the_default_is_six_attempts_over_a_day(jitters: list[float]) -> None:
    waits = [retry_wait_s(DEFAULT, step, jitter) for step, jitter in enumerate(jitters)]
    total_s = sum(wait for wait in waits if wait is not None)
    assert 0.9 * 86_000 <= total_s <= 1.1 * 86_400


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 120\t", 120),
        ("86400", 86_400),
        ("86401", 86_400),
        ("99999", 86_400),
        ("100000", 86_400),
        ("1000000000", 86_400),
        ("9" * 5000, 86_400),
        # Leading zeros are digits too, however many.
        ("0000000120", 120),
        ("0" * 5000 + "120", 120),
        ("0" * 5000, 0),
        # Discord's has a fraction.
        ("1.337", 1.337),
        ("0.25", 0.25),
        ("64.0", 64),
        ("86400." + "9" * 5000, 86_400),
    ],
)
def test_seconds(value: str, seconds: float) -> None:
    assert parse_retry_after(value, NOW) == seconds


@given(st.integers(0, 10**12), st.integers(0, 12))
def test_any_number_of_seconds(seconds: int, zeros: int) -> None:
    expected = min(seconds, MAX_RETRY_AFTER_S)
    assert parse_retry_after("0" * zeros + str(seconds), NOW) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "soon",
        "-5",
        "+5",
        "120.",
        ".5",
        "1.5.5",
        "0" * 50_000 + "x",
        "1e3",
        "0x10",
        "12 0",
        "٣",
        "²",
        "1:30",
        "Mon",
        "Mon, 99 Foo 2024 99:99:99 GMT",
        "Sun, 06 Nov 99999 08:49:37 GMT",
        "Sun, 06 Nov 2024 08:49:37 +99999999999",
        ",",
        "\x00",
        "\udcff",
    ],
)
def test_what_is_neither(value: str) -> None:
    assert parse_retry_after(value, NOW) is None


@pytest.mark.parametrize(
    ("shift_s", "seconds"),
    [
        (90, 90),
        (0, 0),
        (-90, 0),
        (86_399, 86_399),
        (86_401, 86_400),
        (10**9, 86_400),
        (-(10**9), 0),
    ],
)
def test_dates(shift_s: int, seconds: float) -> None:
    value = format_datetime(AT_NOW + timedelta(seconds=shift_s), usegmt=True)
    assert parse_retry_after(value, NOW) == seconds


def test_rfc_9110s_own_forms_of_a_date() -> None:
    """Section 5.6.7 names three, and a recipient must take them all."""
    # All three are Sunday, 6 November 1994, 08:49:37 GMT.
    now = datetime(1994, 11, 6, 8, 48, 37, tzinfo=UTC).timestamp()
    for value in (
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ):
        assert parse_retry_after(value, now) == 60


def test_a_date_without_a_zone_is_utc() -> None:
    value = format_datetime(AT_NOW + timedelta(seconds=60)).replace("+0000", "-0000")
    assert parse_retry_after(value, NOW) == 60


def test_a_date_in_another_zone() -> None:
    assert parse_retry_after("Tue, 14 Nov 2023 23:14:20 +0100", NOW) == 60


date_like = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Mon", "Monday", ""]),
    st.integers(-1, 99),
    st.sampled_from(["Jan", "Feb", "1", ""]),
    st.integers(-1, 99_999),
    st.integers(-1, 99),
    st.integers(-1, 99),
    st.integers(-1, 99),
    st.sampled_from(["GMT", "-0000", "EST", ""]) | st.integers(-(10**12), 10**12).map(str),
)


@given(
    st.text() | st.text(alphabet='MonJan ,:+-.0123456789GT()\\"\r\n') | date_like,
    st.floats(0, 4e9),
)
def test_no_header_breaks_it_or_asks_for_more_than_a_day(value: str, now: float) -> None:
    wait_s = parse_retry_after(value, now)
    assert wait_s is None or 0 <= wait_s <= MAX_RETRY_AFTER_S
