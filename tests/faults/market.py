"""A market's own transactions in the database that holds the spool.

python -m faults.market SPOOL SECONDS BEGIN THINK_S

Each reads, works for 4 ms, then writes an order and its event, as a shop built on an ORM does. At
the end it prints how many were committed and how many failed, as JSON.
"""

import json
import random
import sqlite3
import sys
import time
from contextlib import closing

WORK_S = 0.004


def run(path: str, seconds: float, begin: str, think_s: float) -> dict[str, int]:
    """Run transactions one after the other. `begin` is BEGIN or BEGIN IMMEDIATE."""
    done = {"committed": 0, "failed": 0}
    end = time.monotonic() + seconds
    with closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as db:
        db.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, total INTEGER)")
        while time.monotonic() < end:
            try:
                db.execute(begin)
                db.execute("SELECT count(*) FROM orders").fetchall()
                time.sleep(WORK_S)
                db.execute("INSERT INTO orders (total) VALUES (1)")
                db.execute("INSERT INTO relayd_spool (type, data) VALUES ('order.created', '{}')")
                db.execute("COMMIT")
                done["committed"] += 1
            except sqlite3.OperationalError:
                done["failed"] += 1
                if db.in_transaction:
                    db.execute("ROLLBACK")
            time.sleep(random.expovariate(1 / think_s) if think_s else 0)
    return done


if __name__ == "__main__":
    path, seconds, begin, think_s = sys.argv[1:]
    print(json.dumps(run(path, float(seconds), begin, float(think_s))))
