"""`events`: lists accepted events, those that matched no subscription too."""

import time
from pathlib import Path

import click

from relayd.cli.filters import moment, object_option, patterns
from relayd.cli.options import WholeNumber, complete_event_types, config_option, json_option
from relayd.cli.queue_reader import reading_queue
from relayd.cli.terminal import print_json, print_lines, printable
from relayd.cli.text.events import table_lines
from relayd.config.queue_place import queue_place
from relayd.core.catalogue import EVENT_TYPES
from relayd.core.patterns import is_pattern
from relayd.queue.event_filter import EventFilter
from relayd.queue.snapshot import Snapshot
from relayd.views.events import event_page_document

MAX_LIMIT = 10_000
DEFAULT_LIMIT = 50


@click.command(
    epilog="""\b
Examples:
  relayd events --since 1h
  relayd events --object order_456
  relayd events --unmatched --type 'order.*'
""",
)
@click.argument("event_type", metavar="[TYPE]", required=False, shell_complete=complete_event_types)
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="PATTERN",
    callback=patterns,
    help="Only of this type, such as order.created or order.* (repeatable).",
)
@object_option
@click.option("--unmatched", is_flag=True, help="Only those that went to no subscription.")
@click.option("--since", metavar="TIME", callback=moment, help="Accepted since: 2h ago, or a time.")
@click.option("--until", metavar="TIME", callback=moment, help="Accepted before.")
@click.option("--market", metavar="MARKET", help="Only of this market.")
@click.option(
    "--limit",
    type=WholeNumber(1, MAX_LIMIT),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="How many to list.",
)
@click.option("--before", metavar="ID", help="Only those accepted before this event.")
@json_option
@config_option
def events(
    *,
    event_type: str | None,
    types: tuple[str, ...],
    object_id: str | None,
    unmatched: bool,
    since: float | None,
    until: float | None,
    market: str | None,
    limit: int,
    before: str | None,
    as_json: bool,
    config_path: Path,
) -> None:
    """List accepted events, newest first, with the object each is about and its deliveries.

    `relayd types` lists the types that there are.
    """
    if event_type is not None:
        _hint(event_type)
        types = (*types, event_type)
    with reading_queue(queue_place(config_path)) as reading:
        wanted = EventFilter(
            types=types,
            since=since,
            until=until,
            object_id=object_id,
            market=market,
            unmatched=unmatched,
            before=None if before is None else _seq(reading, before, market),
        )
        page = reading.list_events(wanted, limit)
    if as_json:
        print_json(event_page_document(page))
    elif not page.events:
        click.echo("No events.")
    else:
        print_lines(table_lines(page.events, time.time()))
        if page.more:
            click.echo(f"There are older ones: --before {page.events[-1].id}", err=True)


def _hint(event_type: str) -> None:
    shown = printable(event_type)
    if not is_pattern(event_type) or not ("." in event_type or event_type in {"*", *EVENT_TYPES}):
        raise click.UsageError(
            f"{shown!r} is not an event type (`relayd types` lists them). `relayd explain {shown}`"
            " finds the event with this id, or the events about the object with it."
        )
    click.echo(f"These are accepted events. `relayd types {shown}` describes the type.", err=True)


def _seq(reading: Snapshot, identifier: str, market: str | None) -> int:
    from relayd.cli.filters import one_market  # noqa: PLC0415 - one option needs it

    with one_market():
        seq = reading.event_number(identifier, market)
    if seq is None:
        raise click.BadParameter(
            f"there is no event {identifier!r} in the queue", param_hint="--before"
        )
    return seq
