"""`retry`: finds pending deliveries in the queue, and has the daemon attempt them now."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from relayd.batched_change import Change
from relayd.cli.batches import apply_changes
from relayd.cli.daemon_client import DaemonClient, running_daemon
from relayd.cli.filters import market_option
from relayd.cli.in_flight import read_in_flight
from relayd.cli.options import complete_subscriptions, config_option, json_option, yes_option
from relayd.cli.queue_reader import reading_queue
from relayd.cli.selection import (
    Wanted,
    dry_run_option,
    say_counts,
    say_what_is_left,
    select_targets,
)
from relayd.cli.terminal import confirm, print_json, print_lines, wrapped
from relayd.cli.text.releases import HOLD_BACK_LIFTED, Backlog, next_words
from relayd.config.queue_place import queue_place
from relayd.core.delivery import State
from relayd.queue.delivery_filter import DeliveryFilter
from relayd.queue.selection import Selection
from relayd.queue.snapshot import Snapshot
from relayd.queue.snapshot_values import ListedDelivery
from relayd.views.counts import deliveries_in_words
from relayd.views.delivery_changes import retried_document
from relayd.views.refusals import other_ways

_ASKED_FROM: Final = 101
"""So many are asked about: as many as the default rate limit lets go in a minute are not."""
_LOOKED_AT: Final = 500
"""So many deliveries that were named by id are looked at one by one, to say what happens next."""


@click.command(
    short_help="Attempt pending deliveries now.",
    epilog="""\b
Examples:
  relayd retry bookkeeping
  relayd retry dlv_9f3a1c02_17
  relayd retry evt_0b6e2a9b51e3f1a5ef1b77f0b3d3a9c1
""",
)
@click.argument(
    "targets",
    nargs=-1,
    required=True,
    metavar="[ID|SUBSCRIPTION]...",
    shell_complete=complete_subscriptions,
)
@market_option
@dry_run_option
@yes_option
@json_option
@config_option
def retry(
    *,
    targets: tuple[str, ...],
    market: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    config_path: Path,
) -> None:
    """Attempt pending deliveries now, before their scheduled time.

    Name a subscription for its whole backlog, or the id of a delivery or an event. Their attempts are
    extra ones: if one fails, its delivery's schedule stays as it was. They go out within the rate limit. What a
    receiver's 429 or 503 held back is lifted; a pause, a 410 and an order stay. Asks first where they are
    more than a hundred. For what has ended, see `relayd replay`.
    """
    wanted = Wanted(targets, DeliveryFilter(), market, dry_run, yes, as_json, config_path)
    queue = queue_place(config_path)
    with running_daemon(queue) as daemon:
        with reading_queue(queue) as reading:
            selection = select_targets("retry", reading, wanted)
            few = selection.named is not None and len(selection.seqs) <= _LOOKED_AT
            looked_at = reading.described(selection.seqs) if few else ()
            backlogs = _backlogs(reading, selection, looked_at)
            held = _held(reading, selection)
            others = _other_ways(reading, selection)
        backlogs = _with_in_flight(backlogs, looked_at, read_in_flight(queue, looked_at) or {})
        total = len(selection.seqs)
        change = Change("retry", "deliveries", selection.seqs)
        released: dict[str, int] = {}
        if not as_json:
            say_counts("to retry", selection.counts)
            say_what_is_left("retry", selection.others)
        if not dry_run and (total or selection.named is None):
            if total >= _ASKED_FROM:
                confirm(f"Attempt {deliveries_in_words(total)} now?", yes=yes)
            if selection.named is not None:
                apply_changes(daemon, [change], "Releasing")
            else:
                released = _release(daemon, change, selection.subscriptions)
            held = change.held  # as the daemon found it
    if as_json:
        behind = {name: each.behind for name, each in backlogs.items()}
        print_json(retried_document(selection, change.changed, held, change.lifted, behind))
        return
    said = [] if total else ["There is nothing to retry."]
    if not dry_run:
        said += [next_words(name, each, released, held) for name, each in backlogs.items()]
    said += [f"{name}: {HOLD_BACK_LIFTED}." for name in sorted(change.lifted)]
    print_lines(map(wrapped, [*said, *others]))


def _held(reading: Snapshot, selection: Selection) -> dict[str, str]:
    holds = {name: reading.subscriptions[name].hold for name in selection.counts}
    return {name: str(hold) for name, hold in holds.items() if hold is not None}


def _other_ways(reading: Snapshot, selection: Selection) -> list[str]:
    if selection.named is not None:
        return []  # of those the refusals say it
    without = [name for name in selection.subscriptions if name not in selection.counts]
    return other_ways(reading, "retry", DeliveryFilter(), without)


def _release(daemon: DaemonClient, change: Change, names: Sequence[str]) -> dict[str, int]:
    """Have the whole backlogs of these subscriptions released; return how many retries each had."""
    released = {}
    for name in names:
        answer = daemon.ask("retry", subscription=name)
        released[name] = answer["changed"]
        change.changed += answer["changed"]
        change.held |= answer["held"]
        change.lifted.update(answer["lifted"])
    return released


def _backlogs(
    reading: Snapshot, selection: Selection, looked_at: Sequence[ListedDelivery]
) -> dict[str, Backlog]:
    """Return what is retried of each subscription, in the order of their names in the queue."""
    if selection.named is None:
        overview = reading.overview(now=time.time())
        standing = {each.name: each for place in overview.endpoints for each in place.subscriptions}
        return {
            name: Backlog(n, standing[name].behind, blocking=standing[name].blocking)
            if name in standing
            else Backlog(n)
            for name, n in selection.counts.items()
        }
    ordered = {
        each.subscription: each.place.first
        for each in looked_at
        if each.place is not None and each.place.behind is not None
    }
    behind = Counter(
        each.subscription
        for each in looked_at
        if each.place is not None and each.place.behind is not None
    )
    due = Counter(
        each.subscription
        for each in looked_at
        if each.state is State.PENDING and (each.place is None or each.place.behind is None)
    )
    blocked = _exhausted(reading, ordered.values())
    return {
        name: Backlog(
            n,
            behind[name],
            due[name],
            first=ordered.get(name),
            blocked=ordered.get(name) in blocked,
        )
        for name, n in selection.counts.items()
    }


def _exhausted(reading: Snapshot, ids: Iterable[str | None]) -> frozenset[str]:
    """Return those of these deliveries that are exhausted: nothing behind them is sent until they are not."""
    named = reading.find_named([each for each in ids if each is not None])
    if isinstance(named, str):
        return frozenset()
    found = reading.described(named.deliveries)
    return frozenset(each.id for each in found if each.state is State.EXHAUSTED)


def _with_in_flight(
    backlogs: Mapping[str, Backlog],
    looked_at: Sequence[ListedDelivery],
    in_flight: Mapping[int, object],
) -> dict[str, Backlog]:
    counts = Counter(each.subscription for each in looked_at if each.seq in in_flight)
    return {name: replace(each, in_flight=counts[name]) for name, each in backlogs.items()}
