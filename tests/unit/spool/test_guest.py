"""A guest in the market's database: what is read, what is deleted, and what it waits for."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from relayd.spool.guest import Guest
from relayd.spool.table import ROW_BYTES, SPOOL_TABLE, SpoolUnusableError

MIB = 1024 * 1024
KEYLESS = SPOOL_TABLE.replace("INTEGER PRIMARY KEY AUTOINCREMENT", "INTEGER").replace(
    "NOT NULL UNIQUE DEFAULT", "PRIMARY KEY DEFAULT"
)
SHAPES = {
    "rowid": SPOOL_TABLE.format(table="relayd_spool"),
    "without rowid": KEYLESS.format(table="relayd_spool").replace(");\n", ") WITHOUT ROWID;\n"),
}


class Clock:
    """Time that passes by itself, and can be moved forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=SHAPES)
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "spool.db", isolation_level=None, timeout=0)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = OFF")
        db.execute(SHAPES[request.param])
        yield db


@pytest.fixture
def guest(db: sqlite3.Connection, tmp_path: Path, clock: Clock) -> Iterator[Guest]:
    guest = Guest(tmp_path / "spool.db", "relayd_spool", clock=clock)
    guest.open()
    yield guest
    guest.close()


def insert(db: sqlite3.Connection, *ids: str, data: str | bytes = "{}") -> None:
    db.execute("BEGIN")
    db.executemany(
        "INSERT INTO relayd_spool (seq, id, type, data)"
        " SELECT coalesce(max(seq), 0) + 1, ?, 't', ? FROM relayd_spool",
        [(each, data) for each in ids],
    )
    db.execute("COMMIT")


def left(db: sqlite3.Connection) -> list[str]:
    return [each for (each,) in db.execute("SELECT id FROM relayd_spool ORDER BY id")]


def look(guest: Guest) -> dict[str, int]:
    """Return ids and keys of all rows that are handed over now."""
    found: dict[str, int] = {}
    while rows := guest.look().rows:
        for row in rows:
            assert isinstance(row.columns.id, bytes)
            found[row.columns.id.decode()] = row.key
    return found


def delete_all(guest: Guest, clock: Clock) -> None:
    """Let so much time pass that what is due can be deleted."""
    for _ in range(20):
        if not guest.undeleted:
            return
        clock.ahead_s += 1.0
        guest.tend()
        guest.look()


def test_a_row_is_handed_over_once_and_deleted_once_confirmed(
    db: sqlite3.Connection, guest: Guest, clock: Clock
) -> None:
    insert(db, "a", "b")
    found = look(guest)
    assert set(found) == {"a", "b"}
    assert look(guest) == {}
    guest.confirm([found["a"]])
    assert guest.undeleted == 1
    delete_all(guest, clock)
    assert left(db) == ["b"]
    clock.ahead_s += 60
    assert look(guest) == {}
    assert guest.waits_for is None


def test_reading_goes_on_while_rows_cannot_be_deleted(
    db: sqlite3.Connection, guest: Guest, clock: Clock
) -> None:
    insert(db, "a")
    guest.confirm(list(look(guest).values()))
    db.execute("BEGIN IMMEDIATE")
    delete_all(guest, clock)
    assert guest.undeleted == 1
    assert "holds its lock: 1 accepted rows wait" in str(guest.waits_for)
    db.execute("COMMIT")
    insert(db, "b")
    assert set(look(guest)) == {"b"}
    delete_all(guest, clock)
    assert left(db) == ["b"]
    assert guest.waits_for is None


def test_tend_and_look_return_soon_while_others_hold_the_lock(
    db: sqlite3.Connection, guest: Guest, clock: Clock
) -> None:
    insert(db, "a")
    guest.confirm(list(look(guest).values()))
    db.execute("BEGIN EXCLUSIVE")
    began = time.process_time()
    delete_all(guest, clock)
    assert time.process_time() - began < 1.0  # 20 rounds
    assert guest.next_at() > clock()
    db.execute("ROLLBACK")


def test_a_row_that_was_changed_after_it_was_handed_over_is_not_deleted(
    db: sqlite3.Connection, guest: Guest, clock: Clock
) -> None:
    insert(db, "a", "b", "c", "d")
    first = look(guest)
    db.execute("UPDATE relayd_spool SET data = '{\"n\":1}' WHERE id = 'a'")
    db.execute("UPDATE relayd_spool SET created = 5 WHERE id = 'b'")
    db.execute("DELETE FROM relayd_spool WHERE id = 'c'")
    guest.confirm(list(first.values()))
    delete_all(guest, clock)
    assert left(db) == ["a", "b"]
    guest.look()
    again = set(look(guest))
    assert guest.undeleted == 0
    assert again <= {"a", "b"}


def test_a_vacuum_between_handing_over_and_deletion_deletes_no_other_row(
    tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "v.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(
            "CREATE TABLE relayd_spool (seq BIGINT, id TEXT, type TEXT, data TEXT, created,"
            " market_id, api_version)"
        )
        # Without an id, and the same but for their data.
        for number in range(10):
            db.execute("INSERT INTO relayd_spool (type, data) VALUES ('t', ?)", (str(number),))
        guest = Guest(path, "relayd_spool", clock=clock)
        guest.open()
        rows = guest.look().rows
        assert [row.columns.data for row in rows] == [str(n).encode() for n in range(10)]
        db.execute("DELETE FROM relayd_spool WHERE data < '5'")
        db.execute("VACUUM")
        guest.confirm([row.key for row in rows[:5]])
        delete_all(guest, clock)
        assert [data for (data,) in db.execute("SELECT data FROM relayd_spool")] == list("56789")
        guest.close()


def test_a_lower_number_is_read_within_five_seconds(
    db: sqlite3.Connection, guest: Guest, clock: Clock
) -> None:
    db.execute("INSERT INTO relayd_spool (seq, id, type, data) VALUES (1000, 'm', 't', '{}')")
    look(guest)
    db.execute("INSERT INTO relayd_spool (seq, id, type, data) VALUES (-5, 'a', 't', '{}')")
    look(guest)
    clock.ahead_s += 5.1
    assert guest.next_at() <= clock()
    assert look(guest) in ({}, {"a": 2})
    clock.ahead_s += 5.1
    guest.look()
    assert guest.look().rows == []


@pytest.mark.parametrize("column", ["data", "created", "market_id", "type"])
@pytest.mark.parametrize("value", ["x", b"x"], ids=["text", "bytes"])
def test_a_row_that_is_too_large_blocks_nothing(
    db: sqlite3.Connection, guest: Guest, column: str, value: str | bytes
) -> None:
    insert(db, "a", "b", "c", "d", "e")
    db.execute("PRAGMA ignore_check_constraints = ON")
    for each in "bce":
        db.execute(
            f"UPDATE relayd_spool SET {column} = ? WHERE id = ?", (value * (ROW_BYTES + 1), each)
        )
    found = guest.look()
    assert [row.columns.id for row in found.rows] == [b"a", b"d"]
    assert found.oversized == 3
    insert(db, "f")
    found = guest.look()
    assert [row.columns.id for row in found.rows] == [b"f"]
    assert found.oversized == 3


def test_a_row_that_is_too_large_is_read_once_it_is_shortened(
    db: sqlite3.Connection, guest: Guest, clock: Clock
) -> None:
    insert(db, "a", "b")
    db.execute("PRAGMA ignore_check_constraints = ON")
    db.execute("UPDATE relayd_spool SET data = ? WHERE id = 'a'", ("x" * (ROW_BYTES + 1),))
    assert set(look(guest)) == {"b"}
    db.execute("UPDATE relayd_spool SET data = '{}' WHERE id = 'a'")
    clock.ahead_s += 5.1
    assert set(look(guest)) == {"a"}
    assert guest.look().oversized == 0


def test_columns_that_are_too_large_together_count_as_one_row(
    db: sqlite3.Connection, guest: Guest
) -> None:
    insert(db, "a", "b")
    db.execute("PRAGMA ignore_check_constraints = ON")
    db.execute(
        "UPDATE relayd_spool SET data = ?, created = ?, market_id = ? WHERE id = 'a'",
        ("x" * (6 * MIB), b"y" * (6 * MIB), "z" * (6 * MIB)),
    )
    found = guest.look()
    assert [row.columns.id for row in found.rows] == [b"b"]
    assert found.oversized == 1


def test_other_columns_than_data_count_in_a_batch(db: sqlite3.Connection, guest: Guest) -> None:
    insert(db, *"abcdef")
    db.execute("PRAGMA ignore_check_constraints = ON")
    db.execute("UPDATE relayd_spool SET created = ?", (b"y" * (10 * MIB),))
    for each in "abcdef":
        [row] = guest.look().rows
        assert row.columns.id == each.encode()
        assert row.columns.created == b"y" * (10 * MIB)
    assert not guest.look().rows


def test_a_primary_key_that_is_too_large_blocks_nothing(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "spool.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(SHAPES["without rowid"])
        insert(db, "a", "m" * (ROW_BYTES + 1), "z")
        guest = Guest(path, "relayd_spool", clock=clock)
        guest.open()
        found = guest.look()
        assert [row.columns.id for row in found.rows] == [b"a", b"z"]
        assert found.oversized == 1
        assert guest.look().rows == []
        guest.confirm([row.key for row in found.rows])
        delete_all(guest, clock)
        assert db.execute("SELECT length(id) FROM relayd_spool").fetchall() == [(ROW_BYTES + 1,)]
        guest.close()


@pytest.mark.parametrize("deferred", [False, True], ids=["immediate", "deferred"])
def test_a_row_that_a_foreign_key_keeps_stalls_nothing(
    db: sqlite3.Connection, guest: Guest, clock: Clock, deferred: bool
) -> None:
    how = " DEFERRABLE INITIALLY DEFERRED" if deferred else ""
    db.execute(f"CREATE TABLE child (event TEXT REFERENCES relayd_spool(id){how})")
    insert(db, *"abcdef")
    db.execute("INSERT INTO child VALUES ('b'), ('e')")
    guest.confirm(list(look(guest).values()))
    delete_all(guest, clock)
    assert left(db) == ["b", "e"]
    assert guest.undeleted == 2
    assert "FOREIGN KEY constraint failed" in str(guest.waits_for)
    insert(db, "g")
    guest.confirm(list(look(guest).values()))
    delete_all(guest, clock)
    assert left(db) == ["b", "e"]
    db.execute("DELETE FROM child")
    clock.ahead_s += 61
    delete_all(guest, clock)
    assert left(db) == []
    assert guest.waits_for is None


def test_what_refers_to_a_deleted_row_follows_its_schema(
    db: sqlite3.Connection, guest: Guest, clock: Clock
) -> None:
    db.execute("CREATE TABLE child (event TEXT REFERENCES relayd_spool(id) ON DELETE CASCADE)")
    insert(db, "a")
    db.execute("INSERT INTO child VALUES ('a')")
    guest.confirm(list(look(guest).values()))
    delete_all(guest, clock)
    assert db.execute("SELECT * FROM child").fetchall() == []


@pytest.mark.parametrize("action", ["ABORT, 'no'", "ROLLBACK, 'no'", "FAIL, 'no'"])
def test_a_trigger_behind_a_foreign_key_that_refuses_stalls_nothing(
    db: sqlite3.Connection, guest: Guest, clock: Clock, action: str
) -> None:
    db.execute("CREATE TABLE child (event TEXT REFERENCES relayd_spool(id) ON DELETE CASCADE)")
    db.execute(f"CREATE TRIGGER keep BEFORE DELETE ON child BEGIN SELECT RAISE({action}); END")
    insert(db, *"abcd")
    db.execute("INSERT INTO child VALUES ('b')")
    guest.confirm(list(look(guest).values()))
    delete_all(guest, clock)
    assert left(db) == ["b"]
    assert guest.undeleted == 1


CASCADE = "event TEXT REFERENCES relayd_spool(id) ON DELETE CASCADE"


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (
            ["CREATE TABLE child (event TEXT REFERENCES relayd_spool(id))"],
            (
                "FOREIGN KEY constraint failed; table child, which refers to relayd_spool, needs ON DELETE"
                " CASCADE or ON DELETE SET NULL"
            ),
        ),
        (
            [
                "CREATE TABLE child (event TEXT REFERENCES Relayd_Spool(id) DEFERRABLE INITIALLY DEFERRED)"
            ],
            (
                "FOREIGN KEY constraint failed; table child, which refers to relayd_spool, needs ON DELETE"
                " CASCADE or ON DELETE SET NULL"
            ),
        ),
        (
            [
                f"CREATE TABLE child ({CASCADE})",
                "CREATE TRIGGER keep BEFORE DELETE ON child BEGIN SELECT RAISE ( ignore ); END",
            ],
            (
                "FOREIGN KEY constraint failed; change or drop trigger keep of table child, which keeps"
                " rows that refer to it"
            ),
        ),
        (
            [
                "CREATE TABLE child (event TEXT REFERENCES relayd_spool(id) ON DELETE SET NULL)",
                "CREATE TRIGGER not_it BEFORE DELETE ON child BEGIN SELECT RAISE(IGNORE); END",
                'CREATE TRIGGER "keep it" BEFORE UPDATE ON child BEGIN SELECT RAISE(IGNORE); END',
            ],
            "FOREIGN KEY constraint failed; change or drop trigger keep it of table child, which",
        ),
        (
            [
                f"CREATE TABLE child ({CASCADE})",
                (
                    "CREATE TRIGGER again AFTER DELETE ON child BEGIN INSERT INTO child VALUES (OLD.event);"
                    " END"
                ),
            ],
            "FOREIGN KEY constraint failed; change or drop trigger again of table child, which",
        ),
        (
            [
                f"CREATE TABLE child ({CASCADE} UNIQUE)",
                "CREATE TABLE grandchild (child TEXT REFERENCES child(event))",
                "INSERT INTO grandchild VALUES ('b')",
            ],
            "FOREIGN KEY constraint failed; table grandchild, which refers to child, needs ON DELETE",
        ),
        (
            [
                f"CREATE TABLE child ({CASCADE})",
                "CREATE TRIGGER harmless AFTER DELETE ON child BEGIN SELECT 1; END",
                "CREATE TRIGGER audit AFTER DELETE ON child BEGIN SELECT RAISE(ABORT, 'keep them'); END",
            ],
            "fails: keep them; change or drop trigger audit of table child",
        ),
        (
            [
                f"CREATE TABLE child ({CASCADE})",
                "CREATE TRIGGER log AFTER DELETE ON child BEGIN INSERT INTO missing VALUES (1); END",
            ],
            "no such table: main.missing; change or drop trigger log of table child",
        ),
        (
            [
                "CREATE TABLE child (event TEXT NOT NULL REFERENCES relayd_spool(id) ON DELETE SET NULL)"
            ],
            "NOT NULL constraint failed: child.event; ON DELETE SET NULL needs a column that may be NULL",
        ),
    ],
)
def test_what_keeps_a_row_is_named(
    db: sqlite3.Connection, guest: Guest, clock: Clock, schema: list[str], words: str
) -> None:
    db.execute("PRAGMA foreign_keys = OFF")
    for statement in schema:
        db.execute(statement)
    insert(db, *"abc")
    db.execute("INSERT INTO child VALUES ('b')")
    guest.confirm(list(look(guest).values()))
    delete_all(guest, clock)
    assert "b" in left(db)
    assert words in str(guest.waits_for)
    assert not ("trigger" in str(guest.waits_for) and "CASCADE" in str(guest.waits_for))


def test_a_trigger_that_is_made_after_opening_never_runs(
    db: sqlite3.Connection, guest: Guest, clock: Clock
) -> None:
    db.execute("CREATE TABLE log (x)")
    insert(db, "a")
    guest.confirm(list(look(guest).values()))
    db.execute(
        "CREATE TRIGGER log AFTER DELETE ON relayd_spool BEGIN INSERT INTO log VALUES (1); END"
    )
    clock.ahead_s += 1
    guest.tend()
    with pytest.raises(SpoolUnusableError, match="DROP TRIGGER log"):
        guest.look()
    clock.ahead_s += 10
    guest.tend()
    assert left(db) == ["a"]
    assert db.execute("SELECT * FROM log").fetchall() == []


def test_an_index_on_an_expression_that_takes_long_is_named(
    db: sqlite3.Connection, guest: Guest, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relayd.spool.deletion._STATEMENT_S", 0.02)
    # Some 50 ms for each row, in calls of functions, which a deadline does not interrupt.
    long = "length(replace(hex(zeroblob(4000000)), '00', type))"
    db.execute(f"CREATE INDEX slow ON relayd_spool (({long}))")
    insert(db, "a", "b", "c")
    guest.confirm(list(look(guest).values()))
    clock.ahead_s += 1
    guest.tend()
    # The lock was held for one row, and is not taken again soon.
    assert guest.undeleted == 2
    assert "cannot be deleted: it takes longer than 0.02 s; drop the index slow" in str(
        guest.waits_for
    )
    guest.look()
    assert guest.next_at() > clock() + 0.5
    for _ in range(10):
        clock.ahead_s += 10
        guest.tend()
    assert left(db) == []
    assert guest.waits_for is None


def test_an_index_that_was_made_endless_is_refused(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "spool.db"
    endless = "(WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM c) SELECT x FROM c)"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(SHAPES["rowid"])
        db.execute("CREATE INDEX slow ON relayd_spool (type) WHERE type = 0.25")
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_schema SET sql = replace(sql, '0.25', ?)", (endless,))
    guest = Guest(path, "relayd_spool", clock=clock)
    with pytest.raises(sqlite3.DatabaseError, match=r"malformed database schema \(slow\)"):
        guest.open()


def test_an_endless_trigger_of_another_table_ends(
    db: sqlite3.Connection, guest: Guest, clock: Clock
) -> None:
    db.execute("CREATE TABLE child (event TEXT REFERENCES relayd_spool(id) ON DELETE CASCADE)")
    db.execute(
        "CREATE TRIGGER slow AFTER DELETE ON child BEGIN INSERT INTO child"
        " WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM c)"
        " SELECT max(x) FROM c; END"
    )
    insert(db, "a", "b")
    db.execute("INSERT INTO child VALUES ('a')")
    guest.confirm(list(look(guest).values()))
    began = time.monotonic()
    clock.ahead_s += 1
    guest.tend()
    assert time.monotonic() - began < 5
    assert guest.undeleted == 2
    assert "cannot be deleted: it takes longer than" in str(guest.waits_for)
    assert "trigger slow of table child must be quick" in str(guest.waits_for)
    # It does not hold the lock again at once, and reading goes on.
    insert(db, "c")
    assert set(look(guest)) == {"c"}
    assert guest.next_at() > clock() + 0.5


def test_a_computed_column_that_takes_long_is_refused_in_words(
    tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "spool.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(SHAPES["rowid"])
        insert(db, *(str(number) for number in range(2000)))
    guest = Guest(path, "relayd_spool", clock=clock, statement_s=-1.0)
    guest.open()  # less than what is counted
    with pytest.raises(SpoolUnusableError, match="takes longer than"):
        guest.look()
    guest.close()


def test_a_file_that_was_replaced_is_neither_read_nor_emptied(
    db: sqlite3.Connection, guest: Guest, clock: Clock, tmp_path: Path
) -> None:
    insert(db, "a")
    guest.confirm(list(look(guest).values()))
    (tmp_path / "spool.db").rename(tmp_path / "moved.db")
    clock.ahead_s += 60
    with pytest.raises(SpoolUnusableError, match="was replaced"):
        guest.tend()
    with pytest.raises(SpoolUnusableError, match="was replaced"):
        guest.look()
    assert left(db) == ["a"]


def test_with_a_rollback_journal_a_long_reader_keeps_no_other_reader_out(
    db: sqlite3.Connection, guest: Guest, clock: Clock, tmp_path: Path
) -> None:
    guest.close()
    assert db.execute("PRAGMA journal_mode = DELETE").fetchall() == [("delete",)]
    insert(db, *map(str, range(50)))
    guest.open()
    guest.confirm(list(look(guest).values()))
    stop = threading.Event()
    longest = [0.0]

    def read() -> None:
        with closing(sqlite3.connect(tmp_path / "spool.db", timeout=5)) as other:
            while not stop.is_set():
                began = time.monotonic()
                other.execute("SELECT count(*) FROM relayd_spool").fetchall()
                longest[0] = max(longest[0], time.monotonic() - began)

    db.execute("BEGIN")
    db.execute("SELECT * FROM relayd_spool").fetchall()
    other = threading.Thread(target=read)
    other.start()
    for _ in range(60):
        clock.ahead_s += 0.2
        guest.tend()
        guest.look()
        time.sleep(0.005)
    stop.set()
    other.join()
    assert guest.undeleted == 50
    assert longest[0] < 1.0  # about 0.03 on a quiet machine; it was 10 s
    db.execute("COMMIT")
    delete_all(guest, clock)
    assert left(db) == []


def test_no_lock_is_left_behind_by_any_call(
    db: sqlite3.Connection, guest: Guest, clock: Clock
) -> None:
    insert(db, *map(str, range(600)))
    for _ in range(5):
        guest.confirm([row.key for row in guest.look().rows])
        clock.ahead_s += 1
        guest.tend()
        db.execute("BEGIN EXCLUSIVE")
        db.execute("ROLLBACK")
        assert db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0


def test_too_many_undeleted_rows_stop_reading_in_words(
    db: sqlite3.Connection, guest: Guest, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relayd.spool.guest.MAX_UNDELETED", 1500)
    insert(db, *map(str, range(2100)))
    db.execute("BEGIN IMMEDIATE")
    while rows := guest.look().rows:
        guest.confirm([row.key for row in rows])
        guest.tend()
    assert guest.undeleted == 1500
    assert "no others are read" in str(guest.waits_for)
    db.execute("COMMIT")
    for _ in range(20):
        clock.ahead_s += 1
        guest.tend()
        guest.confirm([row.key for row in guest.look().rows])
    assert left(db) == []
    assert guest.waits_for is None


def test_a_name_with_quotes_and_text_with_nul_and_invalid_utf8(
    tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / 'it\'s "odd"?#.db'
    name = "sp\"oo'l; --"
    quoted = '"' + name.replace('"', '""') + '"'
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(SPOOL_TABLE.format(table=quoted).replace("CHECK (json_valid(data))", ""))
        db.execute(
            f"INSERT INTO {quoted} (id, type, data) VALUES ('a' || char(0) || 'b',"
            " CAST(x'ff00fe' AS TEXT), x'c328')"
        )
        guest = Guest(path, name, clock=clock)
        guest.open()
        [row] = guest.look().rows
        assert (row.columns.id, row.columns.type, row.columns.data) == (
            b"a\0b",
            b"\xff\0\xfe",
            b"\xc3(",
        )
        guest.confirm([row.key])
        delete_all(guest, clock)
        assert db.execute(f"SELECT count(*) FROM {quoted}").fetchone() == (0,)
        guest.close()


def test_text_in_a_primary_key_that_is_not_utf8_can_be_deleted(
    tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "spool.db"
    for encoding in ("UTF-8", "UTF-16le", "UTF-16be"):
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute(f"PRAGMA encoding = '{encoding}'")
            db.execute(SHAPES["without rowid"])
            for value in ("x'ff00d8fe'", "x'd800'", "x'00d8'"):
                db.execute(
                    "INSERT INTO relayd_spool (id, type, data)"
                    f" VALUES (CAST({value} AS TEXT), 't', '{{}}')"
                )
            db.execute("INSERT INTO relayd_spool (id, type, data) VALUES (x'41', 't', '{}')")
            db.execute("INSERT INTO relayd_spool (id, type, data) VALUES ('A', 't', '{}')")
            guest = Guest(path, "relayd_spool", clock=clock)
            guest.open()
            rows = guest.look().rows
            guest.confirm([row.key for row in rows])
            delete_all(guest, clock)
            assert db.execute("SELECT count(*) FROM relayd_spool").fetchone() == (0,)
            guest.close()
        path.unlink()


@pytest.mark.parametrize("mode", ["DELETE", "TRUNCATE", "PERSIST", "WAL"])
@pytest.mark.parametrize("vacuum", ["NONE", "FULL", "INCREMENTAL"])
def test_journal_and_vacuum_modes(tmp_path: Path, clock: Clock, mode: str, vacuum: str) -> None:
    path = tmp_path / "spool.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"PRAGMA auto_vacuum = {vacuum}")
        db.execute(SHAPES["rowid"])
        db.execute(f"PRAGMA journal_mode = {mode}")
        insert(db, *map(str, range(300)))
        guest = Guest(path, "relayd_spool", clock=clock)
        guest.open()
        guest.confirm(list(look(guest).values()))
        delete_all(guest, clock)
        assert left(db) == []
        # Another journal and page size, while it is open.
        guest.look()
        db.execute("PRAGMA page_size = 8192")
        if mode != "WAL":  # nobody can leave that one while others have the file open
            db.execute("PRAGMA journal_mode = DELETE")
        db.execute("VACUUM")
        insert(db, "later")
        guest.confirm(list(look(guest).values()))
        delete_all(guest, clock)
        assert left(db) == []
        guest.close()


def test_an_exclusive_connection_is_waited_for(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "spool.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(SHAPES["rowid"])
        guest = Guest(path, "relayd_spool", clock=clock)
        guest.open()
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        insert(db, "a")
        began = clock()
        assert guest.look().rows == []
        assert "another process holds its lock" in str(guest.waits_for)
        assert guest.next_at() > began
        db.execute("PRAGMA locking_mode = NORMAL")
        db.execute("SELECT * FROM relayd_spool").fetchall()
        assert set(look(guest)) == {"a"}
        assert guest.waits_for is None
        guest.close()


def test_looking_again_costs_little(db: sqlite3.Connection, guest: Guest) -> None:
    insert(db, *map(str, range(400)))
    guest.look()
    guest.look()
    began = time.process_time()
    for _ in range(1000):
        guest.look()
    assert time.process_time() - began < 0.5  # 10 µs each


def test_a_damaged_file_that_shows_a_place_twice(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "spool.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA page_size = 512")
        db.execute(
            "CREATE TABLE relayd_spool (seq INTEGER PRIMARY KEY, id, type, data, created, market_id,"
            " api_version)"
        )
        insert(db, *(f"evt_{number:04}" for number in range(60)))
    raw = bytearray(path.read_bytes())
    leaves = [at for at in range(512, len(raw), 512) if raw[at] == 13]  # a table's leaf page
    first, second = leaves[:2]
    raw[second : second + 512] = raw[first : first + 512]
    path.write_bytes(raw)
    guest = Guest(path, "relayd_spool", clock=clock)
    guest.open()
    try:
        rows = guest.look().rows
        assert len({row.columns.id for row in rows}) < len(rows)
        guest.confirm([row.key for row in rows])
        for _ in range(100):
            clock.ahead_s += 10
            guest.tend()
        assert guest.undeleted == 0
    finally:
        guest.close()
