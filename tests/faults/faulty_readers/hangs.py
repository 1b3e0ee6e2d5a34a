"""A row keeps its reader in a loop without end."""

from faults.faulty_readers import at_a_row


def fault() -> None:
    while True:
        pass


def main(daemon_pid: int, descriptor: int) -> None:
    at_a_row.run(fault, daemon_pid, descriptor)
