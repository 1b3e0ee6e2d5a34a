"""Why attempts failed, as the queue keeps it: in columns of their own, counted by the hour."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from queue_file import FAILED, NOW, OK, URL, accept, claimed, opened, record, rows_of

from relayd.core.delivery import decide
from relayd.core.outcome import Cause, Failure, Outcome, failed_outcome
from relayd.database import sqlite_loop
from relayd.queue.delivery_filter import DeliveryFilter
from relayd.queue.overview_values import FailureCount
from relayd.queue.snapshot_values import DeliveryDetail
from relayd.queue.sqlite import record as recording
from relayd.queue.sqlite.open_queue import open_queue
from relayd.queue.sqlite.reader import SQLiteReader
from relayd.queue.values import Declared, Recording
from relayd.views.deliveries import after_last_attempt
from relayd.web.dashboard.problems import cause_of

HOUR = int(NOW) // 3600 * 3600
QUEUES = Path(__file__).parents[2] / "queues"
EXPIRED = failed_outcome(0.1, Cause.CERTIFICATE_EXPIRED, "certificate has expired", "shop.example")


def detail_of(path: Path, event_id: str) -> DeliveryDetail:
    with SQLiteReader(path).snapshot() as snapshot:
        found = snapshot.find(event_id)
    assert found is not None
    [detail] = found.deliveries
    return detail


def counted(path: Path, since: float = HOUR) -> tuple[FailureCount, ...]:
    with SQLiteReader(path).snapshot() as snapshot:
        return snapshot.failures(since=since, until=HOUR + 86_400).counts


def sums(path: Path, name: str = "books") -> dict[tuple[str, int], int]:
    with SQLiteReader(path).snapshot() as snapshot:
        return dict(snapshot.totals().attempts[name].causes)


async def test_an_attempt_keeps_its_cause_and_its_subject(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1", "evt_2", "evt_3")
        first, second, third = await claimed(queue)
        await record(queue, first, EXPIRED)
        await record(queue, second, FAILED)
        await record(queue, third, OK)
    [attempt] = detail_of(path, "evt_1").attempts
    assert (attempt.failure, attempt.cause) == ("tls", "certificate_expired")
    assert attempt.subject == "shop.example"
    [attempt] = detail_of(path, "evt_2").attempts
    # Where the kind says it all, it is the cause.
    assert (attempt.failure, attempt.cause, attempt.subject) == ("status", "status", "")
    [attempt] = detail_of(path, "evt_3").attempts
    assert (attempt.failure, attempt.cause, attempt.subject) == (None, None, "")
    with SQLiteReader(path).snapshot() as snapshot:
        listed = snapshot.list_deliveries(DeliveryFilter(), limit=10).deliveries
    assert [each.last_cause for each in listed] == [None, "status", "certificate_expired"]


@pytest.mark.parametrize(
    "words",
    [
        "shop.txt, line 1: certificate has expired",
        "shop.txt, line 1: 10.0.0.1 is not public (private)",
        "shop.txt, line 1: 8.8.8.8 is public, and http: is not encrypted",
        "shop.txt, line 1: mail server a.example:25",
    ],
)
async def test_words_decide_nothing(tmp_path: Path, words: str) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1", "evt_2")
        first, second = await claimed(queue)
        await record(queue, first, failed_outcome(0.1, Failure.TEMPLATE, words))
        await record(queue, second, failed_outcome(0.1, Failure.TIMEOUT, words))
    assert "correct the template" in (after_last_attempt(detail_of(path, "evt_1"), ()) or "")
    assert "is the receiver running" in (after_last_attempt(detail_of(path, "evt_2"), ()) or "")


async def test_failures_are_counted_by_hour_and_cause_and_all_of_them(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, *(f"evt_{number}" for number in range(6)))
        due = await claimed(queue)
        for delivery, outcome in zip(due, [EXPIRED, FAILED, FAILED, OK, EXPIRED], strict=False):
            await record(queue, delivery, outcome)
        late = decide(due[5], EXPIRED, (100.0,), started_at=NOW + 3600, now=NOW + 3601, jitter=0.0)
        await queue.record(Recording(late, URL, None))
    assert [(each.since, each.cause, each.status, each.count) for each in counted(path)] == [
        (HOUR, "certificate_expired", None, 2),
        (HOUR, "status", 500, 2),
        (HOUR + 3600, "certificate_expired", None, 1),
    ]
    last = counted(path)[0]
    assert (last.delivery, last.last_at, last.detail) == (due[4].seq, NOW, EXPIRED.detail)
    assert sums(path) == {("certificate_expired", 0): 3, ("status", 500): 2}


async def test_a_receiver_that_answers_with_ever_another_status_makes_few_rows(
    tmp_path: Path,
) -> None:
    path, statuses = tmp_path / "queue.db", [*range(100, 200), *range(300, 1000)]
    async with opened(path) as queue:
        await accept(queue, *(f"evt_{number}" for number in statuses))
        for begin in range(0, len(statuses), 100):
            part = statuses[begin : begin + 100]
            for status, delivery in zip(part, await claimed(queue), strict=True):
                await record(queue, delivery, Outcome(0.1, status, Failure.STATUS, "answered"))
    rows = counted(path)
    assert len(rows) < 110
    assert sum(each.count for each in rows) == sum(sums(path).values()) == len(statuses)
    shown = {cause_of(each) for each in rows}
    assert {"status 404", "status 503", "status 520", "status 499", "status 7xx"} <= shown
    assert "status 777" not in shown


async def test_an_attempt_that_is_not_committed_is_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1")
        [delivery] = await claimed(queue)
        await record(queue, delivery, FAILED)
        with pytest.raises(Exception, match="UNIQUE"):
            await record(queue, delivery, FAILED)
    assert sums(path) == {("status", 500): 1}


async def test_what_cannot_be_recorded_is_counted_as_a_defect(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1")
        [delivery] = await claimed(queue)
        assert await queue.quarantine(delivery.seq, "relayd itself failed")
        assert not await queue.quarantine(delivery.seq, "relayd itself failed")
    assert [(each.cause, each.count, each.detail) for each in counted(path)] == [
        ("defect", 1, "relayd itself failed")
    ]
    assert detail_of(path, "evt_1").attempts[0].cause == "defect"


@pytest.mark.parametrize(("outcome", "statements"), [(OK, 0), (EXPIRED, 1)])
async def test_a_success_costs_no_statement(
    tmp_path: Path, outcome: Outcome, statements: int
) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1")
        [delivery] = await claimed(queue)
    decided = decide(delivery, outcome, (100.0,), started_at=NOW, now=NOW, jitter=0.0)
    said: list[str] = []
    with closing(sqlite3.connect(path)) as db:
        db.set_trace_callback(said.append)
        recording.record(db, [Recording(decided, URL, None)])
        db.commit()
    assert sum("failure_counts" in each for each in said) == statements


EARLIER = [
    ("tls", "certificate has expired (on 2026-11-24 at 01:48 UTC)", "certificate_expired", ""),
    ("tls", "certificate is not for a.example, only for b.example", "certificate_name", ""),
    ("tls", "certificate is self-signed, so it is not trusted", "certificate_authority", ""),
    ("tls", "the receiver does not speak TLS on this port", "no_tls", ""),
    ("tls", "the connection broke off in the TLS handshake", "tls", ""),
    (
        "address",
        "a.example may not be dialled: 10.0.0.5 is not public (private); fd12::1 is not public (private)",
        "private_address",
        "10.0.0.5 fd12::1",
    ),
    ("address", "a may not be dialled: 1.2.3.4 is this machine's own address", "private_address", "1.2.3.4"),
    ("address", "a may not be dialled: 169.254.169.254 is not public (x)", "metadata_address", "169.254.169.254"),
    ("address", "a may not be dialled: 8.8.8.8 is public, and http: is not encrypted", "public_http", ""),
    ("address", "", "address", ""),
    ("connect", "mail server a.example:25: no connection", "mail_connect", ""),
    ("smtp", "the mail server a.example:25 answered 550", "mail_refused", ""),
    ("connect", "no route to 10.0.0.1:443", "connect", ""),
    ("defect", "relayd itself failed", "defect", ""),
]  # fmt: skip


@pytest.mark.parametrize(("failure", "words", "cause", "subject"), EARLIER)
async def test_what_an_older_relayd_recorded_in_words_has_its_cause(
    tmp_path: Path, failure: str, words: str, cause: str, subject: str
) -> None:
    path = tmp_path / "queue.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript((QUEUES / "version_6.sql").read_text(encoding="utf-8"))
        sql = "UPDATE attempts SET status = NULL, failure = ?, detail = ? WHERE delivery_seq = 2"
        db.execute(sql, (failure, words))
    path.chmod(0o600)
    async with sqlite_loop(), open_queue(path, lambda: NOW):
        pass
    with SQLiteReader(path).snapshot() as snapshot:
        [listed] = [
            each
            for each in snapshot.list_deliveries(DeliveryFilter(), limit=10).deliveries
            if each.seq == 2
        ]
    [attempt] = detail_of(path, listed.id).attempts
    assert (attempt.cause, attempt.subject, listed.last_cause) == (cause, subject, cause)
    # They are counted so, too: what to do is another thing where it was a mail server, say.
    assert [each.cause for each in counted(path) if each.delivery == 2] == [cause]


async def test_an_upgrade_begins_with_the_newest_and_says_since_when(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript((QUEUES / "version_6.sql").read_text(encoding="utf-8"))
    path.chmod(0o600)
    async with sqlite_loop(), open_queue(path, lambda: NOW) as queue:
        await queue.declare([Declared("books", URL, True)])
    failed = rows_of(path, "SELECT count(*) FROM attempts WHERE failure IS NOT NULL")
    assert failed == rows_of(path, "SELECT sum(count) FROM failure_counts")
    with SQLiteReader(path).snapshot() as snapshot:
        assert not snapshot.failures(since=HOUR, until=HOUR + 86_400).complete
