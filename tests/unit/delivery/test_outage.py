"""Every endpoint down at once for a day, and back at once, on virtual time."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import cast

import httpx
import trio
from memory_queue import MemoryQueue
from processes import write_config
from trio.testing import MockClock

from relayd.at_work import AtWork
from relayd.config.load import load_config
from relayd.core.delivery import State
from relayd.delivery.dispatch import Dispatch
from relayd.transport.client import Transport

EPOCH = 1_700_000_000.0
DAY_S = 86_400.0
ENDPOINTS = 8
EVENTS = 40
RETRY = [*["1m", "10m"], *["1h"] * 30]


class Receivers(httpx.MockTransport):
    """All endpoints: they refuse every connection until they are up."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.up = False
        self.starts: defaultdict[str, list[float]] = defaultdict(list)
        self.attempts: Counter[str] = Counter()

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.starts[request.url.host].append(trio.current_time())
        self.attempts[request.headers["X-LocallyGrown-Delivery"]] += 1
        if not self.up:
            raise httpx.ConnectError("refused")
        return httpx.Response(200)

    def close_idle(self, now: float) -> None:
        """Do nothing: there are no connections."""


async def test_all_endpoints_down_for_a_day_and_back_at_once(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    names = [f"s{number}" for number in range(ENDPOINTS)]
    subscriptions = {
        name: {"url": f"https://{name}.example/hook", "rate_limit": "100/min", "retry": RETRY}
        for name in names
    }
    config = load_config(write_config(tmp_path, subscriptions), environ={})
    queue, receivers = MemoryQueue(), Receivers()
    began = trio.current_time()
    for name in names:
        for _ in range(EVENTS):
            queue.add(EPOCH, name)
    dispatch = Dispatch(
        queue,
        health={},
        make_transport=lambda *_: cast("Transport", receivers),
        at_work=AtWork.unrecorded(),
        clock=lambda: EPOCH + trio.current_time() - began,
        jitter=lambda: 0.0,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(dispatch.run)
        dispatch.apply(config)
        await trio.sleep(DAY_S)
        down = {host: len(starts) for host, starts in receivers.starts.items()}
        assert State.DELIVERED not in queue.states().values()
        receivers.up = True
        back_at = trio.current_time()
        await trio.sleep(3600 + 240)
        assert set(queue.states().values()) == {State.DELIVERED}
        nursery.cancel_scope.cancel()
    assert len(down) == ENDPOINTS
    # No delivery more often than its schedule: 1 minute, 10, and then each hour of the day; and
    # those of the day in which it came back once more.
    assert max(receivers.attempts.values()) <= 2 + 24 + 2
    for host, starts in receivers.starts.items():
        for first in range(len(starts) - 100):
            assert starts[first + 100] - starts[first] >= 60.0, host
        since = [at for at in starts if at > back_at]
        # The retries of the hour find it up, and deliver.
        assert len(since) == EVENTS
        assert since[-1] - since[0] < 60.0
