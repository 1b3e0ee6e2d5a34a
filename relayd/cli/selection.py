"""Which deliveries `replay`, `retry` and `cancel` are to touch: options, and what these name in the queue."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from relayd.cli.filters import filter_options, known, market_option, one_market
from relayd.cli.options import complete_subscriptions, config_option, json_option, yes_option
from relayd.cli.terminal import deliveries_in_words, printable, wrapped
from relayd.cli.text.refusals import refusal_line
from relayd.core.delivery import BACKLOG, State
from relayd.queue.delivery_filter import DeliveryFilter
from relayd.queue.event_filter import EventFilter
from relayd.queue.snapshot import Snapshot
from relayd.queue.snapshot_values import ListedDelivery, Named
from relayd.views.holds import HOLD_ADVICE

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


@dataclass(frozen=True, slots=True)
class Selection:
    """Deliveries to touch, oldest first, and how many each subscription has.

    `named` is what the command line names by id, None where it names nothing so. `others` are
    deliveries with such ids that cannot be touched.
    """

    seqs: Sequence[int]
    counts: Mapping[str, int]
    subscriptions: tuple[str, ...]
    named: Named | None
    others: Sequence[ListedDelivery]


def select_targets(
    reading: Snapshot, wanted: Wanted, *, unnamed: Sequence[State], named: Sequence[State]
) -> Selection:
    """Find what the command line is about.

    Where the filter says no state, those in `named` are meant of deliveries that are named by id,
    and those in `unnamed` of others.
    """
    ids, names = _sorted_out(reading, wanted.targets)
    names = known(reading, (*wanted.filter.subscriptions, *names))
    by_id: Named | None = None
    if wanted.market is not None and not ids:
        raise click.UsageError("--market is for ids of events; give an event's id.")
    if ids:
        with one_market():
            found = reading.find_named(ids, wanted.market)
        if isinstance(found, str):
            raise click.ClickException(_unknown(reading, found, wanted.market))
        by_id = found
    meant = DeliveryFilter(
        subscriptions=names,
        states=wanted.filter.states or frozenset(unnamed if by_id is None else named),
        types=wanted.filter.types,
        since=wanted.filter.since,
        until=wanted.filter.until,
    )
    seqs = reading.select(meant, by_id)
    touched = set(seqs)
    others = [seq for seq in (by_id.deliveries if by_id else ()) if seq not in touched]
    return Selection(
        seqs=seqs,
        counts=reading.count_by_subscription(seqs),
        subscriptions=names,
        named=by_id,
        others=reading.described(others),
    )


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
        click.echo(wrapped(refusal_line(command, each)), err=True)
    if len(others) > _MOST_SAID:
        more = deliveries_in_words(len(others) - _MOST_SAID)
        click.echo(f"{more} more left as they are: `relayd deliveries` lists them.", err=True)


def other_ways(
    reading: Snapshot, command: str, wanted: DeliveryFilter, names: Sequence[str]
) -> list[str]:
    """Return, for subscriptions of which nothing can be touched, which command may be meant."""
    return [line for name in names for line in _other_ways(reading, command, wanted, name)]


def _other_ways(
    reading: Snapshot, command: str, wanted: DeliveryFilter, name: str
) -> Iterator[str]:
    def count(*states: State) -> int:
        meant = replace(wanted, subscriptions=(name,), states=frozenset(states))
        return len(reading.select(meant, None))

    hold = reading.subscriptions[name].hold
    if command == "replay" and (backlog := count(*BACKLOG)):
        many = deliveries_in_words(backlog)
        if hold is not None:
            yield f"{name} has {many} held: {HOLD_ADVICE[hold].format(name=name)}."
        else:
            yield f"{name} has {many} pending: `relayd retry {name}` attempts them now."
    if command != "cancel":
        for state in (State.EXHAUSTED, State.CANCELLED):
            if state not in wanted.states and (ended := count(state)):
                many = f"{deliveries_in_words(ended)} {state.value}"
                yield f"{name} has {many}: `relayd replay {name} --state {state.value}`."
        delivered = replace(wanted, subscriptions=(name,), states=frozenset({State.DELIVERED}))
        if (
            State.DELIVERED not in wanted.states
            and reading.list_deliveries(delivered, 1).deliveries
        ):
            yield (
                f"To send again what {name} was delivered:"
                f" `relayd replay {name} --state delivered --since TIME`."
            )


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
