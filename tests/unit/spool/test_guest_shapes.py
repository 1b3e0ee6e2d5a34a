"""Shapes of the spool's table: each can be read and emptied, or is refused in words."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from relayd.core.event import EventDefaults, Rejection, SpoolRow
from relayd.core.event_input import event_from_row
from relayd.spool.guest import Guest
from relayd.spool.table import SPOOL_TABLE, SpoolUnusableError

REST = "id TEXT, type TEXT, data TEXT, created, market_id TEXT, api_version TEXT"

READ = {
    "as printed": SPOOL_TABLE.format(table="relayd_spool"),
    "BIGINT": f"CREATE TABLE relayd_spool (seq BIGINT PRIMARY KEY, {REST})",
    "TEXT": f"CREATE TABLE relayd_spool (seq TEXT PRIMARY KEY, {REST})",
    "REAL": f"CREATE TABLE relayd_spool (seq REAL PRIMARY KEY, {REST})",
    "no key": f"CREATE TABLE relayd_spool (seq, {REST})",
    "DESC": f"CREATE TABLE relayd_spool (seq INTEGER PRIMARY KEY DESC, {REST})",
    "another key": "CREATE TABLE relayd_spool (seq INTEGER, id TEXT PRIMARY KEY, type TEXT,"
    " data TEXT, created, market_id TEXT, api_version TEXT)",
    "STRICT": "CREATE TABLE relayd_spool (seq INTEGER PRIMARY KEY, id TEXT, type TEXT, data ANY,"
    " created INTEGER, market_id TEXT, api_version TEXT) STRICT",
    "WITHOUT ROWID": "CREATE TABLE relayd_spool (seq INTEGER, id TEXT PRIMARY KEY, type TEXT,"
    " data TEXT, created, market_id TEXT, api_version TEXT) WITHOUT ROWID",
    "WITHOUT ROWID, by two": f"CREATE TABLE relayd_spool (seq INT, {REST},"
    " PRIMARY KEY (type, id COLLATE NOCASE)) WITHOUT ROWID",
    "WITHOUT ROWID, by seq": f"CREATE TABLE relayd_spool (seq INTEGER PRIMARY KEY DESC, {REST})"
    " WITHOUT ROWID",
    "generated": "CREATE TABLE relayd_spool (seq INTEGER PRIMARY KEY, id TEXT, kind TEXT, data TEXT,"
    " type TEXT AS (kind) VIRTUAL, created INTEGER AS (1700000000) STORED, market_id TEXT,"
    " api_version TEXT)",
    "upper case": "CREATE TABLE RELAYD_SPOOL (SEQ INTEGER PRIMARY KEY, ID TEXT, TYPE TEXT,"
    " DATA TEXT, CREATED INTEGER, MARKET_ID TEXT, API_VERSION TEXT)",
    "more columns": f"CREATE TABLE relayd_spool (seq INTEGER PRIMARY KEY, {REST}, rowid TEXT,"
    ' oid TEXT, "a ""b" TEXT, note TEXT DEFAULT (random()))',
    "blobs": "CREATE TABLE relayd_spool (seq INTEGER PRIMARY KEY, id BLOB, type BLOB, data BLOB,"
    " created BLOB, market_id BLOB, api_version BLOB)",
    "indexed": f"CREATE TABLE relayd_spool (seq INTEGER PRIMARY KEY, {REST});"
    " CREATE INDEX part ON relayd_spool (type) WHERE market_id IS NULL;"
    " CREATE INDEX computed ON relayd_spool (json_extract(data, '$.n'), lower(type))",
    "unknown functions": "CREATE TABLE relayd_spool (seq INTEGER PRIMARY KEY, id TEXT, type TEXT,"
    " data TEXT CHECK (theirs(data) IS NOT 1), created DEFAULT (theirs(1)), market_id TEXT,"
    " api_version TEXT)",
}

TABLE = f"CREATE TABLE relayd_spool (seq INTEGER PRIMARY KEY, {REST});"

REFUSED = {
    "no table": ("CREATE TABLE other (id)", "no table relayd_spool"),
    "view": (f"CREATE TABLE t (seq, {REST}); CREATE VIEW relayd_spool AS SELECT * FROM t", "view"),
    "virtual": (
        (
            "CREATE VIRTUAL TABLE relayd_spool"
            " USING fts5(seq, id, type, data, created, market_id, api_version)"
        ),
        "virtual table",
    ),
    "columns": ("CREATE TABLE relayd_spool (seq, id, type, data)", "lacks created, market_id"),
    "trigger": (
        (
            f"{TABLE} CREATE TRIGGER keep BEFORE DELETE ON relayd_spool"
            " BEGIN SELECT RAISE(IGNORE); END"
        ),
        "DROP TRIGGER keep",
    ),
    "hidden rowid": (TABLE.replace(");", ", oid, rowid, _ROWID_);"), "rename one"),
    "unknown collation": (
        (
            f"PRAGMA writable_schema = ON; {TABLE} CREATE INDEX i ON relayd_spool (type COLLATE NOCASE);"
            " UPDATE sqlite_schema SET sql = replace(sql, 'NOCASE', 'THEIRS')"
        ),
        "no such collation sequence: THEIRS",
    ),
    "reference to nothing": (
        f"{TABLE} CREATE TABLE child (t TEXT REFERENCES relayd_spool(type))",
        "foreign key mismatch",
    ),
    "not a plain table's name": ("CREATE TABLE other (id)", "no table json_each"),
}

DEFAULTS = EventDefaults("market_1", "2024-01-01", None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[..., Guest]]:
    guests: list[Guest] = []

    def opened(table: str = "relayd_spool") -> Guest:
        guests.append(Guest(path, table))
        guests[-1].open()
        return guests[-1]

    yield opened
    for guest in guests:
        guest.close()


def make(path: Path, schema: str, encoding: str = "UTF-8") -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.create_function("theirs", 1, lambda _: 0, deterministic=True)
    db.execute(f"PRAGMA encoding = '{encoding}'")
    db.executescript(schema)
    return db


def insert(db: sqlite3.Connection, count: int, first: int = 1) -> None:
    columns = {name.lower() for _, name, *_ in db.execute("PRAGMA table_info(relayd_spool)")}
    kind = "type" if "type" in columns else "kind"
    db.execute("BEGIN")
    for number in range(first, first + count):
        db.execute(
            f"INSERT INTO relayd_spool (seq, id, {kind}, data, market_id)"
            " VALUES (?, ?, 'order.created', ?, 'Märkt€😀')",
            (number, f"evt_{number}", f'{{"n":{number},"text":"ä€😀"}}'),
        )
    db.execute("COMMIT")


def ids(rows: list[SpoolRow]) -> set[str]:
    found = set[str]()
    for row in rows:
        event = event_from_row(row, DEFAULTS, now=1_700_000_000)
        assert not isinstance(event, Rejection), event
        assert event.market_id == "Märkt€😀"
        assert event.data
        assert event.data["text"] == "ä€😀"
        found.add(event.id)
    return found


def empty(guest: Guest) -> None:
    while guest.undeleted:
        guest.tend()


def look_at_all(guest: Guest) -> dict[int, SpoolRow]:
    found: dict[int, SpoolRow] = {}
    while rows := guest.look().rows:
        found |= {row.key: row.columns for row in rows}
    return found


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
@pytest.mark.parametrize("schema", READ.values(), ids=READ)
def test_a_shape_is_read_and_emptied(
    path: Path, opened: Callable[..., Guest], schema: str, encoding: str
) -> None:
    with closing(make(path, schema, encoding)) as db:
        insert(db, 1200)
        guest = opened()
        found = look_at_all(guest)
        assert ids(list(found.values())) == {f"evt_{n}" for n in range(1, 1201)}
        assert all(isinstance(row.seq, int) for row in found.values())
        guest.confirm(list(found)[:700])
        empty(guest)
        assert db.execute("SELECT count(*) FROM relayd_spool").fetchone() == (500,)
        guest.confirm(list(found))
        empty(guest)
        assert db.execute("SELECT count(*) FROM relayd_spool").fetchone() == (0,)
        assert guest.waits_for is None
        assert not guest.look().rows


@pytest.mark.parametrize(("schema", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_shape_is_refused_in_words(
    path: Path, opened: Callable[..., Guest], schema: str, reason: str
) -> None:
    make(path, schema).close()
    with pytest.raises(SpoolUnusableError) as refused:
        opened("json_each" if "json_each" in reason else "relayd_spool")
    assert reason in str(refused.value)
    assert str(path) in str(refused.value)
