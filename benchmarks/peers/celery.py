"""Celery on Debian's Redis with requests, acknowledging early (its default) or late."""

import sys
import time
from pathlib import Path

from benchmarks import events
from benchmarks.bench import Bench, Run
from benchmarks.contenders import watch
from benchmarks.errors import RefusedError
from benchmarks.processes import Program, run_whole

_REDIS = """\
port 0
unixsocket {folder}/redis.sock
dir {folder}
appendonly yes
appendfsync always
save ""
"""


class CeleryContender:
    """Celery's worker, with Redis beside it, which syncs its log at every command."""

    def __init__(self, workers: int, *, late: bool) -> None:
        when = "late" if late else "early"
        self.name = f"Celery, acks {when}"
        self.note = (
            f"Redis over a Unix socket with appendfsync always; {workers} worker processes, "
            f"acknowledged {when}, no results, prefetch multiplier 64, without gossip, mingle and "
            "heartbeat; requests with a session for each process, HMAC-SHA256"
        )
        self._workers = workers
        self._late = late

    def run(self, bench: Bench) -> Run:
        """Fill the queue, then measure the worker and Redis."""
        event_ids = events.ids(bench.plan.slow_peer_events)
        with bench.folder() as folder:
            config = folder / "redis.conf"
            config.write_text(_REDIS.format(folder=folder))
            env = {
                "BENCH_REDIS": f"redis+socket://{folder}/redis.sock",
                "BENCH_URL": f"{bench.receiver.url}/hook",
                "BENCH_SECRET": events.SECRET,
                **({"BENCH_LATE": "1"} if self._late else {}),
            }
            with Program(["redis-server", str(config)], log=folder / "redis.log") as redis:
                _fill(folder, event_ids, env)
                arrivals = bench.receiver.arrivals()
                arguments = [
                    str(Path(sys.executable).with_name("celery")),
                    *("-A", "benchmarks.peers.celery_app", "worker"),
                    *("-c", str(self._workers), "-P", "prefork", "-l", "ERROR"),
                    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
                ]
                with Program(arguments, log=folder / "celery.log", env=env) as worker:
                    return watch(arrivals, [worker, redis], event_ids)


def _fill(folder: Path, event_ids: list[str], env: dict[str, str]) -> None:
    """Fill the queue without a sync for each task: filling is not measured."""
    redis = ["redis-cli", "-s", str(folder / "redis.sock")]
    until = time.monotonic() + 10
    while not (folder / "redis.sock").exists():
        if time.monotonic() > until:
            raise RefusedError("Redis did not start")
        time.sleep(0.01)
    run_whole([*redis, "config", "set", "appendfsync", "no"], timeout_s=10)
    lines = "".join(f"{body}\n" for body in events.bodies(event_ids, events.data()))
    fill = [sys.executable, "-m", "benchmarks.peers.celery_fill"]
    run_whole(fill, timeout_s=120, text=lines, env=env)
    run_whole([*redis, "config", "set", "appendfsync", "always"], timeout_s=10)
