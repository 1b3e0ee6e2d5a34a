"""Which files of the configuration in force are no longer what they were when they were read.

The one that read them compares them, with its own rights: a command's user may not read the secrets.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from relayd.config.included import files_of
from relayd.config.reading import FileRead, Unreadable, absolute, file_stamp, read_file


class FileChange(StrEnum):
    """What became of a file since it was read. The values are codes in `--json`."""

    CHANGED = "changed"
    NEW = "new"
    """It matches `include`, and was not there."""
    MISSING = "missing"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file that is not what is in force."""

    path: str
    change: FileChange


def changed_files(files: Sequence[FileRead], include: Sequence[Path] = ()) -> list[ChangedFile]:
    """Return the files that are not as they were read, in their order, and those that are new.

    `include` has the patterns of the files that are included. Blocks on the disk.

    A file that was replaced by the same content, or changed and changed back, is as it was read. Each
    costs one look at its name, and is read only where that shows that it was written to.
    """
    known = {each.path for each in files}
    matching = (each for each in files_of(map(str, include), Path()) if isinstance(each, Path))
    new = (str(absolute(each)) for each in matching)
    return [
        *_changed(files),
        *(ChangedFile(each, FileChange.NEW) for each in new if each not in known),
    ]


def _changed(files: Sequence[FileRead]) -> Iterator[ChangedFile]:
    for each in files:
        change = _change(each)
        if change is not None:
            yield ChangedFile(each.path, change)


def _change(each: FileRead) -> FileChange | None:
    try:
        if each.stamp is not None and file_stamp(Path(each.path).stat()) == each.stamp:
            return None
    except FileNotFoundError:
        return FileChange.MISSING
    except OSError:
        return FileChange.UNREADABLE
    found = read_file(Path(each.path), each.most)
    if isinstance(found, Unreadable):
        return FileChange.MISSING if found.missing else FileChange.UNREADABLE
    return None if sha256(found.raw).digest() == each.digest else FileChange.CHANGED
