"""Celery's application: a broker in Redis, and one task.

`BENCH_REDIS` is the broker's URL. With `BENCH_LATE`, a task is acknowledged after it is done, and
again given out when its worker is lost.
"""

import os

from celery import Celery

from benchmarks.peers.sender import deliver

app = Celery("peer", broker=os.environ["BENCH_REDIS"])
app.conf.update(
    task_ignore_result=True,
    task_acks_late="BENCH_LATE" in os.environ,
    task_reject_on_worker_lost="BENCH_LATE" in os.environ,
    # The documentation's advice for many short tasks: a multiplier well above 1.
    worker_prefetch_multiplier=64,
    worker_disable_rate_limits=True,
    broker_connection_retry_on_startup=True,
)


@app.task(name="send", autoretry_for=(OSError,), retry_backoff=120, max_retries=5)  # type: ignore[untyped-decorator]  # it has no types
def send(body: str) -> None:
    """Deliver one event. What requests raises is an OSError."""
    deliver(body)
