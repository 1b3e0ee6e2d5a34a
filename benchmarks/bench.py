"""What every scenario is given: the receiver, folders, the sizes of this run, and a way to say so."""

import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.receiver import Receiver


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. Counts are of events, `_s` are seconds."""

    name: str
    repeats: int
    events: int
    peer_events: int
    slow_peer_events: int
    fast_peer_events: int
    ceiling_s: int
    latency_repeats: int
    latency_s: float
    idle_s: float
    isolation_events: int
    isolation_s: float
    isolation_repeats: int
    drained: int
    scale_events: int
    scale_repeats: int
    waiting: tuple[int, ...]
    endpoints: tuple[int, ...]
    subscriptions: tuple[int, ...]
    matched_subscriptions: tuple[int, ...]
    payloads: tuple[int, ...]
    payload_bytes: int
    ended: tuple[int, ...]
    browsed: int
    browsing_repeats: int


FULL = Plan(
    name="full",
    repeats=5,
    events=20_000,
    peer_events=6_000,
    slow_peer_events=2_000,
    fast_peer_events=100_000,
    ceiling_s=3,
    latency_repeats=3,
    latency_s=20.0,
    idle_s=10.0,
    isolation_events=10_000,
    isolation_s=10.0,
    isolation_repeats=3,
    drained=100_000,
    scale_events=10_000,
    scale_repeats=2,
    waiting=(1_000, 10_000, 100_000, 1_000_000),
    endpoints=(1, 10, 100, 1_000, 10_000),
    subscriptions=(1, 100, 1_000, 10_000),
    matched_subscriptions=(1, 10, 100, 1_000, 10_000),
    payloads=(300, 3_000, 30_000, 300_000, 1_048_576),
    payload_bytes=100_000_000,
    ended=(10_000, 100_000, 1_000_000, 10_000_000),
    browsed=1_000_000,
    browsing_repeats=8,
)

QUICK = Plan(
    name="quick",
    repeats=2,
    events=10_000,
    peer_events=2_500,
    slow_peer_events=1_200,
    fast_peer_events=30_000,
    ceiling_s=1,
    latency_repeats=1,
    latency_s=8.0,
    idle_s=5.0,
    isolation_events=4_000,
    isolation_s=5.0,
    isolation_repeats=1,
    drained=5_000,
    scale_events=4_000,
    scale_repeats=1,
    waiting=(1_000, 100_000),
    endpoints=(1, 1_000),
    subscriptions=(1, 1_000),
    matched_subscriptions=(1, 100, 10_000),
    payloads=(300, 30_000, 1_048_576),
    payload_bytes=30_000_000,
    ended=(10_000, 300_000),
    browsed=100_000,
    browsing_repeats=2,
)


@dataclass(frozen=True, slots=True)
class Run:
    """One measured stretch: so many deliveries in so many seconds, and what they took."""

    deliveries: int
    seconds: float
    cpu_s: float
    memory_mib: float

    @property
    def rate(self) -> float:
        """Deliveries a second."""
        return self.deliveries / self.seconds

    @property
    def cpu_s_per_thousand(self) -> float:
        """CPU seconds, user and system, for a thousand deliveries."""
        return self.cpu_s / self.deliveries * 1000


class Bench:
    """One run of the benchmarks."""

    def __init__(self, work: Path, receiver: Receiver, plan: Plan, *, peers: bool) -> None:
        self.work = work
        self.receiver = receiver
        self.plan = plan
        self.peers = peers
        self._folders = 0
        self._began = time.monotonic()

    def say(self, line: str) -> None:
        """Tell how it goes on."""
        say(f"{time.monotonic() - self._began:6.1f} s  {line}")

    def say_run(self, name: str, run: Run) -> None:
        """Tell what one run came to."""
        self.say(
            f"{name}: {run.rate:,.0f}/s, {run.cpu_s_per_thousand:.3f} CPU s per thousand, "
            f"{run.memory_mib:.0f} MiB"
        )

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Return an empty folder, on the disk that is measured, for the length of the block."""
        self._folders += 1
        path = self.work / f"{self._folders:03d}"
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path)

    def subscription(self, path: str = "/hook", **keys: object) -> Mapping[str, object]:
        """Return a subscription to the receiver, as the configuration has it."""
        return {"url": f"{self.receiver.url}{path}", **keys}


def say(line: str) -> None:
    """Write a line to standard error, where progress belongs."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
