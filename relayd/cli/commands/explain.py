"""`explain`: why an event did or did not arrive, for each subscription."""

import time
from pathlib import Path

import click

from relayd.cli.daemon_client import absence_of
from relayd.cli.filters import market_option, one_market
from relayd.cli.in_flight import read_in_flight
from relayd.cli.options import config_option, json_option
from relayd.cli.queue_reader import reading_queue
from relayd.cli.source_waits import ask_sources, waits_for
from relayd.cli.terminal import print_json, print_lines
from relayd.cli.text.explanation import explanation_lines
from relayd.config.partial import PartialConfig, read_partial_config
from relayd.config.problem import ConfigError
from relayd.config.queue_place import queue_place
from relayd.config.sections import QueueConfig, SpoolConfig
from relayd.core.absence import Absence
from relayd.permissions import ActingError, owner_to_become, run_as
from relayd.queue.interface import Snapshot
from relayd.spool.look import is_in_spool
from relayd.views.explanation import Circumstances, explain_event, explanation_document

_WITHIN_S = 2.0


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
    config: PartialConfig | None = None
    try:
        config = read_partial_config(config_path)
    except ConfigError:
        click.echo("Note: the configuration cannot be read; `relayd check` shows why.", err=True)
    # Who may not ask can at least see that somebody listens.
    running = absence_of(queue) is not Absence.NOT_RUNNING
    now = time.time()
    with reading_queue(queue) as reading:
        with one_market():
            event = reading.find(identifier, market)
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
        )
    one = event.id != identifier
    explained = list(explain_event(event, None if one else config, circumstances))
    if as_json:
        print_json(explanation_document(event, explained, circumstances))
    else:
        print_lines(explanation_lines(event, explained))


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
