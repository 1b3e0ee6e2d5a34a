"""`test`: one attempt with a sample event, past the queue."""

import os
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from relayd.cli.daemon_client import DaemonClient, daemon_if_running
from relayd.cli.options import (
    complete_event_types,
    complete_subscriptions,
    config_option,
    json_option,
)
from relayd.cli.terminal import print_json, printable, sentence, wrapped
from relayd.cli.text.holds import HOLD_REASONS
from relayd.config.queue_place import queue_place
from relayd.core.advice import next_step
from relayd.core.hold import Hold
from relayd.views.moments import clock_time

_TIMEOUT_S = 90.0  # the longest attempt, and the wait for a place in the rate limit


@click.command(
    short_help="Send a sample event to a receiver.",
    epilog="""\b
Examples:
  relayd test bookkeeping
  relayd test bookkeeping --type payment.failed
""",
)
@click.argument("subscription", shell_complete=complete_subscriptions)
@click.option(
    "--type",
    "event_type",
    metavar="TYPE",
    shell_complete=complete_event_types,
    help="The event's type. Default: the first that the subscription wants.",
)
@json_option
@config_option
def test(subscription: str, event_type: str | None, as_json: bool, config_path: Path) -> None:
    """Send a sample event to a subscription's receiver now, and print the response.

    It bypasses the queue, and is neither retried nor recorded; its id begins with evt_test_. It is
    signed as deliveries are. If the receiver accepts it, each pending retry of the subscription gets
    an attempt now, within the rate limit, and a hold by 429 or 503 ends. Exit status: 0 if the
    receiver accepted it, 1 if not.
    """
    with daemon_if_running(queue_place(config_path)) as daemon:
        sent: Mapping[str, Any]
        if isinstance(daemon, DaemonClient):
            arguments = {"subscription": subscription, "type": event_type}
            sent = daemon.ask("test", timeout_s=_TIMEOUT_S, **arguments)
        else:
            click.echo("Note: relayd is not running; this command sends it itself.", err=True)
            sent = _send_by_itself(config_path, subscription, event_type)
    if as_json:
        print_json({key: value for key, value in sent.items() if key != "ok"})
    else:
        _print(sent)
    sys.exit(0 if sent["succeeded"] else 1)


def _print(sent: Mapping[str, Any]) -> None:
    to = f"{sent['subscription']} at {sent['url']}"
    click.echo(wrapped(f"Sent {sent['event_type']} ({sent['event_id']}) to {to}."))
    took = f"{sent['duration_ms']:.0f} ms"
    if sent["succeeded"]:
        click.echo(click.style(f"Accepted: {sent['status']} after {took}.", fg="green"))
        click.echo(wrapped(_released(sent)))
    else:
        words = f"Not accepted: {sent['detail']} (after {took})."
        click.echo(click.style(wrapped(words), fg="red"))
        step = next_step(
            sent["status"], sent["failure"], sent["detail"] or "", sent["subscription"]
        )
        if step is not None:
            click.echo(wrapped(f"Next: {sentence(step)}"))
        if sent["held_until"] is not None:
            until = clock_time(sent["held_until"])
            click.echo(wrapped(f"The endpoint stays held back until {until} (429 or 503)."))
    for line in sent["answer"].splitlines():
        click.echo(f"  | {printable(line)}")


def _released(sent: Mapping[str, Any]) -> str:
    """Return what a success released, or why nothing moves."""
    number = sent["released"]
    if not number:
        return "No retry was pending."
    retries = "1 retry" if number == 1 else f"{number:,} retries"
    if sent["hold"] is not None:
        why = HOLD_REASONS[Hold(sent["hold"])]
        return f"{retries} stay pending: the subscription is held, because {why}."
    if sent["held_until"] is not None:
        until = clock_time(sent["held_until"])
        return f"{retries} stay held back until {until}: its endpoint answered 429 or 503 again."
    return f"{retries} pending: attempted now, in addition to the schedule."


def _send_by_itself(config_path: Path, name: str, event_type: str | None) -> dict[str, object]:
    # Loaded where it is needed: with a daemon, nothing of it is.
    import trio  # noqa: PLC0415 - see above

    from relayd.config.load import load_config  # noqa: PLC0415 - see above
    from relayd.core.catalogue import suggest  # noqa: PLC0415 - see above
    from relayd.core.event import EventDefaults  # noqa: PLC0415 - see above
    from relayd.delivery.sample_attempt import (  # noqa: PLC0415 - see above
        attempt_sample,
        sample_event,
        sample_type,
    )
    from relayd.transport.transports import Transports  # noqa: PLC0415 - see above

    config = load_config(config_path, environ=os.environ)
    subscription = config.subscriptions.get(name)
    if subscription is None:
        near = suggest(name, config.subscriptions)
        hint = f"; did you mean {near}?" if near else ""
        raise click.ClickException(f"there is no subscription {name!r} in {config_path}{hint}")
    now = time.time()
    tag = secrets.token_hex(8)
    try:
        event = sample_event(
            event_type or sample_type(subscription.selection.events),
            tag=tag,
            now=int(now),
            defaults=EventDefaults(config.market_id, config.api_version),
        )
    except ValueError as error:
        raise click.ClickException(str(error)) from None

    async def send() -> dict[str, object]:
        endpoint = config.endpoints[subscription.url]
        async with Transports().make(endpoint, config.allow_networks) as transport:
            sent = await attempt_sample(subscription, event, tag, transport=transport, now=now)
        return {**sent.document(), "released": 0, "hold": None, "held_until": None}

    return trio.run(send)
