"""`deliveries`: lists deliveries, or follows their changes, whether the daemon runs or not."""

import sys
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import click

from relayd.cli.daemon_client import absence_of
from relayd.cli.filters import filter_options, known, object_option
from relayd.cli.in_flight import read_in_flight
from relayd.cli.options import WholeNumber, complete_subscriptions, config_option, json_option
from relayd.cli.queue_reader import readable, reading_queue
from relayd.cli.terminal import (
    pause,
    print_json,
    print_json_line,
    print_lines,
    printable,
    width,
    wrapped,
)
from relayd.cli.text.deliveries import ChangeLines, table_lines
from relayd.cli.text.standstill import standstill_lines
from relayd.config.queue_place import queue_place
from relayd.config.sections import QueueConfig
from relayd.core.delivery import State, delivery_seq
from relayd.queue.delivery_filter import DeliveryFilter
from relayd.queue.snapshot import Snapshot
from relayd.queue.snapshot_values import ListedDelivery
from relayd.queue.sqlite.reader import SQLiteReader
from relayd.views.deliveries import delivery_document, page_document

MAX_LIMIT = 10_000
DEFAULT_LIMIT = 50
LOOK_EVERY_S = 0.25
EXPLAIN_EVERY_S = 2.0


@click.command(
    epilog="""\b
Examples:
  relayd deliveries --state retrying --state held
  relayd deliveries --subscription bookkeeping --type 'order.*' --since 2h
  relayd deliveries --object order_456
  relayd deliveries --follow --state retrying --state exhausted
""",
)
@click.argument(
    "names", nargs=-1, metavar="[SUBSCRIPTION]...", shell_complete=complete_subscriptions
)
@filter_options(State)
@click.option(
    "--limit",
    type=WholeNumber(1, MAX_LIMIT),
    show_default=f"{DEFAULT_LIMIT}, with --follow none",
    help="How many to list.",
)
@object_option
@click.option("--before", metavar="ID", help="Only those created before this delivery.")
@click.option(
    "-f",
    "--follow",
    is_flag=True,
    help="Print each new delivery and each change of state, until Ctrl-C.",
)
@json_option
@config_option
def deliveries(
    *,
    names: tuple[str, ...],
    subscription: tuple[str, ...],
    state: tuple[str, ...],
    types: tuple[str, ...],
    since: float | None,
    until: float | None,
    object_id: str | None,
    limit: int | None,
    before: str | None,
    follow: bool,
    as_json: bool,
    config_path: Path,
) -> None:
    """List deliveries, newest first, each with its next attempt or its last result.

    With --follow, print each change from now on, one a line (two on a terminal that is too narrow; with
    --json an object a line): time, state, subscription, type, id, attempts and last result. Why nothing is attempted (a
    pause, say) is printed on standard error. A subscription may be named without --subscription.
    """
    for name in names:
        _hint(name)
    subscription = (*subscription, *names)
    if follow and before is not None:
        raise click.UsageError("--follow starts from now: --before cannot be used with it.")

    def wanted_of(reading: Snapshot) -> DeliveryFilter:
        return DeliveryFilter(
            subscriptions=known(reading, subscription),
            states=frozenset(map(State, state)),
            types=types,
            since=since,
            until=until,
            before=None if before is None else _seq(reading, before),
            object_id=object_id,
        )

    queue = queue_place(config_path)
    if follow:
        _follow(queue, wanted_of, limit or 0, as_json=as_json)
        return
    with reading_queue(queue) as reading:
        page = reading.list_deliveries(wanted_of(reading), limit or DEFAULT_LIMIT)
    in_flight = read_in_flight(queue, page.deliveries)
    if as_json:
        print_json(page_document(page, in_flight))
    elif not page.deliveries:
        click.echo("No deliveries.")
    else:
        print_lines(table_lines(page.deliveries, time.time(), in_flight))
        if page.more:
            click.echo(f"There are older ones: --before {page.deliveries[-1].id}", err=True)


def _hint(name: str) -> None:
    """End the command where what it should list is not a subscription's name, but an id or a state."""
    shown = printable(name)
    if name.startswith(("evt_", "dlv_")):
        raise click.UsageError(
            f"{shown!r} is an id, not a subscription: `relayd show {shown}` shows it, and"
            f" `relayd explain {shown}` says what became of it."
        )
    if name in set(State):
        raise click.UsageError(f"{shown!r} is a state: use --state {shown}.")


class _Standstill:
    """Says on standard error why nothing may be printed: each reason once, as long as it lasts."""

    def __init__(self, queue: QueueConfig) -> None:
        self._queue = queue
        self._said: list[str] = []
        self._due_at = float("-inf")

    def is_due(self) -> bool:
        return time.monotonic() >= self._due_at

    def explain(self, reading: Snapshot, followed: Collection[str]) -> None:
        reasons = list(standstill_lines(reading.subscriptions, followed, absence_of(self._queue)))
        for reason in reasons:
            if reason not in self._said:
                click.echo(wrapped(reason), err=True)
        self._said = reasons
        self._due_at = time.monotonic() + EXPLAIN_EVERY_S


def _follow(
    queue: QueueConfig,
    wanted_of: Callable[[Snapshot], DeliveryFilter],
    first: int,
    *,
    as_json: bool,
) -> None:
    # A program that reads lines gets one for each change, however long.
    lines = ChangeLines(width() if sys.stdout.isatty() else None)

    def tell(deliveries: Iterable[ListedDelivery]) -> None:
        for each in deliveries:
            if as_json:
                print_json_line(delivery_document(each))
            else:
                print_lines(lines.lines(each, time.time()))

    standstill = _Standstill(queue)
    try:
        with readable(queue), SQLiteReader(queue.path).changes() as following:
            with following.snapshot() as reading:
                wanted = wanted_of(reading)
                if first:
                    tell(reversed(reading.list_deliveries(wanted, first).deliveries))
                    sys.stdout.flush()
            while True:
                if standstill.is_due():
                    with following.snapshot() as reading:
                        standstill.explain(reading, wanted.subscriptions)
                look = following.look()
                if look.missed:
                    click.echo(f"{look.missed:,} changes before these were missed.", err=True)
                tell(each for each in look.deliveries if wanted.matches(each))
                sys.stdout.flush()
                if not look.more and not pause(LOOK_EVERY_S):
                    return
    except KeyboardInterrupt:
        return


def _seq(reading: Snapshot, identifier: str) -> int:
    seq = delivery_seq(identifier, reading.tag)
    if seq is None:
        raise click.BadParameter(
            f"{identifier!r} is not the id of a delivery in this queue: they begin with"
            f" dlv_{reading.tag}_",
            param_hint="--before",
        )
    return seq
