"""Loads the configuration in a child process, so that the daemon keeps nothing that only loading needs.

pydantic, PyYAML and the models of the file take 11 MB, a fifth of the memory of an idle daemon. No
module that was imported can be given back; a child that has ended gives back everything.
"""

import os
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from relayd.config.config import Config
from relayd.config.load import load_config
from relayd.config.problem import ConfigError
from relayd.config.transfer import IncompleteError, pieces_of, pieces_of_problems, received
from relayd.core.parts import whole
from relayd.program_files import EXIT_CHANGED, ProgramChangedError, unchanged_program


def load_config_in_child(path: Path, *, environ: Mapping[str, str]) -> Config:
    """Return what `load_config` returns, or raise what it raises. Blocks until the child has ended.

    Call it while the process has no other thread. Where no child can be started, or the child fails,
    this process loads the file itself. Raises `ProgramChangedError` where an
    upgrade replaced relayd's files since this process was started.
    """
    raw = _from_child(path, environ)
    with suppress(IncompleteError):
        return whole(received(memoryview(raw)))
    with unchanged_program():
        return load_config(path, environ=environ)


def _from_child(path: Path, environ: Mapping[str, str]) -> bytes:
    """Return what the child wrote: all, a part, or nothing. Raises `ProgramChangedError`."""
    reading, writing = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(reading)
        os.close(writing)
        return b""
    if pid == 0:
        _be_child(writing, path, environ)
    os.close(writing)
    with os.fdopen(reading, "rb") as results:
        raw = results.read()
    _, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status) == EXIT_CHANGED:
        raise ProgramChangedError
    return raw


def _be_child(writing: int, path: Path, environ: Mapping[str, str]) -> NoReturn:
    """Load the file, and end. A defect is left to the parent, which meets it when it loads."""
    try:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent has the traceback, if any
        with unchanged_program():
            pieces = _pieces(path, environ)
        with os.fdopen(writing, "wb") as results:
            results.writelines(pieces)
    except ProgramChangedError:
        os._exit(EXIT_CHANGED)
    finally:
        os._exit(0)


def _pieces(path: Path, environ: Mapping[str, str]) -> Iterable[bytes]:
    """Return the Config, or the problems that refuse the file."""
    try:
        return pieces_of(load_config(path, environ=environ))
    except ConfigError as error:
        return pieces_of_problems(error.problems)
