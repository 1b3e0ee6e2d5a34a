"""A spool's table against the one that `relayd spool sql` prints: what differs, and what breaks."""

import sqlite3
from contextlib import closing

import pytest

from relayd.spool.shape import Difference, differences
from relayd.spool.table import SPOOL_TABLE

WANTED = SPOOL_TABLE.format(table="relayd_spool")


def found(sql: str, encoding: str = "UTF-8") -> list[Difference]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.execute(f"PRAGMA encoding = '{encoding}'")
        db.executescript(sql)
        return differences(db, "relayd_spool")


def words(sql: str) -> tuple[str, str]:
    """What breaks, and what merely differs."""
    each = found(sql)
    return (
        "\n".join(one.words for one in each if one.breaks),
        "\n".join(one.words for one in each if not one.breaks),
    )


def table(**columns: str) -> str:
    right = {
        "seq": "INTEGER PRIMARY KEY AUTOINCREMENT",
        "id": "TEXT NOT NULL UNIQUE DEFAULT ('evt_' || lower(hex(randomblob(16))))",
        "type": "TEXT NOT NULL",
        "data": "TEXT NOT NULL CHECK (json_valid(data))",
        "created": "INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER))",
        "market_id": "TEXT",
        "api_version": "TEXT",
    }
    lines = ", ".join(f"{name} {declared}" for name, declared in (right | columns).items())
    return f"CREATE TABLE relayd_spool ({lines})"


@pytest.mark.parametrize(
    "sql",
    [
        WANTED,
        table(),
        table(id="VARCHAR(64) NOT NULL UNIQUE DEFAULT ('evt_' || lower(hex(randomblob(16))))"),
        table(type="VARCHAR(128) NOT NULL", market_id="VARCHAR", note="TEXT"),
        table().replace("relayd_spool", '"Relayd_Spool"').replace(" id ", " ID "),
        # The same in a statement of its own.
        table(id="TEXT NOT NULL DEFAULT ('evt_' || lower(hex(randomblob(16))))")
        + "; CREATE UNIQUE INDEX one_id ON relayd_spool (id)",
    ],
)
def test_the_same_table_in_other_words(sql: str) -> None:
    assert found(sql) == []


def test_what_rails_makes_of_it() -> None:
    # db/schema.rb keeps an expression as the text that it is written in, and no CHECK.
    breaks, differs = words(
        'CREATE TABLE "relayd_spool" ("seq" integer PRIMARY KEY AUTOINCREMENT NOT NULL,'
        " \"id\" text DEFAULT '(''evt_'' || lower(hex(randomblob(16))))' NOT NULL,"
        ' "type" text NOT NULL, "data" text NOT NULL,'
        " \"created\" integer DEFAULT 'CAST(strftime(''%s'', ''now'') AS INTEGER)' NOT NULL,"
        ' "market_id" text, "api_version" text)'
    )
    assert "the default of id gives \"('evt_' ||" in breaks
    assert "to each row" in breaks
    assert "the default of created gives" in breaks
    assert "id lacks UNIQUE" in differs
    assert "data lacks CHECK (json_valid(data))" in differs


def test_what_alembic_makes_of_it() -> None:
    breaks, differs = words(
        "CREATE TABLE relayd_spool (seq INTEGER NOT NULL,"
        " id TEXT DEFAULT ('evt_' || lower(hex(randomblob(16)))) NOT NULL, type TEXT NOT NULL,"
        " data TEXT NOT NULL, created INTEGER NOT NULL, market_id TEXT, api_version TEXT,"
        " PRIMARY KEY (seq), UNIQUE (id))"
    )
    assert breaks == ""
    for part in ("data lacks CHECK", "seq lacks AUTOINCREMENT", "created lacks its default"):
        assert part in differs


@pytest.mark.parametrize(
    ("columns", "part"),
    [
        ({"id": "INTEGER UNIQUE"}, "id is declared INTEGER, which makes 7 of '007'"),
        ({"created": "TEXT"}, "created is declared TEXT, which makes '1640995200' of 1640995200"),
        ({"api_version": "NUMERIC"}, "api_version is declared NUMERIC"),
        ({"created": "INTEGER DEFAULT CURRENT_TIMESTAMP"}, "the default of created gives '20"),
        (
            {"created": "INTEGER DEFAULT (CAST(strftime('%s', 'now') AS INTEGER) * 1000)"},
            "and not the time in Unix seconds",
        ),
        ({"id": "TEXT DEFAULT 'evt_1'"}, "the default of id gives 'evt_1' to each row"),
        ({"id": "TEXT"}, "id lacks its default: a row that gives none is rejected"),
        ({"seq": "BIGINT PRIMARY KEY"}, "seq is NULL in a row that gives none"),
        ({"note": "TEXT NOT NULL"}, "an event cannot be inserted: NOT NULL constraint failed"),
        ({"data": "TEXT CHECK (length(data) > 999)"}, "an event cannot be inserted: CHECK"),
    ],
)
def test_what_breaks(columns: dict[str, str], part: str) -> None:
    breaks, _ = words(table(**columns))
    assert part in breaks


@pytest.mark.parametrize(
    ("columns", "part"),
    [
        ({"type": "TEXT"}, "type lacks NOT NULL: a row without it is rejected later"),
        ({"seq": "INTEGER PRIMARY KEY"}, "seq lacks AUTOINCREMENT"),
        ({"seq": "BIGINT NOT NULL PRIMARY KEY"}, "seq is declared BIGINT"),
        ({"market_id": "TEXT NOT NULL"}, "a row that gives no market_id is refused"),
        ({"created": "INTEGER"}, "created lacks its default: relayd takes the time of reading"),
    ],
)
def test_what_merely_differs(columns: dict[str, str], part: str) -> None:
    breaks, differs = words(table(**columns))
    assert part in differs
    assert breaks == ""


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_a_database_in_utf_16_is_as_any_other(encoding: str) -> None:
    assert found(WANTED, encoding) == []


def test_a_table_without_rowid() -> None:
    sql = table(seq="INTEGER PRIMARY KEY") + " WITHOUT ROWID"
    breaks, differs = words(sql)
    assert breaks == ""
    assert "a row that gives no seq is refused" in differs


def test_a_definition_without_end_or_bound_ends() -> None:
    # Larger than the limit, and endless for all that one would wait.
    for data in ("TEXT CHECK (zeroblob(900000000))", "TEXT DEFAULT (hex(zeroblob(900000000)))"):
        assert found(table(data=data))
