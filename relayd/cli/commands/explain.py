"""`explain`: why an event did or did not arrive, for each subscription."""

import time
from collections.abc import Iterator
from pathlib import Path

import click

from relayd.cli.daemon_client import absence_of
from relayd.cli.filters import market_option, one_market
from relayd.cli.in_flight import read_in_flight
from relayd.cli.in_force import ask_in_force, note_in_force
from relayd.cli.options import config_option, json_option
from relayd.cli.queue_reader import reading_queue
from relayd.cli.source_waits import ask_sources, waits_for
from relayd.cli.terminal import print_json, print_lines, printable
from relayd.cli.text.events import table_lines
from relayd.cli.text.explanation import explanation_lines
from relayd.config.partial import PartialConfig, read_partial_config
from relayd.config.problem import ConfigError
from relayd.config.queue_place import queue_place
from relayd.config.sections import QueueConfig, SpoolConfig
from relayd.core.absence import Absence
from relayd.permissions import ActingError, owner_to_become, run_as
from relayd.queue.event_filter import EventFilter
from relayd.queue.snapshot import Snapshot
from relayd.queue.snapshot_values import EventPage
from relayd.spool.look import is_in_spool
from relayd.views.events import event_page_document
from relayd.views.explanation import explain_event, explanation_document
from relayd.views.in_force import in_force_document, not_in_force
from relayd.views.waiting import Circumstances

_WITHIN_S = 2.0
_MOST_LISTED = 10


@click.command(
    short_help="Explain why an event did or did not arrive.",
    epilog="""\b
Examples:
  relayd explain evt_0b6e2a9b51e3f1a5ef1b77f0b3d3a9c1
  relayd explain order_456
  relayd explain dlv_9f3a1c02_17
""",
)
@click.argument("identifier", metavar="EVENT")
@market_option
@json_option
@config_option
def explain(identifier: str, market: str | None, as_json: bool, config_path: Path) -> None:
    """Say for each subscription what became of an event: delivered, pending, or not matched, and why.

    EVENT is an event's id, or that of the object it is about (data.object.id): of several events the
    newest is explained, and all are listed. With a delivery's id, of that delivery alone. Why an event
    did not match is judged by the configuration as it is now.
    """
    queue = queue_place(config_path)
    config: PartialConfig | None = None
    try:
        config = read_partial_config(config_path)
    except ConfigError:
        click.echo("Note: the configuration cannot be read; `relayd check` shows why.", err=True)
    # Who may not ask can at least see that somebody listens.
    running = absence_of(queue) is not Absence.NOT_RUNNING
    now = time.time()
    in_force = ask_in_force(queue, config_path)
    with reading_queue(queue) as reading:
        with one_market():
            event = reading.find(identifier, market)
        about = EventPage((), more=False)
        if event is None:
            wanted = EventFilter(object_id=identifier, market=market)
            about = reading.list_events(wanted, _MOST_LISTED)
        if about.events:
            newest = about.events[0]
            event = reading.find(newest.id, newest.market_id)
        if event is None:
            raise click.ClickException(
                _unknown(reading, identifier, market, config, queue, running=running)
            )
        circumstances = Circumstances(
            running=running,
            health=reading.health(),
            due=reading.count_due(now=now),
            urls={name: each.url for name, each in reading.subscriptions.items()},
            endpoints={} if config is None else config.endpoints,
            in_flight=read_in_flight(queue, (each.delivery for each in event.deliveries)),
            now=now,
            holds={name: each.hold for name, each in reading.subscriptions.items()},
            to_reload=not_in_force(in_force) is not None,
        )
    one = event.id != identifier and not about.events
    explained = list(explain_event(event, None if one else config, circumstances))
    if as_json:
        document = explanation_document(event, explained, circumstances)
        # Where the id is the object's: the events about it, newest first, of which this is the first.
        print_json(
            {
                **document,
                "events_about_it": event_page_document(about)["events"],
                "in_force": in_force_document(in_force),
            }
        )
        return
    if len(about.events) > 1:
        print_lines(_several(identifier, about, now))
    print_lines(explanation_lines(event, explained))
    note_in_force(in_force)


def _several(identifier: str, about: EventPage, now: float) -> Iterator[str]:
    """Yield the events about an object, and how to have another one explained than the newest."""
    count = f"{len(about.events)}{' or more' if about.more else ''}"
    yield f"{count} events are about {printable(identifier)}, newest first:"
    yield ""
    yield from table_lines(about.events, now)
    if about.more:
        yield f"`relayd events --object {printable(identifier)}` lists all of them."
    yield ""
    yield "The newest one is explained here; for another:"
    yield f"  relayd explain {about.events[1].id}"
    yield ""


def _unknown(
    reading: Snapshot,
    identifier: str,
    market: str | None,
    config: PartialConfig | None,
    queue: QueueConfig,
    *,
    running: bool,
) -> str:
    """Say what is known of an event that was not accepted."""
    if market is not None:
        return f"there is no event {identifier!r} of market {market!r} in the queue"
    rejected = reading.find_rejected(identifier)
    if rejected is not None:
        return (
            f"{identifier} was not accepted: {rejected.reason} ({rejected.code});"
            f" `relayd rejected show {rejected.seq}` shows it"
        )
    for spool in () if config is None else config.spools:
        if _waits_in(spool, identifier):
            why = "relayd will take it in" if running else "relayd is not running"
            _, sources = ask_sources(queue.control_path)
            if (reason := waits_for(spool, sources)) is not None:
                why = f"relayd waits there for: {reason}"
            return f"{identifier} was not accepted yet: it waits in the spool {spool.path}; {why}"
    if identifier in reading.subscriptions:
        return (
            f"{identifier!r} is a subscription, and this explains an event: `relayd deliveries"
            f" {identifier}` lists its deliveries with the ids of their events, `relayd status` says how"
            " it stands"
        )
    return (
        f"there is no event {identifier!r} in the queue, and none about an object with this id"
        " (data.object.id)"
    )


def _waits_in(spool: SpoolConfig, identifier: str) -> bool:
    """Tell whether an event waits in a spool, as far as this user can see. Changes nothing."""
    try:
        found = run_as(
            owner_to_become(spool.path),
            lambda: is_in_spool(spool.path, spool.table, identifier, within_s=_WITHIN_S),
            2 * _WITHIN_S,
        )
    except ActingError:
        return False
    return found is True
