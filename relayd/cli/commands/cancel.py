"""`cancel`: finds pending deliveries in the queue, and has the daemon cancel them."""

from collections import Counter
from dataclasses import replace

import click

from relayd.cli.batches import Change, apply_changes
from relayd.cli.daemon_client import running_daemon
from relayd.cli.queue_reader import reading_queue
from relayd.cli.selection import (
    Selection,
    Wanted,
    say_counts,
    say_what_is_left,
    select_targets,
    selection_options,
)
from relayd.cli.terminal import confirm, deliveries_in_words, print_json
from relayd.cli.text.refusals import OTHER_STATES, refusal_document
from relayd.config.queue_place import queue_place
from relayd.core.delivery import BACKLOG, State


@click.command(
    short_help="Cancel pending deliveries.",
    epilog="""\b
Examples:
  relayd cancel dlv_9f3a1c02_17
  relayd cancel old-shop --state held
  relayd cancel bookkeeping --type 'inventory.*' --until 2d --dry-run
""",
)
@selection_options(BACKLOG, OTHER_STATES["cancel"])
def cancel(wanted: Wanted) -> None:
    """Cancel pending deliveries: no further attempt is made. `replay` reverts it.

    Name them by id, of a delivery or an event; or give a subscription, states, types and times. One
    that is in flight is still delivered if its attempt succeeds. An exhausted
    one that blocks others in their order (on_exhausted: hold) is cancelled too, by its id.
    """
    queue = queue_place(wanted.config_path)
    with running_daemon(queue) as daemon:
        with reading_queue(queue) as reading:
            selection = select_targets(
                reading,
                wanted,
                unnamed=BACKLOG,
                named=BACKLOG,
            )
            selection = with_blocking(selection)
        change = Change("cancel", "deliveries", selection.seqs)
        total = len(change.rows)
        if not wanted.as_json:
            say_counts("to cancel", selection.counts)
            say_what_is_left("cancel", selection.others)
        if total and not wanted.dry_run:
            confirm(f"Cancel {deliveries_in_words(total)}?", yes=wanted.yes)
            apply_changes(daemon, [change], "Cancelling")
    if wanted.as_json:
        print_json(
            {
                "matched": total,
                "changed": change.changed,
                "in_flight": change.in_flight,
                "to_cancel": dict(selection.counts),
                "refused": [refusal_document("cancel", each) for each in selection.others],
            }
        )
    elif not total:
        click.echo("There is nothing to cancel.")
    elif not wanted.dry_run:
        click.echo(f"{deliveries_in_words(change.changed)} cancelled.")
        if change.in_flight:
            click.echo(
                f"Of these, {change.in_flight:,} were in flight: each is delivered if its attempt"
                " succeeds."
            )


def with_blocking(selection: Selection) -> Selection:
    """Add those that are named by id, exhausted, and hold others in their order."""
    blocking = [
        each
        for each in selection.others
        if each.state is State.EXHAUSTED and each.place is not None
    ]
    counts = Counter(selection.counts)
    counts.update(each.subscription for each in blocking)
    return replace(
        selection,
        seqs=sorted([*selection.seqs, *(each.seq for each in blocking)]),
        counts=counts,
        others=[each for each in selection.others if each not in blocking],
    )
