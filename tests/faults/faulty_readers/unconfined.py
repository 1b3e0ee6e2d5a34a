"""The system refuses Landlock."""

from pathlib import Path

from relayd.spool import reader, template
from relayd.spool.confinement import UnconfinedError


def refuse(folder: Path) -> None:
    raise UnconfinedError("a system call filter refuses Landlock")


def main(daemon_pid: int, descriptor: int) -> None:
    setattr(reader, "confine", refuse)  # noqa: B010 - it is an import there
    template.main(daemon_pid, descriptor)
