"""Runs the real process under load, kills it at random moments, and checks the invariants.

Everything random comes from one seed, so that a failure's seed gives the same plan again. (What
the scheduler does with the plan is its own.)
"""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from kill_recording import Produced, Receiver, Request, SocketProducer, SpoolProducer

from relayd.sources.spool_table import SPOOL_TABLE

SECRET = "a-secret-for-torture-only"
MAX_IN_FLIGHT = 8

_CONFIG = """\
market_id: market_123
api_version: "2024-01-01"
spools:
  market: {{path: spool.db}}
socket: {{path: relayd.sock}}
queue: {{path: queue.db}}
log: {{level: warning, format: json}}
allow_networks: [127.0.0.0/8]
subscriptions:
  torture:
    url: {url}
    events: ["order.*"]
    secret: {secret}
    rate_limit: 100000/s
    max_in_flight: {in_flight}
    # Twenty failures in a row at 30 % do not happen.
    retry: [{retries}]
"""


@dataclass(slots=True)
class Report:
    """What a run left, for `violations` to judge."""

    seed: int
    kills: int
    produced: Produced
    requests: list[Request]
    still_in_spool: set[str]
    queue_states: dict[str, str]
    integrity: str
    log: str = field(repr=False)


class Relay:
    """The process under test, in a process group of its own."""

    def __init__(self, folder: Path, program: list[str]) -> None:
        self._folder = folder
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "relayd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._program, "run", "--config", "config.yaml"],
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
            )

    def kill(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, f"it ended by itself: {self.log()[-3000:]}"
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def terminate(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout=20)

    def log(self) -> str:
        return (self._folder / "relayd.log").read_text()


def torture(folder: Path, *, seed: int, kills: int, program: list[str]) -> Report:
    """Run the relay under load, kill it `kills` times, let it finish, and report."""
    plan = random.Random(seed)
    receiver = Receiver(SECRET, seed=plan.randrange(2**32), failing=0.3)
    spool = folder / "spool.db"
    db = sqlite3.connect(spool)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(SPOOL_TABLE.format(table="relayd_spool"))
    db.close()
    (folder / "config.yaml").write_text(
        _CONFIG.format(
            url=receiver.url,
            secret=SECRET,
            in_flight=MAX_IN_FLIGHT,
            retries=", ".join(["200ms"] * 20),
        )
    )
    produced = Produced()
    producers = [
        SpoolProducer(spool, produced, pause_s=0.004),
        SocketProducer(folder / "relayd.sock", produced, pause_s=0.004),
    ]
    relay = Relay(folder, program)
    relay.start()
    for producer in producers:
        producer.start()
    try:
        for _ in range(kills):
            # From the middle of the start to well under way: a start takes about half a second.
            time.sleep(plan.uniform(0.2, 1.2))
            relay.kill()
            relay.start()
        for producer in producers:
            producer.stopping.set()
        for producer in producers:
            producer.join()
        _wait_until_idle(folder, spool)
        assert relay.terminate() == 0
    finally:
        for producer in producers:
            producer.stopping.set()
        receiver.close()
    return Report(
        seed=seed,
        kills=kills,
        produced=produced,
        requests=receiver.requests,
        still_in_spool=_ids(spool, "SELECT id FROM relayd_spool"),
        queue_states=_states(folder / "queue.db"),
        integrity=_integrity(folder / "queue.db"),
        log=relay.log(),
    )


def violations(report: Report) -> list[str]:
    """Return each invariant that a run broke, in words."""
    found: list[str] = []
    requests: dict[str, list[Request]] = defaultdict(list)
    for request in report.requests:
        requests[request.event_id].append(request)
    taken = {each.event_id for each in report.requests if each.status == 200}

    if lost := report.produced.committed - taken - report.still_in_spool:
        found.append(f"lost: {len(lost)} committed events were never received: {_some(lost)}")
    if phantoms := requests.keys() - report.produced.committed - report.produced.in_doubt:
        found.append(f"phantoms: {len(phantoms)} events nobody handed over: {_some(phantoms)}")
    if waiting := {key for key, state in report.queue_states.items() if state != "delivered"}:
        found.append(f"not delivered in the end: {len(waiting)}: {_some(waiting)}")
    for event_id, each in requests.items():
        if len({(request.body_hash, request.delivery_id) for request in each}) > 1:
            found.append(f"{event_id}: attempts differ in body or id")
        if not all(request.signature_ok for request in each):
            found.append(f"{event_id}: a wrong signature")
    twice = sum(
        max(0, sum(request.status == 200 for request in each) - 1) for each in requests.values()
    )
    if twice > report.kills * MAX_IN_FLIGHT:
        found.append(f"duplicates: {twice}, more than were in flight at {report.kills} kills")
    if report.integrity != "ok":
        found.append(f"the queue is damaged: {report.integrity}")
    return found


def _wait_until_idle(folder: Path, spool: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        states = _states(folder / "queue.db")
        waiting = any(state in ("pending", "retrying") for state in states.values())
        if not waiting and not _ids(spool, "SELECT id FROM relayd_spool"):
            return
        time.sleep(0.2)


def _ids(path: Path, query: str) -> set[str]:
    db = sqlite3.connect(path, timeout=30)
    try:
        return {row[0] for row in db.execute(query)}
    finally:
        db.close()


def _states(path: Path) -> dict[str, str]:
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
    try:
        return dict(
            db.execute(
                "SELECT e.id, d.state FROM deliveries d JOIN events e ON e.seq = d.event_seq"
            )
        )
    finally:
        db.close()


def _integrity(path: Path) -> str:
    db = sqlite3.connect(path)
    try:
        return str(db.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        db.close()


def _some(ids: set[str]) -> str:
    return ", ".join(sorted(ids)[:5])
