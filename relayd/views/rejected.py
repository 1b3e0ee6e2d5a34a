"""Rejected input, as the documents of `rejected list` and `rejected show`."""

from relayd.core.event import Column
from relayd.queue.snapshot_values import ListedInput, RejectedInput, RemovedInput
from relayd.views.moments import iso, moment_fields


def listed_document(each: ListedInput | RejectedInput) -> dict[str, object]:
    """Return what is listed of rejected input."""
    return {
        "number": each.seq,
        "source": each.source,
        "rejected_at": iso(each.rejected_at),
        "rejected_at_unix": each.rejected_at,
        "code": each.code,
        "reason": each.reason,
    }


def removed_document(each: RemovedInput) -> dict[str, object]:
    """Return what was removed of one source's rejected input, since that took too much room."""
    return {
        "source": each.source,
        "code": each.code,
        "count": each.count,
        "bytes": each.bytes,
        **moment_fields("first_at", each.first_at),
        **moment_fields("last_at", each.last_at),
    }


def rejected_document(found: RejectedInput) -> dict[str, object]:
    """Return rejected input in full. Of a `webhook`, the row's `data` is the raw body."""
    return {
        **listed_document(found),
        "webhook": found.webhook is not None,
        "row": columns_of(found),
    }


def columns_of(found: RejectedInput) -> dict[str, str | int | float | None]:
    """Return each column as it was found; bytes that are not UTF-8 are replaced."""
    row = found.row
    columns = {
        "id": row.id,
        "type": row.type,
        "created": row.created,
        "market_id": row.market_id,
        "api_version": row.api_version,
        "data": row.data,
    }
    return {name: _text(value) for name, value in columns.items()}


def _text(value: Column) -> str | int | float | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
