"""`cancel`: finds pending deliveries in the queue, and has the daemon cancel them."""

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
from relayd.cli.terminal import confirm, print_json
from relayd.config.queue_place import queue_place
from relayd.core.delivery import BACKLOG
from relayd.views.counts import deliveries_in_words
from relayd.views.delivery_changes import cancelled_document
from relayd.views.refusals import OTHER_STATES


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
            selection = select_targets("cancel", reading, wanted)
        change = Change("cancel", "deliveries", selection.seqs)
        total = len(change.rows)
        if not wanted.as_json:
            say_counts("to cancel", selection.counts)
            say_what_is_left("cancel", selection.others)
        if total and not wanted.dry_run:
            confirm(f"Cancel {deliveries_in_words(total)}?", yes=wanted.yes)
            apply_changes(daemon, [change], "Cancelling")
    if wanted.as_json:
        print_json(cancelled_document(selection, change.changed, change.in_flight))
    elif not total:
        click.echo("There is nothing to cancel.")
    elif not wanted.dry_run:
        click.echo(f"{deliveries_in_words(change.changed)} cancelled.")
        if change.in_flight:
            click.echo(
                f"Of these, {change.in_flight:,} were in flight: each is delivered if its attempt"
                " succeeds."
            )
