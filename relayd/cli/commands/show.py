"""`show`: an event or a delivery in full, whether the daemon runs or not."""

import sys
import time
from pathlib import Path

import click

from relayd.cli.filters import market_option, one_market
from relayd.cli.in_flight import read_in_flight
from relayd.cli.options import config_option, json_option
from relayd.cli.queue_reader import reading_queue
from relayd.cli.terminal import print_json, print_lines
from relayd.cli.text.event import event_lines
from relayd.config.queue_place import queue_place
from relayd.core.delivery import delivery_seq
from relayd.queue.snapshot_values import EventDetail
from relayd.views.deliveries import event_document


@click.command(
    epilog="""\b
Examples:
  relayd show evt_0b6e2a9b51e3f1a5ef1b77f0b3d3a9c1
  relayd show dlv_9f3a1c02_17 --json
  relayd show --raw evt_1PqB2E > webhook.json
""",
)
@click.argument("identifier", metavar="ID")
@click.option(
    "--pretty", is_flag=True, help="Indent the body; by default it is printed as it was sent."
)
@click.option(
    "--raw", is_flag=True, help="Print the body that an inbound webhook came with, byte by byte."
)
@market_option
@json_option
@config_option
def show(
    *,
    identifier: str,
    pretty: bool,
    raw: bool,
    market: str | None,
    as_json: bool,
    config_path: Path,
) -> None:
    """Show an event in full: its body, its deliveries, and each of their attempts.

    With a delivery's id, only that delivery.
    """
    queue = queue_place(config_path)
    with reading_queue(queue) as reading:
        with one_market():
            event = reading.find(identifier, market)
        if event is None:
            foreign = (
                identifier.startswith("dlv_") and delivery_seq(identifier, reading.tag) is None
            )
            raise click.ClickException(
                f"there is no {identifier!r} in the queue"
                + ("" if market is None else f" of market {market!r}")
                + (
                    f"; the ids of its deliveries begin with dlv_{reading.tag}_"
                    if foreign
                    else "; if it is an object's id, `relayd explain` finds its events"
                )
            )
    if raw:
        sys.stdout.buffer.write(_raw_body(event))
        return
    in_flight = read_in_flight(queue, (each.delivery for each in event.deliveries))
    if as_json:
        print_json(event_document(event, in_flight))
    else:
        print_lines(event_lines(event, time.time(), in_flight, pretty=pretty))


def _raw_body(event: EventDetail) -> bytes:
    if event.webhook is None:
        raise click.ClickException(f"{event.id} did not come by an inbound webhook")
    if event.webhook.raw is None:
        digest = event.webhook.raw_sha256.hex()
        raise click.ClickException(
            f"the raw body of {event.id} is not kept; it had {event.webhook.raw_bytes:,} bytes and the"
            f" SHA-256 {digest}"
        )
    return event.webhook.raw
