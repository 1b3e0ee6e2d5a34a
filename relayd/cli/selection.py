"""Which deliveries `replay`, `retry` and `cancel` are to touch: options, and what these name in the queue."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from relayd.cli.filters import filter_options, known, market_option, one_market
from relayd.cli.options import complete_subscriptions, config_option, json_option, yes_option
from relayd.cli.terminal import printable, wrapped
from relayd.core.delivery import State
from relayd.queue.delivery_filter import DeliveryFilter
from relayd.queue.event_filter import EventFilter
from relayd.queue.selection import Selection, select_for
from relayd.queue.snapshot import Snapshot
from relayd.queue.snapshot_values import ListedDelivery, Named
from relayd.views.counts import deliveries_in_words
from relayd.views.refusals import refusal_line

_MOST_SAID = 10

_targets_argument = click.argument(
    "targets", nargs=-1, metavar="[ID|SUBSCRIPTION]...", shell_complete=complete_subscriptions
)

dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Only print how many there are; change nothing."
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line of `replay`, `retry` or `cancel` asks for: which deliveries, and how.

    `targets` are ids and names of subscriptions; `market` is that of the events' ids, if given.
    """

    targets: tuple[str, ...]
    filter: DeliveryFilter
    market: str | None
    dry_run: bool
    yes: bool
    as_json: bool
    config_path: Path


def selection_options(
    states: Sequence[State], hints: Mapping[State, str] = MappingProxyType({})
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options that say which deliveries it is about, in `states`.

    `hints` says of other states which command is for them.

    It is called with a `Wanted`, and with its other options by name. It ends where neither a target
    nor a filter says what is meant.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def with_wanted(
            *,
            targets: tuple[str, ...],
            subscription: tuple[str, ...],
            state: tuple[str, ...],
            types: tuple[str, ...],
            since: float | None,
            until: float | None,
            market: str | None,
            dry_run: bool,
            yes: bool,
            as_json: bool,
            config_path: Path,
            **own: Any,  # noqa: ANN401 - the command's own options
        ) -> None:
            chosen = DeliveryFilter(subscription, frozenset(map(State, state)), types, since, until)
            if not targets and chosen == DeliveryFilter():
                raise click.UsageError(
                    "Specify which: ids, a subscription, or --state, --type, --since, --until."
                )
            wanted = Wanted(targets, chosen, market, dry_run, yes, as_json, config_path)
            command(wanted, **own)

        decorated: Callable[..., None] = with_wanted
        for option in (
            config_option,
            json_option,
            yes_option,
            dry_run_option,
            market_option,
            filter_options(states, hints),
            _targets_argument,
        ):
            decorated = option(decorated)
        return decorated

    return decorate


def select_targets(command: str, reading: Snapshot, wanted: Wanted) -> Selection:
    """Find what the command line is about; end the command where it names what is not there."""
    ids, names = _sorted_out(reading, wanted.targets)
    names = known(reading, (*wanted.filter.subscriptions, *names))
    named: Named | None = None
    if wanted.market is not None and not ids:
        raise click.UsageError("--market is for ids of events; give an event's id.")
    if ids:
        with one_market():
            found = reading.find_named(ids, wanted.market)
        if isinstance(found, str):
            raise click.ClickException(_unknown(reading, found, wanted.market))
        named = found
    return select_for(command, reading, replace(wanted.filter, subscriptions=names), named)


def _sorted_out(
    reading: Snapshot, targets: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    names = tuple(target for target in targets if target in reading.subscriptions)
    return tuple(target for target in targets if target not in names), names


def say_counts(what: str, counts: Mapping[str, int]) -> None:
    """Print how many deliveries there are, for each subscription."""
    for name, count in counts.items():
        click.echo(f"{printable(name)}: {count:,} {what}")


def say_what_is_left(command: str, others: Sequence[ListedDelivery]) -> None:
    """Say of deliveries that were named by id why they are not touched, and what to do instead."""
    for each in others[:_MOST_SAID]:
        click.echo(wrapped(printable(refusal_line(command, each))), err=True)
    if len(others) > _MOST_SAID:
        more = deliveries_in_words(len(others) - _MOST_SAID)
        click.echo(f"{more} more left as they are: `relayd deliveries` lists them.", err=True)


def _unknown(reading: Snapshot, target: str, market: str | None) -> str:
    """Say that nothing has an id, and how to find what was meant."""
    from relayd.core.catalogue import suggest  # noqa: PLC0415 - only a mistake needs it

    words = f"there is no event, delivery or subscription {target!r} in the queue"
    if market is not None:
        words += f", or no event of market {market!r}"
    if near := suggest(target, reading.subscriptions):
        return f"{words}; did you mean {near}?"
    if reading.list_events(EventFilter(object_id=target), 1).events:
        return f"{words}; it is an object's id: `relayd deliveries --object {target}`"
    return f"{words}; `relayd deliveries` lists deliveries and the ids of their events"
