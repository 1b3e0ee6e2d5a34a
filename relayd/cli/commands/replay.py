"""`replay`: finds deliveries in the queue, and has the daemon send them again."""

from collections.abc import Collection, Mapping

import click

from relayd.batched_change import Change
from relayd.cli.batches import apply_changes
from relayd.cli.daemon_client import running_daemon
from relayd.cli.queue_reader import reading_queue
from relayd.cli.selection import (
    Wanted,
    say_counts,
    say_what_is_left,
    select_targets,
    selection_options,
)
from relayd.cli.terminal import confirm, print_json, printable, wrapped
from relayd.config.queue_place import queue_place
from relayd.core.delivery import State
from relayd.core.hold import Hold
from relayd.queue.selection import REPLAYABLE
from relayd.views.counts import deliveries_in_words
from relayd.views.delivery_changes import replayed_document
from relayd.views.holds import HOLD_ADVICE
from relayd.views.refusals import OTHER_STATES, other_ways


@click.command(
    short_help="Resend deliveries.",
    epilog="""\b
Examples:
  relayd replay bookkeeping --since 2d --state exhausted
  relayd replay evt_0b6e2a9b51e3f1a5ef1b77f0b3d3a9c1
  relayd replay --backfill new-shop --since 30d --type 'product.*'
  relayd replay bookkeeping --state delivered --since 2h
""",
)
@click.option(
    "--backfill",
    is_flag=True,
    help=(
        "Also create the deliveries that a subscription did not get because it was new or inactive."
    ),
)
@selection_options((*REPLAYABLE, State.DELIVERED), OTHER_STATES["replay"])
def replay(wanted: Wanted, *, backfill: bool) -> None:
    """Resend deliveries that ended without success, each with its full retry schedule.

    Name them by id, of a delivery or an event; or give a subscription, types and times for all that
    are exhausted (--state cancelled for what was cancelled). They go out within the rate limit, in
    turn with new ones.

    --state delivered sends again what a receiver accepted and lost: the same delivery, with the same
    ids, whose attempts are counted on. A receiver that remembers the event's id skips it. To attempt what is
    still pending, see `relayd retry`.
    """
    queue = queue_place(wanted.config_path)
    with running_daemon(queue) as daemon:
        lacking: dict[str, list[int]] = {}
        others: list[str] = []
        delivered = State.DELIVERED in wanted.filter.states
        with reading_queue(queue) as reading:
            selection = select_targets("replay", reading, wanted)
            holds = {name: each.hold for name, each in reading.subscriptions.items()}
            if not (backfill or selection.seqs or selection.named):
                others = other_ways(reading, "replay", wanted.filter, selection.subscriptions)
            if backfill:
                if not selection.subscriptions:
                    raise click.UsageError("--backfill needs the name of a subscription.")
                lacking = {
                    name: reading.lacking_events(name, wanted.filter, selection.named)
                    for name in selection.subscriptions
                }
        searches = [Change.backfill(name, events, dry_run=True) for name, events in lacking.items()]
        apply_changes(daemon, searches, "Looking")
        to_make = {each.subscription: each.wanted for each in searches if each.wanted}
        changes = [
            Change("replay", "deliveries", selection.seqs, delivered=delivered),
            *(Change.backfill(name, events) for name, events in to_make.items()),
        ]
        total = sum(len(change.rows) for change in changes)
        held = {name: str(holds[name]) for name in (*selection.counts, *to_make) if holds[name]}
        if not wanted.as_json:
            say_counts("to send again", selection.counts)
            say_counts("to make", {name: len(events) for name, events in to_make.items()})
            _say_held(held)
            say_what_is_left("replay", selection.others)
        if total and not wanted.dry_run:
            confirm(_question(total, wanted.filter.states), yes=wanted.yes)
            apply_changes(daemon, changes, "Sending")
            # As the daemon found it: it may have been paused or resumed meanwhile.
            held = {name: hold for change in changes for name, hold in change.held.items()}
    changed = sum(change.changed for change in changes)
    if wanted.as_json:
        counts = {name: len(events) for name, events in to_make.items()}
        print_json(replayed_document(selection, total, changed, held, counts))
    elif not total:
        click.echo("There is nothing to send again.")
        for line in others:
            click.echo(wrapped(line))
    elif not wanted.dry_run:
        _say_replayed(changed, held, {*selection.counts, *to_make})


def _question(total: int, states: Collection[State]) -> str:
    many = deliveries_in_words(total)
    if State.DELIVERED not in states:
        return f"Send {many}?"
    if len(states) == 1:
        return f"Send again what was delivered ({many})?"
    return f"Send {many}, also what was delivered?"


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
        words = HOLD_ADVICE[Hold(hold)].format(name=name)
        click.echo(wrapped(printable(f"{name} is held: {words}.")))
