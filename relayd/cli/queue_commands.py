"""`deliveries` and `show`: what is in the queue, whether the daemon runs or not."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from relayd.cli.delivery_views import event_document, event_lines, page_document, table_lines
from relayd.cli.filters import filter_options, known
from relayd.cli.options import config_option, json_option
from relayd.cli.output import print_json
from relayd.cli.queue_place import queue_place
from relayd.core.delivery import State, delivery_seq
from relayd.queue.details import LARGEST_SEQ, find
from relayd.queue.listing import DeliveryFilter, list_deliveries
from relayd.queue.reading import QueueUnreadableError, Reading, open_reading

MAX_LIMIT = 10_000


@click.command(
    epilog="""\b
Examples:
  relayd deliveries --state retrying --state held
  relayd deliveries --subscription bookkeeping --type 'order.*' --since 2h
""",
)
@filter_options(State)
@click.option("--limit", type=click.IntRange(1, MAX_LIMIT), default=50, show_default=True)
@click.option("--before", metavar="ID", help="Only those made before this delivery.")
@json_option
@config_option
def deliveries(
    *,
    subscription: tuple[str, ...],
    state: tuple[str, ...],
    types: tuple[str, ...],
    since: float | None,
    until: float | None,
    limit: int,
    before: str | None,
    as_json: bool,
    config_path: Path,
) -> None:
    """List deliveries, the newest first, with what is next for each or what came of it last."""
    with _queue(config_path) as reading:
        wanted = DeliveryFilter(
            subscriptions=known(reading, subscription),
            states=frozenset(map(State, state)),
            types=types,
            since=since,
            until=until,
            before=None if before is None else _seq(reading, before),
        )
        page = list_deliveries(reading, wanted, limit)
    if as_json:
        print_json(page_document(page))
    elif not page.deliveries:
        click.echo("No deliveries.")
    else:
        _print(table_lines(page.deliveries, time.time()))
        if page.more:
            click.echo(f"There are older ones: --before {page.deliveries[-1].id}", err=True)


@click.command(
    epilog="""\b
Examples:
  relayd show evt_0b6e2a9b51e3f1a5ef1b77f0b3d3a9c1
  relayd show dlv_9f3a1c02_17 --json
""",
)
@click.argument("identifier", metavar="ID")
@click.option("--pretty", is_flag=True, help="Indent the body, which is otherwise as it was sent.")
@json_option
@config_option
def show(identifier: str, pretty: bool, as_json: bool, config_path: Path) -> None:
    """Show an event whole: its body, its deliveries, and each of their attempts.

    With a delivery's id, that delivery alone.
    """
    with _queue(config_path) as reading:
        event = find(reading, identifier)
        if event is None:
            foreign = (
                identifier.startswith("dlv_") and delivery_seq(identifier, reading.tag) is None
            )
            raise click.ClickException(
                f"there is no {identifier!r} in the queue"
                + (f"; the ids of its deliveries begin with dlv_{reading.tag}_" if foreign else "")
            )
    if as_json:
        print_json(event_document(event))
    else:
        _print(event_lines(event, time.time(), pretty=pretty))


@contextmanager
def _queue(config_path: Path) -> Iterator[Reading]:
    try:
        with open_reading(queue_place(config_path).path) as reading:
            yield reading
    except QueueUnreadableError as error:
        raise click.ClickException(str(error)) from error


def _seq(reading: Reading, identifier: str) -> int:
    seq = delivery_seq(identifier, reading.tag)
    if seq is None:
        raise click.BadParameter(
            f"{identifier!r} is no delivery's id of this queue: they begin with dlv_{reading.tag}_",
            param_hint="--before",
        )
    return min(seq, LARGEST_SEQ)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)
