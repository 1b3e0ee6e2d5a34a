"""Runs the real process under load, does a plan's faults to it, and checks the invariants.

Several producers (spools in both journal modes, and the socket) write down what was accepted;
several receivers, one of no manners and one with a low limit, write down what they saw. At the end
the records of both ends are compared. (What the scheduler does with a plan is its own.)
"""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from faults.injection import can_mount, can_trace, fill, killed_at, small_disk
from torture.plan import KILLS, Fault, Plan, Step
from torture.recording import (
    PAYLOAD,
    TYPES,
    UNRULY,
    Produced,
    Receiver,
    Request,
    SocketProducer,
    SpoolProducer,
    event_type,
)

from relayd.sources.spool_table import SPOOL_TABLE

SECRET = "a-secret-for-torture-only"
MAX_IN_FLIGHT = 8
MEMORY = 150_000_000
OPEN_FILES = 120
LOG_LINES_PER_S = 400

LIMIT, PERIOD_S = 3000, 60.0
"""The limited receiver's: 30 at once and 49.4 a second, and so 3,000 in any minute."""
WINDOW_S = 5.0
IN_WINDOW = round((LIMIT // 100 + LIMIT / PERIOD_S * WINDOW_S) * 1.1)
"""Counted over a shorter window, which holds in a short run, too. A tenth is for the arrivals'
jitter on a machine that is busy."""

WANTED: Mapping[str, tuple[str, ...]] = {
    "all": tuple(TYPES.values()),
    "unruly": ("order.created",),
    "limited": ("user.created",),
}
"""What each receiver subscribed to."""

_CONFIG = """\
market_id: market_123
api_version: "2024-01-01"
spools:
  wal: {{path: {spools}/wal.db}}
  rollback: {{path: {spools}/rollback.db}}
socket: {{path: {sockets}/relayd.sock}}
queue: {{path: queue.db, retention: 60s}}
log: {{level: warning, format: json}}
allow_networks: [127.0.0.0/8]
defaults:
  timeout: 2s
  max_in_flight: {in_flight}
  retry: [{retries}]
subscriptions:
  all: {{url: "{urls[all]}", events: ["order.*", "user.*"], secret: {secret}, rate_limit: {rate}}}
  unruly: {{url: "{urls[unruly]}", events: order.created, secret: {secret}, rate_limit: 100000/s}}
  limited: {{url: "{urls[limited]}", events: user.created, secret: {secret}, rate_limit: {limit}/min}}
"""


@dataclass(slots=True)
class Report:
    """What a run left, for `violations` to judge."""

    plan: Plan
    produced: Produced
    requests: Mapping[str, Sequence[Request]]
    faults: Counter[Fault] = field(default_factory=Counter)
    still_in_spool: set[str] = field(default_factory=set)
    waiting: dict[str, str] = field(default_factory=dict)
    integrity: str = "ok"
    peak_memory: int = 0
    open_files: int = 0
    log: str = field(default="", repr=False)
    log_lines_per_s: float = 0.0
    troubles: list[str] = field(default_factory=list)
    """What went wrong with the run itself, and is no fault of the plan."""

    @property
    def kills(self) -> int:
        """How often relayd was killed."""
        return sum(count for fault, count in self.faults.items() if fault in KILLS)

    def taken(self, name: str) -> set[str]:
        """Return the events to which a receiver answered 2xx."""
        return {each.event_id for each in self.requests[name] if each.status == 200}


class Relay:
    """The process under test, in a process group of its own."""

    def __init__(self, folder: Path, log: Path, program: list[str], env: Mapping[str, str]) -> None:
        self._folder = folder
        self._log = log
        self._program = program
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None
        self.peak_memory = 0
        self.open_files = 0

    def start(self, under: Sequence[str] = ()) -> None:
        tests = Path(__file__).parents[1]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*under, sys.executable, *self._program, "run", "--config", "config.yaml"],
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **self._env, "PYTHONPATH": f"{tests}:{tests.parent}"},
            )

    @property
    def status(self) -> int | None:
        """Its exit status, or None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def terminate(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout=20)

    def wait(self, timeout_s: float) -> int | None:
        """Return its exit status, or None when it has not ended by itself by then."""
        assert self._process is not None
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def sample(self) -> None:
        """Note how much memory and how many files it has now."""
        process = self._process
        if process is None:
            return
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            files = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
        except OSError:
            return
        for line in status.splitlines():
            if line.startswith("VmRSS"):
                self.peak_memory = max(self.peak_memory, int(line.split()[1]) * 1024)
        self.open_files = max(self.open_files, files)


class Run:
    """One run: the relay, those at both ends of it, and the faults."""

    def __init__(
        self, folder: Path, plan: Plan, program: list[str], env: Mapping[str, str], load: float
    ) -> None:
        self._plan = plan
        self._outside = folder
        self._folder = folder / "disk"
        self._spools = folder / "spools"
        seeds = iter(plan.seeds)
        self.receivers = {
            "all": Receiver(SECRET, seed=next(seeds), failing=0.05),
            "unruly": Receiver(SECRET, seed=next(seeds), acts=UNRULY),
            "limited": Receiver(SECRET, seed=next(seeds), failing=0.02),
        }
        self.produced = Produced()
        pause_s = 0.012 / load
        self._producers = [
            SpoolProducer(self._spools / "wal.db", self.produced, pause_s * 3, name="wal", seed=next(seeds), most=8),
            SpoolProducer(self._spools / "rollback.db", self.produced, pause_s * 2, name="rollback", seed=next(seeds), most=4),
            SocketProducer(folder / "relayd.sock", self.produced, pause_s, name="one", seed=next(seeds)),
            SocketProducer(folder / "relayd.sock", self.produced, pause_s * 5, name="many", seed=next(seeds), most=10),
        ]  # fmt: skip
        self._relay = Relay(self._folder, folder / "relayd.log", program, env)
        self._rates = 0
        self.report = Report(
            plan, self.produced, {name: each.requests for name, each in self.receivers.items()}
        )

    def run(self) -> Report:
        """Do the whole plan, let the relay finish, and report."""
        report = self.report
        with self._disk():
            self._spools.mkdir()
            _make_spool(self._spools / "wal.db", "wal")
            _make_spool(self._spools / "rollback.db", "delete")
            self._write_config()
            self._relay.start()
            sampling = threading.Event()
            sampler = threading.Thread(target=self._sample, args=(sampling,))
            sampler.start()
            began = time.monotonic()
            for producer in self._producers:
                producer.start()
            try:
                for step in self._plan.steps:
                    time.sleep(step.wait_s)
                    self._check_that_it_runs()
                    self._do(step)
                    report.faults[step.fault] += 1
                self._finish()
            finally:
                sampling.set()
                sampler.join()
                for producer in self._producers:
                    producer.stopping.set()
                for receiver in self.receivers.values():
                    receiver.close()
                self._relay.kill()
            self._look(time.monotonic() - began)
        return report

    @contextmanager
    def _disk(self) -> Iterator[None]:
        if any(step.fault is Fault.FILL_DISK for step in self._plan.steps):
            with small_disk(self._folder, "512m"):
                yield
        else:
            self._folder.mkdir()
            yield

    def _write_config(self, *, good: bool = True) -> None:
        self._rates += 1
        text = _CONFIG.format(
            spools=self._spools,
            sockets=self._outside,
            urls={name: each.url for name, each in self.receivers.items()},
            secret=SECRET,
            in_flight=MAX_IN_FLIGHT,
            retries=", ".join(["200ms"] * 50),
            rate=f"{100_000 + self._rates}/s",
            limit=LIMIT,
        )
        if not good:
            text = text[: len(text) // 3]
        # As editors do it. On a full disk there is no room for a new file.
        (self._folder / "config.yaml").write_text(text)

    def _do(self, step: Step) -> None:
        actions: dict[Fault, Callable[[float], None]] = {
            Fault.KILL: self._kill,
            Fault.KILL_AT_START: self._kill_at_start,
            Fault.KILL_AT_SYNC: self._kill_at_sync,
            Fault.KILL_AT_RELOAD: self._kill_at_reload,
            Fault.TERMINATE: self._terminate,
            Fault.RELOAD: lambda _: self._reload(good=True),
            Fault.BAD_RELOAD: lambda _: self._reload(good=False),
            Fault.STOP: self._stop,
            Fault.OUTAGE: self._outage,
            Fault.LOCK_SPOOL: self._lock_spool,
            Fault.LOCK_QUEUE: self._lock_queue,
            Fault.FILL_DISK: self._fill_disk,
        }
        actions[step.fault](step.amount)

    def _kill(self, _: float) -> None:
        self._relay.kill()
        self._relay.start()

    def _kill_at_start(self, amount: float) -> None:
        self._relay.kill()
        self._relay.start()
        time.sleep(amount * 0.8)
        self._relay.kill()
        self._relay.start()

    def _kill_at_sync(self, amount: float) -> None:
        self._relay.kill()
        self._relay.start(killed_at("fdatasync", 1 + int(amount**2 * 150)))
        if self._relay.wait(20) is None:
            self._relay.kill()
        self._relay.start()

    def _kill_at_reload(self, amount: float) -> None:
        self._reload(good=True)
        time.sleep(amount * 0.05)
        self._kill(amount)

    def _terminate(self, _: float) -> None:
        # Before it has taken its signals over, SIGTERM ends it at once.
        if (status := self._relay.terminate()) not in (0, -signal.SIGTERM):
            self.report.troubles.append(f"SIGTERM ended it with {status}")
        self._relay.start()

    def _reload(self, *, good: bool) -> None:
        self._wait_until_started()
        self._write_config(good=good)
        self._relay.signal(signal.SIGHUP)
        if not good:
            time.sleep(0.3)
            self._write_config()

    def _stop(self, amount: float) -> None:
        self._relay.signal(signal.SIGSTOP)
        time.sleep(0.2 + amount)
        self._relay.signal(signal.SIGCONT)

    def _outage(self, amount: float) -> None:
        receiver = self.receivers["unruly" if amount < 0.5 else "all"]
        receiver.down = True
        time.sleep(0.2 + amount)
        receiver.down = False

    def _lock_spool(self, amount: float) -> None:
        self._lock(self._spools / ("wal.db" if amount < 0.5 else "rollback.db"), amount)

    def _lock_queue(self, amount: float) -> None:
        self._lock(self._folder / "queue.db", amount)

    def _lock(self, path: Path, amount: float) -> None:
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            time.sleep(0.2 + 2 * amount)
            db.execute("ROLLBACK")

    def _fill_disk(self, amount: float) -> None:
        filler = fill(self._folder)
        time.sleep(0.3 + amount)
        if amount > 0.5:
            # Killed with a full disk, it may not be able to start until there is room.
            self._relay.kill()
            self.report.faults[Fault.KILL] += 1
            self._relay.start()
            time.sleep(0.5)
        filler.unlink()
        self._restart_if_it_ended()

    def _wait_until_started(self) -> None:
        # Until it has taken over its signals, SIGHUP ends a process.
        for _ in range(100):
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(self._outside / "relayd.sock"))
                except OSError:
                    time.sleep(0.05)
                else:
                    return

    def _restart_if_it_ended(self) -> None:
        # As systemd does, after a failure for which a fault of the plan is a reason.
        for _ in range(20):
            if self._relay.status is None:
                return
            self._relay.start()
            time.sleep(0.5)

    def _check_that_it_runs(self) -> None:
        status = self._relay.status
        if status is not None:
            self.report.troubles.append(f"it ended by itself with {status}")
            self._relay.start()
        for producer in self._producers:
            if producer.error is not None:
                self.report.troubles.append(f"producer {producer.name}: {producer.error!r}")
                producer.error = None

    def _finish(self) -> None:
        for producer in self._producers:
            producer.stopping.set()
        for producer in self._producers:
            producer.join()
        for receiver in self.receivers.values():
            receiver.meek = True
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            self._check_that_it_runs()
            if not _waiting(self._folder / "queue.db") and not self._in_spools():
                break
            time.sleep(0.3)
        if (status := self._relay.terminate()) != 0:
            self.report.troubles.append(f"the last SIGTERM ended it with {status}")

    def _look(self, duration_s: float) -> None:
        report = self.report
        report.still_in_spool = self._in_spools()
        report.waiting = _waiting(self._folder / "queue.db")
        report.integrity = _integrity(self._folder / "queue.db")
        report.log = (self._outside / "relayd.log").read_text()
        report.log_lines_per_s = report.log.count("\n") / duration_s
        report.peak_memory = self._relay.peak_memory
        report.open_files = self._relay.open_files

    def _in_spools(self) -> set[str]:
        found: set[str] = set()
        for name in ("wal.db", "rollback.db"):
            with closing(sqlite3.connect(self._spools / name, timeout=30)) as db:
                found |= {row[0] for row in db.execute("SELECT id FROM relayd_spool")}
        return found

    def _sample(self, ending: threading.Event) -> None:
        while not ending.wait(0.1):
            self._relay.sample()


def torture(
    folder: Path,
    plan: Plan,
    *,
    program: Sequence[str] = ("-m", "relayd"),
    env: Mapping[str, str] | None = None,
    load: float = 1.0,
) -> Report:
    """Run the relay under load, do the plan's faults to it, let it finish, and report."""
    return Run(folder, plan, list(program), env or {}, load).run()


def impossible_here() -> set[Fault]:
    """Return the faults that cannot be made on this machine."""
    found: set[Fault] = set()
    if not can_trace():
        found.add(Fault.KILL_AT_SYNC)
    if not can_mount():
        found.add(Fault.FILL_DISK)
    return found


def violations(report: Report) -> list[str]:
    """Return each invariant that a run broke, in words."""
    found = list(report.troubles)
    committed, in_doubt = report.produced.committed, report.produced.in_doubt
    for name, types in WANTED.items():
        wanted = {event_id for event_id in committed if event_type(event_id) in types}
        if lost := wanted - report.taken(name) - report.still_in_spool:
            found.append(f"lost: {len(lost)} committed events never reached {name}: {_some(lost)}")
        known = {event_id for event_id in committed | in_doubt if event_type(event_id) in types}
        if phantoms := {each.event_id for each in report.requests[name]} - known:
            found.append(f"phantoms: {len(phantoms)} events nobody made: {_some(phantoms)}")
        found += _of_its_requests(name, report.requests[name])
    if report.waiting:
        found.append(f"not delivered in the end: {len(report.waiting)}: {_some(report.waiting)}")
    if report.still_in_spool:
        found.append(f"left in the spools: {_some(report.still_in_spool)}")

    # An attempt that was cut off is made again, and so is one whose answer came to a stopped
    # process, or to one that could not write it down.
    cut_off = report.kills + sum(
        report.faults[fault] for fault in (Fault.STOP, Fault.TERMINATE, Fault.FILL_DISK)
    )
    twice = sum(
        count - 1
        for requests in report.requests.values()
        for count in Counter(each.event_id for each in requests if each.status == 200).values()
    )
    if twice > cut_off * MAX_IN_FLIGHT * len(WANTED):
        found.append(f"duplicates: {twice}, more than were in flight at {cut_off} interruptions")
    times = sorted(each.at for each in report.requests["limited"])
    most = _most_in_a_window(times)
    if most > IN_WINDOW:
        found.append(f"too fast: {most} requests within {WINDOW_S} s, where {IN_WINDOW} may be")
    if report.integrity != "ok":
        found.append(f"the queue is damaged: {report.integrity}")
    if report.peak_memory > MEMORY:
        found.append(f"memory: {report.peak_memory} bytes")
    if report.open_files > OPEN_FILES:
        found.append(f"open files: {report.open_files}")
    if report.log_lines_per_s > LOG_LINES_PER_S:
        found.append(f"log: {report.log_lines_per_s:.0f} lines a second")
    if SECRET in report.log or PAYLOAD in report.log:
        found.append("the log shows a secret or a payload")
    if "Traceback" in report.log or '"event": "defect"' in report.log:
        found.append("the log has a defect")
    return found


def _of_its_requests(name: str, requests: Sequence[Request]) -> Iterator[str]:
    by_event: dict[str, list[Request]] = defaultdict(list)
    for request in requests:
        by_event[request.event_id].append(request)
    for event_id, each in by_event.items():
        if len({(request.body_hash, request.delivery_id) for request in each}) > 1:
            yield f"{event_id} to {name}: attempts differ in body or id"
        if not all(request.signature_ok for request in each):
            yield f"{event_id} to {name}: a wrong signature"


def _most_in_a_window(times: Sequence[float]) -> int:
    most = begin = 0
    for end, at in enumerate(times):
        while times[begin] <= at - WINDOW_S:
            begin += 1
        most = max(most, end - begin + 1)
    return most


def _make_spool(path: Path, journal: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA journal_mode = {journal}")
        db.execute(SPOOL_TABLE.format(table="relayd_spool"))


def _waiting(path: Path) -> dict[str, str]:
    """Return the deliveries that have not been delivered, by their event's id."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as db:
        return dict(
            db.execute(
                "SELECT e.id, d.state FROM deliveries d JOIN events e ON e.seq = d.event_seq"
                " WHERE d.state <> 'delivered' LIMIT 1000"
            )
        )


def _integrity(path: Path) -> str:
    with closing(sqlite3.connect(path)) as db:
        return str(db.execute("PRAGMA integrity_check").fetchone()[0])


def _some(ids: object) -> str:
    return ", ".join(sorted(ids)[:5])  # type: ignore[call-overload]  # strings, in whatever holds them
