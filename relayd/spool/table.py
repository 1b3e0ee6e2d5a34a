"""The spool's table: its SQL, and which other shapes of it relayd can read.

A row is found by its rowid or, in a table WITHOUT ROWID, by its primary key, whatever the column
`seq` is. What cannot be read is refused with a reason that says what to do.
"""

import shlex
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

ROW_BYTES: Final = 16 * 1024 * 1024
"""A larger row stays in the table: there is no event in it, and it would not fit in memory."""

DEFAULT_TABLE: Final = "relayd_spool"

COLUMNS: Final = ("seq", "id", "type", "data", "created", "market_id", "api_version")

SPOOL_TABLE: Final = """\
CREATE TABLE {table} (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  id          TEXT NOT NULL UNIQUE DEFAULT ('evt_' || lower(hex(randomblob(16)))),
  type        TEXT NOT NULL,
  data        TEXT NOT NULL CHECK (json_valid(data)),   -- a JSON object, usually {{"object": {{…}}}}
  created     INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER)),
  market_id   TEXT,               -- NULL means the configuration's
  api_version TEXT                -- NULL means the configuration's
);
"""

_WAL_BYTES: Final = slice(18, 20)
_SHOWN: Final = 64
_EXPRESSION: Final = -2
"""What index_xinfo gives in place of a column's number."""


def empty_spool(table: str) -> bytes:
    """Return a SQLite file that holds a spool's table."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.execute(SPOOL_TABLE.format(table=f'"{table}"' if table != "relayd_spool" else table))
        raw = bytearray(db.serialize())
    # WAL, in which readers and writers do not wait for each other (SQLite's file format, 1.3.3).
    raw[_WAL_BYTES] = b"\2\2"
    return bytes(raw)


class SpoolUnusableError(Exception):
    """The file is there, and cannot be used as a spool; says why, and what would make it usable."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How a table's rows are found and what deleting them computes.

    `key`: the columns of the primary key, quoted, or the name of the rowid. `computing`: its
    indexes on expressions, and partial ones.
    """

    has_rowid: bool
    key: tuple[str, ...]
    computing: tuple[str, ...]


def shape_of(db: sqlite3.Connection, path: Path, name: str) -> Shape:
    """Return a table's shape. Raises `SpoolUnusableError` unless it can be a spool.

    Within a read transaction, so that what is read afterwards has the shape that was found.
    """

    def refuse(reason: str) -> NoReturn:
        raise SpoolUnusableError(f"{path}: {reason}")

    # First, and from the table: a pragma alone may describe a schema that has changed since.
    found: dict[str, list[tuple[str, int]]] = {}
    for kind, item, page in db.execute(
        "SELECT type, name, rootpage FROM main.sqlite_schema WHERE tbl_name = ? COLLATE NOCASE",
        (name,),
    ):
        found.setdefault(word(kind), []).append((word(item), page))
    table = shown(name)
    if "view" in found:
        refuse(f"{table} is a view; relayd needs a table, from which it deletes")
    if "table" not in found:
        refuse(f"there is no table {table}; {_making_words(db, path, name)}")
    if triggers := found.get("trigger"):
        refuse(
            f"table {table} has a trigger, which would run whenever relayd deletes: "
            f"DROP TRIGGER {shown(triggers[0][0])}"
        )
    if not found["table"][0][1]:
        refuse(f"{table} is a virtual table; relayd needs a plain one")
    pragma = f"({quoted(name)})"
    # table_info would leave out generated columns.
    columns = db.execute(f"PRAGMA main.table_xinfo{pragma}").fetchall()
    names = {_lower(word(column)) for _, column, *_ in columns}
    if missing := [column for column in COLUMNS if column not in names]:
        refuse(
            f"table {table} lacks {', '.join(missing)}; `relayd spool sql` prints it as it must be"
        )
    computing = tuple(
        shown(word(index))
        for _, index, _, _, partial in db.execute(f"PRAGMA main.index_list{pragma}").fetchall()
        if partial or _has_expression(db, word(index))
    )
    # Of a table WITHOUT ROWID this pragma gives the primary key, of any other nothing.
    primary = db.execute(f"PRAGMA main.index_xinfo{pragma}").fetchall()
    if key := tuple(quoted(word(column)) for _, _, column, _, _, is_key in primary if is_key):
        return Shape(False, key, computing)
    rowid = next((each for each in ("rowid", "_rowid_", "oid") if each not in names), None)
    if rowid is None:
        refuse(
            f"table {table} has columns named rowid, _rowid_ and oid, which hide SQLite's own; "
            "rename one"
        )
    return Shape(True, (rowid,), computing)


def _making_words(db: sqlite3.Connection, path: Path, name: str) -> str:
    """Say how a database gets the table that it lacks."""
    option = "" if name == DEFAULT_TABLE else f" --table {shlex.quote(shown(name))}"
    sql = f"relayd spool sql{option}"
    if db.execute("SELECT 1 FROM main.sqlite_schema LIMIT 1").fetchone() is None:
        return f"`{sql} | sqlite3 {shlex.quote(str(path))}` makes it"
    return f"if it is your application's database, run its migrations: `{sql}` prints the table for them"


def left_words(oversized: int) -> str | None:
    """Return what a spool waits for that has so many rows that are too large; None where it has none."""
    if not oversized:
        return None
    return f"{oversized_words(oversized)}, and cannot be read; delete what is not an event"


def oversized_words(count: float) -> str:
    """Return that so many rows are larger than `ROW_BYTES`."""
    rows = "1 row is" if count == 1 else f"{count:.0f} rows are"
    return f"{rows} larger than {ROW_BYTES // 2**20} MiB"


def quoted(name: str) -> str:
    """Return a name as SQL writes it, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def _has_expression(db: sqlite3.Connection, index: str) -> bool:
    columns = db.execute(f"PRAGMA main.index_xinfo({quoted(index)})").fetchall()
    return any(number == _EXPRESSION for _, number, *_ in columns)


def word(text: bytes | str) -> str:
    """Return a name of SQLite's or of a schema; what is not UTF-8 in it becomes a mark."""
    return text if isinstance(text, str) else text.decode("utf-8", "replace")


def _lower(name: str) -> str:
    """Fold a name as SQLite does: letters of ASCII only."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)


def shown(name: str) -> str:
    """Show a name that somebody else chose: without control characters, and not at any length."""
    cut = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…"
    return cut if cut.isprintable() else repr(cut)
