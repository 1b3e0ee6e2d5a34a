"""What a reader's process leaves when it ends: its exit status, and the page that says what it was at."""

import signal
from typing import Final

from relayd.program_files import EXIT_CHANGED, changed_in_words

PAGE_BYTES: Final = 4096
"""The size of the page that says what the reader is at: its first 64 bits, a key."""

EXIT_CLOSED: Final = 0
"""The daemon closed the socket."""
EXIT_DEFECT: Final = 3
"""An exception that nobody expected; it was reported."""
EXIT_MEMORY: Final = 4
"""The limit of memory was reached."""
EXIT_MOVED: Final = 5
"""The folder to which it is confined is no longer the one at its path, or as it was."""
EXIT_BARRED: Final = 6
"""This user may not write to the spool any more: the daemon, which can look up names, says why."""


def how_it_ended(status: int | None) -> str:
    """Say how a process ended."""
    if status is None:
        return "it was killed with the template process"
    if status < 0:
        name = _signal_name(-status)
        return f"killed by {name}" + (", its deadline" if name == "SIGALRM" else "")
    return {
        EXIT_CLOSED: "it ended",
        EXIT_DEFECT: "a defect in relayd, see the log",
        EXIT_MEMORY: "it needed more memory than its limit",
        EXIT_MOVED: "its folder is not the one that was there before",
        EXIT_BARRED: "this user may not write to the spool",
        EXIT_CHANGED: changed_in_words(),
    }.get(status, f"exit status {status}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
