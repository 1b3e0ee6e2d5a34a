"""`explain`: why an event did or did not arrive, for each subscription."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from relayd.cli.delivery_views import unfaithful_fields, unfaithful_lines
from relayd.cli.explanations import Circumstances, Explanation, explain_event
from relayd.cli.filters import market_option, one_market
from relayd.cli.in_flight import InFlight, in_flight_document, read_in_flight
from relayd.cli.moments import clock_time, iso
from relayd.cli.options import config_option, json_option
from relayd.cli.output import print_json, printable, wrapped
from relayd.cli.queue_place import queue_place
from relayd.cli.selection import reading_queue
from relayd.cli.wanting import Wanting, read_wanting
from relayd.config.problem import ConfigError
from relayd.config.sections import QueueConfig, SpoolConfig
from relayd.control import NoDaemonError, connected
from relayd.permissions import ActingError, owner_to_become, run_as
from relayd.queue.interface import Snapshot
from relayd.queue.snapshot_values import EventDetail
from relayd.spool.look import is_in_spool

_WITHIN_S = 2.0
_COLOURS = {
    "delivered": "green",
    "exhausted": "red",
    "cancelled": "yellow",
    "held": "yellow",
    "waiting": "yellow",
    "missed": "yellow",
}


@click.command(
    short_help="Explain why an event did or did not arrive.",
    epilog="""\b
Examples:
  relayd explain evt_0b6e2a9b51e3f1a5ef1b77f0b3d3a9c1
  relayd explain dlv_9f3a1c02_17
""",
)
@click.argument("identifier", metavar="EVENT")
@market_option
@json_option
@config_option
def explain(identifier: str, market: str | None, as_json: bool, config_path: Path) -> None:
    """Say for each subscription what became of an event: delivered, waiting, or not wanted, and why.

    With a delivery's id, of that delivery alone. Why an event was not wanted is said by the
    configuration as it is now.
    """
    queue = queue_place(config_path)
    wanting: Wanting | None = None
    try:
        wanting = read_wanting(config_path)
    except ConfigError:
        click.echo("Note: the configuration cannot be read; `relayd check` shows why.", err=True)
    running = _running(queue)
    now = time.time()
    with reading_queue(queue) as reading:
        with one_market():
            event = reading.find(identifier, market)
        if event is None:
            raise click.ClickException(
                _unknown(reading, identifier, market, wanting, running=running)
            )
        circumstances = Circumstances(
            running=running,
            health=reading.health(),
            due=reading.count_due(now=now),
            urls={name: each.url for name, each in reading.subscriptions.items()},
            endpoints={} if wanting is None else wanting.endpoints,
            in_flight=read_in_flight(queue, (each.delivery for each in event.deliveries)),
            now=now,
        )
    one = event.id != identifier
    explained = list(explain_event(event, None if one else wanting, circumstances))
    if as_json:
        print_json(_document(event, explained, circumstances))
    else:
        _print(event, explained)


def _running(queue: QueueConfig) -> bool:
    try:
        with connected(queue.control_path):
            return True
    except NoDaemonError as error:
        # Who may not ask can at least see that somebody listens.
        return error.refused


def _print(event: EventDetail, explained: Sequence[Explanation]) -> None:
    click.echo(f"{event.id}  {event.type}")
    click.echo(f"accepted at {clock_time(event.accepted_at)} from {printable(event.source)}")
    click.echo(f"market {printable(event.market_id) or 'unknown'}")
    for line in unfaithful_lines(event):
        click.echo(line.strip())
    for each in explained:
        click.echo("")
        click.echo(click.style(printable(each.subscription), fg=_COLOURS.get(each.outcome)))
        lead = "not wanted: " if each.outcome in {"not_matched", "inactive"} else ""
        click.echo(wrapped(f"{lead}{each.reason}.", "  "))
    if not explained:
        click.echo("\nThere is no subscription.")


def _document(
    event: EventDetail, explained: Sequence[Explanation], circumstances: Circumstances
) -> dict[str, object]:
    return {
        "id": event.id,
        "type": event.type,
        "market_id": event.market_id,
        "unfaithful": list(unfaithful_fields(event)),
        "accepted_at": iso(event.accepted_at),
        "accepted_at_unix": event.accepted_at,
        "running": circumstances.running,
        "subscriptions": [
            _explanation_document(each, circumstances.in_flight) for each in explained
        ],
    }


def _explanation_document(
    each: Explanation, in_flight: Mapping[int, InFlight] | None
) -> Mapping[str, object]:
    delivery = None if each.delivery is None else each.delivery.delivery
    return {
        "name": each.subscription,
        "outcome": each.outcome,
        "reason": each.reason,
        "delivery_id": None if delivery is None else delivery.id,
        "state": None if delivery is None else delivery.state,
        "hold": None if delivery is None else delivery.hold,
        "attempts": None if delivery is None else delivery.attempts,
        "until": iso(each.until),
        "until_unix": each.until,
        **({} if delivery is None else in_flight_document(delivery, in_flight)),
    }


def _unknown(
    reading: Snapshot,
    identifier: str,
    market: str | None,
    wanting: Wanting | None,
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
    for spool in () if wanting is None else wanting.spools:
        if _waits_in(spool, identifier):
            why = "relayd will take it in" if running else "relayd is not running"
            return f"{identifier} was not accepted yet: it waits in the spool {spool.path}; {why}"
    return f"there is no event {identifier!r} in the queue"


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
