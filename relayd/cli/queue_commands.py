"""`deliveries` and `show`: what is in the queue, whether the daemon runs or not."""

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from relayd.cli.delivery_views import (
    ChangeLines,
    delivery_document,
    event_document,
    event_lines,
    page_document,
    table_lines,
)
from relayd.cli.filters import filter_options, known, market_option, one_market
from relayd.cli.in_flight import read_in_flight
from relayd.cli.options import config_option, json_option
from relayd.cli.output import pause, print_json, print_json_line
from relayd.cli.queue_place import queue_place
from relayd.cli.selection import readable, reading_queue
from relayd.core.delivery import State, delivery_seq
from relayd.queue.delivery_filter import DeliveryFilter
from relayd.queue.interface import Snapshot
from relayd.queue.snapshot_values import ListedDelivery
from relayd.queue.sqlite.reader import SQLiteReader

MAX_LIMIT = 10_000
DEFAULT_LIMIT = 50
LOOK_EVERY_S = 0.25


@click.command(
    epilog="""\b
Examples:
  relayd deliveries --state retrying --state held
  relayd deliveries --subscription bookkeeping --type 'order.*' --since 2h
  relayd deliveries --follow --state retrying --state exhausted
""",
)
@filter_options(State)
@click.option(
    "--limit",
    type=click.IntRange(1, MAX_LIMIT),
    show_default=f"{DEFAULT_LIMIT}, with --follow none",
    help="How many to list.",
)
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
    subscription: tuple[str, ...],
    state: tuple[str, ...],
    types: tuple[str, ...],
    since: float | None,
    until: float | None,
    limit: int | None,
    before: str | None,
    follow: bool,
    as_json: bool,
    config_path: Path,
) -> None:
    """List deliveries, newest first, each with its next attempt or its last result.

    With --follow, print each change from now on, one a line (with --json an object a line):
    time, state, subscription, type, id, attempts and last result.
    """
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
        )

    queue = queue_place(config_path)
    if follow:
        _follow(queue.path, wanted_of, limit or 0, as_json=as_json)
        return
    with reading_queue(queue) as reading:
        page = reading.list_deliveries(wanted_of(reading), limit or DEFAULT_LIMIT)
    in_flight = read_in_flight(queue, page.deliveries)
    if as_json:
        print_json(page_document(page, in_flight))
    elif not page.deliveries:
        click.echo("No deliveries.")
    else:
        _print(table_lines(page.deliveries, time.time(), in_flight))
        if page.more:
            click.echo(f"There are older ones: --before {page.deliveries[-1].id}", err=True)


def _follow(
    path: Path, wanted_of: Callable[[Snapshot], DeliveryFilter], first: int, *, as_json: bool
) -> None:
    lines = ChangeLines()

    def tell(deliveries: Iterable[ListedDelivery]) -> None:
        for each in deliveries:
            if as_json:
                print_json_line(delivery_document(each))
            else:
                click.echo(lines.line(each, time.time()))

    try:
        with readable(), SQLiteReader(path).changes() as following:
            with following.snapshot() as reading:
                wanted = wanted_of(reading)
                if first:
                    tell(reversed(reading.list_deliveries(wanted, first).deliveries))
            while True:
                look = following.look()
                if look.missed:
                    click.echo(f"{look.missed:,} changes before these were missed.", err=True)
                tell(each for each in look.deliveries if wanted.matches(each))
                sys.stdout.flush()
                if not look.more and not pause(LOOK_EVERY_S):
                    return
    except KeyboardInterrupt:
        return


@click.command(
    epilog="""\b
Examples:
  relayd show evt_0b6e2a9b51e3f1a5ef1b77f0b3d3a9c1
  relayd show dlv_9f3a1c02_17 --json
""",
)
@click.argument("identifier", metavar="ID")
@click.option(
    "--pretty", is_flag=True, help="Indent the body; by default it is printed as it was sent."
)
@market_option
@json_option
@config_option
def show(
    identifier: str, pretty: bool, market: str | None, as_json: bool, config_path: Path
) -> None:
    """Show an event in full: its body, its deliveries, and each of their attempts.

    With a delivery's id, only that delivery.
    """
    queue = queue_place(config_path)
    with reading_queue(queue) as reading:
        with one_market():
            event = reading.find(identifier, market)
        if event is None:
            foreign = (
                identifier.startswith("dlv_") and delivery_seq(identifier, reading.tag) is None
            )
            raise click.ClickException(
                f"there is no {identifier!r} in the queue"
                + ("" if market is None else f" of market {market!r}")
                + (f"; the ids of its deliveries begin with dlv_{reading.tag}_" if foreign else "")
            )
    in_flight = read_in_flight(queue, (each.delivery for each in event.deliveries))
    if as_json:
        print_json(event_document(event, in_flight))
    else:
        _print(event_lines(event, time.time(), in_flight, pretty=pretty))


def _seq(reading: Snapshot, identifier: str) -> int:
    seq = delivery_seq(identifier, reading.tag)
    if seq is None:
        raise click.BadParameter(
            f"{identifier!r} is not the id of a delivery in this queue: they begin with"
            f" dlv_{reading.tag}_",
            param_hint="--before",
        )
    return seq


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)
