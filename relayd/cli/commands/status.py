"""`status`: how everything stands, from the queue's file and the running daemon."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from relayd.cli.daemon_client import why_no_answer
from relayd.cli.daemon_elsewhere import daemon_elsewhere
from relayd.cli.options import FiniteRange, config_option, json_option
from relayd.cli.queue_reader import reading_queue
from relayd.cli.terminal import json_text, pause, print_json
from relayd.cli.text.status import status_lines
from relayd.config.queue_place import queue_place
from relayd.config.sections import QueueConfig
from relayd.control import NoDaemonError, RefusedByDaemonError, connected
from relayd.core.absence import Absence
from relayd.queue.overview_values import Overview
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
    type=FiniteRange(0.5, 3600.0),
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
        look = _look(queue)
        if as_json:
            print_json(look.document())
        else:
            click.echo("\n".join(look.lines()))
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
        look = _look(queue)
        if as_json:
            # One line each, so that a program knows where a document ends.
            yield json_text(look.document())
            continue
        text = "\n".join(look.lines())
        if sys.stdout.isatty():
            click.clear()
            yield text
        else:
            yield f"{text}\n"


@dataclass(frozen=True, slots=True)
class _Look:
    """How everything stands at `now`. `absence` says why the daemon said nothing."""

    overview: Overview
    live: Live | None
    absence: Absence
    path: str
    now: float

    def document(self) -> object:
        return status_document(self.overview, self.live, self.path, self.now, absence=self.absence)

    def lines(self) -> Iterator[str]:
        return status_lines(self.overview, self.live, self.path, self.now, absence=self.absence)


def _look(queue: QueueConfig) -> _Look:
    live: Live | None = None
    absence, why = Absence.NOT_RUNNING, None
    try:
        with connected(queue.control_path) as daemon:
            live = daemon.ask({"command": "status"}, timeout_s=_ASK_TIMEOUT_S)
    except NoDaemonError as error:
        absence = error.absence
        if absence is Absence.NOT_RUNNING and (elsewhere := daemon_elsewhere(queue)):
            click.echo(f"Note: {elsewhere}.", err=True)
    except TimeoutError:
        absence = Absence.NOT_ANSWERING
    except RefusedByDaemonError as refused:
        absence = Absence.NOT_ANSWERING
        why = f"the daemon refuses to say how it is: {refused}"
    if live is None and absence is not Absence.NOT_RUNNING:
        click.echo(f"Note: {why or why_no_answer(absence, queue)}.", err=True)
    with reading_queue(queue) as reading:
        now = time.time()
        return _Look(reading.overview(now=now), live, absence, str(queue.path), now)
