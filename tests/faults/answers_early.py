"""relayd, broken on purpose: SQLite returns from a commit before it is synced.

The trace of its writes must show it, or the check would prove nothing of the real one.
"""

import sys

from relayd.cli import main
from relayd.queue.sqlite import open_queue

if __name__ == "__main__":
    assert "synchronous = FULL" in open_queue._PRAGMAS
    setattr(  # noqa: B010 - mypy knows the tuple's length
        open_queue,
        "_PRAGMAS",
        tuple(each.replace("FULL", "NORMAL") for each in open_queue._PRAGMAS),
    )
    sys.argv[0] = "relayd"
    main()
