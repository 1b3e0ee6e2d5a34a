"""`run`: the daemon in the foreground, and what ended it in one line."""

import faulthandler
import gc
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click
import structlog
import trio

from relayd.cli.command_error import WRONG_CONFIGURATION
from relayd.cli.options import config_option
from relayd.cli.standard_streams import abandon_output
from relayd.config.config import Config
from relayd.config.load_in_child import load_config_in_child
from relayd.config.problem import ConfigError
from relayd.daemon import run_daemon
from relayd.log import Log
from relayd.malloc import return_large_blocks
from relayd.permissions import user_name
from relayd.program_files import ProgramChangedError
from relayd.queue.interface import QueueBroken, QueueError
from relayd.queue.sqlite.lock import QueueLockedError
from relayd.queue.sqlite.schema import SchemaMismatchError
from relayd.sources.source import SourceError
from relayd.sources.start_refusal import turn_away
from relayd.systemd import Service
from relayd.unix_socket.listener import SocketPathError

_log = structlog.get_logger()
_LARGE_BYTES = 256 * 1024


@click.command(
    epilog="""\b
Example:
  relayd run --config /etc/relayd/config.yaml
""",
)
@config_option
def run(config_path: Path) -> None:
    """Accept and deliver events until SIGTERM or Ctrl-C; SIGHUP reloads the configuration.

    The log goes to standard output: JSON lines, or readable text on a terminal.
    """
    # Until the daemon takes the signals over, a hang-up would end it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    service = Service()
    try:
        config = load_config_in_child(config_path, environ=os.environ)
    except ConfigError:
        _turn_away(service)
        raise
    except ProgramChangedError as error:
        raise click.ClickException(str(error)) from error
    with suppress(RuntimeError, OSError, ValueError):  # a standard error that is no file
        # A crash, and systemd's watchdog, leave on it where each thread was; no variables.
        faulthandler.enable()
    status = run_to_the_end(config, service)
    if status == WRONG_CONFIGURATION:
        _turn_away(service)
    abandon_output()
    sys.exit(status)


def _turn_away(service: Service) -> None:
    """Answer the producers that wait for a relayd that cannot start."""
    if count := turn_away(service.passed):
        click.echo(
            f"relayd: {count:,} waiting producers were answered that it cannot start", err=True
        )


def run_to_the_end(config: Config, service: Service) -> int:
    """Run the daemon until it is told to stop, or cannot go on; return the exit status."""
    with (
        # Python has None for a standard output that was closed before the start.
        open(os.devnull, "w") as nowhere,  # noqa: PTH123 - not a path of ours
        Log(config.log.level, config.log.format, sys.stdout or nowhere) as log,
    ):
        # What was imported stays; what an attempt makes has no cycles. Python's defaults spent 3 %
        # of the daemon's time looking for garbage in both.
        gc.freeze()
        gc.set_threshold(10_000, 20, 50)
        return_large_blocks(_LARGE_BYTES)
        try:
            trio.run(run_daemon, config, log, service)
        except KeyboardInterrupt:
            return 0  # before the signals were taken over: nothing had begun
        except BaseException as error:  # noqa: BLE001 - all of it is told, and ends the process
            return _tell(error)
    return 0


def _tell(error: BaseException) -> int:
    found = causes(error)
    for leaf in found:
        reason = reason_of(leaf)
        if reason is None:
            _log.critical("daemon_internal_error", detail=type(leaf).__name__, exc_info=leaf)
            reason = (
                f"an internal error ended relayd ({type(leaf).__name__}); its log has the traceback"
            )
        else:
            _log.critical("daemon_failed", detail=reason)
        # Once, wherever one looks: a terminal and systemd's journal show both streams.
        if not _one_stream():
            click.echo(f"relayd: {reason}", err=True)
    return WRONG_CONFIGURATION if any(isinstance(leaf, ConfigError) for leaf in found) else 1


def causes(error: BaseException) -> list[BaseException]:
    """Return what is in exception groups, however deep: each text once, and of a file one reason.

    Several connections have the queue's file open. When it is moved away or damaged, each meets
    that in its own way; the first reason that explains it is the cause, and the others follow from it.
    """
    found: dict[str, BaseException] = {}
    for leaf in _leaves(error):
        found.setdefault(repr(leaf), leaf)
    of_files: dict[Path, QueueError] = {}
    for each in found.values():
        if isinstance(each, QueueError):
            first = of_files.setdefault(each.path, each)
            if _rank(each) < _rank(first):
                of_files[each.path] = each
    return [
        each
        for each in found.values()
        if not isinstance(each, QueueError) or of_files[each.path] is each
    ]


def _rank(error: QueueError) -> int:
    """Return how well an error says what ended the daemon; the least is the best."""
    if isinstance(error, QueueBroken):
        return 0 if error.explained else 1
    return 2


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for inner in error.exceptions:
        yield from _leaves(inner)


def reason_of(error: BaseException) -> str | None:
    """Return what ended the daemon in one line, or None for a defect."""
    match error:
        case QueueError(path=path, reason=reason) if re.search("CANTOPEN|READONLY|PERM", reason):
            return f"{error}: user {user_name()} needs write access to it and to {path.parent}"
        case (
            ConfigError()
            | QueueError()
            | QueueLockedError()
            | SchemaMismatchError()
            | SocketPathError()
            | SourceError()
        ):
            return str(error)
        case OSError(filename=str() | Path() as name):
            if isinstance(error, FileNotFoundError) and not os.path.exists(Path(name).parent):  # noqa: PTH110 - Path.exists raises where it may not look
                return f"cannot write {name}: there is no directory {Path(name).parent}"
            return f"cannot write {name} as user {user_name()}: {error.strerror}"
        case OSError():
            return str(error)
        case _:
            return None


def _one_stream() -> bool:
    try:
        return os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno())
    except (AttributeError, OSError):  # closed, or no file at all
        return False
