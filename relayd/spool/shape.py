"""Compares a spool's table with the one that `relayd spool sql` prints, by what it does.

Other tools write the same table in other words, or a different one in nearly the same: a default
that is text and not an expression, no UNIQUE, no CHECK. So the table is made again in memory, rows
are inserted into both, and what differs is said with what it leads to.
"""

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from relayd.core.event_fields import NotAnEventError, checked_id
from relayd.spool.table import SPOOL_TABLE, quoted

FIX: Final = (
    "to make its table right: while it is empty, drop it, and make it with the SQL that `relayd spool"
    " sql` prints (docs/frameworks.md says how in each framework)"
)

_ROW: Final[Mapping[str, object]] = {
    # Each is changed by a column of the wrong type.
    "id": "007",
    "type": "1",
    "data": '{"object":{"id":"order_456"}}',
    "created": 1_640_995_200,
    "market_id": "1",
    "api_version": "2024",
}
_DAY_S: Final = 86_400
_BYTES: Final = 1024 * 1024
_STEPS: Final = 1_000_000
"""Of SQLite's virtual machine: a definition that takes longer ends with an error."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How a table differs.

    `breaks`: rows that it lets in are rejected, or never read; with `defaults_only`, those that
    leave a column to its default.
    """

    words: str
    breaks: bool
    defaults_only: bool = False


class _Table:
    """A table made again in memory, into which rows are inserted."""

    def __init__(self, db: sqlite3.Connection, name: str) -> None:
        self._db = db
        self._table = quoted(name)
        self.columns = {
            column.lower(): (declared, bool(not_null), default, hidden)
            for _, column, declared, not_null, default, _, hidden in db.execute(
                f"PRAGMA table_xinfo({self._table})"
            )
        }

    def insert(
        self, values: Mapping[str, object], *, beside: bool = False
    ) -> dict[str, Any] | sqlite3.Error:
        """Insert a row, in place of all others or `beside` them; return one as it is read back.

        Where that fails, the error is returned.
        """
        names = ", ".join(values)
        marks = ", ".join("?" * len(values))
        try:
            if not beside:
                self._db.execute(f"DELETE FROM {self._table}")  # noqa: S608 - quoted
            self._db.execute(
                f"INSERT INTO {self._table} ({names}) VALUES ({marks})",  # noqa: S608 - quoted, and names of our own
                tuple(values.values()),
            )
            cursor = self._db.execute(f"SELECT * FROM {self._table}")  # noqa: S608 - quoted
            columns = [column.lower() for column, *_ in cursor.description]
            return dict(zip(columns, cursor.fetchone(), strict=True))
        except sqlite3.Error as error:
            return error

    def rowid(self) -> object:
        """Return the number that SQLite itself gives to the row. Raises `sqlite3.Error`."""
        [(rowid,)] = self._db.execute(f"SELECT rowid FROM {self._table}").fetchall()  # noqa: S608 - quoted
        return rowid


def differences(db: sqlite3.Connection, table: str) -> list[Difference]:
    """Return how a spool's table differs from the one that `relayd spool sql` makes.

    Reads the schema only. The table must be there. Raises `sqlite3.Error` of `db` itself.
    """
    found: list[Difference] = []
    definitions = [
        sql
        for (sql,) in db.execute(
            "SELECT sql FROM sqlite_schema WHERE lower(tbl_name) = lower(?) AND sql IS NOT NULL"
            " AND type IN ('table', 'index') ORDER BY type = 'index'",
            (table,),
        )
    ]
    with closing(_memory()) as copy, closing(_memory()) as right:
        right.execute(SPOOL_TABLE.format(table=quoted(table)))
        try:
            for sql in definitions:
                copy.execute(sql)
            made = _Table(copy, table)
            found += [*_columns(made, _Table(right, table)), *_behaviour(made)]
        except sqlite3.Error as error:
            found.append(Difference(f"its definition cannot be tried: {error}", breaks=False))
    return found


def _memory() -> sqlite3.Connection:
    """Return a database in memory for a definition that may be hostile."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _BYTES)
    db.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    steps = iter(range(_STEPS // 10_000))
    db.set_progress_handler(lambda: next(steps, None) is None, 10_000)
    return db


def _columns(made: _Table, right: _Table) -> Iterator[Difference]:
    for name, (declared, not_null, _, _) in right.columns.items():
        if name not in made.columns:
            yield Difference(f"it lacks the column {name}", breaks=True)
            continue
        as_declared, has_not_null, default, hidden = made.columns[name]
        if hidden:
            yield Difference(f"{name} is a generated column: producers cannot set it", breaks=False)
        if not_null and not has_not_null and name != "created":
            yield Difference(
                f"{name} lacks NOT NULL: a row without it is rejected later, and not at its INSERT",
                breaks=False,
            )
        elif not_null and not has_not_null and default is not None:
            yield Difference(
                "created lacks NOT NULL: relayd takes the time of reading where it is NULL",
                breaks=False,
            )
        if name == "seq" and as_declared.upper() != declared:
            yield Difference(
                f"seq is declared {as_declared or 'without a type'}: only INTEGER PRIMARY KEY is"
                " SQLite's own number of the row",
                breaks=False,
            )


def _behaviour(made: _Table) -> Iterator[Difference]:
    whole = made.insert(_ROW)
    if isinstance(whole, sqlite3.Error):
        # It may be that a producer must number the rows itself.
        if isinstance(made.insert({**_ROW, "seq": 1}), sqlite3.Error):
            yield Difference(f"an event cannot be inserted: {whole}", breaks=True)
        else:
            yield Difference(f"a row that gives no seq is refused: {whole}", breaks=False)
        return
    for name, value in _ROW.items():
        if type(whole[name]) is not type(value) or whole[name] != value:
            declared = made.columns[name][0] or "without a type"
            yield Difference(
                f"{name} is declared {declared}, which makes {whole[name]!r} of {value!r}:"
                f" declare it {'INTEGER' if name == 'created' else 'TEXT'}",
                breaks=True,
            )
    if not isinstance(made.insert(_ROW, beside=True), sqlite3.Error):
        yield Difference(
            "id lacks UNIQUE: an id given twice is noticed by relayd, and not at its INSERT",
            breaks=False,
        )
    if not isinstance(made.insert({**_ROW, "data": "{"}), sqlite3.Error):
        yield Difference(
            "data lacks CHECK (json_valid(data)): what is not JSON is rejected later, and not at its"
            " INSERT",
            breaks=False,
        )
    yield from _numbers(made)
    yield from _default_id(made)
    yield from _default_created(made)
    for name in ("market_id", "api_version"):
        error = made.insert(_without(name))
        if isinstance(error, sqlite3.Error):
            yield Difference(f"a row that gives no {name} is refused: {error}", breaks=False)


def _without(name: str) -> dict[str, object]:
    return {column: value for column, value in _ROW.items() if column != name}


def _numbers(made: _Table) -> Iterator[Difference]:
    first = made.insert(_ROW)
    if isinstance(first, sqlite3.Error):
        return  # it was said
    if not isinstance(first["seq"], int):
        yield Difference(
            f"seq is {_shown(first['seq'])} in a row that gives none: it must be INTEGER PRIMARY KEY"
            " AUTOINCREMENT",
            breaks=True,
        )
        return
    try:
        if made.rowid() != first["seq"]:
            yield Difference("seq is not SQLite's own number of the row (rowid)", breaks=False)
    except sqlite3.Error:
        yield Difference("it is WITHOUT ROWID", breaks=False)
        return
    again = made.insert(_ROW)
    if not isinstance(again, sqlite3.Error) and again["seq"] <= first["seq"]:
        yield Difference(
            "seq lacks AUTOINCREMENT: numbers come again after a deletion", breaks=False
        )


def _default_id(made: _Table) -> Iterator[Difference]:
    first, second = made.insert(_without("id")), made.insert(_without("id"))
    if isinstance(first, sqlite3.Error) or isinstance(second, sqlite3.Error):
        yield Difference("id lacks its default: a row that gives none is refused", breaks=False)
        return
    if first["id"] is None:
        yield Difference(
            "id lacks its default: a row that gives none is rejected",
            breaks=True,
            defaults_only=True,
        )
        return
    try:
        checked_id(first["id"])
        valid = True
    except NotAnEventError:
        valid = False
    if not valid or first["id"] == second["id"]:
        each = " to each row" if first["id"] == second["id"] else ""
        yield Difference(
            f"the default of id gives {_shown(first['id'])}{each}, and not a new id: it must be an"
            " expression in parentheses",
            breaks=True,
            defaults_only=True,
        )


def _default_created(made: _Table) -> Iterator[Difference]:
    row = made.insert(_without("created"))
    if isinstance(row, sqlite3.Error):
        yield Difference(
            "created lacks its default: a row that gives none is refused", breaks=False
        )
        return
    created = row["created"]
    if created is None:
        yield Difference(
            "created lacks its default: relayd takes the time of reading", breaks=False
        )
        return
    if not isinstance(created, int) or abs(created - time.time()) > _DAY_S:
        yield Difference(
            f"the default of created gives {_shown(created)}, and not the time in Unix seconds: it"
            " must be an expression in parentheses",
            breaks=True,
            defaults_only=True,
        )


def _shown(value: object) -> str:
    text = repr(value)
    return "NULL" if value is None else text if len(text) <= 60 else f"{text[:60]}…"
