"""Which deliveries `replay` and `cancel` are to touch: their options, and what these name in the queue."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from relayd.cli.filters import filter_options, known, market_option, one_market
from relayd.cli.options import complete_subscriptions, config_option, json_option, yes_option
from relayd.cli.terminal import printable
from relayd.core.delivery import State
from relayd.queue.delivery_filter import DeliveryFilter
from relayd.queue.snapshot import Snapshot
from relayd.queue.snapshot_values import ListedDelivery, Named

_MOST_SAID = 10

_targets_argument = click.argument(
    "targets", nargs=-1, metavar="[ID|SUBSCRIPTION]...", shell_complete=complete_subscriptions
)

_dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Only print how many there are; change nothing."
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line of `replay` or `cancel` asks for: which deliveries, and how.

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
    states: Sequence[State],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options that say which deliveries it is about, in `states`.

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
            _dry_run_option,
            market_option,
            filter_options(states),
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
            raise click.ClickException(
                f"there is no event, delivery or subscription {found!r} in the queue"
                + ("" if wanted.market is None else f", or no event of market {wanted.market!r}")
            )
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


def say_what_is_left(others: Sequence[ListedDelivery], possible: Sequence[State]) -> None:
    """Say of deliveries that were named by id why they are not touched."""
    for each in others[:_MOST_SAID]:
        can = " and ".join(state.value for state in possible)
        click.echo(
            f"{each.id} to {printable(each.subscription)} is {each.state.value}; only what is"
            f" {can} is touched.",
            err=True,
        )
    if len(others) > _MOST_SAID:
        click.echo(f"So are {len(others) - _MOST_SAID:,} more.", err=True)
