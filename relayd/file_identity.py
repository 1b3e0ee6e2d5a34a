"""Which file is at a path: how one finds that a file was replaced while it was open."""

import os
from pathlib import Path


def file_identity(path: Path | str) -> tuple[int, int] | None:
    """Return the device of the file at a path, and its number there; None for no file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - Path.stat takes longer, at each commit and look
    except OSError:
        return None
    return found.st_dev, found.st_ino
