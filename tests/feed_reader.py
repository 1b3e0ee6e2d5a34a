"""A program that reads the feed of a queue's file beside its daemon, until it has seen the last event.

Prints what it did, a JSON document a line: ids of events, or the time at which it began or began again
after a gap. `python feed_reader.py QUEUE LIMIT LAST_ID [blind]`; a blind one hears of no gap.
"""

import json
import random
import sys
import time
from pathlib import Path
from unittest.mock import patch

from relayd.core.feed import Entitlement, FeedCursor, FeedGapError, FeedWish
from relayd.queue.sqlite.reader import SQLiteReader


def main(path: Path, limit: int, last: str) -> None:
    """Read on and on."""
    cursor: FeedCursor | None = None
    seen: list[str] = []
    chance = random.Random(limit)
    print(json.dumps({"began": time.time()}), flush=True)
    while last not in seen:
        wish = FeedWish(Entitlement(None), limit, lambda: False, most_bytes=4_000)
        try:
            with SQLiteReader(path).snapshot(limit_s=2.0) as snapshot:
                page = snapshot.feed(cursor, wish)
        except FeedGapError as gap:
            cursor = gap.oldest
            print(json.dumps({"began": time.time()}), flush=True)
            continue
        seen = [json.loads(each)["id"] for each in page.events]
        print(json.dumps({"ids": seen}), flush=True)
        cursor = page.next
        if chance.random() < 0.05:
            time.sleep(chance.random() * 0.4)  # it falls behind
        elif not page.more:
            time.sleep(0.002)


if __name__ == "__main__":
    if sys.argv[4:] == ["blind"]:
        patch("relayd.queue.sqlite.feed.has_gap", lambda *_: False).start()
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
