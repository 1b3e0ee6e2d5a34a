"""Fills Celery's queue: `python -m benchmarks.peers.celery_fill`, with one body a line on its input."""

import sys

from benchmarks.peers.celery_app import app, send


def main() -> None:
    """Publish a task for each line."""
    with app.producer_or_acquire() as producer:
        for line in sys.stdin:
            send.apply_async((line.rstrip("\n"),), producer=producer)


if __name__ == "__main__":
    main()
