"""The sentence with which `status` begins, and what of it is an alarm."""

from dataclasses import replace

import pytest

from relayd.core.absence import Absence
from relayd.core.summary import Facts, alarm_line, concerns, standing, summary

WELL = Facts(
    absence=None,
    endpoints=5,
    failing=0,
    waiting_sources=(),
    reserve_in_use=False,
    exhausted=0,
    exhausted_since=0,
    gone=(),
    held=0,
    held_back=0,
    troubled=0,
    rejected=0,
    rejected_since=0,
    not_in_force=None,
    pending=0,
    unheld=0,
)


def test_all_is_well() -> None:
    assert summary(WELL) == "All well: 5 endpoints, nothing pending"
    assert (
        summary(replace(WELL, endpoints=1, pending=1_200)) == "All well: 1 endpoint, 1,200 pending"
    )
    assert alarm_line(WELL, "24h") is None


def test_a_line_that_begins_with_a_judgement_has_no_second_one() -> None:
    assert standing(replace(WELL, pending=3, unheld=3)) == "5 endpoints, 3 pending"
    old = replace(WELL, exhausted=9)
    assert standing(old) == summary(old) == "9 exhausted"


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (
            replace(WELL, absence=Absence.NOT_RUNNING, pending=12, unheld=12),
            "relayd is not running, 12 pending",
        ),
        (
            replace(WELL, failing=1, not_in_force="a changed", pending=1_200, unheld=1_200),
            "1 of 5 endpoints failing, a changed, 1,200 pending",
        ),
        # What is held is said as held, and is not counted twice.
        (replace(WELL, held=2, pending=5, unheld=3), "2 held, 3 pending"),
        (replace(WELL, held=2, pending=2), "2 held"),
        (replace(WELL, gone=("books",), pending=2), "books held by 410 Gone"),
    ],
)
def test_what_is_pending_is_said_beside_what_is_wrong(facts: Facts, sentence: str) -> None:
    assert summary(facts) == sentence
    line = alarm_line(facts, "24h")
    assert line is None or "pending" not in line


def test_a_receiver_that_has_just_failed_is_no_alarm_and_not_well() -> None:
    facts = replace(WELL, troubled=1, pending=3, unheld=3)
    assert summary(facts) == "last attempt failed at 1 of 5 endpoints, 3 pending"
    assert alarm_line(facts, "24h") is None


def test_the_worst_comes_first() -> None:
    bad = replace(
        WELL,
        failing=1,
        exhausted=40,
        held=2,
        not_in_force="config.yaml changed but not loaded",
    )
    assert summary(bad) == (
        "1 of 5 endpoints failing, 40 exhausted, 2 held, config.yaml changed but not loaded"
    )
    worse = replace(bad, absence=Absence.NOT_RUNNING, reserve_in_use=True)
    codes = [each.code for each in concerns(worse)]
    assert codes == ["not_running", "disk_full", "failing", "exhausted", "held", "not_in_force"]


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        (replace(WELL, absence=Absence.NOT_RUNNING), "relayd is not running"),
        (replace(WELL, failing=2), "2 of 5 endpoints failing"),
        (replace(WELL, gone=("books",)), "books held by 410 Gone"),
        (replace(WELL, gone=("a", "b", "c")), "3 subscriptions held by 410 Gone"),
        (replace(WELL, waiting_sources=("spool market",)), "spool market takes nothing in"),
        (replace(WELL, exhausted=9, exhausted_since=2), "2 exhausted (--since 24h)"),
        (replace(WELL, rejected=9, rejected_since=1), "1 rejected (--since 24h)"),
        (replace(WELL, not_in_force="sec changed but not loaded"), "sec changed but not loaded"),
    ],
)
def test_each_alarm(facts: Facts, line: str) -> None:
    assert alarm_line(facts, "24h") == line


@pytest.mark.parametrize(
    "facts",
    [
        replace(WELL, exhausted=9),
        replace(WELL, rejected=9),
        replace(WELL, held=9),
        replace(WELL, held_back=1),
        replace(WELL, pending=9),
    ],
)
def test_what_is_old_or_meant_is_no_alarm(facts: Facts) -> None:
    assert alarm_line(facts, "24h") is None
