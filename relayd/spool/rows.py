"""A spool's rows: how they are read, a bounded batch at a time, and how each is deleted.

A row may hold anything: text is read as bytes, since it may be invalid UTF-8 or hold NUL, and each
value, row and batch is bounded before it is in memory.
"""

import sqlite3
import zlib
from collections.abc import Container, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from relayd.core.event import Column, SpoolRow
from relayd.core.value import value
from relayd.spool.table import ROW_BYTES, Shape, SpoolUnusableError, quoted, shape_of

BATCH_ROWS: Final = 500
BATCH_BYTES: Final = 1024 * 1024
"""A hostile row takes 50 times its size while it is read: this bounds a batch's memory."""
_SMALL: Final = ("id", "type", "created", "market_id", "api_version")
_SMALL_BYTES: Final = 4096
"""All columns but `data` are read at once up to this size each; an event's are much shorter."""
FIRST: Final = -(2**63)

Place = int | tuple[Column | str, ...]
"""Where a row is: its rowid, or its primary key, as a type and a value for each column of it."""


@value
class Found:
    """A row. `digest` is made of its content: another row may be in this place later."""

    place: Place
    digest: int
    columns: SpoolRow = field(repr=False)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one read found: rows, and the places of rows that are too large.

    `unnamed` counts rows that are too large and whose primary key is too large as well. `more`:
    the batch is full, and there may be other rows behind it.
    """

    rows: list[Found] = field(repr=False)
    oversized: list[Place]
    unnamed: int
    more: bool


class SpoolRows:
    """The rows of a table, by its file's path and its name, on an open connection.

    VACUUM may renumber rowids, and a restored backup or the producer itself may put another row in
    the place, so a row is deleted only where its content is still the same.
    """

    def __init__(self, path: Path, name: str, db: sqlite3.Connection) -> None:
        self._path = path
        self.name = name
        self._db = db
        self._known: Container[Place] = ()
        self.shape = Shape(True, (), ())
        self._fresh = self._all = _Scan("", "")
        self._whole = self._delete = ""
        self._parameters = 0
        # To learn a text's size, SQLite loads it. A larger value is an error instead.
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, ROW_BYTES)
        db.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        # Text as its bytes in UTF-8, whatever the database's encoding.
        db.text_factory = bytes
        db.create_function("relayd_digest", 6, _digest)
        db.create_function("relayd_known", -1, self._is_known)

    def check(self) -> None:
        """Raise `SpoolUnusableError` unless rows can be read and deleted; note the table's shape.

        Within a read transaction, so that what is read afterwards has the shape that was checked.
        """
        self.shape = shape_of(self._db, self._path, self.name)
        self._write_statements()
        self._compile()

    def _write_statements(self) -> None:
        keys = [f"t.{key}" for key in self.shape.key]
        if self.shape.has_rowid:
            [place] = keys
            here, behind = f"{place} = ?1", f"{place} >= ?1"
            self._parameters = 1
        else:
            # Text as its bytes and back, exactly, in any encoding: a CAST back would take them as
            # UTF-8, `||` takes them as they are.
            place = ", ".join(
                f"typeof({key}), iif(typeof({key}) = 'text', CAST({key} AS BLOB), {key})"
                for key in keys
            )
            here = " AND ".join(
                f"{key} = iif(?{at} = 'text', ?{at + 1} || x'', ?{at + 1})"
                for at, key in zip(range(1, 2 * len(keys), 2), keys, strict=True)
            )
            behind = "?1 IS NOT NULL"
            self._parameters = 2 * len(keys)
        sizes = [f"coalesce(length(CAST(t.{column} AS BLOB)), 0)" for column in _SMALL]
        starts = (f"substr(CAST(t.{column} AS BLOB), 1, {_SMALL_BYTES})" for column in _SMALL)
        digest = f"relayd_digest(CAST(t.data AS BLOB), {', '.join(starts)})"
        small = (
            f"iif({size} > {_SMALL_BYTES}, NULL, t.{column})"
            for size, column in zip(sizes, _SMALL, strict=True)
        )
        fields = f"{digest}, {' + '.join(sizes)}, iif(typeof(t.seq) = 'integer', t.seq, NULL)"
        fields += f", t.data, {', '.join(small)}, {place}"
        source = f"FROM main.{quoted(self.name)} AS t NOT INDEXED"
        fresh = f"{behind} AND NOT relayd_known({place})"
        part = f"ORDER BY {', '.join(keys)} LIMIT ?2 OFFSET ?3"
        # Names are quoted, and the rest is written here.
        self._fresh, self._all = (
            _Scan(
                f"SELECT {fields} {source} WHERE {condition} {part}",
                f"SELECT {place} {source} WHERE {condition} {part}",
            )
            for condition in (fresh, behind)
        )
        whole = ", ".join(f"t.{column}" for column in _SMALL)
        self._whole = f"SELECT {whole} {source} WHERE {here}"
        self._delete = f"DELETE {source} WHERE {here} AND {digest} = ?{self._parameters + 1}"

    def _compile(self) -> None:
        """Compile the statements, which finds what this connection cannot do.

        A collation or a function of the market's own is unknown here, and a foreign key may refer
        to what it cannot.
        """
        try:
            for statement in (self._fresh.rows, self._delete):
                # Without its parameters it is compiled and not run. EXPLAIN would do the same, but
                # SQLite 3.40 crashes in it when a foreign key refers to a table WITHOUT ROWID.
                with suppress(sqlite3.ProgrammingError):
                    self._db.execute(statement, ())
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_ERROR:
                raise
            raise SpoolUnusableError(
                f"{self._path}: relayd cannot read or delete rows of table {self.name} ({error}); "
                "`relayd spool sql` prints it as it must be"
            ) from error

    def read(self, known: Container[Place], first: int = FIRST) -> Batch:
        """Return rows that are not `known`, at most a batch of them, in the order of their places.

        Of a table with rowids, those from `first` on. Within the transaction of `check`.
        """
        self._known = known
        rows: list[Found] = []
        oversized: list[Place] = []
        unnamed, total = 0, 0
        with closing(self._records(first)) as records:
            for place, values in records:
                if place is None:
                    unnamed += 1
                    continue
                found, size = (None, 0) if values is None else self._found(place, values)
                if found is None:
                    oversized.append(place)
                    continue
                total += size
                if rows and total > BATCH_BYTES:
                    return Batch(rows, oversized, unnamed, more=True)
                rows.append(found)
                if len(rows) == BATCH_ROWS:
                    return Batch(rows, oversized, unnamed, more=True)
        return Batch(rows, oversized, unnamed, more=False)

    def _records(
        self, first: int
    ) -> Generator[tuple[Place | None, Sequence[Any] | None], None, None]:
        """Yield places and values; no values for a row that is too large, no place if that is too.

        SQLite gives up at a value that is too large, without loading it. The row that it gave up
        at is found by its position, and passed over.
        """
        scan, position, unnamed = self._fresh, 0, False
        yielded = set[Place]()
        while True:
            try:
                with closing(self._db.execute(scan.rows, (first, -1, position))) as rows:
                    for values in rows:
                        position += 1
                        place = self._place(values[_FIELDS:])
                        if unnamed and (place in yielded or place in self._known):
                            continue
                        yielded.add(place)
                        yield place, values
            except sqlite3.DataError as error:
                _must_be_too_big(error)
            else:
                return
            # sqlite3 steps ahead: it may have met the error at the row behind this one.
            values = _one(self._db, scan.rows, first, position)
            named = _one(self._db, scan.places, first, position)
            if named is None and not unnamed:
                # A primary key that is too large even for the filter: from the start, without it.
                scan, position, unnamed = self._all, 0, True
                continue
            position += 1
            if named is None:
                yield None, None
            elif (place := self._place(named)) not in yielded and place not in self._known:
                yielded.add(place)
                yield place, values

    def _found(self, place: Place, values: Sequence[Any]) -> tuple[Found | None, int]:
        """Return a row and its size, or None for a row that is too large."""
        digest, small_size, number, data, *small = values[:_FIELDS]
        size = small_size + (len(data) if isinstance(data, bytes) else 8)
        if size > ROW_BYTES:
            return None, size
        if small_size > _SMALL_BYTES:
            whole = self._db.execute(self._whole, self._parameters_of(place)).fetchall()
            if len(whole) != 1:
                return None, size
            [small] = whole
        event_id, kind, created, market, version = small
        if isinstance(place, int):
            number = place
        elif number is None:
            number = zlib.crc32(repr(place).encode())
        columns = SpoolRow(number, event_id, kind, data, created, market, version)
        return Found(place, digest, columns), size

    def delete(self, place: Place, digest: int) -> bool:
        """Delete the row in this place, if its content is still the same; say whether it was."""
        return self._db.execute(self._delete, (*self._parameters_of(place), digest)).rowcount > 0

    def _parameters_of(self, place: Place) -> tuple[Any, ...]:
        return (place,) if isinstance(place, int) else place

    def _place(self, values: Sequence[Any]) -> Place:
        if self.shape.has_rowid:
            place: int = values[0]
            return place
        return tuple(value if at % 2 else value.decode() for at, value in enumerate(values))

    def _is_known(self, *values: Any) -> bool:  # noqa: ANN401 - a primary key's types and values
        return (values[0] if self.shape.has_rowid else values) in self._known


_FIELDS: Final = 4 + len(_SMALL)
"""So many values of a row come before its place."""


@dataclass(frozen=True, slots=True)
class _Scan:
    """Statements that return rows, and only their places: from a rowid on, so many, after so many."""

    rows: str
    places: str


def _one(db: sqlite3.Connection, sql: str, first: int, position: int) -> Sequence[Any] | None:
    """Return one row of a scan, or None where it holds a value that is too large."""
    try:
        [values] = db.execute(sql, (first, 1, position)).fetchall()
    except sqlite3.DataError as error:
        _must_be_too_big(error)
        return None
    found: Sequence[Any] = values
    return found


def _must_be_too_big(error: sqlite3.DataError) -> None:
    if error.sqlite_errorcode != sqlite3.SQLITE_TOOBIG:
        raise error


def _digest(*columns: bytes | None) -> int:
    return hash(columns)
