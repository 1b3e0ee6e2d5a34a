"""Finds the super-journal that a rollback journal names, since SQLite would delete that file.

A transaction over several databases leaves, after a crash, a journal beside each of them that names
one file in common. Whoever rolls back such a journal deletes that file when no journal names it
any more, wherever it is: a journal made by somebody who wants harm may name any file. The name
stands at the end of the journal (https://www.sqlite.org/fileformat2.html, and readSuperJournal()
in SQLite's pager.c).
"""

import os
import re
from pathlib import Path
from typing import Final

_MAGIC: Final = bytes.fromhex("d9d505f920a163d7")
_TRAILER: Final = 16
_LONGEST: Final = 64 * 1024
_MADE_BY_SQLITE: Final = re.compile(r".+-mj[0-9A-F]{9}")
"""As SQLite names such files: the main database's name, `-mj`, six digits, 9, two digits."""


class SuperJournalError(Exception):
    """The spool may not be opened: its journal names a file that SQLite would delete."""


def check_journal(path: Path, *, confined: bool) -> None:
    """Raise `SuperJournalError` when rolling back a journal beside `path` might delete a file.

    A reader that is `confined` can delete files in the spool's folder only, so there a name that
    SQLite itself gives is let through.
    """
    name = super_journal(Path(f"{path}-journal"))
    if name is None:
        return
    made_here = os.path.dirname(name) == str(path.parent) and _MADE_BY_SQLITE.fullmatch(  # noqa: PTH120 - as text, as SQLite takes it
        os.path.basename(name)  # noqa: PTH119
    )
    if confined and made_here:
        return
    raise SuperJournalError(
        f"{path}-journal belongs to a transaction over several databases that was cut off, and"
        f" names {name!r:.200}, which SQLite deletes after a rollback; relayd does not open it."
        " Open the database once with the market's own application, or `sqlite3`, as its owner"
    )


def super_journal(journal: Path) -> str | None:
    """Return the name that a rollback journal holds at its end, or None.

    Anything that SQLite might take for a name is one here: the checksum is not looked at.
    """
    try:
        descriptor = os.open(journal, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None  # SQLite does not follow a link either
    try:
        size = os.fstat(descriptor).st_size
        if size < _TRAILER:
            return None
        trailer = os.pread(descriptor, _TRAILER, size - _TRAILER)
        if trailer[8:] != _MAGIC:
            return None
        length = int.from_bytes(trailer[:4], "big")
        if not 0 < length <= size - _TRAILER:
            return None
        cut = min(length, _LONGEST)
        raw = os.pread(descriptor, cut, size - _TRAILER - length)
        return os.fsdecode(raw.partition(b"\0")[0])
    except OSError:
        return None
    finally:
        os.close(descriptor)
