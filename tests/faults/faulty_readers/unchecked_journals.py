"""Readers do not look at journals: somebody replaces one between their look and SQLite's."""

from pathlib import Path

from relayd.spool import reader, template


def look_away(path: Path, *, confined: bool) -> None:
    pass


def main(daemon_pid: int, descriptor: int) -> None:
    setattr(reader, "check_journal", look_away)  # noqa: B010 - it is an import there
    template.main(daemon_pid, descriptor)
