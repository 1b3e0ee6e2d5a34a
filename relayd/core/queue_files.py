"""Names every file that belongs to a queue, or to any SQLite file: the one list of them.

Nothing else may have one of these names: neither a spool, nor a socket, nor a backup.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal
from urllib.parse import quote

SQLITE_SIDES: Final = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file, whosever it is."""

LOCK: Final = ".lock"
WORK: Final = ".work"
CONTROL: Final = ".control"
RESERVE: Final = ".reserve"
WEB: Final = ".web"
INTAKE: Final = ".intake"

QUEUE_SIDES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "-wal": "SQLite's write-ahead log",
        "-shm": "SQLite's index of the write-ahead log",
        "-journal": "SQLite's rollback journal",
        LOCK: "the lock that keeps a second daemon away",
        WORK: "the note of what is being worked on",
        CONTROL: "the control socket",
        RESERVE: "the reserve for a full disk",
        WEB: "what the web process is given",
        INTAKE: "the intake socket",
    }
)
"""Each suffix of a queue's path, with what it is."""


def queue_files(queue: str) -> tuple[str, ...]:
    """Return the paths of a queue and of all that belongs to it."""
    return (queue, *(f"{queue}{side}" for side in QUEUE_SIDES))


def sqlite_files(path: str) -> tuple[str, ...]:
    """Return the paths of a SQLite file and of what SQLite keeps beside it."""
    return (path, *(f"{path}{side}" for side in SQLITE_SIDES))


def sqlite_uri(path: str, mode: Literal["ro", "rw", "rwc"], *, immutable: bool = False) -> str:
    """Return the URI by which SQLite opens the file at `path`, which may have any bytes in its name.

    With `immutable`, SQLite takes it as it is, and makes no file beside it.
    """
    quoted = quote(path, errors="surrogateescape")
    # With an empty host, since a path may begin with two slashes.
    host = "//" if path.startswith("/") else ""
    return f"file:{host}{quoted}?mode={mode}{'&immutable=1' if immutable else ''}"


def queue_beside(path: str) -> str | None:
    """Return the path of the queue whose side file `path` would be, or None."""
    for side in QUEUE_SIDES:
        if path.endswith(side) and len(path) > len(side):
            return path.removesuffix(side)
    return None
