"""A row takes all the memory that there is."""

from faults.faulty_readers import at_a_row


def fault() -> None:
    held = []
    while True:
        held.append(bytes(1_000_000))


def main(daemon_pid: int, descriptor: int) -> None:
    at_a_row.run(fault, daemon_pid, descriptor)
