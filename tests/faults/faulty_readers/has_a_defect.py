"""A row meets a defect, an exception that nobody expected."""

from faults.faulty_readers import at_a_row


def fault() -> None:
    raise RuntimeError("a payload")


def main(daemon_pid: int, descriptor: int) -> None:
    at_a_row.run(fault, daemon_pid, descriptor)
