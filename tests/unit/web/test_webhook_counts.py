"""What is counted of inbound webhooks, and how often a refusal is logged."""

import time

import pytest

from relayd.web.webhook_counts import LOGGED_EVERY_S, Result, WebhookCounts


def test_each_entry_has_each_result_and_no_other_entry_is_there() -> None:
    counts = WebhookCounts()
    counts.add("stripe", Result.ACCEPTED)
    counts.add("gone", Result.REFUSED)
    found = counts.of(["stripe", "mailgun"])
    assert set(found) == {"stripe", "mailgun"}
    assert found["stripe"]["accepted"] == 1
    assert set(found["mailgun"].values()) == {0}
    assert set(found["mailgun"]) == {each.value for each in Result}


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("refused", "refused"),
        ("too_large", "too_large"),
        ("defect", "unavailable"),
        ("", "unavailable"),
    ],
)
def test_a_problem_is_counted_as_what_it_is(code: str, result: str) -> None:
    assert Result.of_problem(code) == result


def test_a_kind_of_refusal_is_logged_once_a_minute_with_how_many_there_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    counts = WebhookCounts()
    assert counts.refused("stripe", "stale") == 1
    assert [counts.refused("stripe", "stale") for _ in range(5)] == [None] * 5
    assert counts.refused("stripe", "wrong_signature") == 1
    assert counts.refused("mailgun", "stale") == 1
    now += LOGGED_EVERY_S
    assert counts.refused("stripe", "stale") == 6
