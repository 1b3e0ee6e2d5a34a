"""Runs the real process under load, and does a plan's faults to it, while an operator acts.

Several producers (spools in both journal modes, and the socket) write down what was accepted;
several receivers (one of no manners, one with a low limit, one that refuses everything, one that
gets its events in order, four between which the operator moves subscriptions) write down what they saw. `violations` then compares
the records of both ends. (What the scheduler does with a plan is its own.)
"""

import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from faults.injection import can_mount, can_trace, fill, killed_at, small_disk
from torture.configuration import PLACES, SECRET, ConfigFile
from torture.observation import integrity, observe, unended, waiting
from torture.operations import Operator
from torture.plan import LONG_RETENTION_S, Fault, Plan, Step
from torture.recording import (
    BUSY,
    UNRULY,
    Produced,
    Receiver,
    SocketProducer,
    SpoolProducer,
)
from torture.relay import Relay
from torture.violations import Report

from relayd.spool.table import SPOOL_TABLE

START_S = 60.0
"""How long a start may take on a machine that is busy with other things."""

BACKLOG = 3000
"""With so many events on their way, producers wait: a run must end, however slow its machine is."""

OPERATED_BACKLOG = 15_000
"""The same for deliveries, most of them of the subscriptions that the operator stops and starts."""

OBSERVED_EACH_S = 20.0

SAID_EACH = 10
"""Faults between two lines of progress."""

FINISH_S = 180.0


class Run:
    """One run: the relay, those at both ends of it, and the faults."""

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        *,
        relay: Relay,
        load: float,
        failing: float,
        until_killed: Callable[[], bool] | None,
        progress: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._progress = progress
        self._outside = folder
        self._folder = folder / "disk"
        self._socket = folder / "relayd.sock"
        self._spools = folder / "spools"
        seeds = iter(plan.seeds)
        self.receivers = {
            "all": Receiver(SECRET, seed=next(seeds), failing=failing),
            "unruly": Receiver(SECRET, seed=next(seeds), acts=UNRULY),
            "limited": Receiver(SECRET, seed=next(seeds), failing=failing),
            "hopeless": Receiver(SECRET, seed=next(seeds), failing=1.0),
            "ordered": Receiver(SECRET, seed=plan.seed, failing=failing),
            **{
                place: Receiver(SECRET, seed=next(seeds), acts=BUSY, delay_s=0.03)
                for place in PLACES
            },
        }
        self._file = ConfigFile(
            folder / "config.yaml",
            spools=self._spools,
            socket=self._socket,
            queue=self._folder / "queue.db",
            urls={name: each.url for name, each in self.receivers.items()},
            retention_s=plan.retention_s,
        )
        self.produced = Produced()
        pause_s = 0.012 / load
        self._producers = [
            SpoolProducer(self._spools / "wal.db", self.produced, pause_s * 3, name="wal", seed=next(seeds), most=24),
            SpoolProducer(self._spools / "rollback.db", self.produced, pause_s * 2, name="rollback", seed=next(seeds), most=8),
            SocketProducer(self._socket, self.produced, pause_s, name="one", seed=next(seeds)),
            SocketProducer(self._socket, self.produced, pause_s * 5, name="many", seed=next(seeds), most=30),
        ]  # fmt: skip
        self._relay = relay
        self._until_killed = until_killed or self._listens
        self.report = Report(
            plan, self.produced, {name: each.requests for name, each in self.receivers.items()}
        )
        self._operator = Operator(
            plan.operations,
            file=self._file,
            spool=self._spools / "wal.db",
            produced=self.produced,
            timeline=self.report.timeline,
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
                self._wait_until(self._listens)
                self._operator.start()
                for number, step in enumerate(self._plan.steps, start=1):
                    time.sleep(step.wait_s)
                    self._check_that_it_runs()
                    self._do(step)
                    report.faults[step.fault] += 1
                    if number % SAID_EACH == 0:
                        self._say(number)
                self._finish()
            finally:
                sampling.set()
                sampler.join()
                self._operator.stopping.set()
                for producer in self._producers:
                    producer.stopping.set()
                for receiver in self.receivers.values():
                    receiver.close()
                self._relay.kill()
            self._look(time.monotonic() - began)
        return report

    def _say(self, number: int) -> None:
        self._progress(
            f"fault {number} of {len(self._plan.steps)}, {self._operator.done.total()} acts,"
            f" {len(self.produced.committed):,} events, {waiting(self._file.queue):,} deliveries wait,"
            f" {self._relay.peak_memory / 1e6:.0f} MB"
            + "".join(f"; {each}" for each in self.report.troubles + self._operator.troubles)
        )

    @contextmanager
    def _disk(self) -> Iterator[None]:
        if any(step.fault is Fault.FILL_DISK for step in self._plan.steps):
            with small_disk(self._folder, "512m"):
                yield
        else:
            self._folder.mkdir()
            yield

    def _write_config(self, *, good: bool = True) -> None:
        with self._file.lock:
            self._file.write(good=good)

    def _do(self, step: Step) -> None:
        actions: dict[Fault, Callable[[float], object]] = {
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
            Fault.KILL_READER: self._relay.kill_helper,
        }
        actions[step.fault](step.amount)

    def _kill(self, amount: float) -> None:
        # Each start has to be survived first: on a busy machine all kills would meet starts.
        self._wait_until(self._until_killed)
        time.sleep(amount * 0.4)
        self._kill_now()

    def _kill_now(self) -> None:
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
        self._kill_now()

    def _terminate(self, _: float) -> None:
        # Before it has taken its signals over, SIGTERM ends it at once.
        if (status := self._relay.terminate()) not in (0, -signal.SIGTERM):
            self.report.troubles.append(f"SIGTERM ended it with {status}")
        self._relay.start()

    def _reload(self, *, good: bool) -> None:
        # Until it has taken over its signals, SIGHUP ends a process.
        self._wait_until(self._listens)
        with self._file.lock:
            self._file.write(good=good)
            self._relay.signal(signal.SIGHUP)
            if not good:
                time.sleep(0.3)
                self._file.write()

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

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        while self._relay.status is None and not condition():
            if time.monotonic() > deadline:
                self.report.troubles.append(f"it was not ready within {START_S} s")
                return
            time.sleep(0.05)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self._socket))
            except OSError:
                return False
        return True

    def _restart_if_it_ended(self) -> None:
        # As systemd does, after a failure for which a fault of the plan is a reason.
        for _ in range(20):
            if self._relay.status is None:
                return
            self._relay.interruptions.append(time.monotonic())
            self._relay.start()
            time.sleep(0.5)

    def _check_that_it_runs(self) -> None:
        status = self._relay.status
        if status is not None:
            self.report.troubles.append(f"it ended by itself with {status}")
            self._relay.interruptions.append(time.monotonic())
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
        self._operator.stopping.set()
        self._operator.join()
        self._progress("everything goes on now, and is let finish")
        for name, receiver in self.receivers.items():
            receiver.meek = name != "hopeless"
        self._wait_until(self._listens)
        self._operator.settle()
        deadline = time.monotonic() + FINISH_S
        while time.monotonic() < deadline and self._in_spools():
            self._check_that_it_runs()
            time.sleep(0.3)
        # Before they are replayed: who was given up shows here only.
        observe(self._file.queue, self.report.observed)
        self._operator.send_again(with_backfill=self._plan.retention_s == LONG_RETENTION_S)
        while time.monotonic() < deadline:
            self._check_that_it_runs()
            if not unended(self._file.queue) and not self._in_spools():
                break
            time.sleep(0.3)
        if (status := self._relay.terminate()) != 0:
            self.report.troubles.append(f"the last SIGTERM ended it with {status}")

    def _look(self, duration_s: float) -> None:
        report = self.report
        report.still_in_spool = self._in_spools()
        report.unended = unended(self._file.queue)
        report.integrity = integrity(self._file.queue)
        observe(self._file.queue, report.observed)
        report.peak_helper = self._relay.peak_helper
        report.peak_loader = self._relay.peak_loader
        if self._relay.left_behind:
            report.troubles.append(f"readers were left {self._relay.left_behind} times")
        report.interruptions = self._relay.interruptions
        report.acts = self._operator.done
        report.troubles += self._operator.troubles
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
        observe_at = time.monotonic() + OBSERVED_EACH_S
        while not ending.wait(0.25):
            self._relay.sample()
            backlog = self.produced.count - self.receivers["all"].taken
            held = backlog > BACKLOG or waiting(self._file.queue) > OPERATED_BACKLOG
            for producer in self._producers:
                producer.held = held
            if time.monotonic() > observe_at:
                observe(self._file.queue, self.report.observed)
                self._relay.sample_helpers()
                observe_at = time.monotonic() + OBSERVED_EACH_S


def torture(
    folder: Path,
    plan: Plan,
    *,
    program: Sequence[str] = ("-m", "relayd"),
    env: Mapping[str, str] | None = None,
    load: float = 1.0,
    failing: float = 0.05,
    until_killed: Callable[[], bool] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Run the relay under load, do the plan's faults to it, let it finish, and report.

    `load` is in some 300 events a second, `failing` the share of requests that receivers of good
    manners refuse. SIGKILL at a random moment waits for `until_killed`; without it, for the start.
    `progress` gets a line now and then.
    """
    relay = Relay(folder / "config.yaml", folder / "relayd.log", list(program), env or {})
    run = Run(
        folder,
        plan,
        relay=relay,
        load=load,
        failing=failing,
        until_killed=until_killed,
        progress=progress,
    )
    return run.run()


def impossible_here() -> set[Fault]:
    """Return the faults that cannot be made on this machine."""
    found: set[Fault] = set()
    if not can_trace():
        found.add(Fault.KILL_AT_SYNC)
    if not can_mount():
        found.add(Fault.FILL_DISK)
    return found


def _make_spool(path: Path, journal: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA journal_mode = {journal}")
        db.execute(SPOOL_TABLE.format(table="relayd_spool"))
