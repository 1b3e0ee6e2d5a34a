"""relayd, which logs at each reload how long one task's step kept the event loop at most.

In processor time of the loop's own thread: what other processes take does not count.
"""

import time

import structlog
import trio

from relayd import assembly, reload
from relayd.__main__ import main
from relayd.commands.consequences import Consequences

_log = structlog.get_logger()


class _Steps(trio.abc.Instrument):
    def __init__(self) -> None:
        self.began = 0.0
        self.longest = 0.0
        self.where = ""

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - as trio has it
        self.began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        # The step in which it began to watch has no beginning.
        took = time.thread_time() - self.began if self.began else 0.0
        if took > self.longest:
            self.longest, self.where = took, task.name


class Reload(reload.Reload):
    """Watches the loop while it reloads."""

    async def _reload(self) -> tuple[list[str], Consequences]:
        steps = _Steps()
        before = time.process_time(), time.thread_time(), time.monotonic()
        trio.lowlevel.add_instrument(steps)
        try:
            return await super()._reload()
        finally:
            trio.lowlevel.remove_instrument(steps)
            loop_s = time.thread_time() - before[1]
            others_s = time.process_time() - before[0] - loop_s
            _log.info(
                "steps",
                longest_ms=round(steps.longest * 1e3, 1),
                task=steps.where,
                took_ms=round((time.monotonic() - before[2]) * 1e3, 1),
                loop_ms=round(loop_s * 1e3, 1),
                other_threads_ms=round(others_s * 1e3, 1),
            )


if __name__ == "__main__":
    setattr(assembly, "Reload", Reload)  # noqa: B010 - it is an import there
    main()
