"""`status`: how everything stands, from the queue's file and the running daemon."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from relayd.cli.options import config_option, json_option
from relayd.cli.queue_reader import reading_queue
from relayd.cli.terminal import json_text, pause, print_json
from relayd.cli.text.status import status_lines
from relayd.config.queue_place import queue_place
from relayd.config.sections import QueueConfig
from relayd.control import NoDaemonError, connected
from relayd.permissions import user_name
from relayd.queue.snapshot_values import Overview
from relayd.views.status import Live, status_document

_ASK_TIMEOUT_S = 5.0


@click.command(
    short_help="Show endpoints, backlog and sources.",
    epilog="""\b
Examples:
  relayd status
  relayd status --watch
  relayd status --json
""",
)
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option(
    "--every",
    type=click.FloatRange(0.5, 3600.0),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How often, with --watch.",
)
@json_option
@config_option
def status(watch: bool, every: float, as_json: bool, config_path: Path) -> None:
    """Show how everything stands: receivers, their backlog and when it goes on, sources, queue.

    Of each endpoint: its health, its subscriptions' backlog, the attempts left in its bucket, its
    success rate and response times (half and 95 % of the answers came within p50 and p95).
    """
    queue = queue_place(config_path)
    if not watch:
        overview, live, now = _look(queue)
        if as_json:
            print_json(status_document(overview, live, str(queue.path), now))
        else:
            click.echo("\n".join(status_lines(overview, live, str(queue.path), now)))
        return
    try:
        for shown in _again_and_again(queue, as_json=as_json):
            click.echo(shown)
            sys.stdout.flush()
            if not pause(every):
                return
    except KeyboardInterrupt:
        return


def _again_and_again(queue: QueueConfig, *, as_json: bool) -> Iterator[str]:
    while True:
        overview, live, now = _look(queue)
        if as_json:
            # One line each, so that a program knows where a document ends.
            document = status_document(overview, live, str(queue.path), now)
            yield json_text(document)
            continue
        text = "\n".join(status_lines(overview, live, str(queue.path), now))
        if sys.stdout.isatty():
            click.clear()
            yield text
        else:
            yield f"{text}\n"


def _look(queue: QueueConfig) -> tuple[Overview, Live | None, float]:
    live: Live | None = None
    try:
        with connected(queue.control_path) as daemon:
            live = daemon.ask({"command": "status"}, timeout_s=_ASK_TIMEOUT_S)
    except NoDaemonError as error:
        if error.refused:
            click.echo(
                f"Note: user {user_name()} may not ask the daemon at {queue.control_path}.",
                err=True,
            )
    except TimeoutError:
        click.echo("Note: the daemon does not answer; see its log.", err=True)
    with reading_queue(queue) as reading:
        now = time.time()
        return reading.overview(now=now), live, now
