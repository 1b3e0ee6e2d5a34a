"""What inbound webhooks leave in the queue: keys that tell duplicates, raw bodies, tokens that were used.

Each is written in the transaction that makes its event, or its rejected input, durable, and is looked at there:
the queue has one writer, so nothing comes between.
"""

import json
import sqlite3
from typing import Final

from relayd.core.acceptance import Acceptance
from relayd.core.webhook import KEPT_RAW_BYTES, Webhook

_FORGOTTEN_AT_ONCE: Final = 10_000
"""Tokens. Retention passes every five minutes: so many as three million a day do not pile up."""

_USED: Final = "SELECT key FROM inbound_tokens WHERE token = ?"
_KEY: Final = "SELECT 1 FROM inbound_events WHERE key = ?"

_USE: Final = "INSERT OR IGNORE INTO inbound_tokens (token, key, seen_at) VALUES (?, ?, ?)"

_KEEP_EVENT: Final = """
INSERT INTO inbound_events (event_seq, key, raw_bytes, raw_sha256) VALUES (?, ?, ?, ?)"""

_KEEP_BODY: Final = "INSERT INTO inbound_bodies (event_seq, headers, body) VALUES (?, ?, ?)"

REMOVALS: Final = (
    "DELETE FROM inbound_bodies WHERE event_seq IN (SELECT value FROM json_each(:seqs))",
    """DELETE FROM inbound_events WHERE event_seq IN (SELECT value FROM json_each(:seqs))
  AND NOT EXISTS (SELECT 1 FROM events WHERE seq = event_seq)""",
)
"""What goes once the bodies of the events `:seqs`, a JSON array, have gone, or the events have."""


def has_used_token(db: sqlite3.Connection, webhook: Webhook) -> bool:
    """Return whether a webhook's token came with something else before."""
    if not webhook.token:
        return False
    found = db.execute(_USED, (webhook.token,)).fetchone()
    return found is not None and found != (webhook.key,)


def look_up(db: sqlite3.Connection, webhook: Webhook, *, now: float) -> Acceptance | None:
    """Return what becomes of a webhook because of one before it, or None where it is new.

    A duplicate's token is used up, too.
    """
    if has_used_token(db, webhook):
        return Acceptance.TOKEN_REUSED
    if db.execute(_KEY, (webhook.key,)).fetchone() is None:
        return None
    keep_token(db, webhook, now=now)
    return Acceptance.DUPLICATE


def keep_token(db: sqlite3.Connection, webhook: Webhook, *, now: float) -> None:
    """Remember a webhook's token, if it has one."""
    if webhook.token:
        db.execute(_USE, (webhook.token, webhook.key, now))


def keep(db: sqlite3.Connection, seq: int, webhook: Webhook, *, now: float) -> None:
    """Keep what the event `seq` was made of."""
    db.execute(_KEEP_EVENT, (seq, webhook.key, webhook.raw_bytes, webhook.raw_sha256))
    if webhook.raw is not None and len(webhook.raw) <= KEPT_RAW_BYTES:
        db.execute(_KEEP_BODY, (seq, webhook.headers, webhook.raw))
    keep_token(db, webhook, now=now)


def forget_tokens(db: sqlite3.Connection, before: float) -> None:
    """Forget some of the tokens that came before this time, the oldest first, in Unix seconds."""
    db.execute(
        "DELETE FROM inbound_tokens WHERE token IN (SELECT token FROM inbound_tokens"
        " WHERE seen_at < ? ORDER BY seen_at LIMIT ?)",
        (before, _FORGOTTEN_AT_ONCE),
    )


def rejected_text(webhook: Webhook | None) -> str | None:
    """Return what the rejected list keeps of a webhook, beside its raw body."""
    if webhook is None:
        return None
    return json.dumps(
        {"key": webhook.key, "token": webhook.token, "headers": json.loads(webhook.headers)}
    )
