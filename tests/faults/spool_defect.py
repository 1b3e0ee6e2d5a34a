"""relayd, with a defect at each event of one spool."""

import sys
from collections.abc import Sequence
from typing import Any

from relayd.cli import main
from relayd.core.event import Event
from relayd.sources.spool import Spool

accept = Spool._accept


async def faulty(self: Spool, events: Sequence[Event]) -> Any:
    if any("defect" in event.id for event in events):
        raise RuntimeError("a defect")
    return await accept(self, events)


if __name__ == "__main__":
    setattr(Spool, "_accept", faulty)  # noqa: B010 - the fault
    sys.argv[0] = "relayd"
    main()
