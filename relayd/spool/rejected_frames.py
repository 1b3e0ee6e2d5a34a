"""Frames of rows that cannot be events: as found, and why; and what each is known by if it was one before."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from relayd.core.acceptance import KnownRow
from relayd.core.event import MAX_BODY_BYTES, Column, Rejection, SpoolRow
from relayd.core.event_fields import NotAnEventError, checked_created, checked_id
from relayd.spool.frames import (
    DIGEST_BYTES,
    REASON,
    BadFrameError,
    checked_text,
    cut,
    is_int64,
    printable,
)

_COLUMN_COUNT: Final = 6
_ROWS: Final = 20


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A row that cannot be an event, as found, and why; `known_as` where only its market is wrong."""

    row: SpoolRow
    rejection: Rejection
    known_as: KnownRow | None = None


def rejected_frames(rejected: Iterable[FoundRow]) -> Iterable[tuple[object, bytes, int]]:
    """Return the text, bytes and row count of frames that hold these rows, in order."""
    texts: list[object] = []
    blobs: list[bytes] = []
    size = 0
    for each in rejected:
        text, blob = _row_parts(each)
        if texts and (size + len(blob) > MAX_BODY_BYTES or len(texts) == _ROWS):
            yield texts, b"".join(blobs), len(texts)
            texts, blobs, size = [], [], 0
        texts.append(text)
        blobs.append(blob)
        size += len(blob)
    if texts:
        yield texts, b"".join(blobs), len(texts)


def _row_parts(each: FoundRow) -> tuple[object, bytes]:
    row = each.row
    blobs: list[bytes] = []
    columns: list[object] = []
    for column in (row.id, row.type, row.data, row.created, row.market_id, row.api_version):
        if isinstance(column, bytes):
            columns.append([len(column)])
            blobs.append(column)
        else:
            columns.append(column)
    reason = cut(printable(each.rejection.reason), REASON)
    known = each.known_as
    known_as = None if known is None else [known.id, known.created, known.digest.hex()]
    return [row.seq, each.rejection.code, reason, columns, known_as], b"".join(blobs)


def rejected_of(text: Any, blob: memoryview) -> list[FoundRow]:  # noqa: ANN401 - JSON
    """Return a frame's rejected rows. Raises `BadFrameError`."""
    try:
        found: list[FoundRow] = []
        start = 0
        for seq, code, reason, columns, known_as in text:
            values: list[Column] = []
            for column in columns:
                value, start = _column(column, blob, start)
                values.append(value)
            if len(values) != _COLUMN_COUNT:
                raise BadFrameError("a row of other columns")
            row = SpoolRow(_seq(seq), *values)
            rejection = Rejection(_code(code), checked_text(reason, REASON))
            found.append(FoundRow(row, rejection, _known_as(known_as)))
    except NotAnEventError as error:
        raise BadFrameError(f"a row known as what is not an event: {error.code}") from None
    except (ValueError, TypeError) as error:
        raise BadFrameError(f"rows in another form ({type(error).__name__})") from None
    if not found or start != len(blob):
        raise BadFrameError("more bytes than its rows have")
    return found


def _column(column: object, blob: memoryview, start: int) -> tuple[Column, int]:
    if isinstance(column, list):
        [size] = column
        if type(size) is not int or not 0 <= size <= len(blob) - start:
            raise BadFrameError("fewer bytes than its rows have")
        return bytes(blob[start : start + size]), start + size
    if column is None or isinstance(column, float) or is_int64(column):
        return column, start  # type: ignore[return-value]  # mypy does not see through is_int64
    raise BadFrameError("a column of another kind")


def _known_as(found: Any) -> KnownRow | None:  # noqa: ANN401 - JSON
    if found is None:
        return None
    event_id, created, digest = found
    raw = bytes.fromhex(digest)
    if len(raw) != DIGEST_BYTES:
        raise BadFrameError("a digest of another size")
    return KnownRow(checked_id(event_id), checked_created(created), raw)


def _seq(value: object) -> int:
    if not is_int64(value):
        raise BadFrameError("a row's number that is not one")
    return value  # type: ignore[return-value]  # mypy does not see through is_int64


def _code(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 64 or not value.isidentifier():
        raise BadFrameError("a code that is not one")
    return value
