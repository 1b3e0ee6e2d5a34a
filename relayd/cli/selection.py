"""Which deliveries `replay` and `cancel` are to touch, as the command line says it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click

from relayd.cli.filters import known, one_market
from relayd.cli.options import complete_subscriptions
from relayd.cli.terminal import printable
from relayd.core.delivery import State
from relayd.queue.delivery_filter import DeliveryFilter
from relayd.queue.interface import Snapshot
from relayd.queue.snapshot_values import ListedDelivery, Named

_MOST_SAID = 10

targets_argument = click.argument(
    "targets", nargs=-1, metavar="[ID|SUBSCRIPTION]...", shell_complete=complete_subscriptions
)

dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Only print how many there are; change nothing."
)


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


def wanted_filter(
    subscription: tuple[str, ...],
    state: tuple[str, ...],
    types: tuple[str, ...],
    since: float | None,
    until: float | None,
) -> DeliveryFilter:
    """Return the filter that the options of `filter_options` name."""
    return DeliveryFilter(subscription, frozenset(map(State, state)), types, since, until)


def check_given(targets: Sequence[str], wanted: DeliveryFilter) -> None:
    """End the command where neither a target nor a filter says what is meant."""
    if not targets and wanted == DeliveryFilter():
        raise click.UsageError(
            "Specify which: ids, a subscription, or --state, --type, --since, --until."
        )


def select_targets(
    reading: Snapshot,
    targets: Sequence[str],
    wanted: DeliveryFilter,
    *,
    unnamed: Sequence[State],
    named: Sequence[State],
    market: str | None = None,
) -> Selection:
    """Find what the targets (ids and names of subscriptions) and the filter are about.

    Ids of events are those of `market`, where it is given.

    Where the filter says no state, those in `named` are meant of deliveries that are named by id,
    and those in `unnamed` of others.
    """
    ids, names = _sorted_out(reading, targets)
    names = known(reading, (*wanted.subscriptions, *names))
    by_id: Named | None = None
    if market is not None and not ids:
        raise click.UsageError("--market is for ids of events; give an event's id.")
    if ids:
        with one_market():
            found = reading.find_named(ids, market)
        if isinstance(found, str):
            raise click.ClickException(
                f"there is no event, delivery or subscription {found!r} in the queue"
                + ("" if market is None else f", or no event of market {market!r}")
            )
        by_id = found
    meant = DeliveryFilter(
        subscriptions=names,
        states=wanted.states or frozenset(unnamed if by_id is None else named),
        types=wanted.types,
        since=wanted.since,
        until=wanted.until,
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
