"""`emit --as`: hands over events as a provider of inbound webhooks does, by signed requests."""

import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import click

from relayd.cli.inbound_client import InboundClient, NotTakenError
from relayd.cli.inbound_entries import check_id, loaded_entry
from relayd.cli.producer_client import HandedOver
from relayd.core.event_fields import NotAnEventError, checked_created
from relayd.core.inbound.entry import Provider
from relayd.core.inbound.sample_request import Sample, sample_request

_TOKEN_BYTES = 25  # 50 characters, as Mailgun's have
_ID_PREFIX = {Provider.STRIPE: "evt_", Provider.STANDARD: "msg_"}


def emit_as(
    name: str,
    event_type: str,
    data: str | None,
    *,
    created: int,
    url: str | None,
    event_id: str | None,
    count: int,
    config_path: Path,
) -> Iterator[HandedOver]:
    """Send `count` events to the entry `name`, or to the only one of that provider; yield each once taken.

    `data` is the text of what relayd's event would have as its data. Ends the command where one is
    not taken.
    """
    check_id(event_id)
    try:
        checked_created(created)
    except NotAnEventError as refused:
        raise click.UsageError(f"--created: {refused.reason}") from None
    config, entry = loaded_entry(name, config_path)
    thing = None
    if data is not None:
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise click.ClickException(f"the data is not valid JSON: {error}") from None
        if not isinstance(found, dict) or "object" not in found:
            raise click.ClickException(
                'the data has no `object`, as in {"object": {"id": "x"}}; --object takes the object alone'
            )
        thing = found["object"]
    try:
        with InboundClient(url, entry, config.web) as client:
            for _ in range(count):
                given = event_id or _ID_PREFIX.get(entry.provider, "") + secrets.token_hex(12)
                request = sample_request(
                    entry,
                    Sample(event_type, given, created, thing),
                    now=int(time.time()),
                    token=secrets.token_hex(_TOKEN_BYTES),
                )
                taken, duplicate = client.send(request)
                yield HandedOver(taken or given, duplicate=duplicate)
    except NotTakenError as error:
        raise click.ClickException(str(error)) from error
