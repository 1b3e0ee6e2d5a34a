"""Ten tabs of the dashboard, a scrape every 5 s and a client that means harm, beside deliveries."""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks import events, queue_file, spool
from benchmarks.bench import Bench
from benchmarks.errors import RefusedError
from benchmarks.figures import Column, Row, Section, Target, Values, middle, pairwise, percentile
from benchmarks.processes import Program
from benchmarks.receiver import free_port
from benchmarks.relayd_process import Relayd
from benchmarks.spool import Producer

RATE = 200.0
"""Events a second, while latency is measured."""

_TOKEN = "bench-0123456789abcdef"  # noqa: S105 - of a relayd that is gone in a minute
_WARM_EVENTS = 50
_START_S = 60.0


@dataclass(frozen=True, slots=True)
class _Found:
    p50_ms: float
    p99_ms: float
    rate: float
    pages_ms: list[float] = field(default_factory=list)
    scrapes_ms: list[float] = field(default_factory=list)
    web_mib: float = 0.0


def run(bench: Bench) -> Section:
    """Measure with the web process and without, in turn."""
    alone: list[_Found] = []
    beside: list[_Found] = []
    port = free_port()
    # One daemon and one queue for all: to copy a queue of this size each time would disturb what is measured.
    with bench.folder() as folder:
        _build(bench, folder)
        with _relayd(bench, folder, port) as relayd:
            os.sync()
            _measured(bench, relayd, folder)
            for repeat in range(bench.plan.browsing_repeats):
                # Each goes first in turn.
                for web in (False, True) if repeat % 2 == 0 else (True, False):
                    found = _once(bench, relayd, folder, port if web else None)
                    (beside if web else alone).append(found)
                    bench.say(
                        f"{repeat + 1}/{bench.plan.browsing_repeats} "
                        f"{'beside browsers' if web else 'alone'}: p50 {found.p50_ms:.1f} ms, "
                        f"p99 {found.p99_ms:.1f} ms, {found.rate:,.0f}/s"
                    )
    return _section(bench, alone, beside)


def _section(bench: Bench, alone: list[_Found], beside: list[_Found]) -> Section:
    p99_ratio = pairwise([each.p99_ms for each in beside], [each.p99_ms for each in alone])
    rate_ratio = pairwise([each.rate for each in beside], [each.rate for each in alone])
    pages = tuple(percentile(each.pages_ms, 50) for each in beside)
    more: dict[str, Values] = {
        "p99_ratio": p99_ratio,
        "rate_ratio": rate_ratio,
        "page": pages,
        "scrape": tuple(percentile(each.scrapes_ms, 50) for each in beside),
        "memory": tuple(each.web_mib for each in beside),
    }
    return Section(
        "browsing",
        "Browsing beside deliveries",
        (
            (
                f"A queue with {bench.plan.browsed:,} ended and {bench.plan.browsed // 10:,} waiting "
                "deliveries. Ten tabs of the dashboard, each of which asks again every 3 s, a scrape of /metrics "
                "every 5 s, and a client without a token that sends 200 requests a second, nonsense and "
                "unfinished ones among them. The web process lowers its own priority, as always; the clients run at 19, "
                "since they are on other machines."
            ),
            (
                f"Latency: {RATE:.0f} events a second for {bench.plan.isolation_s:g} s. Throughput: "
                f"{bench.plan.isolation_events:,} events at once, from COMMIT to the last arrival. Pages: "
                "from the connection to the last byte."
            ),
        ),
        (
            Column("p50", "p50 ms", 1),
            Column("p99", "p99 ms", 1),
            Column("p99_ratio", "p99, relative", 2),
            Column("rate", "deliveries/s"),
            Column("rate_ratio", "relative", 2),
            Column("page", "pages, p50 ms", 1),
            Column("scrape", "scrapes, p50 ms", 1),
            Column("memory", "web process, peak MiB"),
        ),
        (
            Row("relayd alone", _cells(alone)),
            Row("beside the web process and its clients", {**_cells(beside), **more}),
        ),
        (
            Target("browsing: throughput beside it", middle(rate_ratio), "at least", 0.95),
            Target("browsing: p99 beside it, relative", middle(p99_ratio), "at most", 1.2),
            Target("browsing: a page, p50", middle(pages), "at most", 100, "ms", 1),
        ),
    )


def _cells(found: list[_Found]) -> dict[str, Values]:
    return {
        "p50": tuple(each.p50_ms for each in found),
        "p99": tuple(each.p99_ms for each in found),
        "rate": tuple(each.rate for each in found),
    }


def _build(bench: Bench, folder: Path) -> None:
    path = folder / "queue.db"
    urls = {"waiting": f"{bench.receiver.url}/waiting", "fresh": f"{bench.receiver.url}/fresh"}
    with queue_file.building(path, urls) as queue:
        queue.ended(bench.plan.browsed, events.data(), subscription=2)
        queue.waiting(bench.plan.browsed // 10, events.data(), subscription=1)


def _relayd(bench: Bench, folder: Path, port: int) -> Relayd:
    subscriptions = {
        "waiting": bench.subscription("/waiting", events="user.deleted", rate_limit="1/d"),
        "fresh": bench.subscription("/fresh"),
    }
    http = {"listen": f"127.0.0.1:{port}", "token": _TOKEN}
    return Relayd(folder, subscriptions, http=http)


def _once(bench: Bench, relayd: Relayd, folder: Path, web_port: int | None) -> _Found:
    if web_port is None:
        return _measured(bench, relayd, folder)
    with _browsed(folder, web_port) as server:
        measured = _measured(bench, relayd, folder)
        web_mib = server.memory_mib()
    got = json.loads((folder / "browsers.log").read_text().splitlines()[-1])
    if not got["pages_ms"] or not got["scrapes_ms"] or not got["harm"]:
        raise RefusedError(f"nobody browsed: {got['failed']} requests failed")
    return replace(
        measured, pages_ms=got["pages_ms"], scrapes_ms=got["scrapes_ms"], web_mib=web_mib
    )


@contextmanager
def _browsed(folder: Path, port: int) -> Iterator[Program]:
    """Run the web process and its clients. Give the former."""
    serve = [sys.executable, "-m", "relayd", "web", "--queue", str(folder / "queue.db")]
    browse = [sys.executable, "-m", "benchmarks.browsers", str(port), _TOKEN]
    with Program(serve, log=folder / "web.log") as server:
        _wait_until_it_answers(server, port)
        with Program(browse, log=folder / "browsers.log"):
            time.sleep(1.0)
            yield server


def _wait_until_it_answers(server: Program, port: int) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/", headers={"Authorization": f"Bearer {_TOKEN}"}
    )
    until = time.monotonic() + _START_S
    while True:
        server.check()
        try:
            with urllib.request.urlopen(request, timeout=10):  # noqa: S310 - as above
                return
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() > until:
                raise RefusedError(f"the web process does not answer: {error}") from error
        time.sleep(0.1)


def _measured(bench: Bench, relayd: Relayd, folder: Path) -> _Found:
    arrivals = bench.receiver.arrivals()
    ids = events.ids(int(RATE * bench.plan.isolation_s))
    committed = Producer(folder, relayd.spool, RATE, ids, [events.data()]).finish()
    arrivals.wait(len(ids), timeout_s=30, check=relayd.program.check)
    arrived = arrivals.first_times(ids)
    latencies = [(arrived[each] - committed[each]) * 1000 for each in ids[_WARM_EVENTS:]]
    arrivals = bench.receiver.arrivals()
    ids = events.ids(bench.plan.isolation_events)
    began = spool.commit_rows(relayd.spool, ((each, events.data()) for each in ids))
    arrivals.wait(len(ids), timeout_s=120, check=relayd.program.check)
    rate = len(ids) / (max(arrivals.first_times(ids).values()) - began)
    return _Found(percentile(latencies, 50), percentile(latencies, 99), rate)
