"""The web process, broken on purpose: a webhook is answered before the daemon has it.

What is lost by it must be seen, or the test would prove nothing of the real one.
"""

import asyncio
import sys
from contextlib import suppress
from typing import Any

from relayd.cli import main
from relayd.web.intake_link import IntakeLink
from relayd.web.problem import ProblemError

_patiently = IntakeLink.patiently
_tasks: set[asyncio.Task[Any]] = set()


async def early(self: IntakeLink, source: str, line: bytes) -> dict[str, Any]:
    async def later() -> None:
        await asyncio.sleep(0.02)
        with suppress(ProblemError):
            await _patiently(self, source, line)

    task = asyncio.create_task(later())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return {"ok": True, "id": "evt_early"}


if __name__ == "__main__":
    setattr(IntakeLink, "patiently", early)  # noqa: B010 - as mypy wants it
    sys.argv[0] = "relayd"
    main()
