"""Take in rejected input after all, or drop it."""

from collections.abc import Callable, Mapping

import structlog

from relayd.commands.requests import Answer, RefusedError, Request, numbers_of
from relayd.config.config import Config
from relayd.core.acceptance import Acceptance, refusal
from relayd.core.event import Column, EventDefaults, Rejection, SpoolRow
from relayd.core.event_input import event_from_row
from relayd.intake import Intake
from relayd.queue.interface import QueueWriter
from relayd.queue.snapshot_values import RejectedInput

_log = structlog.get_logger()

_MENDABLE = frozenset({"id", "type", "data", "created"})
_MOST_DIGITS = 16  # of 2^53


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
        row = _mended(rejected, changes)
        event = event_from_row(row, self._defaults(source, row), now=int(self._clock()))
        if isinstance(event, Rejection):
            raise RefusedError(event.code, event.reason)
        result = await self._intake.resubmit(event, source, seq)
        if result is None:
            raise RefusedError(
                "unknown", f"rejected input {seq} was resubmitted or dropped meanwhile"
            )
        if refused := refusal(result, event.id):
            raise RefusedError(refused.code, refused.reason)
        _log.info("rejected_resubmitted", event_id=event.id, event_type=event.type, source=source)
        return {"id": event.id, "duplicate": result is Acceptance.DUPLICATE}

    async def drop(self, request: Request) -> Answer:
        """Remove `rejected` rows for good."""
        seqs = numbers_of(request, "rejected")
        dropped = await self._queue.drop_rejected(seqs)
        if dropped:
            _log.warning("rejected_dropped", rows=dropped)
        return {"changed": dropped}

    def _defaults(self, source: str, row: SpoolRow) -> EventDefaults:
        for spool in self.config.spools:
            if source == f"spool {spool.name}":
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


def _changes_of(request: Request) -> Mapping[str, str]:
    changes = request.get("changes", {})
    if isinstance(changes, dict) and all(
        key in _MENDABLE and isinstance(value, str) for key, value in changes.items()
    ):
        return changes
    raise RefusedError("bad_request", "changes must hold id, type, data or created, each as text")


def _mended(rejected: RejectedInput, changes: Mapping[str, str]) -> SpoolRow:
    row = rejected.row
    own = f"evt_{rejected.fingerprint.hex()[:32]}".encode()

    def column(name: str, found: Column) -> Column:
        # Half of a surrogate pair is refused as what it is: no UTF-8.
        text = changes.get(name)
        return found if text is None else text.encode("utf-8", "surrogatepass")

    return SpoolRow(
        seq=row.seq,
        # Where it has none, one that is always the same, so that it is never taken in twice.
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
