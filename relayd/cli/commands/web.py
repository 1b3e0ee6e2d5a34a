"""`web`: the web process in the foreground."""

import os
import sys
from pathlib import Path

import click

from relayd.cli.command_error import CommandError
from relayd.cli.options import config_option_unless
from relayd.config.queue_place import queue_place
from relayd.config.sections import QueueConfig
from relayd.log import Log
from relayd.queue.sqlite.reader import SQLiteReader
from relayd.systemd import Service
from relayd.unix_socket.listener import SocketPathError


@click.command(
    epilog="""\b
Examples:
  relayd web
  relayd web --queue /var/lib/relayd/queue.db
""",
)
@click.option(
    "--queue",
    "queue_path",
    type=click.Path(path_type=Path),
    metavar="PATH",
    is_eager=True,  # it makes up for the configuration
    help="The queue's file, where the configuration cannot be read.",
)
@config_option_unless("queue_path")
def web(queue_path: Path | None, config_path: Path | None) -> None:
    """Serve the web process of a running daemon: health, and all else over HTTP.

    Where it listens, and whom it lets in, is `http:` in the configuration, which the daemon reads.
    It needs the extra `web`, or the Debian package relayd-web.
    """
    try:
        from relayd.web.followed_document import NothingToServeError  # noqa: PLC0415 - needs the extra
        from relayd.web.main import run_web  # noqa: PLC0415 - needs the extra
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] == "relayd":
            raise
        raise CommandError(
            f"the web process needs {error.name}, which is not installed. With the Debian package of"
            " relayd, install relayd-web. Otherwise, in the folder that relayd was installed from:"
            ' pip install -c constraints.txt ".[web]"',
            code="extra_missing",
        ) from error
    if queue_path is not None:
        queue = QueueConfig(queue_path.absolute(), 0.0)
    else:
        assert config_path is not None
        queue = queue_place(config_path)
    service = Service()
    with (
        open(os.devnull, "w") as nowhere,  # noqa: PTH123 - not a path of ours
        Log("info", "auto", sys.stdout or nowhere),
    ):
        try:
            run_web(queue, SQLiteReader(queue.path), lambda: service.ready("serving"))
        except (NothingToServeError, SocketPathError) as error:
            raise CommandError(str(error), code="failed") from error
