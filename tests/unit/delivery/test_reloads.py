"""All endpoints' tasks while reloads and the operator change what they work on, on virtual time.

A claim takes a while, and so does a record: whatever is changed in between must hold.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import cast

import httpx
import pytest
import trio
from memory_queue import MemoryQueue
from processes import write_config
from structlog.testing import capture_logs
from trio.testing import MockClock

from relayd.config.config import Config
from relayd.config.load import load_config
from relayd.core.delivery import State
from relayd.core.endpoint import Endpoint
from relayd.core.hold import Hold
from relayd.core.secret import Secret
from relayd.core.signature import verify
from relayd.crash_journal import AtWork
from relayd.delivery.dispatch import Dispatch
from relayd.queue.values import Claim, Recording, Want
from relayd.transport.client import Transport

EPOCH = 1_700_000_000.0
CLAIM_S = 0.3
RECORD_S = 0.2
URLS = ("https://one.example/hook", "https://two.example/hook", "https://three.example/hook")
NAMES = ("books", "mail", "stock")


@dataclass
class SlowQueue(MemoryQueue):
    """What a claim found is CLAIM_S old when it comes back, and a record takes RECORD_S."""

    claims = 0

    async def claim(self, want: Want) -> Claim:
        self.claims += 1
        found = await super().claim(want)
        await trio.sleep(CLAIM_S)
        return found

    async def record(self, recording: Recording) -> bool:
        await trio.sleep(RECORD_S)
        return await super().record(recording)


@dataclass
class Receivers:
    """Receivers that take 0.5 s, and answer 200 unless they were given another answer."""

    status: defaultdict[str, int] = field(default_factory=lambda: defaultdict(lambda: 200))
    answer_s: float = 0.5
    starts: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    requests: list[httpx.Request] = field(default_factory=list)
    under_way: Counter[str] = field(default_factory=Counter)
    most_under_way: Counter[str] = field(default_factory=Counter)
    deliveries_under_way: set[str] = field(default_factory=set)
    succeeded: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def _taking(self, url: str, delivery: str) -> Iterator[None]:
        assert delivery not in self.deliveries_under_way, "one delivery is attempted twice at once"
        self.deliveries_under_way.add(delivery)
        self.under_way[url] += 1
        self.most_under_way[url] = max(self.most_under_way[url], self.under_way[url])
        try:
            yield
        finally:
            self.under_way[url] -= 1
            self.deliveries_under_way.discard(delivery)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        url, delivery = str(request.url), request.headers["X-LocallyGrown-Delivery"]
        self.starts[url].append(trio.current_time())
        self.requests.append(request)
        with self._taking(url, delivery):
            status = self.status[url]
            await trio.sleep(self.answer_s)
            self.succeeded[delivery] += status == 200
            return httpx.Response(status, headers={"Retry-After": "100"} if status == 429 else {})


class ReceiverTransport(httpx.MockTransport):
    allowed: Sequence[object] = ()

    def allow(self, networks: Sequence[object]) -> None:
        self.allowed = networks

    def close_idle(self, _: float) -> None:
        """Do nothing: there are no connections."""


@dataclass
class Market:
    """A dispatch over a slow queue, with what the daemon does at a reload or a pause."""

    folder: Path
    queue: SlowQueue = field(default_factory=SlowQueue)
    receivers: Receivers = field(default_factory=Receivers)
    zero: float = field(default_factory=trio.current_time)
    config: Config | None = None
    reloads: int = 0
    transports: dict[str, ReceiverTransport] = field(default_factory=dict)
    dispatch: Dispatch = field(init=False)

    def now(self) -> float:
        return EPOCH + trio.current_time() - self.zero

    def make_transport(self, endpoint: Endpoint, networks: Sequence[object]) -> Transport:
        transport = self.transports[endpoint.url] = ReceiverTransport(self.receivers.answer)
        transport.allow(networks)
        return cast("Transport", transport)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.dispatch = Dispatch(
            self.queue,
            health={},
            make_transport=self.make_transport,
            at_work=AtWork.unrecorded(),
            clock=self.now,
            jitter=lambda: 0.0,
        )
        with capture_logs() as logs:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.dispatch.run)
                yield
                nursery.cancel_scope.cancel()
        # A defect is contained: what it broke goes on after a pause.
        assert not [line for line in logs if "exc_info" in line]

    def reload(self, urls: dict[str, str], **options: object) -> None:
        """Deliver to these URLs from now on, by subscription."""
        self.dispatch.apply(self.configuration(urls, **options))

    def configuration(self, urls: dict[str, str], **options: object) -> Config:
        """Declare these URLs to the queue, and return the configuration."""
        self.reloads += 1
        folder = self.folder / str(self.reloads)
        folder.mkdir()
        common = {"rate_limit": "10000/s", "retry": ["2m", "10m"], **options}
        subscriptions = {name: {"url": url, **common} for name, url in urls.items()}
        config = self.config = load_config(write_config(folder, subscriptions), environ={})
        for name in self.queue.urls.keys() | urls.keys():
            # As the queue does when it is declared.
            url = urls.get(name)
            if url != self.queue.urls.get(name) and self.queue.holds.get(name) is Hold.GONE:
                self.queue.holds[name] = None
        self.queue.urls = dict(urls)
        return config

    def hold(self, name: str, hold: Hold | None) -> None:
        self.queue.holds[name] = hold
        assert self.config is not None
        self.dispatch.apply(self.config)

    def add(self, count: int, name: str = "books") -> None:
        for _ in range(count):
            self.queue.add(self.now(), name)
        self.dispatch.wake([name])


async def test_a_url_that_moves_back_and_forth_under_load_sends_nothing_twice(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    market = Market(tmp_path)
    async with market.running():
        market.reload({"books": URLS[0]})
        market.add(200)
        for turn in range(60):
            await trio.sleep(0.1)
            market.reload({"books": URLS[(turn + 1) % 2]})
        await trio.sleep(100)
    assert set(market.queue.states().values()) == {State.DELIVERED}
    assert set(market.receivers.succeeded.values()) == {1}
    assert len(market.queue.records) == 200


async def test_max_in_flight_holds_when_a_url_goes_and_comes_back(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    market = Market(tmp_path)
    market.receivers.answer_s = 5.0
    async with market.running():
        market.reload({"books": URLS[0]}, max_in_flight=4)
        market.add(50)
        await trio.sleep(1)
        market.reload({"books": URLS[1]}, max_in_flight=4)
        await trio.sleep(0.05)
        market.reload({"books": URLS[0]}, max_in_flight=4)
        await trio.sleep(200)
    assert max(market.receivers.most_under_way.values()) == 4
    assert set(market.receivers.succeeded.values()) == {1}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"rate_limit": "6000/min"}, {"rate_limit": "100/min"}),
        ({"max_in_flight": 50}, {"max_in_flight": 1}),
    ],
)
async def test_a_limit_that_is_lowered_while_the_queue_is_asked_holds_at_once(
    autojump_clock: MockClock, tmp_path: Path, before: dict[str, object], after: dict[str, object]
) -> None:
    market = Market(tmp_path)
    async with market.running():
        market.reload({"books": URLS[0]}, **before)
        await trio.sleep(60)  # the bucket is full
        market.add(100)
        await trio.sleep(CLAIM_S / 2)
        lowered_at = trio.current_time()
        market.reload({"books": URLS[0]}, **after)
        await trio.sleep(600)
    starts = market.receivers.starts[URLS[0]]
    assert set(market.queue.states().values()) == {State.DELIVERED}
    if "max_in_flight" in after:
        assert market.receivers.most_under_way[URLS[0]] == 1
    else:
        assert sum(lowered_at <= at < lowered_at + 60 for at in starts) <= 100
        assert len([at for at in starts if at < lowered_at + CLAIM_S]) <= 10


async def test_a_late_410_of_an_old_url_does_not_hold_the_new_one(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    market = Market(tmp_path)
    market.receivers.status[URLS[0]] = 410
    market.receivers.answer_s = 5.0
    async with market.running():
        market.reload({"books": URLS[0]})
        market.add(1)
        await trio.sleep(1)
        market.reload({"books": URLS[1]})
        await trio.sleep(30)
        assert market.queue.holds.get("books") is None
    assert market.queue.states() == {1: State.DELIVERED}
    assert [str(each.url) for each in market.receivers.requests] == [URLS[0], URLS[1]]


async def test_a_410_that_is_recorded_after_a_reload_of_the_same_url_holds(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    market = Market(tmp_path)
    market.receivers.status[URLS[0]] = 410
    async with market.running():
        market.reload({"books": URLS[0]}, max_in_flight=1)
        market.add(5)
        # While the 410 is being recorded.
        await trio.sleep(CLAIM_S + 0.5 + RECORD_S / 2)
        market.reload({"books": URLS[0]}, max_in_flight=1)
        await trio.sleep(1000)
    assert len(market.receivers.requests) == 1
    assert market.queue.holds["books"] is Hold.GONE


async def test_a_pause_holds_what_a_claim_under_way_finds(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    market = Market(tmp_path)
    async with market.running():
        market.reload({"books": URLS[0]})
        await trio.sleep(1)
        market.add(5)
        await trio.sleep(CLAIM_S / 2)
        market.hold("books", Hold.PAUSED)
        await trio.sleep(100)
        assert market.receivers.requests == []
        market.hold("books", None)
        await trio.sleep(100)
    assert set(market.queue.states().values()) == {State.DELIVERED}


async def test_a_receiver_that_asks_for_a_pause_while_the_queue_is_asked_gets_it(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    market = Market(tmp_path)
    market.receivers.status[URLS[0]] = 429
    async with market.running():
        market.reload({"books": URLS[0]})
        await trio.sleep(1)
        market.add(1)
        await trio.sleep(CLAIM_S + 0.5 - CLAIM_S / 2)
        market.add(5)
        await trio.sleep(CLAIM_S)
        market.receivers.status[URLS[0]] = 200
        await trio.sleep(1000)
    first, *others = market.receivers.starts[URLS[0]]
    assert len(others) == 6
    assert min(others) >= first + 0.5 + 100


async def test_what_is_cancelled_while_a_claim_is_under_way_is_not_sent(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    market = Market(tmp_path)
    async with market.running():
        market.reload({"books": URLS[0]})
        await trio.sleep(1)
        market.add(5)
        await trio.sleep(CLAIM_S / 2)
        row = market.queue.rows[3]
        row.due_at, row.delivery = None, replace(row.delivery, state=State.CANCELLED)
        market.dispatch.outdate(["books"])
        assert market.dispatch.in_flight([3]) == 0
        await trio.sleep(100)
    assert sorted(market.receivers.succeeded) == [f"dlv_test_{seq}" for seq in (1, 2, 4, 5)]


async def test_nothing_starts_after_stop_and_a_reload_after_it_changes_nothing(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    market = Market(tmp_path)
    async with market.running():
        market.reload({"books": URLS[0]})
        market.add(50)
        await trio.sleep(1)
        market.add(50)
        await trio.sleep(CLAIM_S / 2)
        started = len(market.receivers.requests)
        market.dispatch.stop()
        market.reload({"books": URLS[0], "mail": URLS[1]})
        await trio.sleep(100)
        assert len(market.receivers.requests) == started
        assert market.dispatch.in_flight(market.queue.rows) == 0


async def test_networks_are_those_of_the_last_reload_also_where_a_url_comes_back(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    market = Market(tmp_path)
    market.receivers.answer_s = 50.0
    async with market.running():
        here = market.configuration({"books": URLS[0]})
        market.dispatch.apply(here)
        assert market.transports[URLS[0]].allowed == here.allow_networks != ()
        market.add(1)
        await trio.sleep(1)
        # It goes while an attempt is in flight, and no private network is allowed any more.
        elsewhere = replace(market.configuration({"books": URLS[1]}), allow_networks=())
        market.dispatch.apply(elsewhere)
        assert market.transports[URLS[0]].allowed == ()
        before = market.transports[URLS[0]]
        market.dispatch.apply(replace(here, allow_networks=()))
        await trio.sleep(1)
        assert market.transports[URLS[0]] is before
        assert before.allowed == ()


async def test_what_left_starts_nothing_until_the_next_configuration(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """What a reload releases is not attempted once more with the old secret."""
    market = Market(tmp_path)
    async with market.running():
        market.reload({"books": URLS[0], "mail": URLS[0]}, secret="the-old-secret-of-two")
        await trio.sleep(1)
        market.add(3)
        await trio.sleep(CLAIM_S / 2)  # also what a claim under way finds
        market.dispatch.leave(["books", "nowhere"])
        market.add(3)
        market.add(1, "mail")
        await trio.sleep(100)
        [only] = market.receivers.requests
        assert only.headers["X-LocallyGrown-Delivery"] == "dlv_test_7"
        market.reload({"books": URLS[0], "mail": URLS[0]}, secret="the-new-secret-of-two")
        await trio.sleep(100)
    assert set(market.queue.states().values()) == {State.DELIVERED}
    for each in market.receivers.requests[1:]:
        signature = each.headers["X-LocallyGrown-Signature"]
        assert verify(each.content, signature, Secret("the-new-secret-of-two"))


@pytest.mark.parametrize("seed", range(12))
async def test_any_mix_of_reloads_pauses_and_limits(
    autojump_clock: MockClock, tmp_path: Path, seed: int
) -> None:
    random = Random(seed)
    market = Market(tmp_path)
    for url in URLS:
        market.receivers.status[url] = random.choice([200, 200, 503, 410])
    async with market.running():
        market.reload(dict.fromkeys(NAMES, URLS[0]))
        for _ in range(80):
            await trio.sleep(random.choice([0.01, 0.1, 0.4, 1.0, 3.0]))
            match random.randrange(5):
                case 0:
                    market.add(random.randrange(30), random.choice(NAMES))
                case 1:
                    market.receivers.status[random.choice(URLS)] = random.choice([200, 503, 410])
                case 2:
                    hold = random.choice([None, Hold.PAUSED])
                    market.hold(random.choice(NAMES), hold)
                case _:
                    moved = {name: random.choice(URLS) for name in NAMES if random.random() < 0.9}
                    limit = random.choice(["10000/s", "600/min", "100/min"])
                    market.reload(moved, rate_limit=limit, max_in_flight=random.choice([1, 4, 8]))
        # Repaired, all of it is delivered.
        for url in URLS:
            market.receivers.status[url] = 200
        market.queue.holds.clear()
        market.reload(dict.fromkeys(NAMES, URLS[0]))
        await trio.sleep(10_000)
    assert max(market.receivers.most_under_way.values(), default=0) <= 8
    left = {seq for seq, state in market.queue.states().items() if state is not State.DELIVERED}
    assert all(market.queue.states()[seq] is State.EXHAUSTED for seq in left)
    assert all(count == 1 for count in market.receivers.succeeded.values() if count)


async def test_a_reload_asks_for_nothing_again_of_what_is_unchanged(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    market = Market(tmp_path)
    async with market.running():
        market.reload({"books": URLS[0], "mail": URLS[1]})
        await trio.sleep(10)
        asked = market.queue.claims
        assert market.config is not None
        market.dispatch.apply(market.config)
        await trio.sleep(10)
        assert market.queue.claims == asked
        # What is due while a claim is under way is attempted once, though there was a reload.
        market.add(5)
        await trio.sleep(CLAIM_S / 2)
        market.dispatch.apply(market.config)
        await trio.sleep(100)
    assert set(market.receivers.succeeded.values()) == {1}
    assert len(market.receivers.succeeded) == 5


async def test_between_two_parts_of_a_reload_a_subscription_is_nowhere_twice(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    market = Market(tmp_path)
    async with market.running():
        market.reload({"books": URLS[0], "mail": URLS[1]})
        market.add(100)
        market.add(100, "mail")
        await trio.sleep(0.1)
        for turn in range(30):
            urls = {"books": URLS[turn % 2], "mail": URLS[(turn + 1) % 2]}
            config = market.configuration(urls)
            for _ in market.dispatch.applying(config):
                # What comes meanwhile is found, though nobody may be told of it.
                market.add(1)
                await trio.sleep(0.07)
        await trio.sleep(100)
    assert set(market.queue.states().values()) == {State.DELIVERED}
    assert set(market.receivers.succeeded.values()) == {1}


async def test_a_410_between_two_parts_of_a_reload_holds(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    market = Market(tmp_path)
    market.receivers.status[URLS[0]] = 410
    async with market.running():
        market.reload({"books": URLS[0], "mail": URLS[1]})
        market.add(1)
        await trio.sleep(CLAIM_S + 0.2)
        config = market.configuration({"books": URLS[0], "mail": URLS[1]})
        parts = market.dispatch.applying(config)
        next(parts)
        await trio.sleep(5)
        assert market.queue.holds["books"] is Hold.GONE
        for _ in parts:
            pass
        market.add(3)
        await trio.sleep(100)
        assert len(market.receivers.requests) == 1


async def test_a_stop_between_two_parts_of_a_reload_starts_nothing(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    market = Market(tmp_path)
    async with market.running():
        market.reload({"books": URLS[0]})
        await trio.sleep(1)
        parts = market.dispatch.applying(market.configuration({"books": URLS[0], "mail": URLS[1]}))
        next(parts)
        market.dispatch.stop()
        for _ in parts:
            pass
        market.add(5)
        market.add(5, "mail")
        await trio.sleep(100)
        assert market.receivers.requests == []
