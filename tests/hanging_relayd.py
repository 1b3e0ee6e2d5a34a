"""relayd, broken on purpose: its queue hangs at the first event that it takes in.

The watchdog must starve then, or it would prove nothing of the real one.
"""

import sqlite3
import sys
import time
from collections.abc import Sequence
from typing import Any

from relayd.cli import main
from relayd.core.acceptance import Acceptance, NewEvent
from relayd.queue.sqlite import accept

_accept = accept.accept


def _hang(db: sqlite3.Connection, news: Sequence[NewEvent], **more: Any) -> list[Acceptance]:
    if news:
        time.sleep(60)
    return _accept(db, news, **more)


if __name__ == "__main__":
    accept.accept = _hang
    sys.argv[0] = "relayd"
    main()
