"""Take in rejected input after all, or drop it."""

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import structlog

from relayd.commands.requests import Answer, RefusedError, Request, numbers_of
from relayd.config.config import Config
from relayd.core.acceptance import Acceptance, refusal
from relayd.core.event import Column, Event, EventDefaults, Rejection, SpoolRow
from relayd.core.event_input import event_from_line, event_from_row
from relayd.core.inbound.receive import Draft, map_again
from relayd.core.inbound.verdict import Refused
from relayd.core.json_text import encoded, stringify
from relayd.core.webhook import Webhook
from relayd.intake import Intake
from relayd.queue.interface import QueueWriter
from relayd.queue.snapshot_values import RejectedInput

_log = structlog.get_logger()

_MENDABLE = frozenset({"id", "type", "data", "created"})
_MOST_DIGITS = 16  # of 2^53
_GIVEN = {"id": "an id", "type": "a type", "data": "data"}


class RejectedCommands:
    """Changes the rejected list. `clock` gives Unix seconds."""

    def __init__(
        self, config: Config, queue: QueueWriter, intake: Intake, clock: Callable[[], float]
    ) -> None:
        self.config = config
        self._queue = queue
        self._intake = intake
        self._clock = clock

    async def resubmit(self, request: Request) -> Answer:
        """Accept the row `rejected`, with its fixed columns in `changes`, as a source would.

        It leaves the list in the transaction that makes its event durable: so one row makes one
        event, whatever a crash or a second command does meanwhile.
        """
        [seq] = numbers_of({"rejected": [request.get("rejected")]}, "rejected")
        changes = _changes_of(request)
        rejected = await self._queue.looks.rejected(seq)
        if rejected is None:
            raise RefusedError("unknown", f"there is no rejected input {seq}")
        source = rejected.source
        webhook = webhook_of(rejected)
        if webhook is None:
            row = _mended(rejected, changes)
            event = event_from_row(row, self._defaults(source, row), now=int(self._clock()))
        else:
            event = self._mapped_again(rejected, webhook, changes)
        if isinstance(event, Rejection):
            raise RefusedError(event.code, event.reason)
        result = await self._intake.resubmit(event, source, seq, webhook)
        if result is None:
            raise RefusedError(
                "unknown", f"rejected input {seq} was resubmitted or dropped meanwhile"
            )
        if refused := refusal(result, event.id):
            raise RefusedError(refused.code, refused.reason)
        _log.info("rejected_resubmitted", event_id=event.id, event_type=event.type, source=source)
        return {"id": event.id, "duplicate": result is Acceptance.DUPLICATE}

    def _mapped_again(
        self, rejected: RejectedInput, webhook: Webhook, changes: Mapping[str, str]
    ) -> Event | Rejection:
        """Map a webhook's body as its entry says now, with the changes in place of what that gives."""
        entry = next((e for e in self.config.inbound.values() if e.source == rejected.source), None)
        if entry is None:
            raise RefusedError(
                "unknown_entry", f"{rejected.source} is no longer in the configuration"
            )
        now = self._clock()
        headers = [
            (name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
            for name, value in json.loads(webhook.headers).items()
        ]
        draft = map_again(entry, headers, webhook.raw or b"", key=webhook.key, now=now)
        if isinstance(draft, Refused):
            return Rejection(draft.code, draft.reason)
        if lacking := [part for part in draft.lacking if part not in changes]:
            return _still_lacking(draft, lacking)
        defaults = EventDefaults(entry.market_id, self.config.api_version)
        if not changes:
            return event_from_line(draft.line, defaults, new_id="", now=int(now))
        return event_from_row(_changed(_row_of(draft.parts), changes), defaults, now=int(now))

    async def drop(self, request: Request) -> Answer:
        """Remove `rejected` rows for good."""
        seqs = numbers_of(request, "rejected")
        dropped = await self._queue.drop_rejected(seqs)
        if dropped:
            _log.warning("rejected_dropped", rows=dropped)
        return {"changed": dropped}

    def _defaults(self, source: str, row: SpoolRow) -> EventDefaults:
        for spool in self.config.spools:
            if source == spool.source:
                return EventDefaults(spool.market_id, spool.api_version, spool.markets)
        # Its spool is no longer configured. The row's own market is then taken as it is; one that
        # names none has the file's, unless there is more than one that it could have come from.
        config = self.config
        if row.market_id is None and any(
            spool.market_id != config.market_id for spool in config.spools
        ):
            raise RefusedError(
                "unknown_market",
                f"{source} is no longer in the configuration, and the row does not name its market",
            )
        return EventDefaults(config.market_id, config.api_version, None)


def _still_lacking(draft: Draft, parts: Sequence[str]) -> Rejection:
    """Return why a webhook cannot be an event yet, and what to give for these parts of it."""
    why = draft.lacking[parts[0]]
    options = " and ".join(f"{_GIVEN[part]} (--{part})" for part in parts)
    return Rejection(why.code, f"{why.reason}. Resubmit it with {options} of your own")


def _row_of(line: Mapping[str, Any]) -> SpoolRow:
    """Return the parts of an event as a row."""

    def text(name: str) -> bytes | None:
        return None if line.get(name) is None else str(line[name]).encode("utf-8", "surrogatepass")

    data = encoded(stringify(line["data"])) if "data" in line else None
    return SpoolRow(
        0, text("id"), text("type"), data, line.get("created"), None, text("api_version")
    )


def _changes_of(request: Request) -> Mapping[str, str]:
    changes = request.get("changes", {})
    if isinstance(changes, dict) and all(
        key in _MENDABLE and isinstance(value, str) for key, value in changes.items()
    ):
        return changes
    raise RefusedError("bad_request", "changes must hold id, type, data or created, each as text")


def _mended(rejected: RejectedInput, changes: Mapping[str, str]) -> SpoolRow:
    # Where it has no id, one that is always the same, so that it is never taken in twice.
    own = f"evt_{rejected.fingerprint.hex()[:32]}".encode()
    return _changed(rejected.row, changes, own)


def _changed(row: SpoolRow, changes: Mapping[str, str], own: bytes | None = None) -> SpoolRow:
    """Return a row with the changes, and with its `own` id where it has none."""

    def column(name: str, found: Column) -> Column:
        # Half of a surrogate pair is refused as what it is: no UTF-8.
        text = changes.get(name)
        return found if text is None else text.encode("utf-8", "surrogatepass")

    return SpoolRow(
        seq=row.seq,
        id=column("id", own if row.id is None else row.id),
        type=column("type", row.type),
        data=column("data", row.data),
        created=_created(changes, row.created),
        market_id=row.market_id,
        api_version=row.api_version,
    )


def _created(changes: Mapping[str, str], found: Column) -> Column:
    text = changes.get("created")
    if text is None:
        return found
    if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS:
        return int(text)
    raise RefusedError("bad_request", "created must be Unix seconds, in digits")


def webhook_of(rejected: RejectedInput) -> Webhook | None:
    """Return the webhook that rejected input was, or None."""
    raw = rejected.row.data
    if rejected.webhook is None or not isinstance(raw, bytes):
        return None
    found = json.loads(rejected.webhook)
    return Webhook(
        found["key"],
        found["token"],
        json.dumps(found["headers"]),
        raw,
        len(raw),
        sha256(raw).digest(),
    )
