"""A fault that comes at the row with `deadly` in its id."""

from collections.abc import Callable
from typing import Any

from relayd.core.event_input import event_from_row
from relayd.spool import reader, template


def run(fault: Callable[[], object], daemon_pid: int, descriptor: int) -> None:
    """Run the template, whose readers meet the fault."""

    def faulty(row: Any, *args: Any, **kwargs: Any) -> Any:
        if b"deadly" in row.id:
            fault()
        return event_from_row(row, *args, **kwargs)

    setattr(reader, "event_from_row", faulty)  # noqa: B010 - it is an import there
    template.main(daemon_pid, descriptor)
