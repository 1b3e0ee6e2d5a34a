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
from relayd.cli.in_force import ask_in_force, note_in_force
from relayd.cli.options import (
    complete_event_types,
    complete_subscriptions,
    config_option,
    json_option,
)
from relayd.cli.queue_reader import reading_queue
from relayd.cli.terminal import print_json, sentence, wrapped
from relayd.config.queue_place import queue_place
from relayd.config.sections import QueueConfig
from relayd.core.advice import next_step
from relayd.core.hold import Hold
from relayd.core.outcome import Failure
from relayd.views.moments import clock_time
from relayd.views.sample_result import moves_words
from relayd.views.subscription_changes import tested_document

TEST_TIMEOUT_S = 90.0  # the longest attempt, and the wait for a place in the rate limit


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
    queue = queue_place(config_path)
    with daemon_if_running(queue) as daemon:
        sent: dict[str, Any]
        if isinstance(daemon, DaemonClient):
            arguments = {"subscription": subscription, "type": event_type}
            sent = daemon.ask("test", timeout_s=TEST_TIMEOUT_S, **arguments)
        else:
            click.echo("Note: relayd is not running; this command sends it itself.", err=True)
            sent = send_by_itself(config_path, subscription, event_type)
    # What was sent went by what is in force: another secret or URL on the disk was not tried.
    in_force = ask_in_force(queue, config_path)
    if as_json:
        print_json(tested_document(sent, in_force))
    else:
        print_sent(sent)
        note_in_force(in_force)
    sys.exit(0 if sent["succeeded"] else 1)


def _hold_from_next_start(queue: QueueConfig, name: str, url: str, *, active: bool) -> Hold | None:
    """Return what will hold a subscription of the file once relayd runs; None where nothing does.

    The file says whether it is active, and that it is there; the queue knows what else holds it.
    """
    if not active:
        return Hold.INACTIVE
    try:
        with reading_queue(queue) as reading:
            known = reading.subscriptions.get(name)
    except click.ClickException:  # none yet, or not one that may be read
        return None
    if known is None or known.hold not in {Hold.PAUSED, Hold.GONE}:
        return None
    left = known.hold is Hold.GONE and known.url != url  # another URL ends that
    return None if left else known.hold


def print_sent(sent: Mapping[str, Any]) -> None:
    """Print what came back."""
    to = f"{sent['subscription']} at {sent['url']}"
    did = "Did not send" if sent["failure"] == Failure.TEMPLATE else "Sent"
    click.echo(wrapped(f"{did} {sent['event_type']} ({sent['event_id']}) to {to}."))
    took = f"{sent['duration_ms']:.0f} ms"
    if sent["succeeded"]:
        click.echo(click.style(f"Accepted: {sent['status']} after {took}.", fg="green"))
    else:
        words = f"Not accepted: {sent['detail']} (after {took})."
        if sent["failure"] == Failure.TEMPLATE:
            words = f"Not rendered: {sent['detail']}."
        click.echo(click.style(wrapped(words), fg="red"))
        step = next_step(
            sent["status"],
            sent.get("cause", sent["failure"]),  # a daemon from before an upgrade has no cause
            sent["subscription"],
            subject=sent.get("subject") or "",
        )
        if step is not None:
            click.echo(wrapped(f"Next: {sentence(step)}"))
        if sent["held_until"] is not None:
            until = clock_time(sent["held_until"])
            click.echo(
                wrapped(
                    f"The endpoint stays held back until {until} (429 or 503):"
                    f" `relayd retry {sent['subscription']}` lifts that."
                )
            )
    for line in sent["answer"].splitlines():
        click.echo(wrapped(line, "  | "))
    click.echo(wrapped(moves_words(sent)))


def send_by_itself(config_path: Path, name: str, event_type: str | None) -> dict[str, object]:
    """Send a sample without a daemon; return what came back, as the daemon would."""
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
    from relayd.delivery.template_process import TemplateProcess  # noqa: PLC0415 - see above
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
        async with (
            TemplateProcess() as templates,
            Transports().make(endpoint, config.allow_networks) as transport,
        ):
            sent = await attempt_sample(
                subscription, event, tag, transport=transport, templates=templates, now=now
            )
        return {**sent.document(), "released": 0, "waiting": None, "held_until": None}

    sent = trio.run(send)
    hold = _hold_from_next_start(config.queue, name, subscription.url, active=subscription.active)
    return {**sent, "hold": hold}
