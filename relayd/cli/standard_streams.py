"""Standard output and error of a command: what cannot be written is an error, never a traceback.

Loads little, since every command needs it.
"""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO, cast

_STDOUT = 1
_STDERR = 2


class StandardOutputError(OSError):
    """Standard output cannot be written."""


class _Output(io.FileIO):
    """Standard output, whose errors can be told from those of other files."""

    def write(self, data: object, /) -> int:
        try:
            return super().write(cast("bytes", data))
        except BrokenPipeError:
            raise  # nobody reads on, as in `relayd status | head`: click ends quietly
        except OSError as error:
            raise StandardOutputError(error.errno, error.strerror) from None


class _ClosedInput(io.RawIOBase):
    """Standard input of a process that was started without one."""

    name = "standard input"

    def readable(self) -> bool:
        return True

    def readinto(self, _: object, /) -> int:
        raise OSError(errno.EBADF, "it is closed")


@contextmanager
def standard_streams() -> Iterator[None]:
    """Write to standard output and error inside the block; end the process where that fails.

    Exit status 1 then, as where the command itself failed.
    """
    _fill_descriptors()
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(_ClosedInput()), encoding="utf-8")
    sys.stdout = _text(_Output(_STDOUT, "wb", closefd=False), sys.stdout)
    if sys.stderr is None:
        sys.stderr = _text(io.FileIO(_STDERR, "wb", closefd=False), None)
    else:
        # A file's name, or a terminal without UTF-8, must not turn a message into a traceback.
        cast("io.TextIOWrapper", sys.stderr).reconfigure(errors="backslashreplace")
    status: object = 0
    try:
        try:
            yield
        except SystemExit as end:
            status = end.code
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_output()
        status = 1
    except StandardOutputError as error:
        _forget_output()
        reason = "it is closed" if error.errno == errno.EBADF else error.strerror
        with suppress(OSError):
            sys.stderr.write(f"relayd: cannot write to standard output: {reason}\n")
        status = 1
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDERR)
        status = status or 1
    sys.exit(cast("int", status))


def abandon_output() -> None:
    """Give up what cannot be written any more: for the daemon, a log that nobody reads is no failure."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        _forget_output()


def _fill_descriptors() -> None:
    """Let nothing that is opened later become standard output or error because that was closed."""
    for number, flags in ((0, os.O_RDONLY), (_STDOUT, os.O_RDONLY), (_STDERR, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # Standard output as a file that is not for writing: what is printed fails.
            os.open(os.devnull, flags)


def _text(raw: io.FileIO, before: TextIO | None) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding="utf-8" if before is None else before.encoding,
        errors="backslashreplace",
        line_buffering=raw.isatty(),
    )


def _forget_output() -> None:
    """Let what is still to be written go nowhere: Python would fail at it once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
