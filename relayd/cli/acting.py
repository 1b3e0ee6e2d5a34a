"""`replay` and `cancel`: what is to be touched is found in the file, and done by the daemon."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from relayd.cli.asking import running_daemon
from relayd.cli.filters import filter_options, market_option
from relayd.cli.in_chunks import Errand, run_errands
from relayd.cli.options import complete_subscriptions, config_option, json_option
from relayd.cli.output import deliveries_in_words, print_json, printable, wrapped
from relayd.cli.queue_place import queue_place
from relayd.cli.selection import (
    confirm,
    reading_queue,
    say_what_is_left,
    select_targets,
)
from relayd.core.delivery import Hold, State
from relayd.queue.delivery_filter import DeliveryFilter

_REPLAYABLE: Final = (State.EXHAUSTED, State.CANCELLED)
_CANCELLABLE: Final = (State.PENDING, State.RETRYING, State.HELD)

_HELD: Final = {
    Hold.PAUSED: "it is paused; `relayd resume {name}` releases its deliveries",
    Hold.GONE: (
        "its receiver answered 410 Gone; `relayd resume {name}` or another url releases its"
        " deliveries"
    ),
    Hold.INACTIVE: "it has active: false; active: true and `relayd reload` release its deliveries",
    Hold.REMOVED: "it is gone from the configuration; put it back and `relayd reload`, or hand its"
    " deliveries over by `relayd rename {name} NEW`",
}

_targets = click.argument(
    "targets", nargs=-1, metavar="[ID|SUBSCRIPTION]...", shell_complete=complete_subscriptions
)
_dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Only print how many there are; change nothing."
)
_yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


@click.command(
    short_help="Resend deliveries.",
    epilog="""\b
Examples:
  relayd replay bookkeeping --since 2d --state exhausted
  relayd replay evt_0b6e2a9b51e3f1a5ef1b77f0b3d3a9c1
  relayd replay --backfill new-shop --since 30d --type 'product.*'
""",
)
@_targets
@filter_options(_REPLAYABLE)
@click.option(
    "--backfill",
    is_flag=True,
    help=(
        "Also create the deliveries that a subscription did not get because it was new or inactive."
    ),
)
@market_option
@_dry_run_option
@_yes_option
@json_option
@config_option
def replay(
    *,
    targets: tuple[str, ...],
    subscription: tuple[str, ...],
    state: tuple[str, ...],
    types: tuple[str, ...],
    since: float | None,
    until: float | None,
    market: str | None,
    backfill: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    config_path: Path,
) -> None:
    """Resend deliveries that ended without success, each with its full retry schedule.

    Name them by id, of a delivery or an event; or give a subscription, types and times for all that
    are exhausted (--state cancelled for what was cancelled). They go out within the rate limit, in
    turn with new ones.
    """
    wanted = _filter(subscription, state, types, since, until)
    _check_given(targets, wanted)
    queue = queue_place(config_path)
    with running_daemon(queue) as daemon:
        lacking: dict[str, list[int]] = {}
        with reading_queue(queue) as reading:
            selection = select_targets(
                reading,
                targets,
                wanted,
                unnamed=_REPLAYABLE[:1],
                named=_REPLAYABLE,
                market=market,
            )
            holds = {name: each.hold for name, each in reading.subscriptions.items()}
            if backfill:
                if not selection.subscriptions:
                    raise click.UsageError("--backfill needs the name of a subscription.")
                lacking = {
                    name: reading.lacking_events(name, wanted, selection.named)
                    for name in selection.subscriptions
                }
        searches = [Errand.backfill(name, events, dry_run=True) for name, events in lacking.items()]
        run_errands(daemon, searches, "Looking")
        to_make = {each.subscription: each.wanted for each in searches if each.wanted}
        errands = [
            Errand("replay", "deliveries", selection.seqs),
            *(Errand.backfill(name, events) for name, events in to_make.items()),
        ]
        total = sum(len(errand.rows) for errand in errands)
        held = {name: str(holds[name]) for name in (*selection.counts, *to_make) if holds[name]}
        if not as_json:
            _say_counts("to send again", selection.counts)
            _say_counts("to make", {name: len(events) for name, events in to_make.items()})
            _say_held(held)
            say_what_is_left(selection.others, _REPLAYABLE)
        if total and not dry_run:
            confirm(f"Send {deliveries_in_words(total)}?", yes=yes)
            run_errands(daemon, errands, "Sending")
            # As the daemon found it: it may have been paused or resumed meanwhile.
            held = {name: hold for errand in errands for name, hold in errand.held.items()}
    changed = sum(errand.changed for errand in errands)
    if as_json:
        print_json(
            {
                "matched": total,
                "changed": changed,
                "to_replay": dict(selection.counts),
                "to_make": {name: len(events) for name, events in to_make.items()},
                "held": held,
            }
        )
    elif not total:
        click.echo("There is nothing to send again.")
    elif not dry_run:
        _say_replayed(changed, held, {*selection.counts, *to_make})


def _say_replayed(changed: int, held: Mapping[str, str], names: Collection[str]) -> None:
    if not held.keys() >= set(names):
        also = ", those that are not held" if held else ""
        click.echo(
            f"{deliveries_in_words(changed)} will go out within the rate limit{also}: see `relayd"
            " status`."
        )
    else:
        click.echo(f"{deliveries_in_words(changed)} due again, and held.")
    _say_held(held)


def _say_held(held: Mapping[str, str]) -> None:
    for name, hold in held.items():
        words = _HELD[Hold(hold)].format(name=name)
        click.echo(wrapped(printable(f"{name} is held: {words}.")))


@click.command(
    short_help="Cancel pending deliveries.",
    epilog="""\b
Examples:
  relayd cancel dlv_9f3a1c02_17
  relayd cancel old-shop --state held
  relayd cancel bookkeeping --type 'inventory.*' --until 2d --dry-run
""",
)
@_targets
@filter_options(_CANCELLABLE)
@market_option
@_dry_run_option
@_yes_option
@json_option
@config_option
def cancel(
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
) -> None:
    """Cancel pending deliveries: no further attempt is made. `replay` reverts it.

    Name them by id, of a delivery or an event; or give a subscription, states, types and times. One
    that is in flight is still delivered if its attempt succeeds.
    """
    wanted = _filter(subscription, state, types, since, until)
    _check_given(targets, wanted)
    queue = queue_place(config_path)
    with running_daemon(queue) as daemon:
        with reading_queue(queue) as reading:
            selection = select_targets(
                reading,
                targets,
                wanted,
                unnamed=_CANCELLABLE,
                named=_CANCELLABLE,
                market=market,
            )
        errand = Errand("cancel", "deliveries", selection.seqs)
        total = len(errand.rows)
        if not as_json:
            _say_counts("to cancel", selection.counts)
            say_what_is_left(selection.others, _CANCELLABLE)
        if total and not dry_run:
            confirm(f"Cancel {deliveries_in_words(total)}?", yes=yes)
            run_errands(daemon, [errand], "Cancelling")
    if as_json:
        print_json(
            {
                "matched": total,
                "changed": errand.changed,
                "in_flight": errand.in_flight,
                "to_cancel": dict(selection.counts),
            }
        )
    elif not total:
        click.echo("There is nothing to cancel.")
    elif not dry_run:
        click.echo(f"{deliveries_in_words(errand.changed)} cancelled.")
        if errand.in_flight:
            click.echo(
                f"Of these, {errand.in_flight:,} were in flight: each is delivered if its attempt"
                " succeeds."
            )


def _filter(
    subscription: tuple[str, ...],
    state: tuple[str, ...],
    types: tuple[str, ...],
    since: float | None,
    until: float | None,
) -> DeliveryFilter:
    return DeliveryFilter(subscription, frozenset(map(State, state)), types, since, until)


def _check_given(targets: Sequence[str], wanted: DeliveryFilter) -> None:
    if not targets and wanted == DeliveryFilter():
        raise click.UsageError(
            "Specify which: ids, a subscription, or --state, --type, --since, --until."
        )


def _say_counts(what: str, counts: Mapping[str, int]) -> None:
    for name, count in counts.items():
        click.echo(f"{printable(name)}: {count:,} {what}")
