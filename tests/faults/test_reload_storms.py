"""Reloads under load: URLs that move back and forth, limits that fall and rise, stops in between."""

import random
import signal
import sqlite3
from collections import Counter, defaultdict
from pathlib import Path

import trio
from processes import RelaydProcess, make_spool, running, write_config
from torture.recording import Receiver

SECRET = "a-secret-for-reload-storms"
EVENTS = 3_000
RELOADS = 40


def config(folder: Path, urls: dict[str, str], **options: object) -> Path:
    common = {"secret": SECRET, "retry": ["200ms"] * 20, "rate_limit": "100000/s", **options}
    return write_config(folder, {name: {"url": url, **common} for name, url in urls.items()})


def fill(spool: Path, count: int) -> None:
    with sqlite3.connect(spool) as db:
        db.executemany(
            "INSERT INTO relayd_spool (id, type, data) VALUES (?, 'order.created', '{\"object\":{}}')",
            ((f"evt_{number}c",) for number in range(count)),
        )
    db.close()


async def accepted(spool: Path) -> None:
    """Wait until relayd has taken all rows: an inactive subscription gets no new events."""
    with trio.fail_after(60), sqlite3.connect(spool) as db:
        while db.execute("SELECT count(*) FROM relayd_spool").fetchone() != (0,):
            await trio.sleep(0.05)
    db.close()


async def reload(relayd: RelaydProcess) -> None:
    seen = len(relayd.lines)
    relayd.signal(signal.SIGHUP)
    with trio.fail_after(30):
        await relayd.logged("configuration_reloaded", after=seen)


def check(receivers: list[Receiver], subscriptions: int) -> None:
    """Each delivery was taken once, and its attempts were numbered 1, 2, 3 without a gap."""
    taken: Counter[str] = Counter()
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for request in (each for receiver in receivers for each in receiver.requests):
        taken[request.delivery_id] += request.status == 200
        numbers[request.delivery_id].append(request.attempt)
    assert len(taken) == EVENTS * subscriptions
    assert set(taken.values()) == {1}
    for found in numbers.values():
        assert sorted(found) == list(range(1, len(found) + 1))


async def all_taken(receivers: list[Receiver], count: int) -> None:
    with trio.fail_after(120):
        while sum(receiver.taken for receiver in receivers) < count:
            await trio.sleep(0.05)


async def test_urls_that_move_back_and_forth_under_load(tmp_path: Path) -> None:
    receivers = [Receiver(SECRET, seed=number, failing=0.1) for number in range(2)]
    one, two = (receiver.url for receiver in receivers)
    # Swapped, merged, split.
    layouts = [
        {"books": one, "mail": two},
        {"books": two, "mail": one},
        {"books": one, "mail": one},
        {"books": two, "mail": two},
    ]
    fill(make_spool(tmp_path / "spool.db"), EVENTS)
    path = config(tmp_path, layouts[0], max_in_flight=50)
    try:
        async with running(path) as relayd:
            for turn in range(RELOADS):
                config(tmp_path, layouts[(turn + 1) % len(layouts)], max_in_flight=50)
                await reload(relayd)
            await all_taken(receivers, EVENTS * 2)
            assert not relayd.events("task_restarting")
    finally:
        for receiver in receivers:
            receiver.close()
    check(receivers, 2)


async def test_limits_that_fall_and_rise_under_load(tmp_path: Path) -> None:
    receiver = Receiver(SECRET, seed=1, failing=0.1)
    plan = random.Random(1)
    fill(make_spool(tmp_path / "spool.db"), EVENTS)
    urls = {"books": receiver.url}
    path = config(tmp_path, urls, rate_limit="100/min")
    try:
        async with running(path) as relayd:
            await accepted(tmp_path / "spool.db")
            for _ in range(RELOADS):
                limit = plan.choice(["100000/s", "1000/min", "100/min", "50/s"])
                active = plan.random() < 0.8
                in_flight = plan.choice([1, 4, 50])
                config(tmp_path, urls, rate_limit=limit, active=active, max_in_flight=in_flight)
                await reload(relayd)
                await trio.sleep(plan.choice([0.0, 0.05]))
            config(tmp_path, urls, max_in_flight=50)
            await reload(relayd)
            await all_taken([receiver], EVENTS)
            assert not relayd.events("task_restarting")
    finally:
        receiver.close()
    check([receiver], 1)


async def test_a_reload_while_relayd_stops_starts_nothing(tmp_path: Path) -> None:
    receiver = Receiver(SECRET, seed=1)
    fill(make_spool(tmp_path / "spool.db"), EVENTS)
    path = config(tmp_path, {"books": receiver.url}, rate_limit="200/s")
    try:
        async with running(path) as relayd:
            with trio.fail_after(30):
                while receiver.taken < 10:
                    await trio.sleep(0.01)
            relayd.signal(signal.SIGTERM)
            await relayd.logged("stopping")
            await trio.sleep(0.2)
            started = len(receiver.requests)
            for _ in range(5):
                relayd.signal(signal.SIGHUP)
            assert await relayd.wait() == 0
            assert len(receiver.requests) == started
            assert not relayd.events("configuration_reloaded")
    finally:
        receiver.close()
