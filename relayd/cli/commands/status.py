"""`status`: how everything stands, from the queue's file and the running daemon."""

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click

from relayd.cli.daemon_client import why_no_answer
from relayd.cli.daemon_elsewhere import daemon_elsewhere
from relayd.cli.in_force import in_force_of, unknown_note
from relayd.cli.options import FiniteRange, config_option, json_option
from relayd.cli.queue_reader import reading_queue
from relayd.cli.terminal import json_text, pause, print_json, printable, wrapped
from relayd.cli.text.status import status_lines
from relayd.config.moments import MOMENT_FORMS, parse_moment
from relayd.config.problem import ConfigError
from relayd.config.queue_place import queue_place
from relayd.config.sections import QueueConfig
from relayd.control import NoDaemonError, RefusedByDaemonError, connected
from relayd.core.absence import Absence
from relayd.core.summary import Facts, alarm_line, concerns, standing, summary
from relayd.queue.overview_values import Overview
from relayd.views.in_force import Answer
from relayd.views.status import Live, facts_of, status_document

_ASK_TIMEOUT_S = 5.0


@click.command(
    short_help="Show endpoints, backlog and sources.",
    epilog="""\b
Examples:
  relayd status
  relayd status --watch
  relayd status --json
  relayd status --check --since 24h
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
@click.option(
    "--check",
    is_flag=True,
    help="Print one line, and exit with 1 where something needs you: for cron and monitoring.",
)
@click.option(
    "--since",
    default="24h",
    show_default=True,
    metavar="TIME",
    help=f"With --check, how far back exhausted and rejected count: {MOMENT_FORMS}.",
)
@json_option
@config_option
def status(
    *, watch: bool, every: float, check: bool, since: str, as_json: bool, config_path: Path
) -> None:
    """Show the state of everything: endpoints, their backlog and next attempts, sources, the queue.

    Of each endpoint: its health, its subscriptions' backlog, the attempts left in its bucket, its
    success rate and response times (half and 95 % of the answers came within p50 and p95).
    """
    since_at = parse_moment(since, time.time())
    if since_at is None:
        raise click.BadParameter(f"write {MOMENT_FORMS}", param_hint="'--since'")
    if check and watch:
        raise click.UsageError("Give --check or --watch, not both.")
    if check:
        _check(config_path, since, since_at, as_json=as_json)
        return
    queue = queue_place(config_path)
    if not watch:
        look = _look(queue, config_path)
        if as_json:
            print_json(look.document())
        else:
            click.echo("\n".join(look.lines()))
        return
    try:
        for shown in _again_and_again(queue, config_path, as_json=as_json):
            click.echo(shown)
            sys.stdout.flush()
            if not pause(every):
                return
    except KeyboardInterrupt:
        return


def _check(config_path: Path, since: str, since_at: float, *, as_json: bool) -> None:
    """Print one line, whatever happens, and exit with 1 where it is an alarm."""
    document: Mapping[str, object]
    try:
        look = _look(queue_place(config_path), config_path, since=since_at, quiet=True)
    except (ConfigError, click.ClickException) as error:
        # Without the file or the queue nothing can be said, which is an alarm, too.
        reason = error.message if isinstance(error, click.ClickException) else str(error)
        alarm = " ".join(reason.split())
        document = {"ok": False, "code": "unknown", "error": alarm}
    else:
        facts = look.facts()
        line = alarm_line(facts, since)
        alarm = line or standing(facts)
        found = [each for each in concerns(facts) if each.alarm]
        document = {
            "ok": line is None,
            "summary": line or summary(facts),
            "concerns": [{"code": each.code, "words": each.words} for each in found],
            "facts": asdict(facts),
        }
        if line is None:
            click.echo(json_text(document) if as_json else f"OK: {printable(alarm)}")
            return
    # For a mail from cron, which has many programs' lines.
    named = alarm if alarm.startswith("relayd ") else f"relayd: {alarm}"
    click.echo(json_text(document) if as_json else printable(named))
    sys.exit(1)


def _again_and_again(queue: QueueConfig, config_path: Path, *, as_json: bool) -> Iterator[str]:
    while True:
        look = _look(queue, config_path)
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
    """How everything stands at `now`. `absence` says why the daemon said nothing.

    `due` counts what is due at each URL; `in_force` is the daemon's answer to that command, and
    `unknown` why there is none from a daemon that answers.
    """

    overview: Overview
    live: Live | None
    absence: Absence
    path: str
    now: float
    in_force: Answer | None
    due: Mapping[str, int]
    unknown: str | None

    def facts(self) -> Facts:
        facts = facts_of(
            self.overview, self.live, self.now, absence=self.absence, in_force=self.in_force
        )
        if self.unknown is None:
            return facts
        return replace(facts, not_in_force="not known whether the configuration is in force")

    def document(self) -> object:
        return status_document(
            self.overview,
            self.live,
            self.path,
            self.now,
            absence=self.absence,
            in_force=self.in_force,
        )

    def lines(self) -> Iterator[str]:
        return status_lines(
            self.overview,
            self.live,
            self.path,
            self.now,
            absence=self.absence,
            in_force=self.in_force,
            due=self.due,
        )


def _look(
    queue: QueueConfig, config_path: Path, *, since: float | None = None, quiet: bool = False
) -> _Look:
    """Look at the queue and the daemon; `quiet`: without a note on standard error."""
    live: Live | None = None
    in_force: Answer | None = None
    unknown: str | None = None
    absence, why = Absence.NOT_RUNNING, None
    try:
        with connected(queue.control_path) as daemon:
            live = daemon.ask({"command": "status"}, timeout_s=_ASK_TIMEOUT_S)
            in_force, unknown = in_force_of(daemon, config_path)
            if unknown is not None and not quiet:
                click.echo(wrapped(unknown_note(unknown), "  ", first=""), err=True)
    except NoDaemonError as error:
        absence = error.absence
        if absence is Absence.NOT_RUNNING and not quiet and (found := daemon_elsewhere(queue)):
            click.echo(f"Note: {found}.", err=True)
    except TimeoutError:
        absence = Absence.NOT_ANSWERING
    except RefusedByDaemonError as refused:
        absence = Absence.NOT_ANSWERING
        why = f"the daemon refuses to say how it is: {refused}"
    if live is None and absence is not Absence.NOT_RUNNING and not quiet:
        click.echo(f"Note: {why or why_no_answer(absence, queue)}.", err=True)
    with reading_queue(queue) as reading:
        now = time.time()
        return _Look(
            reading.overview(now=now, since=since),
            live,
            absence,
            str(queue.path),
            now,
            in_force,
            reading.count_due(now=now),
            unknown,
        )
