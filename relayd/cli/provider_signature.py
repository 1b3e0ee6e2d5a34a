"""`sign --as`: the signature that a provider of inbound webhooks would make of a body."""

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click

from relayd.cli.secret_options import Key, standard_needed
from relayd.cli.verification import id_in
from relayd.core.inbound import hmac_scheme, stripe
from relayd.core.inbound.entry import HmacScheme, Provider
from relayd.core.inbound.sample_request import mailgun_body
from relayd.core.secret import Secret
from relayd.core.signature import (
    STANDARD_ID,
    STANDARD_SIGNATURE,
    STANDARD_TIMESTAMP,
    sign_standard,
)

BY_SECRET: Final = frozenset({Provider.STRIPE, Provider.MAILGUN, Provider.STANDARD})
"""Providers whose scheme is known without an entry."""

_TOKEN_BYTES: Final = 25  # 50 characters, as Mailgun's have


@dataclass(frozen=True, slots=True)
class Signed:
    """The headers, or the whole body where the signature is in it."""

    headers: dict[str, str]
    body: bytes | None = field(default=None, repr=False)


def signed_as(
    name: str,
    key: Key | None,
    body: bytes,
    config_path: Path | None,
    *,
    message_id: str | None,
    now: int,
) -> Signed:
    """Sign a body as the provider `name`, or as that of the entry `name`; `now` is in Unix seconds.

    The secret is that of `key`, or else the entry's first. Ends the command where there is none.
    """
    if key is not None and name in BY_SECRET:
        provider, scheme, secret = Provider(name), None, key.secret
    else:
        # Loaded here: pydantic takes four times as long to load as signing needs in all.
        from relayd.cli.inbound_entries import check_id, loaded_entry  # noqa: PLC0415 - see above

        check_id(message_id)
        _, entry = loaded_entry(name, config_path)
        provider, scheme = entry.provider, entry.scheme
        secret = entry.secrets[0] if key is None else key.secret
    match provider:
        case Provider.STRIPE:
            return Signed({stripe.SIGNATURE: stripe.sign(body, secret, now)})
        case Provider.MAILGUN:
            return Signed({}, _as_mailgun(body, secret, now))
        case Provider.STANDARD:
            standard_needed(secret)
            named = message_id or id_in(body)
            return Signed(
                {
                    STANDARD_ID: named,
                    STANDARD_TIMESTAMP: str(now),
                    STANDARD_SIGNATURE: sign_standard(body, named, now, secret),
                }
            )
        case Provider.HMAC:
            assert scheme is not None
            return Signed(_by_scheme(scheme, body, secret, message_id, now))


def _as_mailgun(body: bytes, secret: Secret, now: int) -> bytes:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise click.ClickException(
            "Mailgun's signature is in the body, which must be a JSON object: an event's data"
        )
    return mailgun_body(
        found.get("event-data", found), secret, now=now, token=secrets.token_hex(_TOKEN_BYTES)
    )


def _by_scheme(
    scheme: HmacScheme, body: bytes, secret: Secret, message_id: str | None, now: int
) -> dict[str, str]:
    named = message_id or secrets.token_hex(16)
    headers = {}
    if scheme.id is not None and scheme.id.header:
        headers[scheme.id.header] = named
    if scheme.timestamp:
        headers[scheme.timestamp] = str(now)
    signature = hmac_scheme.sign(body, scheme, secret, timestamp=str(now), event_id=named)
    return headers | {scheme.header: signature}
