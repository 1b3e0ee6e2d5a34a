"""`spool` and `init`: what they make works, nothing is overwritten, and trouble has a name."""

import json
import os
import socket
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from processes import make_spool, write_config

from relayd.cli import cli
from relayd.config.load import load_config
from relayd.queue.sqlite.schema import APPLICATION_ID


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def insert(path: Path, table: str = "relayd_spool", created: object = 1_640_995_200) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(
            f"INSERT INTO {table} (type, data, created) VALUES ('order.created', '{{}}', ?)",
            (created,),
        )


def status(config: Path, expected: int = 0) -> dict[str, Any]:
    result = run("spool", "status", "--json", "--config", str(config))
    assert result.exit_code == expected, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture
def umask() -> Iterator[None]:
    # The strictest there is in use: the modes asked for must come out all the same.
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_sql_is_a_table_that_takes_events() -> None:
    printed = run("spool", "sql", "--table", "market_events").stdout
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(printed)
        db.execute("INSERT INTO market_events (type, data) VALUES ('a', '{}')")
        [(event_id, created)] = db.execute("SELECT id, created FROM market_events").fetchall()
        assert event_id.startswith("evt_")
        assert created > 1_700_000_000
        with pytest.raises(sqlite3.IntegrityError):
            db.execute("INSERT INTO market_events (type, data) VALUES ('a', 'no json')")


@pytest.mark.parametrize("table", ["a-b", "1a", 'x"; DROP TABLE y', "", "a.b"])
def test_a_table_has_a_plain_name(table: str) -> None:
    assert run("spool", "sql", "--table", table).exit_code == 2


@pytest.mark.usefixtures("umask")
def test_create_makes_a_file_that_takes_events(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    result = run("spool", "create", str(path), "--mode", "0664", "--table", "events")
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines()[1:])) <= 80
    assert stat.S_IMODE(path.stat().st_mode) == 0o664
    insert(path, "events")
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
        db.execute("BEGIN IMMEDIATE")
        # What stands beside it is as open as it is itself.
        assert stat.S_IMODE(Path(f"{path}-wal").stat().st_mode) == 0o664


def test_create_leaves_what_is_there(tmp_path: Path) -> None:
    path = make_spool(tmp_path / "spool.db")
    insert(path)
    before = path.read_bytes()
    result = run("spool", "create", str(path))
    assert result.exit_code == 1
    assert "already exists" in result.stderr
    assert path.read_bytes() == before
    dangling = tmp_path / "link.db"
    dangling.symlink_to(tmp_path / "elsewhere.db")
    assert run("spool", "create", str(dangling)).exit_code == 1
    assert not (tmp_path / "elsewhere.db").exists()


@pytest.mark.parametrize("mode", ["660x", "0444", "9", "rw"])
def test_create_takes_a_mode_that_makes_sense(tmp_path: Path, mode: str) -> None:
    assert run("spool", "create", str(tmp_path / "a"), "--mode", mode).exit_code == 2
    assert not (tmp_path / "a").exists()


def test_create_says_where_it_cannot(tmp_path: Path) -> None:
    result = run("spool", "create", str(tmp_path / "none" / "spool.db"))
    assert result.exit_code == 1
    assert "No such file or directory" in result.stderr


def test_status_counts_what_waits(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_spool(tmp_path / f"{name}.db")
    config = write_config(tmp_path, spools={name: {"path": f"{name}.db"} for name in ("a", "b")})
    for created in (1_640_995_200, 1_640_995_100, "soon", -5, 10**17):
        insert(tmp_path / "a.db", created=created)
    found = status(config)
    assert found["running"] is False
    first, second = found["spools"]
    assert (first["name"], first["waiting"], first["problem"]) == ("a", 5, None)
    assert first["oldest_created_unix"] == 1_640_995_100
    assert first["oldest_created"] == "2021-12-31T23:58:20.000Z"
    assert (second["name"], second["waiting"], second["oldest_created"]) == ("b", 0, None)
    shown = run("spool", "status", "--config", str(config)).stdout
    header, row, _, note = shown.splitlines()
    assert header.split() == ["SPOOL", "WAITING", "OLDEST", "FILE"]
    assert row.split()[:2] == ["a", "5"]
    assert note.startswith("relayd is not running")


def test_status_leaves_no_files_behind(tmp_path: Path) -> None:
    # They would belong to whoever looked, and shut relayd and the producers out.
    path = make_spool(tmp_path / "spool.db")
    insert(path)
    before = sorted(tmp_path.iterdir())
    config = write_config(tmp_path)
    assert status(config)["spools"][0]["waiting"] == 1
    assert sorted(tmp_path.iterdir()) == sorted([*before, config])


def test_status_sees_rows_that_are_only_in_the_wal(tmp_path: Path) -> None:
    path = make_spool(tmp_path / "spool.db")
    config = write_config(tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("INSERT INTO relayd_spool (type, data) VALUES ('a.b', '{}')")
        assert Path(f"{path}-wal").stat().st_size > 0
        assert status(config)["spools"][0]["waiting"] == 1


def test_status_sees_what_is_only_in_the_wal_of_a_file_that_a_link_leads_to(tmp_path: Path) -> None:
    path = tmp_path / "market.db"
    (tmp_path / "spool.db").symlink_to(path)
    config = write_config(tmp_path)
    sql = run("spool", "sql").stdout
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = wal")
        db.executescript(sql)  # the table, too, is nowhere but in the -wal
        db.execute("INSERT INTO relayd_spool (type, data) VALUES ('a.b', '{}')")
        [found] = status(config)["spools"]
        assert (found["waiting"], found["problem"]) == (1, None)
        assert not any("no table" in each for each in warnings(config))


def test_a_link_that_leads_to_itself_is_not_called_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "spool.db").symlink_to("spool.db")
    [found] = status(write_config(tmp_path), expected=1)["spools"]
    assert "a link that leads back to itself" in found["problem"]


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (None, "is not there; `relayd spool create"),
        (None, "or where it is your application's database, its migrations: `relayd spool sql`"),
        (
            "CREATE TABLE orders (id)",
            (
                "there is no table relayd_spool; if it is your application's database, run its"
                " migrations: `relayd spool sql` prints the table for them"
            ),
        ),
        (
            "CREATE TABLE relayd_spool (id, type, data)",
            "lacks seq, created, market_id, api_version",
        ),
        ("CREATE VIEW relayd_spool AS SELECT 1 AS id", "is a view"),
        ("no SQL", "it is not a SQLite file"),
    ],
)
def test_status_says_what_is_wrong(tmp_path: Path, make: str | None, problem: str) -> None:
    path = tmp_path / "spool.db"
    if make == "no SQL":
        path.write_text("this is not a database, but text of some length" * 10)
    elif make is not None:
        with closing(sqlite3.connect(path)) as db:
            db.execute(make)
    config = write_config(tmp_path)
    [found] = status(config, expected=1)["spools"]
    assert problem in found["problem"]
    assert found["waiting"] is None
    human = run("spool", "status", "--config", str(config))
    assert human.exit_code == 1
    assert " ".join(problem.split()[:4]) in " ".join(human.stdout.split())


def test_an_empty_database_is_filled_by_the_command_that_is_printed(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    path = folder / "spool.db"
    path.touch()
    spools = {"market": {"path": str(path), "table": "our_events"}}
    [found] = status(write_config(tmp_path, spools=spools), expected=1)["spools"]
    assert found["problem"].endswith(
        f"`relayd spool sql --table our_events | sqlite3 '{path}'` makes it"
    )


def test_status_works_while_a_subscription_is_wrong(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    config = write_config(tmp_path, {"books": {"url": "ftp://x"}})
    assert status(config)["spools"][0]["waiting"] == 0
    wrong = write_config(tmp_path, spools={"market": {"path": 5}}, name="wrong.yaml")
    assert run("spool", "status", "--config", str(wrong)).exit_code == 78


@pytest.mark.usefixtures("umask")
def test_init_writes_a_configuration_that_is_right(tmp_path: Path) -> None:
    folder = tmp_path / "a new" / "folder"
    result = run("init", str(folder))
    assert result.exit_code == 0, result.output
    for command in ("cd '", "relayd run", "relayd listen --subscription first", "relayd emit"):
        assert command in result.stdout
    config = load_config(folder / "config.yaml", environ={})
    assert config.warnings == ()
    assert warnings(folder / "config.yaml") == []
    assert stat.S_IMODE((folder / "config.yaml").stat().st_mode) == 0o600
    made = config.subscriptions["first"].secret
    assert made is not None
    assert len(made.secret.reveal()) >= 32
    assert status(folder / "config.yaml")["spools"][0]["waiting"] == 0
    other = tmp_path / "other"
    assert run("init", str(other)).exit_code == 0
    secrets = [
        load_config(each / "config.yaml", environ={}).subscriptions["first"].secret
        for each in (folder, other)
    ]
    assert secrets[0] != secrets[1]


@pytest.mark.parametrize("name", ["config.yaml", "spool/spool.db"])
def test_init_overwrites_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    result = run("init", str(tmp_path))
    assert result.exit_code == 1
    assert f"{name} already exists" in result.stderr
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [tmp_path / name]
    assert (tmp_path / name).read_text() == "mine"


def warnings(config: Path) -> list[str]:
    result = run("check", "--json", "--config", str(config))
    assert result.exit_code == 0, result.output
    found: list[str] = json.loads(result.stdout)["warnings"]
    return [each for each in found if "no subscriptions" not in each]


RAILS = (
    'CREATE TABLE "relayd_spool" ("seq" integer PRIMARY KEY AUTOINCREMENT NOT NULL,'
    " \"id\" text DEFAULT '(''evt_'' || lower(hex(randomblob(16))))' NOT NULL,"
    ' "type" text NOT NULL, "data" text NOT NULL, "created" integer, "market_id" text,'
    ' "api_version" text)'
)


def test_a_distorted_table_is_told_with_what_to_do(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "spool.db")) as db:
        db.execute(RAILS)
    config = write_config(tmp_path)
    [found] = status(config, expected=1)["spools"]
    assert "the default of id gives" in found["problem"]
    assert any("id lacks UNIQUE" in each for each in found["differences"])
    shown = run("spool", "status", "--config", str(config)).stdout
    assert max(map(len, shown.splitlines()[2:])) <= 80
    assert "docs/frameworks.md" in shown
    assert any("the default of id gives" in each for each in warnings(config))


def test_a_table_that_merely_differs_is_no_failure(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "spool.db")) as db:
        db.execute(
            "CREATE TABLE relayd_spool (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, type TEXT"
            " NOT NULL, data TEXT NOT NULL, created INTEGER, market_id TEXT, api_version TEXT)"
        )
    config = write_config(tmp_path)
    [found] = status(config)["spools"]
    assert found["problem"] is None
    assert any("data lacks CHECK" in each for each in found["differences"])
    shown = " ".join(run("spool", "status", "--config", str(config)).stdout.split())
    assert "to make its table right: while it is empty, drop it" in shown
    # What relayd can do with is taken all the same.
    assert run("emit", "order.created", "--sample", "--config", str(config)).exit_code == 0


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_a_spool_in_utf_16_takes_events_as_any_other(tmp_path: Path, encoding: str) -> None:
    with closing(sqlite3.connect(tmp_path / "spool.db")) as db:
        db.execute(f"PRAGMA encoding = '{encoding}'")
        db.execute(run("spool", "sql").stdout)
    config = write_config(tmp_path)
    emitted = run("emit", "order.created", "--sample", "--config", str(config))
    assert emitted.exit_code == 0, emitted.stderr
    [found] = status(config)["spools"]
    assert (found["waiting"], found["problem"]) == (1, None)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("market.db-wal", "SQLite uses names that end in -wal"),
        ("market.db-shm", "SQLite uses names that end in -shm"),
        ("queue.db.reserve", "is the name of a file of the queue"),
        ("queue.db.web", "is the name of a file of the queue"),
        ("queue.db.intake", "is the name of a file of the queue"),
    ],
)
def test_create_takes_no_name_of_another_file(tmp_path: Path, name: str, words: str) -> None:
    with closing(sqlite3.connect(tmp_path / "queue.db")) as db:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("CREATE TABLE queue (tag)")
    result = run("spool", "create", str(tmp_path / name))
    assert result.exit_code == 1
    assert words in result.stderr
    assert not (tmp_path / name).exists()
    # Beside a file of another kind it is a name as any other.
    assert run("spool", "create", str(tmp_path / "other.db.reserve")).exit_code == 0


def test_check_finds_one_file_under_two_names(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    (tmp_path / "link.db").symlink_to("spool.db")
    (tmp_path / "hard.db").hardlink_to(tmp_path / "spool.db")
    (tmp_path / "folder").symlink_to(".")
    for other in ("link.db", "hard.db", "folder/spool.db"):
        config = write_config(
            tmp_path, spools={"a": {"path": "spool.db"}, "b": {"path": other}}, socket=None
        )
        [found] = [each for each in warnings(config) if "lead to the same file" in each]
        assert found.startswith("spools a and b are the same table")
    # Another table in the same file is a spool of its own.
    config = write_config(
        tmp_path, spools={"a": {"path": "spool.db"}, "b": {"path": "link.db", "table": "other"}}
    )
    assert not any("lead to the same" in each for each in warnings(config))


def test_check_warns_of_what_a_spools_reader_may_write_to(tmp_path: Path) -> None:
    for folder in ("one", "two", "one/below"):
        (tmp_path / folder).mkdir()
        make_spool(tmp_path / folder / "spool.db")
    (tmp_path / "one/secret").write_text("a-secret-of-the-tests")
    (tmp_path / "one/secret").chmod(0o600)
    (tmp_path / "link").symlink_to("two")
    books = {"url": "https://a.example/", "secret": {"file": "one/secret"}}

    def found(queue: str, **spools: str) -> list[str]:
        config = write_config(
            tmp_path,
            {"books": books},
            spools={name: {"path": path} for name, path in spools.items()},
            queue={"path": queue},
        )
        return [each for each in warnings(config) if "its own folder" in each]

    [beside] = found("link/queue.db", market="two/spool.db")
    assert beside.startswith(f"spool market: its folder {tmp_path / 'two'} also holds the queue")
    assert found("queue.db", market="two/spool.db") == []
    [above] = found("queue.db", a="one/spool.db", b="one/below/spool.db")
    assert f"also holds the secret {tmp_path / 'one/secret'}, the spool b;" in above
    make_spool(tmp_path / "spool.db")
    [all_of_it] = found("queue.db", market="spool.db")
    assert f"the configuration {tmp_path / 'config.yaml'}" in all_of_it
    assert "the queue" in all_of_it


@pytest.mark.parametrize("there", [True, False])
def test_check_finds_a_spool_that_is_the_queue(tmp_path: Path, there: bool) -> None:
    (tmp_path / "folder").symlink_to(".")
    for spool in ("folder/queue.db", "folder/queue.db.reserve", "folder/queue.db-wal"):
        if there:
            (tmp_path / "queue.db").unlink(missing_ok=True)
            make_spool(tmp_path / "queue.db")
        config = write_config(tmp_path, spools={"a": {"path": spool}}, socket=None)
        assert any("spool a and the queue are the same file" in each for each in warnings(config))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 999", "newer relayd"),
        ("SELECT 1", "SQLite file of another program"),
    ],
)
def test_check_sees_a_queue_that_this_relayd_cannot_use(
    tmp_path: Path, make: str, words: str
) -> None:
    (tmp_path / "spool").mkdir()
    make_spool(tmp_path / "spool/spool.db")
    spools = {"market": {"path": "spool/spool.db"}}
    config = write_config(tmp_path, spools=spools, allow_networks=None)
    assert warnings(config) == []
    with closing(sqlite3.connect(tmp_path / "queue.db")) as db:
        db.executescript(f"PRAGMA journal_mode = WAL; CREATE TABLE t (x); {make}")
    [found] = warnings(config)
    assert found.startswith(f"queue {tmp_path / 'queue.db'}: ")
    assert words in found
    assert not (tmp_path / "queue.db-wal").exists()


def test_a_look_without_end_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relayd.spool.look.WITHIN_S", 0.0)
    with closing(sqlite3.connect(tmp_path / "spool.db", isolation_level=None)) as db:
        db.execute(run("spool", "sql").stdout)
        db.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)"
            " INSERT INTO relayd_spool (type, data) SELECT 'a.b', '{}' FROM n"
        )
    [found] = status(write_config(tmp_path), expected=1)["spools"]
    assert "takes longer than 0 s" in found["problem"]


@pytest.mark.parametrize("kind", ["pipe", "folder", "socket"])
def test_what_is_no_file_is_neither_waited_for_nor_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "spool.db"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with closing(socket.socket(socket.AF_UNIX)) as listener:
            listener.bind(str(path))
    config = write_config(tmp_path)
    [found] = status(config, expected=1)["spools"]
    what = {"pipe": "a FIFO", "folder": "a directory", "socket": "a socket"}[kind]
    assert found["problem"] == f"{path} is {what}, not a file"
    emitted = run("emit", "order.created", "--sample", "--config", str(config))
    assert (emitted.exit_code, f"is {what}, not a file" in emitted.stderr) == (1, True)
    assert run("spool", "create", f"{path}.reserve").exit_code == 0
