"""`demo`: shows an event's whole path on this machine, in a folder that is gone afterwards."""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

import click
import trio

from relayd.cli.demo.demonstration import LOG, DemoFailedError, Demonstration
from relayd.cli.terminal import printable

_LOG_LINES: Final = 40
_LONGEST_TEMPORARY: Final = 60


@click.command(
    epilog="""\b
Example:
  relayd demo
""",
)
def demo() -> None:
    """Show an event's whole path on this machine, with no set-up, in a few seconds.

    In a temporary folder it runs the real daemon and a receiver that fails once; two events go in,
    one through the spool and one through the socket. Exit status 0 when each was delivered and
    every signature was valid; otherwise 1, with the daemon's log. Nothing is left behind.
    """
    folder = _folder()
    try:
        trio.run(Demonstration(folder).run)
    except (DemoFailedError, BaseExceptionGroup, OSError, KeyboardInterrupt) as error:
        _tell_failure(error, folder / LOG)
        sys.exit(1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _folder() -> Path:
    # A Unix socket's path has 107 bytes at most, and some systems' folders for such files are long.
    long = len(tempfile.gettempdir()) > _LONGEST_TEMPORARY
    return Path(tempfile.mkdtemp(prefix="relayd-demo-", dir="/tmp" if long else None))  # noqa: S108 - mkdtemp makes it private


def _tell_failure(error: BaseException, log: Path) -> None:
    if isinstance(error, KeyboardInterrupt) or (
        isinstance(error, BaseExceptionGroup) and error.subgroup(KeyboardInterrupt) is not None
    ):
        click.echo("\nStopped; nothing is left behind.", err=True)
        return
    leaf = error
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    known = isinstance(leaf, DemoFailedError)
    reason = str(leaf) if known else f"{type(leaf).__name__}: {leaf}"
    click.echo(f"relayd: the demo failed: {reason}", err=True)
    lines = log.read_text(errors="replace").splitlines() if os.path.exists(log) else []  # noqa: PTH110 - as elsewhere
    click.echo("The daemon's log:" if lines else "The daemon has logged nothing.", err=True)
    for line in lines[-_LOG_LINES:]:
        click.echo(f"  {printable(line)}", err=True)
