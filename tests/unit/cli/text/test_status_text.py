"""What `status` says of the queue's size."""

import pytest

from relayd.cli.text.status import status_lines
from relayd.core.absence import Absence
from relayd.core.endpoint import Health
from relayd.queue.overview_values import (
    Contents,
    EndpointStanding,
    InboundStanding,
    Overview,
    QueueStanding,
    Tallies,
    Tally,
)
from relayd.views.status import Live, status_document

CONTENTS = Contents(
    events=1_500_000_000, attempts=0, rejected=20_000_000, other=580_000_000, free=0
)
QUEUE = QueueStanding(
    2_100_000_000, 0, None, deliveries=900, waiting=900, rejected=0, contents=CONTENTS
)
OVERVIEW = Overview((), QUEUE)
NOW = 1_700_000_000.0


def live(max_size_bytes: int | None, *, too_large: bool) -> Live:
    return {
        "version": "1",
        "pid": 1,
        "config": "config.yaml",
        "started_at": NOW - 7_200,
        "uptime_s": 7_200.0,
        "endpoints": {},
        "sources": [],
        "queue": {"max_size_bytes": max_size_bytes, "too_large": too_large},
    }


@pytest.fixture(autouse=True)
def _columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def said(told: Live | None) -> str:
    lines = "\n".join(status_lines(OVERVIEW, told, "/var/lib/relayd/queue.db", NOW))
    assert max(map(len, lines.splitlines())) <= 90  # with colours
    return " ".join(lines.split())


def test_a_queue_that_is_too_large_is_told() -> None:
    told = live(2_000_000_000, too_large=True)
    expected = "it is larger than queue.max_size (2.0 GB), and nothing is left in it that has ended"
    assert expected in said(told)
    for other in (live(2_000_000_000, too_large=False), live(None, too_large=True), None):
        assert "max_size" not in said(other)


def test_a_reader_that_is_not_confined_is_reported() -> None:
    def with_reader(reason: str | None) -> Live:
        source = {"name": "spool market", "waits_for": None, "undeleted": 0, "not_confined": reason}
        return {**live(None, too_large=False), "sources": [source]}

    reported = said(with_reader("Landlock is off in this kernel"))
    assert "spool market: reader not confined: Landlock is off in this kernel" in reported
    assert "confined" not in said(with_reader(None))


def test_how_long_it_has_run_is_the_daemons_word() -> None:
    # The clock was set by a day since: the daemon's times may be a second behind that.
    stepped = {**live(None, too_large=False), "started_at": NOW - 86_400 - 7_200}
    assert "relayd 1, up 2h (pid 1)" in said(stepped)
    document = status_document(OVERVIEW, stepped, "queue.db", NOW)
    assert isinstance(document, dict)
    assert document["daemon"]["uptime_s"] == 7_200.0


def test_programs_are_told_as_well() -> None:
    document = status_document(OVERVIEW, live(2_000_000_000, too_large=True), "queue.db", NOW)
    assert isinstance(document, dict)
    queue = document["queue"]
    assert (queue["max_size_bytes"], queue["too_large"]) == (2_000_000_000, True)
    document = status_document(OVERVIEW, None, "queue.db", NOW)
    assert isinstance(document, dict)
    assert document["queue"]["too_large"] is None


def test_what_fills_the_queue_is_named_the_largest_first() -> None:
    lines = list(status_lines(Overview((), QUEUE), None, "/q.db", 0.0))
    text = " ".join(" ".join(lines).split())
    assert "filled by (about): events 1.5 GB, deliveries and indexes 580 MB, rejected" in text
    document = status_document(Overview((), QUEUE), None, "/q.db", 0.0)
    assert document["queue"]["contents_bytes"]["rejected"] == 20_000_000  # type: ignore[index]  # JSON


def test_an_outage_that_an_older_relayd_saw_is_told_without_its_last_attempts() -> None:
    tallies = Tallies(last_hour=Tally(), last_day=Tally())
    health = Health(failures=7, failing_since=NOW - 60, last_failure="answered 503")
    endpoint = EndpointStanding("https://a.example/hook", health, (), tallies)
    lines = " ".join(status_lines(Overview((endpoint,), QUEUE), None, "queue.db", NOW))
    assert "7 attempts in a row failed, the latest: answered 503" in " ".join(lines.split())


def test_an_endpoint_that_is_recovering_does_not_say_that_its_latest_attempt_failed() -> None:
    tallies = Tallies(last_hour=Tally(), last_day=Tally())
    health = Health(
        failing_since=NOW - 120,
        last_failure="answered 503",
        succeeded_at=NOW - 30,
        recent=(0,) * 20,
    )
    endpoint = EndpointStanding("https://a.example/hook", health, (), tallies)
    lines = " ".join(status_lines(Overview((endpoint,), QUEUE), None, "queue.db", NOW))
    text = " ".join(lines.split())
    assert "the latest" not in text
    assert "UTC: 0 of its last 20 attempts failed; a minute without a failure, and it has" in text
    assert "recovered. Its last failure: answered 503" in text


@pytest.mark.parametrize(
    ("absence", "running", "words"),
    [
        (Absence.NOT_RUNNING, False, "relayd is not running"),
        (Absence.NOT_PERMITTED, None, "not known whether relayd runs"),
        (Absence.NOT_ANSWERING, True, "relayd does not answer"),
    ],
)
def test_why_the_daemon_says_nothing(absence: Absence, running: bool | None, words: str) -> None:
    lines = " ".join(status_lines(OVERVIEW, None, "queue.db", NOW, absence=absence))
    assert lines.count(words) == 1
    document = status_document(OVERVIEW, None, "queue.db", NOW, absence=absence)
    assert isinstance(document, dict)
    assert document["running"] is running


INBOUND = {
    "inbound stripe": InboundStanding(
        accepted=1_200,
        accepted_last_day=12,
        last_accepted_at=NOW - 300,
        rejected=2,
        rejected_last_day=1,
        last_rejected=(7, NOW - 7_200, "invalid_type"),
    ),
    "inbound gone": InboundStanding(accepted=3),
}


def test_what_came_of_inbound_webhooks_is_said_of_each_entry() -> None:
    entries = [
        {"name": "stripe", "provider": "stripe"},
        {"name": "mg-of-the-second-shop", "provider": "mailgun"},
    ]
    told = {**live(None, too_large=False), "inbound": entries}
    overview = Overview((), QUEUE, INBOUND)
    lines = list(status_lines(overview, told, "/q.db", NOW))
    assert max(len(line) for text in lines for line in text.split("\n")) <= 90  # with colours
    text = " ".join("\n".join(lines).split())
    assert "inbound stripe: 12 accepted in the last day, the last 5m ago" in text
    assert "2 rejected (1 in the last day): signed, but not an event." in text
    assert "The latest, 2h ago: invalid_type; `relayd rejected show 7` shows it" in text
    assert "inbound mg-of-the-second-shop: nothing accepted yet" in text
    assert "inbound gone: nothing accepted in the last day; 3 in all; it is no longer in" in text
    assert text.count("Refused webhooks are not in the queue") == 1
    document = status_document(overview, told, "/q.db", NOW)
    assert isinstance(document, dict)
    first, second, third = document["inbound"]
    assert [each["name"] for each in document["inbound"]] == [
        "stripe",
        "mg-of-the-second-shop",
        "gone",
    ]
    assert first["accepted_last_day"] == 12
    assert (first["last_rejected"], first["last_rejected_code"]) == (7, "invalid_type")
    assert first["last_accepted_at_unix"] == NOW - 300
    assert (second["configured"], second["accepted"], second["last_accepted_at"]) == (True, 0, None)
    assert third["configured"] is False


def test_without_a_daemon_the_queue_says_what_it_has_of_inbound_webhooks() -> None:
    text = " ".join("\n".join(status_lines(Overview((), QUEUE, INBOUND), None, "q", NOW)).split())
    assert "inbound gone: nothing accepted in the last day; 3 in all" in text
    assert "no longer" not in text
    many = {"inbound a": InboundStanding(9_000, 5_000, True, NOW)}
    text = " ".join("\n".join(status_lines(Overview((), QUEUE, many), None, "q", NOW)).split())
    assert "inbound a: at least 5,000 accepted in the last day, the last 0s ago" in text
    assert "nbound" not in said(live(None, too_large=False))
