"""Whether a path may become, or is, a queue: found out before anything there is made or changed.

`queue.path` may be wrong. It may name the market's own database, which must stay as it is and whose
it is, or something that opening alone would disturb. SQLite writes to the -shm of a database that it
opens to read; so its first page is read here, by the file formats that SQLite documents.
"""

import os
import struct
from pathlib import Path
from typing import Final

from relayd import sqlite_errors
from relayd.file_identity import other_kind
from relayd.queue.interface import QueueBroken
from relayd.queue.sqlite.schema import APPLICATION_ID, FOREIGN, SchemaMismatchError

_MAGIC: Final = b"SQLite format 3\0"
_APPLICATION_ID: Final = slice(68, 72)
_TREE: Final = 100
"""Where the root of the schema's tree begins: its kind, at 3 the number of its cells in two bytes."""
_LEAF: Final = 13
_PAGE_BYTES: Final = 108

_WAL_HEAD: Final = struct.Struct(">8xI4x8s8x")  # the page's size, and two salts
_FRAME_HEAD: Final = struct.Struct(">I4x8s8x")  # the page's number, and the salts


def check_place(path: Path) -> None:
    """Return where the file at `path` is a queue, is empty, or is not there. Changes nothing.

    Also returns where this user may not look. Raises `SchemaMismatchError` for something else, and
    `QueueBroken` for a file that is not SQLite's, which may be a damaged queue. Blocks on the disk.
    """
    if words := something_else(path):
        raise SchemaMismatchError(f"{path}: {words}. Give queue.path a file of relayd's own.")
    page = _begin(path)
    if page and not page.startswith(_MAGIC):
        raise QueueBroken(path, sqlite_errors.damaged_in_words(path, "file is not a database"))


def something_else(path: Path) -> str | None:
    """Return what is at `path` where that is surely not a queue, nor empty, as a sentence."""
    if kind := other_kind(path):
        return f"it is {kind}, not a file"
    page = _begin(path)
    if not page.startswith(_MAGIC) or _is_queue(page):
        return None
    # Of a queue that was killed early, all that it holds may be in its -wal.
    page = _first_page_in_wal(f"{path}-wal") or page
    if _is_queue(page):
        return None
    marked = any(page[_APPLICATION_ID]) or _has_tables(page) or _size(f"{path}-journal")
    return FOREIGN if marked else None


def _is_queue(page: bytes) -> bool:
    return page[_APPLICATION_ID] == APPLICATION_ID.to_bytes(4)


def _has_tables(page: bytes) -> bool:
    return len(page) == _PAGE_BYTES and (page[_TREE] != _LEAF or any(page[_TREE + 3 : _TREE + 5]))


def _begin(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return b""  # what is wrong is found where it is opened to write
    try:
        return os.read(descriptor, _PAGE_BYTES)
    finally:
        os.close(descriptor)


def _first_page_in_wal(wal: str) -> bytes:
    """Return the beginning of the database's first page as it is last in its -wal; b"" for none."""
    if other_kind(wal) or not _size(wal):
        return b""
    found = b""
    try:
        with open(wal, "rb") as file:  # noqa: PTH123 - a text
            page_bytes, salts = _WAL_HEAD.unpack(file.read(_WAL_HEAD.size))
            at = _WAL_HEAD.size
            while len(head := os.pread(file.fileno(), _FRAME_HEAD.size, at)) == _FRAME_HEAD.size:
                number, of_frame = _FRAME_HEAD.unpack(head)
                if of_frame != salts:
                    break  # what follows is older than the -wal's last beginning
                if number == 1:
                    found = os.pread(file.fileno(), _PAGE_BYTES, at + _FRAME_HEAD.size)
                at += _FRAME_HEAD.size + page_bytes
    except (OSError, struct.error):
        return found
    return found


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - a text
    except OSError:
        return 0
