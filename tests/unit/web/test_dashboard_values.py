"""What pages are made of: text, sessions, filters, and charts."""

from types import SimpleNamespace

import pytest
from starlette.datastructures import QueryParams
from starlette.requests import Request

from relayd.queue.overview_values import Hour
from relayd.web.dashboard import filters
from relayd.web.dashboard.charts import distribution, spark, stack
from relayd.web.dashboard.display import badge, lines, prose, short, visible
from relayd.web.dashboard.sessions import IDLE_S, LONGEST_S, MOST, Sessions
from relayd.web.dashboard.visitor import COOKIE, SECURE_COOKIE, cookie_name


def test_text_cannot_change_what_is_around_it() -> None:
    assert visible("a\u202eb\x1b[1m") == "a\\u202eb\\x1b[1m"
    assert visible("👩\u200d👧 سلام") == "👩\u200d👧 سلام"
    assert short("x" * 1_000_000, 10) == "x" * 10 + "…"
    assert lines("a\r\nb\u2066") == "a\nb\\u2066"


def test_a_sentence_with_a_script_stays_text() -> None:
    assert prose("<script>`relayd retry a`</script>") == (
        "&lt;script&gt;<code>relayd retry a</code>&lt;/script&gt;"
    )
    assert "<b>" not in badge("<b>")


def test_a_session_ends_when_it_is_not_used_and_after_a_week() -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    key = sessions.begin("digest")
    assert sessions.find(key) is not None
    assert sessions.find(key + "x") is None
    now[0] = IDLE_S + 1
    assert sessions.find(key) is None
    key = sessions.begin("digest")
    while now[0] < LONGEST_S + 1:
        now[0] += IDLE_S / 2
        found = sessions.find(key)
    assert now[0] > LONGEST_S
    now[0] += IDLE_S * 2
    assert sessions.find(key) is None
    assert found is None or now[0] < 2 * LONGEST_S


def test_a_page_that_is_left_open_keeps_no_session() -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    key = sessions.begin("digest")
    for _ in range(100):
        now[0] += IDLE_S / 100
        assert sessions.find(key, used=False) is not None
    now[0] += 1
    assert sessions.find(key, used=False) is None


@pytest.mark.parametrize(
    ("base_url", "host", "name"),
    [
        ("https://relay.example", "relay.example", SECURE_COOKIE),
        ("https://relay.example:443", "relay.example", SECURE_COOKIE),
        ("https://Relay.example", "relay.example:443", SECURE_COOKIE),
        ("https://relay.example:8443", "relay.example:8443", SECURE_COOKIE),
        ("https://relay.example:8443", "relay.example", COOKIE),
        ("https://relay.example", "127.0.0.1:8787", COOKIE),
        ("http://relay.example", "relay.example", COOKIE),
        (None, "", COOKIE),
    ],
)
def test_the_cookie_is_for_https_where_the_browser_came_by_it(
    base_url: str | None, host: str, name: str
) -> None:
    access = SimpleNamespace(base_url=base_url)
    state = SimpleNamespace(followed=SimpleNamespace(document=SimpleNamespace(access=access)))
    scope = {
        "type": "http",
        "headers": [(b"host", host.encode())],
        "app": SimpleNamespace(state=state),
    }
    assert cookie_name(Request(scope)) == name


def test_sessions_are_bounded_and_end_by_logging_out() -> None:
    sessions = Sessions()
    keys = [sessions.begin("digest") for _ in range(MOST + 1)]
    assert sessions.find(keys[0]) is None
    assert sessions.find(keys[-1]) is not None
    sessions.end(keys[-1])
    assert sessions.find(keys[-1]) is None


def test_who_logs_in_without_end_ends_nobody_elses_session() -> None:
    sessions = Sessions()
    operator = sessions.begin("the operator's")
    first = sessions.begin("a reader's")
    for _ in range(MOST):
        last = sessions.begin("a reader's")
    assert sessions.find(operator) is not None
    assert sessions.find(first) is None
    assert sessions.find(last) is not None


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("type=order..x", "not a pattern"),
        ("state=lost", "no such state"),
        ("since=soon", "not a time"),
        ("until=soon", "not a time"),
    ],
)
def test_a_bad_field_is_left_out_and_said(query: str, said: str) -> None:
    asked, problems = filters.read(QueryParams(query))
    assert said in problems[0]
    assert not asked.any


def test_a_page_keeps_its_filter() -> None:
    asked, _ = filters.read(QueryParams("state=held&object=a%26b&before=dlv_1"))
    assert asked.page_before("dlv_2") == "state=held&object=a%26b&before=dlv_2"
    assert asked.first_page() == "state=held&object=a%26b"


def test_a_spark_has_a_column_an_hour_and_shows_the_smallest_count() -> None:
    now = 1_700_000_000.0
    hour = int(now) // 3600 * 3600
    drawn = spark([Hour(hour, 999, 1), Hour(hour - 25 * 3600, 5, 5)], now)
    assert len(drawn.columns) == 24
    last = drawn.columns[-1]
    assert (last.no, last.ok, last.no_y) == (2.0, 28.0, 0.0)
    assert all(each.ok == each.no == 0 for each in drawn.columns[:-1])
    assert drawn.words == "999 succeeded and 1 failed in 24 hours"
    assert spark([], now).words == "No attempts in 24 hours"


def test_a_stack_names_few_causes_and_sums_up_the_rest() -> None:
    counts = [(0, f"cause {number}", 10 - number) for number in range(8)]
    drawn = stack(counts, 0, str)
    assert drawn.names == ("cause 0", "cause 1", "cause 2", "cause 3", "other")
    assert drawn.most == sum(count for _, _, count in counts)
    assert drawn.blocks[-1].words == "0: 18 other"
    assert stack([], 0, str).blocks == ()


def test_a_distribution_has_a_bar_for_each_doubling() -> None:
    drawn = distribution({0: 1, 4: 2, 12: 4})
    assert [each.words for each in drawn.blocks] == [
        "1 within 1 ms",
        "2 within 2 ms",
        "4 within 8 ms",
    ]
    assert distribution({}).blocks == ()
