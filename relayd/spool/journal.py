"""Refuses a rollback journal with which SQLite would remove another file.

A transaction over several databases leaves, in the journal of each, the name of a file that they
share, the super-journal. Whoever opens a database whose journal is hot rolls it back, and removes
the file of that name once no journal names it any more: any file that the user may remove.
"""

import os
import stat
from pathlib import Path
from typing import Final

_MAGIC: Final = bytes.fromhex("d9d505f920a163d7")
_TRAILER: Final = 16
"""SQLite's file format, 3: the name, its length, its checksum (4 bytes each), the magic number."""


def journal_problem(path: Path) -> str | None:
    """Return why SQLite must not open the file at `path` because of its journal, or None.

    The name's checksum is not looked at: a journal that ends in this way comes from no transaction
    of one database. Blocks on the disk; the journal may still change before SQLite reads it.
    """
    journal = f"{path}-journal"
    try:
        descriptor = os.open(
            journal, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{journal} cannot be read ({error.strerror}): it must be a plain file, or not there"
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return f"{journal} is not a plain file: move it away"
        start = found.st_size - _TRAILER
        trailer = os.pread(descriptor, _TRAILER, start) if start >= 0 else b""
    finally:
        os.close(descriptor)
    if trailer[8:] != _MAGIC or trailer[:4] == bytes(4):
        return None
    return (
        f"{journal} names another file, which SQLite would remove: a transaction over several"
        " databases was cut off. Open the database once with the program that wrote it"
    )
