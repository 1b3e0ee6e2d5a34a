"""Which files relayd's program consists of, and whether they are still those that it was started from.

An upgrade replaces them under a running daemon. What is loaded from them afterwards is another
program, whose values have other shapes. So each process that the daemon starts proves that it loaded
what the daemon did: it takes the digest after it has loaded all that it uses. The daemon takes its
own before it loads anything (`relayd.__main__`): both hold for what was loaded in between.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Final

from relayd import __version__

EXIT_CHANGED: Final = 9
"""The exit status of a process that found other files than the daemon was started from."""


class ProgramChangedError(Exception):
    """relayd's files are not those that this process was started from."""

    def __init__(self) -> None:
        super().__init__(changed_in_words())


def changed_in_words() -> str:
    """Return what happened, with the version that runs, and what to do."""
    return f"relayd's files have changed since it was started ({__version__}): restart it"


@cache
def digest_at_start() -> str:
    """Return the digest of the files as they were at the first call."""
    return digest_now()


def digest_now() -> str:
    """Return a digest of the files as they are now: of their names and contents. Takes 6 ms."""
    folder = Path(__file__).parent
    found = blake2b(digest_size=16)
    for name in sorted(_sources(folder)):
        try:
            content = Path(name).read_bytes()
        except OSError:
            content = b""  # as good as changed: it was readable when it was loaded
        found.update(f"{os.path.relpath(name, folder)} {len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()


@contextmanager
def unchanged_program() -> Iterator[None]:
    """Load and use modules within the block.

    Raises `ProgramChangedError`, in place of what the block raises, where the files have changed.
    """
    digest_at_start()
    try:
        yield
    finally:
        if digest_now() != digest_at_start():
            raise ProgramChangedError


def _sources(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = [each for each in folders if each != "__pycache__"]
        yield from (f"{place}/{each}" for each in files if each.endswith(".py"))
