"""Loads the configuration in a child process, so that the daemon keeps nothing that only loading needs.

pydantic, PyYAML and the models of the file take 11 MB, a fifth of the memory of an idle daemon. No
module that was imported can be given back; a child that has ended gives back everything.
"""

import io
import os
import pickle
import signal
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from relayd.config.config import Config
from relayd.config.load import load_config
from relayd.config.problem import ConfigError
from relayd.core.secret import Secret


def load_config_in_child(path: Path, *, environ: Mapping[str, str]) -> Config:
    """Return what `load_config` returns, or raise what it raises. Blocks until the child has ended.

    Call it while the process has no other thread. When there is no room for a child, or the child
    ends without a result, this process loads the file itself.
    """
    loaded = _from_child(path, environ)
    if loaded is None:
        return load_config(path, environ=environ)
    if isinstance(loaded, Config):
        return loaded
    raise ConfigError(loaded)


def _from_child(path: Path, environ: Mapping[str, str]) -> Any:  # noqa: ANN401 - see `_result`
    """Return the child's `_result`, or None where there is none."""
    reading, writing = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(reading)
        os.close(writing)
        return None
    if pid == 0:
        _be_child(writing, path, environ)
    os.close(writing)
    with os.fdopen(reading, "rb") as results:
        raw = results.read()
    _, status = os.waitpid(pid, 0)
    # Cut off in the middle, it would not be a pickle.
    return pickle.loads(raw) if status == 0 else None  # noqa: S301 - this process's own child made it


def _be_child(writing: int, path: Path, environ: Mapping[str, str]) -> NoReturn:
    """Load the file, and end. A defect is left to the parent, which meets it when it loads."""
    status = 1
    try:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent has the traceback, if any
        raw = _pickled(_result(path, environ))
        with os.fdopen(writing, "wb") as results:
            results.write(raw)
        status = 0
    finally:
        os._exit(status)


def _result(path: Path, environ: Mapping[str, str]) -> object:
    """Return the Config, or the problems that refuse the file."""
    try:
        return load_config(path, environ=environ)
    except ConfigError as error:
        return error.problems


def _pickled(result: object) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, pickle.HIGHEST_PROTOCOL).dump(result)
    return stream.getvalue()


class _Pickler(pickle.Pickler):
    """Pickles what a Config holds and pickle refuses: views of mappings, and secrets.

    A Secret refuses, so that it gets into no file by accident. This pipe leads to nobody else.
    """

    def reducer_override(self, value: object) -> Any:  # noqa: ANN401 - a tuple or NotImplemented
        """Return how to make `value` again; NotImplemented leaves it to pickle."""
        if isinstance(value, Secret):
            return Secret, (value.reveal(),)
        if isinstance(value, MappingProxyType):
            return _read_only, (dict(value),)
        return NotImplemented


def _read_only(members: dict[object, object]) -> Mapping[object, object]:
    return MappingProxyType(members)
