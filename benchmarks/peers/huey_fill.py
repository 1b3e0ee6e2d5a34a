"""Fills huey's queue: `python -m benchmarks.peers.huey_fill`, with one body a line on its input.

In one transaction, unlike `send(body)`: filling is not measured, and would take a sync a task.
"""

import sys

from benchmarks.peers.huey_app import huey, send


def main() -> None:
    """Insert what `send` would."""
    tasks = [huey.serialize_task(send.s(line.rstrip("\n"))) for line in sys.stdin]
    with huey.storage.db(commit=True) as cursor:
        cursor.executemany(
            "INSERT INTO task (queue, data, priority) VALUES (?, ?, 0)",
            [(huey.name, task) for task in tasks],
        )


if __name__ == "__main__":
    main()
