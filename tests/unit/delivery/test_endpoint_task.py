"""One endpoint's loop on virtual time: limits, retries, Retry-After, recovery, stopping."""

import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import httpx
import pytest
import receivers
import structlog
import trio
from endpoint_bench import EPOCH, FAST, URL, Bench, subscription
from trio.testing import MockClock

from relayd.core.agenda import NOW
from relayd.core.delivery import State
from relayd.core.endpoint import Endpoint, Health
from relayd.core.outcome import Failure
from relayd.core.token_bucket import Rate
from relayd.crash_journal import AtWork
from relayd.queue.interface import QueueUnavailable
from relayd.transport.client import Transport
from relayd.transport.dialer import AddressGuard
from relayd.transport.errors import AttemptFailed


def most_in_window(starts: list[float], window_s: float) -> int:
    return max(sum(begin <= start < begin + window_s for start in starts) for begin in starts)


async def test_a_backlog_keeps_the_limit_in_any_window_and_uses_it(
    autojump_clock: MockClock,
) -> None:
    bench = Bench()
    for _ in range(400):
        bench.queue.add(EPOCH)
    async with bench.running(Rate(100, 60.0)):
        await trio.sleep(200)
    assert most_in_window(bench.starts, 60.0) <= 100
    assert sum(start < 180 for start in bench.starts) >= 3 * 90
    assert bench.starts[0] < 1.0


async def test_a_restart_grants_no_tokens(autojump_clock: MockClock) -> None:
    bench = Bench()
    for _ in range(400):
        bench.queue.add(EPOCH)
    for _ in range(4):
        async with bench.running(Rate(100, 60.0)):
            await trio.sleep(20)
    assert len(bench.starts) > 100
    assert most_in_window(bench.starts, 60.0) <= 100


async def test_a_reload_grants_no_tokens(autojump_clock: MockClock) -> None:
    bench = Bench()
    for _ in range(400):
        bench.queue.add(EPOCH)
    async with bench.running(Rate(100, 60.0)) as task:
        for _ in range(40):
            await trio.sleep(2)
            task.apply(Endpoint(URL, Rate(100, 60.0), 8), {"books": subscription()})
    assert len(bench.starts) > 100
    assert most_in_window(bench.starts, 60.0) <= 100


async def test_a_stopped_process_makes_no_burst(autojump_clock: MockClock) -> None:
    bench = Bench()
    for _ in range(400):
        bench.queue.add(EPOCH)
    async with bench.running(Rate(100, 60.0)):
        await trio.sleep(30)
        autojump_clock.jump(600)
        await trio.sleep(30)
    assert most_in_window(bench.starts, 60.0) <= 100


async def test_retries_come_at_their_times_and_then_it_is_exhausted(
    autojump_clock: MockClock,
) -> None:
    async def fail(_: httpx.Request) -> httpx.Response:
        return httpx.Response(500)

    bench = Bench(answer=fail)
    seq = bench.queue.add(EPOCH)
    async with bench.running():
        await trio.sleep(100_000)
    assert bench.starts == pytest.approx([0, 120, 720], abs=0.01)
    assert [each.headers["X-LocallyGrown-Attempt"] for each in bench.requests] == ["1", "2", "3"]
    assert len({each.content for each in bench.requests}) == 1
    assert bench.queue.states() == {seq: State.EXHAUSTED}


async def test_retry_after_is_a_lower_bound_and_holds_the_endpoints_other_deliveries(
    autojump_clock: MockClock,
) -> None:
    answers = [httpx.Response(429, headers={"Retry-After": "300"})]

    async def busy(_: httpx.Request) -> httpx.Response:
        return answers.pop() if answers else httpx.Response(200)

    bench = Bench(answer=busy)
    bench.queue.add(EPOCH)
    async with bench.running() as task:
        await trio.sleep(10)
        bench.queue.add(bench.now())
        task.note("books", NOW)
        await trio.sleep(289)
        assert len(bench.starts) == 1
        await trio.sleep(2)
    assert bench.starts == pytest.approx([0, 300, 300], abs=0.01)
    assert set(bench.queue.states().values()) == {State.DELIVERED}


async def test_410_holds_the_subscription_and_no_other(autojump_clock: MockClock) -> None:
    async def gone_for_books(request: httpx.Request) -> httpx.Response:
        return httpx.Response(410 if request.headers["X-Name"] == "books" else 200)

    bench = Bench(answer=gone_for_books)
    names = ("books", "mail")
    each = tuple(subscription(name, headers=(("X-Name", name),)) for name in names)
    first = bench.queue.add(EPOCH, "books")
    async with bench.running(subscriptions=each) as task:
        await trio.sleep(1)
        second, third = bench.queue.add(bench.now(), "books"), bench.queue.add(bench.now(), "mail")
        task.note("books", NOW)
        task.note("mail", NOW)
        await trio.sleep(100_000)
    assert bench.queue.states() == {
        first: State.RETRYING,
        second: State.PENDING,
        third: State.DELIVERED,
    }
    assert len(bench.requests) == 2


async def test_no_more_than_max_in_flight_at_once(autojump_clock: MockClock) -> None:
    async def slow(_: httpx.Request) -> httpx.Response:
        await trio.sleep(5)
        return httpx.Response(200)

    bench = Bench(answer=slow)
    for _ in range(20):
        bench.queue.add(EPOCH)
    async with bench.running(max_in_flight=4):
        await trio.sleep(26)
    assert bench.most_under_way == 4
    assert bench.starts == pytest.approx(sorted([0, 5, 10, 15, 20] * 4), abs=0.1)


async def test_an_attempt_ends_at_the_timeout(autojump_clock: MockClock) -> None:
    async def never(_: httpx.Request) -> httpx.Response:
        await trio.sleep_forever()
        raise AssertionError

    bench = Bench(answer=never)
    bench.queue.add(EPOCH)
    async with bench.running():
        await trio.sleep(11)
    [record] = bench.queue.records
    assert record.outcome.failure is Failure.TIMEOUT
    assert record.outcome.duration_s == pytest.approx(10.0, abs=0.01)


async def test_a_failing_endpoint_is_tried_one_at_a_time_and_recovers_on_a_ramp(
    autojump_clock: MockClock,
) -> None:
    up = False

    async def flaky(_: httpx.Request) -> httpx.Response:
        await trio.sleep(1)
        return httpx.Response(200 if up else 503)

    bench = Bench(answer=flaky)
    for _ in range(80):
        bench.queue.add(EPOCH)
    async with bench.running(subscriptions=(subscription(retry=(10_000.0,)),)) as task:
        await trio.sleep(20)
        bench.most_under_way = 0
        await trio.sleep(10)
        assert bench.most_under_way == 1
        await trio.sleep(50)
        failing = task.health
        assert failing.failing
        assert failing.failing_since == pytest.approx(EPOCH + 1, abs=1.0)
        up = True
        bench.queue.add(bench.now())
        task.note("books", NOW)
        await trio.sleep(10)
        assert task.health.failing
        recovered = len(bench.starts)
        assert bench.starts[-1] < 82
        await trio.sleep(70)
    assert task.health.failing_since is None
    # Waiting retries were due at once, long before their times, and came 1, 2, then (after two
    # successes at once) 8 at a time.
    assert set(bench.queue.states().values()) == {State.DELIVERED}
    waves = Counter(round(start) for start in bench.starts[recovered:])
    assert [waves[min(waves) + second] for second in range(5)] == [1, 2, 8, 8, 8]
    assert [each.type for each in bench.queue.told] == [
        "relayd.endpoint.failing",
        "relayd.endpoint.recovered",
    ]


async def test_recovery_is_known_after_a_restart(autojump_clock: MockClock) -> None:
    bench = Bench()
    seq = bench.queue.add(EPOCH)
    row = bench.queue.rows[seq]
    row.delivery = replace(row.delivery, state=State.RETRYING, attempts=3, step=2)
    row.due_at = EPOCH + 14_400
    failing = Health(failures=0, failing_since=EPOCH - 60, succeeded_at=EPOCH - 20, ramp=1)
    async with bench.running(health=failing):
        await trio.sleep(39)
        assert bench.starts == []
        await trio.sleep(3)
    assert set(bench.queue.states().values()) == {State.DELIVERED}


async def test_one_poisonous_event_does_not_make_the_endpoint_failing(
    autojump_clock: MockClock,
) -> None:
    async def picky(request: httpx.Request) -> httpx.Response:
        return httpx.Response(
            500 if request.headers["X-LocallyGrown-Delivery"] == "dlv_test_1" else 200
        )

    bench = Bench(answer=picky)
    bench.queue.add(EPOCH)
    async with bench.running(max_in_flight=1) as task:
        for _ in range(100):
            await trio.sleep(10)
            bench.queue.add(bench.now())
            task.note("books", NOW)
        poison = [each for each in bench.queue.records if each.delivery.seq == 1]
        assert [each.started_at - EPOCH for each in poison] == pytest.approx([0, 120, 720], abs=0.1)
        assert not task.health.failing


async def test_fresh_events_pass_a_backlog_within_two_tokens(autojump_clock: MockClock) -> None:
    bench = Bench()
    for _ in range(1000):
        bench.queue.add(EPOCH - 3600)
    waits: list[float] = []
    async with bench.running(Rate(60, 60.0)) as task:
        await trio.sleep(60)
        for _ in range(10):
            seq = bench.queue.add(bench.now())
            task.note("books", NOW)
            added = bench.now()
            while bench.queue.rows[seq].delivery.state is not State.DELIVERED:
                await trio.sleep(0.05)
            waits.append(bench.now() - added)
            await trio.sleep(7.3)
    interval_s = 1 / Rate(60, 60.0).refill_per_s
    assert max(waits) <= 2 * interval_s + 0.1


async def test_stop_starts_nothing_more_and_waits_for_what_is_in_flight(
    autojump_clock: MockClock,
) -> None:
    async def slow(_: httpx.Request) -> httpx.Response:
        await trio.sleep(5)
        return httpx.Response(200)

    bench = Bench(answer=slow)
    for _ in range(4):
        bench.queue.add(EPOCH)
    async with bench.running(max_in_flight=2) as task:
        await trio.sleep(1)
        task.retire()
        await trio.sleep(100)
    assert len(bench.starts) == 2
    assert sorted(bench.queue.states().values()) == ["delivered"] * 2 + ["pending"] * 2


async def test_a_cancelled_attempt_counts_for_nothing(autojump_clock: MockClock) -> None:
    async def slow(_: httpx.Request) -> httpx.Response:
        await trio.sleep(5)
        return httpx.Response(200)

    bench = Bench(answer=slow)
    seq = bench.queue.add(EPOCH)
    async with bench.running():
        await trio.sleep(1)
    assert len(bench.starts) == 1
    assert bench.queue.records == []
    assert bench.queue.states() == {seq: State.PENDING}


@pytest.mark.parametrize(
    ("function", "quarantined"),
    [
        ("relayd.delivery.observer.Observer.attempt_finished", 0),
        ("relayd.delivery.endpoint_task.decide", 1),
    ],
)
async def test_a_defect_ends_a_delivery_only_where_nothing_was_recorded(
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    quarantined: int,
) -> None:
    async def fail(_: httpx.Request) -> httpx.Response:
        return httpx.Response(500)

    def broken(*_: object, **__: object) -> None:
        raise KeyError("a defect")

    monkeypatch.setattr(function, broken)
    bench = Bench(answer=fail)
    bench.queue.add(EPOCH)
    async with bench.running(subscriptions=(subscription(retry=(120.0, 600.0)),)):
        await trio.sleep(1000)
    assert len(bench.queue.quarantined) == quarantined
    # What was recorded keeps its schedule; what was not is not sent again.
    assert len(bench.starts) == (1 if quarantined else 3)


async def test_a_defect_counts_as_a_failed_attempt_and_ends_nothing_else(
    autojump_clock: MockClock,
) -> None:
    async def broken(request: httpx.Request) -> httpx.Response:
        if request.headers["X-LocallyGrown-Delivery"] == "dlv_test_1":
            raise KeyError("a defect")
        return httpx.Response(200)

    bench = Bench(answer=broken)
    bench.queue.add(EPOCH)
    bench.queue.add(EPOCH)
    async with bench.running():
        await trio.sleep(1)
    by_seq = {each.delivery.seq: each for each in bench.queue.records}
    assert by_seq[1].outcome.failure is Failure.DEFECT
    assert by_seq[1].state is State.RETRYING
    assert by_seq[2].state is State.DELIVERED


async def test_what_relayd_died_at_three_times_is_never_sent(
    autojump_clock: MockClock,
) -> None:
    bench = Bench(at_work=AtWork.unrecorded(deaths=[2, 1, 2, 2, 1]))
    for _ in range(3):
        bench.queue.add(EPOCH)
    healthy = Health()
    async with bench.running(health=healthy) as task:
        await trio.sleep(1)
        assert task.health.recent == (0, 0)  # for the other two; it was not asked for this one
    assert bench.queue.states() == {
        1: State.DELIVERED,
        2: State.EXHAUSTED,
        3: State.DELIVERED,
    }
    sent = [request.headers["X-LocallyGrown-Delivery"] for request in bench.requests]
    assert sorted(sent) == ["dlv_test_1", "dlv_test_3"]
    [outcome] = [each.outcome for each in bench.queue.records if each.delivery.seq == 2]
    assert outcome.failure is Failure.POISON
    assert [each.type for each in bench.queue.told] == ["relayd.delivery.exhausted"]


async def test_a_full_disk_delays_the_record_and_sends_nothing_twice(
    autojump_clock: MockClock,
) -> None:
    bench = Bench()
    seq = bench.queue.add(EPOCH)
    full = QueueUnavailable(Path("queue.db"), "the disk is full")
    bench.queue.record_errors = [full] * 5
    async with bench.running():
        await trio.sleep(20)
    assert len(bench.starts) == 1
    assert bench.queue.states() == {seq: State.DELIVERED}


async def test_a_reload_changes_what_the_next_attempt_is_made_with(
    autojump_clock: MockClock,
) -> None:
    async def fail(_: httpx.Request) -> httpx.Response:
        return httpx.Response(500)

    bench = Bench(answer=fail)
    bench.queue.add(EPOCH)
    async with bench.running() as task:
        await trio.sleep(60)
        changed = subscription(headers=(("X-New", "yes"),), retry=(120.0, 30.0))
        task.apply(Endpoint(URL, FAST, 8), {"books": changed})
        await trio.sleep(1000)
    assert bench.starts == pytest.approx([0, 120, 150], abs=0.01)
    assert ["X-New" in each.headers for each in bench.requests] == [False, True, True]


async def test_a_subscription_that_is_gone_is_not_delivered_until_it_is_back(
    autojump_clock: MockClock,
) -> None:
    bench = Bench()
    async with bench.running(subscriptions=(subscription("mail"),)) as task:
        seq = bench.queue.add(bench.now(), "books")
        task.note("books", NOW)
        await trio.sleep(1000)
        assert bench.starts == []
        task.apply(Endpoint(URL, FAST, 8), {"books": subscription("books")})
        await trio.sleep(1)
    assert bench.queue.states() == {seq: State.DELIVERED}


async def test_a_retry_of_a_subscription_that_moved_away_is_noted_where_it_is_now(
    autojump_clock: MockClock,
) -> None:
    async def slow_failure(_: httpx.Request) -> httpx.Response:
        await trio.sleep(5)
        return httpx.Response(500)

    bench = Bench(answer=slow_failure)
    bench.queue.add(EPOCH)
    async with bench.running() as task:
        await trio.sleep(1)
        task.apply(Endpoint(URL, FAST, 8), {"mail": subscription("mail")})
        await trio.sleep(10)
    [(name, at)] = bench.noted_elsewhere
    assert name == "books"
    assert at == pytest.approx(EPOCH + 5 + 120, abs=0.1)


async def test_an_outage_is_logged_once_however_many_fail_together(
    autojump_clock: MockClock,
) -> None:
    async def fail(_: httpx.Request) -> httpx.Response:
        await trio.sleep(1)
        return httpx.Response(500)

    bench = Bench(answer=fail)
    for _ in range(8):
        bench.queue.add(EPOCH)
    with structlog.testing.capture_logs() as lines:
        async with bench.running():
            await trio.sleep(2000)
    assert [line["event"] for line in lines].count("endpoint_failing") == 1


class SendsTwice(httpx.AsyncBaseTransport):
    """A transport whose every connection is reused, and ends before a byte comes back."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.starts: list[float] = []
        self.refused = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.starts.append(self.now())
        await trio.sleep(0.01)
        if not await request.extensions["relayd.request"].another_token():
            self.refused += 1
            raise AttemptFailed(Failure.RESET, "closed")
        self.starts.append(self.now())
        return httpx.Response(200)


async def test_a_request_that_is_sent_once_more_takes_a_token_of_its_own(
    autojump_clock: MockClock,
) -> None:
    bench = Bench()
    seqs = [bench.queue.add(EPOCH) for _ in range(100)]
    transport = SendsTwice(trio.current_time)
    async with bench.running(Rate(100, 60.0), transport=transport):
        await trio.sleep(200)
    assert most_in_window(transport.starts, 60.0) <= 100
    assert len(transport.starts) == 200
    assert bench.queue.states() == dict.fromkeys(seqs, State.DELIVERED)
    assert len(bench.queue.records) == 100


async def test_a_retired_endpoint_sends_nothing_once_more(autojump_clock: MockClock) -> None:
    bench = Bench()
    bench.queue.add(EPOCH)
    transport = SendsTwice(trio.current_time)
    async with bench.running(transport=transport) as task:
        await trio.sleep(0.005)
        task.retire()
        await trio.sleep(1)
    assert (len(transport.starts), transport.refused) == (1, 1)


async def test_a_body_that_runs_into_the_timeout_undoes_no_success() -> None:
    top = receivers.head(200, [("Content-Length", "90")])
    hang = receivers.endless(b"", after=top + b"half", interval_s=60.0)
    async with receivers.open_receiver(hang) as receiver:
        guard = AddressGuard([ip_network("127.0.0.0/8")])
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        bench = Bench()
        seq = bench.queue.add(EPOCH)
        one = subscription(url=receiver.url, timeout_s=0.2)
        async with (
            Transport(httpx.URL(receiver.url), guard=guard, tls=tls) as transport,
            bench.running(subscriptions=(one,), transport=transport),
        ):
            with trio.fail_after(5):
                while not bench.queue.records:
                    await trio.sleep(0.01)
    assert bench.queue.states() == {seq: State.DELIVERED}
    (record,) = bench.queue.records
    assert (record.outcome.status, record.outcome.answer) == (200, b"half")
    assert len(receiver.requests) == 1
