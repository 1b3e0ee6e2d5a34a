"""`deliveries` and `show`: what is in the queue, whether the daemon runs or not."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from relayd.cli.delivery_views import event_document, event_lines, page_document, table_lines
from relayd.cli.moments import parse_moment
from relayd.cli.options import config_option, json_option
from relayd.cli.output import print_json
from relayd.cli.places import read_places
from relayd.core.catalogue import suggest
from relayd.core.delivery import State, delivery_seq
from relayd.core.matching import is_pattern
from relayd.queue.details import LARGEST_SEQ, find
from relayd.queue.listing import DeliveryFilter, list_deliveries
from relayd.queue.reading import QueueUnreadableError, Reading, open_reading

MAX_LIMIT = 10_000


def _moment(_: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    moment = parse_moment(text, time.time())
    if moment is None:
        raise click.BadParameter(
            "give 2h or 30d for that long ago, or a time as 2026-01-31 or 2026-01-31T14:00",
            param=parameter,
        )
    return moment


def _patterns(
    _: click.Context, parameter: click.Parameter, patterns: tuple[str, ...]
) -> tuple[str, ...]:
    for pattern in patterns:
        if not is_pattern(pattern):
            raise click.BadParameter(
                f"{pattern!r} is no pattern: give order.created, order.* or *", param=parameter
            )
    return patterns


@click.command(
    epilog="""\b
Examples:
  relayd deliveries --state retrying --state held
  relayd deliveries --subscription bookkeeping --type 'order.*' --since 2h
""",
)
@click.option("--subscription", multiple=True, metavar="NAME", help="Of this one (repeatable).")
@click.option(
    "--state",
    type=click.Choice([state.value for state in State]),
    multiple=True,
    help="In this state (repeatable).",
)
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="PATTERN",
    callback=_patterns,
    help="Of this event type, as order.created or order.* (repeatable).",
)
@click.option(
    "--since", metavar="TIME", callback=_moment, help="Accepted since: 2h ago, or a time."
)
@click.option("--until", metavar="TIME", callback=_moment, help="Accepted before.")
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
            subscriptions=_known(reading, subscription),
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
    path = read_places(config_path, "queue").queue.path
    try:
        with open_reading(path) as reading:
            yield reading
    except QueueUnreadableError as error:
        raise click.ClickException(str(error)) from error


def _known(reading: Reading, names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in reading.subscriptions:
            near = suggest(name, reading.subscriptions)
            hint = f"did you mean {near}?" if near else "`relayd status` lists those there are"
            raise click.ClickException(f"the queue knows no subscription {name!r}; {hint}")
    return names


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
