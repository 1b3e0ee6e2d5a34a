"""A row kills its reader."""

import os
import signal

from faults.faulty_readers import at_a_row


def fault() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(daemon_pid: int, descriptor: int) -> None:
    at_a_row.run(fault, daemon_pid, descriptor)
