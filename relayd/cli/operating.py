"""`run`, the daemon in the foreground, and `reload`, which has it take up a new configuration."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import structlog
import trio

from relayd.config.config import Config
from relayd.config.load import ConfigError, load_config
from relayd.control import NoDaemonError, ask
from relayd.daemon import run_daemon
from relayd.database import DatabaseError
from relayd.log import Log
from relayd.queue.lock import QueueLockedError
from relayd.queue.reading import user_name
from relayd.queue.schema import SchemaMismatchError
from relayd.service import Service
from relayd.sources.unix_socket import SocketPathError

_log = structlog.get_logger()

RELOAD_TIMEOUT_S = 30.0


def run_to_the_end(config: Config) -> int:
    """Run the daemon until it is told to stop, or cannot go on; return the exit status."""
    with Log(config.log.level, config.log.format) as log:
        try:
            trio.run(run_daemon, config, log, Service())
        except KeyboardInterrupt:
            return 0  # before the signals were taken over: nothing had begun
        except BaseException as error:  # noqa: BLE001 - all of it is told, and ends the process
            return _tell(error)
    return 0


def _tell(error: BaseException) -> int:
    for leaf in leaves(error):
        reason = reason_of(leaf)
        if reason is None:
            _log.critical("defect", detail=type(leaf).__name__, exc_info=leaf)
            reason = f"a defect ended relayd ({type(leaf).__name__}); its log has the traceback"
        else:
            _log.critical("failed", detail=reason)
        # Once, wherever one looks: a terminal and systemd's journal show both streams.
        if not _same_file(sys.stdout.fileno(), sys.stderr.fileno()):
            click.echo(f"relayd: {reason}", err=True)
    return 1


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield what stands in exception groups, however deep; each text once."""
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    seen: set[str] = set()
    for inner in error.exceptions:
        for leaf in leaves(inner):
            if repr(leaf) not in seen:
                seen.add(repr(leaf))
                yield leaf


def reason_of(error: BaseException) -> str | None:
    """Return what ended the daemon in one line, or None for a defect."""
    match error:
        case QueueLockedError() | SchemaMismatchError() | SocketPathError():
            return str(error)
        case DatabaseError(reason=reason) if "SQLITE_CANTOPEN" in reason or "READONLY" in reason:
            return (
                f"{error}: user {user_name()} needs write access to it and to {error.path.parent}"
            )
        case DatabaseError():
            return str(error)
        case FileNotFoundError(filename=str(name)) if not Path(name).parent.exists():
            return f"cannot write {name}: there is no directory {Path(name).parent}; make it first"
        case OSError(filename=str() | Path() as name):
            return f"cannot write {name} as user {user_name()}: {error.strerror}"
        case OSError():
            return str(error)
        case _:
            return None


def _same_file(first: int, second: int) -> bool:
    try:
        return os.path.sameopenfile(first, second)
    except OSError:
        return False
