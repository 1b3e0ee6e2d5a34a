"""huey's application: a queue in SQLite that is synced at each commit, and one task.

`BENCH_HUEY` names the file. Results are not stored, as its documentation advises where nobody
reads them.
"""

import os

from huey import SqliteHuey

from benchmarks.peers.sender import deliver

huey = SqliteHuey(filename=os.environ["BENCH_HUEY"], fsync=True, results=False)


@huey.task(retries=5, retry_delay=120)  # type: ignore[untyped-decorator]  # it has no types
def send(body: str) -> None:
    """Deliver one event."""
    deliver(body)
