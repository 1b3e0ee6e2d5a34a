"""The producer's side: a spool, rows in bulk, and a process that commits at a fixed rate.

    python -m benchmarks.spool LOAD.json

inserts as LOAD.json says, each row in a transaction of its own, and writes when each COMMIT
returned. The schedule is an open loop: what is late does not slow what comes after it.
"""

import json
import sqlite3
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.events import CREATED, EVENT_TYPE
from benchmarks.processes import Program
from relayd.spool.table import SPOOL_TABLE

_INSERT = "INSERT INTO relayd_spool (id, type, data, created) VALUES (?, ?, ?, ?)"


def make_spool(path: Path) -> Path:
    """Make a spool, as `relayd spool create` does."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(SPOOL_TABLE.format(table="relayd_spool"))
    return path


def commit_rows(path: Path, rows: Iterable[tuple[str, str]]) -> float:
    """Insert events (id and data) in one transaction, and return the moment before its COMMIT."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as db:
        db.execute("BEGIN IMMEDIATE")
        db.executemany(_INSERT, ((event_id, EVENT_TYPE, text, CREATED) for event_id, text in rows))
        began = time.time()
        db.execute("COMMIT")
    return began


def is_empty(path: Path) -> bool:
    """Tell whether every row was taken in."""
    with closing(sqlite3.connect(path, timeout=60)) as db:
        return db.execute("SELECT 1 FROM relayd_spool LIMIT 1").fetchone() is None


@dataclass(frozen=True, slots=True)
class Load:
    """So many events a second into a spool. The events' data are taken in turn."""

    spool: str
    rate: float
    ids: tuple[str, ...]
    data: tuple[str, ...]
    times: str


class Producer:
    """A process that inserts at a fixed rate.

    `commits_ms` holds what each of its own transactions took, once it has finished: where those
    are slow, the disk was, whatever relayd did.
    """

    def __init__(
        self, folder: Path, spool: Path, rate: float, event_ids: Sequence[str], data: Sequence[str]
    ) -> None:
        self.commits_ms: list[float] = []
        self._times = folder / f"{event_ids[0]}.times"
        load = Load(str(spool), rate, tuple(event_ids), tuple(data), str(self._times))
        plan = folder / f"{event_ids[0]}.load"
        plan.write_text(json.dumps(asdict(load)))
        self.seconds = len(event_ids) / rate
        self.program = Program(
            [sys.executable, "-m", "benchmarks.spool", str(plan)], log=folder / "producer.log"
        )

    def finish(self) -> dict[str, float]:
        """Wait for its end, and return when each event's COMMIT returned, in Unix seconds."""
        until = time.monotonic() + self.seconds + 20
        while self.program.running and time.monotonic() < until:
            time.sleep(0.02)
        self.program.stop()
        found = [line.split() for line in self._times.read_text().splitlines()]
        self.commits_ms = [float(took_s) * 1000 for _, _, took_s in found]
        return {event_id: float(at) for event_id, at, _ in found}


def main() -> None:
    """Insert what the load says."""
    load = json.loads(Path(sys.argv[1]).read_text())
    moments: list[tuple[str, float, float]] = []
    with closing(sqlite3.connect(load["spool"], isolation_level=None, timeout=60)) as db:
        began = time.monotonic() + 0.05
        for index, event_id in enumerate(load["ids"]):
            early_s = began + index / load["rate"] - time.monotonic()
            if early_s > 0:
                time.sleep(early_s)
            data = load["data"][index % len(load["data"])]
            before = time.time()
            db.execute(_INSERT, (event_id, EVENT_TYPE, data, CREATED))
            at = time.time()
            moments.append((event_id, at, at - before))
    lines = [f"{event_id} {at:.6f} {took_s:.6f}\n" for event_id, at, took_s in moments]
    Path(load["times"]).write_text("".join(lines))


if __name__ == "__main__":
    main()
