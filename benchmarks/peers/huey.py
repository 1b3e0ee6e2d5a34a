"""huey on SQLite with requests, in threads or in processes."""

import sys
from pathlib import Path
from typing import Literal

from benchmarks import events
from benchmarks.bench import Bench, Run
from benchmarks.contenders import watch
from benchmarks.processes import Program, run_whole


class HueyContender:
    """huey's consumer, which takes one task a transaction out of its SQLite file."""

    def __init__(self, workers: int, kind: Literal["thread", "process"]) -> None:
        plural = {"thread": "threads", "process": "processes"}[kind]
        self.name = f"huey, {workers} {plural}"
        self.note = (
            f"SqliteHuey with fsync=True in WAL mode, results=False, {workers} {plural}, quiet, no "
            "periodic tasks; requests with a session for each thread, HMAC-SHA256"
        )
        self._workers = workers
        self._kind = kind

    def run(self, bench: Bench) -> Run:
        """Fill the queue, then measure the consumer."""
        event_ids = events.ids(bench.plan.peer_events)
        with bench.folder() as folder:
            env = {
                "BENCH_HUEY": str(folder / "huey.db"),
                "BENCH_URL": f"{bench.receiver.url}/hook",
                "BENCH_SECRET": events.SECRET,
            }
            lines = "".join(f"{body}\n" for body in events.bodies(event_ids, events.data()))
            run_whole(
                [sys.executable, "-m", "benchmarks.peers.huey_fill"],
                timeout_s=60,
                text=lines,
                env=env,
            )
            arrivals = bench.receiver.arrivals()
            arguments = [
                str(Path(sys.executable).with_name("huey_consumer")),
                "benchmarks.peers.huey_app.huey",
                *("-w", str(self._workers), "-k", self._kind, "-q", "-n"),
            ]
            with Program(arguments, log=folder / "huey.log", env=env) as consumer:
                return watch(arrivals, [consumer], event_ids)
