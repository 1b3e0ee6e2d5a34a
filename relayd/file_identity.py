"""Which file is at a path, and of which kind: found without opening it."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_KINDS: Final = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def not_a_file(paths: Iterable[str]) -> str | None:
    """Say of the first of these paths that leads to a FIFO, a directory or the like; None for none.

    Opening a FIFO would wait for its other end, and reading a device may never end.
    """
    for path in paths:
        try:
            mode = os.stat(path).st_mode  # noqa: PTH116 - a text
        except OSError:
            continue
        if not stat.S_ISREG(mode):
            kind = next((words for is_kind, words in _KINDS if is_kind(mode)), "something else")
            return f"{path} is {kind}, not a file"
    return None


def file_identity(path: Path | str) -> tuple[int, int] | None:
    """Return the device of the file at a path, and its number there; None for no file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - Path.stat takes longer, at each commit and look
    except OSError:
        return None
    return found.st_dev, found.st_ino
