"""`emit`: what it refuses, the way it chooses, and what arrives in a spool or at a socket."""

import json
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from processes import make_spool, write_config

from relayd.cli.commands.emit import emit
from relayd.cli.producer_client import (
    AT_ONCE,
    HandoverError,
    Outgoing,
    choose_spool,
    connect,
    over_socket,
)
from relayd.config.sections import SpoolConfig
from relayd.core.catalogue import EVENT_TYPES, sample
from relayd.core.event import Event, EventDefaults
from relayd.core.event_input import event_from_line

Answer = Callable[[dict[str, Any]], dict[str, object] | None]


def spool_config(path: Path, name: str = "market") -> SpoolConfig:
    return SpoolConfig(name, path, "relayd_spool", "market_123", "2024-01-01")


@contextmanager
def listening(path: Path, answer: Answer) -> Iterator[list[dict[str, Any]]]:
    """Answer each line at a socket; None ends the connection. Yields the lines that came."""
    lines: list[dict[str, Any]] = []

    def serve() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, connection.makefile("rwb") as stream:
            for line in stream:
                lines.append(json.loads(line))
                answered = answer(lines[-1])
                if answered is None:
                    return
                stream.write(json.dumps(answered).encode() + b"\n")
                stream.flush()

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield lines
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            assert not thread.is_alive()


def accepting(line: dict[str, Any]) -> dict[str, object]:
    return {"ok": True, "id": line["id"]}


def rows(path: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(
            "SELECT id, type, data, created, market_id, api_version FROM relayd_spool ORDER BY seq"
        ).fetchall()


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    config = write_config(tmp_path)

    def invoke(*arguments: str, stdin: str | bytes | None = None, status: int = 0) -> Result:
        result = CliRunner().invoke(emit, [*arguments, "--config", str(config)], input=stdin)
        assert result.exit_code == status, result.output
        return result

    return invoke


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return make_spool(tmp_path / "spool.db")


def test_into_the_spool_where_nobody_listens(run: Callable[..., Result], spool: Path) -> None:
    printed = run("order.created", "--object", '{"id":"order_456","total":2500}', "--created", "7")
    [row] = rows(spool)
    data = '{"object":{"id":"order_456","total":2500}}'
    assert row == (printed.stdout.strip(), "order.created", data, 7, None, None)
    assert printed.stderr == ""


def test_through_the_socket_where_somebody_listens(
    run: Callable[..., Result], spool: Path, tmp_path: Path
) -> None:
    with listening(tmp_path / "relayd.sock", accepting) as lines:
        printed = run("order.created", "--id", "evt_1", "--data", '{\n "n":\r\n 1.50\n}', "--json")
    assert json.loads(printed.stdout) == {
        "via": "socket",
        "events": [{"id": "evt_1", "duplicate": False}],
    }
    [line] = lines
    assert (line["id"], line["type"], line["data"]) == ("evt_1", "order.created", {"n": 1.5})
    assert rows(spool) == []


def test_via_chooses(run: Callable[..., Result], spool: Path, tmp_path: Path) -> None:
    assert (
        "nothing is listening"
        in run("order.created", "--sample", "--via", "socket", status=1).stderr
    )
    with listening(tmp_path / "relayd.sock", accepting) as lines:
        run("order.created", "--sample", "--via", "spool")
        run("order.created", "--sample", "--spool", "market")
    assert lines == []
    assert len(rows(spool)) == 2


def test_each_of_many_has_its_own_id(run: Callable[..., Result], spool: Path) -> None:
    count = 2 * AT_ONCE + 1
    printed = run("order.created", "--sample", "--count", str(count)).stdout.split()
    assert len(set(printed)) == count
    assert [row[0] for row in rows(spool)] == printed


def test_many_through_the_socket_come_in_order(run: Callable[..., Result], tmp_path: Path) -> None:
    with listening(tmp_path / "relayd.sock", accepting) as lines:
        printed = run("order.created", "--sample", "--count", str(AT_ONCE + 50)).stdout.split()
    assert [line["id"] for line in lines] == printed


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_samples(run: Callable[..., Result], spool: Path, event_type: str) -> None:
    run(event_type, "--sample")
    [row] = rows(spool)
    assert json.loads(row[2]) == sample(event_type)


def test_data_from_files(run: Callable[..., Result], spool: Path, tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text('{"name": "Zoë 🥕"}')
    run("user.created", "--file", str(tmp_path / "data.json"))
    run("user.created", "--file", "-", stdin='{"from": "stdin"}')
    assert [json.loads(row[2]) for row in rows(spool)] == [{"name": "Zoë 🥕"}, {"from": "stdin"}]
    assert "UTF-8" in run("user.created", "--file", "-", stdin=b'{"a":"\xff"}', status=1).stderr


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["order.created"], 2, "--sample"),
        (["order.created", "--sample", "--data", "{}"], 2, "Give the data by one of"),
        (["order.created", "--sample", "--id", "evt_1", "--count", "2"], 2, "--count"),
        (["order.created", "--sample", "--spool", "market", "--via", "socket"], 2, "--via socket"),
        (["order.created", "--sample", "--created", "soon"], 2, "is not a time"),
        (["order.created", "--sample", "--count", "0"], 2, "--count"),
        (["order.created", "--data", "[]"], 1, "must be a JSON object"),
        (["order.created", "--data", '{"a":NaN}'], 1, "invalid_json"),
        (["order.created", "--data", "{"], 1, "invalid_json"),
        (["order.created", "--object", '1}, "id": {"a":1'], 1, "--object: it is not valid JSON"),
        (["order.created", "--data", "{}", "--id", "a.b"], 1, "invalid_id"),
        (["Order", "--data", "{}"], 1, "invalid_type"),
        (["relayd.delivery.exhausted", "--data", "{}"], 1, "relayd's own"),
        (["order.craeted", "--sample"], 1, "did you mean order.created?"),
        (["order.created", "--sample", "--spool", "shop"], 1, "no spool shop"),
    ],
)
def test_refused_before_it_is_handed_over(
    run: Callable[..., Result], spool: Path, arguments: list[str], status: int, words: str
) -> None:
    assert words in run(*arguments, status=status).stderr
    assert rows(spool) == []


def test_notes_go_to_stderr(run: Callable[..., Result], spool: Path) -> None:
    unknown = run("order.craeted", "--data", "{}")
    assert "did you mean order.created?" in unknown.stderr
    assert unknown.stdout.strip() == rows(spool)[0][0]
    assert "data.n" in run("order.created", "--data", '{"n": 9007199254740993}').stderr


def test_created_takes_times(run: Callable[..., Result], spool: Path) -> None:
    run("order.created", "--sample", "--created", "2022-01-01T00:00:00Z")
    assert rows(spool)[0][3] == 1_640_995_200


def test_what_relayd_refuses(run: Callable[..., Result], tmp_path: Path, spool: Path) -> None:
    refusal = {"ok": False, "code": "id_conflict", "error": "the id stands for other content"}
    with listening(tmp_path / "relayd.sock", lambda _: refusal):
        printed = run("order.created", "--sample", status=1)
    assert printed.stdout == ""
    assert "the id stands for other content (id_conflict)" in printed.stderr
    # What relayd has refused must not come in by another way.
    assert rows(spool) == []


def test_duplicates_are_told(run: Callable[..., Result], tmp_path: Path) -> None:
    known = {"ok": True, "id": "evt_1", "duplicate": True}
    with listening(tmp_path / "relayd.sock", lambda _: known):
        printed = run("order.created", "--sample", "--id", "evt_1")
    assert printed.stdout == "evt_1\n"
    assert "accepted before" in printed.stderr


def test_a_connection_that_ends_without_an_answer(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    with listening(tmp_path / "relayd.sock", lambda _: None):
        assert "same --id" in run("order.created", "--sample", status=1).stderr


def test_a_stale_socket_is_nobody(run: Callable[..., Result], tmp_path: Path, spool: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as gone:
        gone.bind(str(tmp_path / "relayd.sock"))
    run("order.created", "--sample")
    assert len(rows(spool)) == 1


class TestSpoolTrouble:
    def test_no_file(self, run: Callable[..., Result], tmp_path: Path) -> None:
        printed = run("order.created", "--sample", status=1)
        assert f"`relayd spool create {tmp_path / 'spool.db'}`" in printed.stderr
        assert not (tmp_path / "spool.db").exists()

    def test_no_table(self, run: Callable[..., Result], tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "spool.db")) as db:
            db.execute("CREATE TABLE orders (id)")
        assert "`relayd spool sql`" in run("order.created", "--sample", status=1).stderr

    def test_another_table(self, run: Callable[..., Result], tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "spool.db")) as db:
            db.execute("CREATE TABLE relayd_spool (id, data)")
        assert "lacks seq, type, created" in run("order.created", "--sample", status=1).stderr

    def test_no_database(self, run: Callable[..., Result], tmp_path: Path) -> None:
        (tmp_path / "spool.db").write_text("not a database at all " * 99)
        assert "not a SQLite file" in run("order.created", "--sample", status=1).stderr

    def test_locked(
        self, run: Callable[..., Result], spool: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("relayd.spool.insertion._LOCK_TIMEOUT_S", 0.05)
        with closing(sqlite3.connect(spool, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            assert "has locked it" in run("order.created", "--sample", status=1).stderr
        assert rows(spool) == []

    def test_the_same_id_waits_already(self, run: Callable[..., Result], spool: Path) -> None:
        run("order.created", "--sample", "--id", "evt_1")
        again = run("order.created", "--sample", "--id", "evt_1", status=1)
        assert "already has an event with this id" in again.stderr
        assert len(rows(spool)) == 1


def test_one_of_several_spools_is_named(tmp_path: Path) -> None:
    spools = [spool_config(tmp_path / "a", "north"), spool_config(tmp_path / "b", "south")]
    assert choose_spool(spools, "south") is spools[1]
    with pytest.raises(HandoverError, match=r"--spool \(north, south\)"):
        choose_spool(spools, None)
    with pytest.raises(HandoverError, match="no spool"):
        choose_spool([], None)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=9,
)


@given(
    data=st.dictionaries(st.text(max_size=5), json_values, max_size=4),
    indent=st.none() | st.just(2),
    ascii_only=st.booleans(),
)
def test_a_line_holds_the_data_as_it_was_given(
    tmp_path_factory: pytest.TempPathFactory,
    data: dict[str, object],
    indent: int | None,
    ascii_only: bool,
) -> None:
    text = json.dumps(data, indent=indent, ensure_ascii=ascii_only)
    left, right = socket.socketpair()
    with right, right.makefile("rb") as sent:
        events = over_socket(left, Path("here"), [Outgoing("evt_1", "order.created", text, 7)])
        right.sendall(b'{"ok":true,"id":"evt_1"}\n')
        assert [event.id for event in events] == ["evt_1"]
        line = sent.readline()
        assert sent.readline() == b""
    event = event_from_line(line, EventDefaults("m", "v"), new_id="evt_2", now=0)
    assert isinstance(event, Event)
    assert event.data == data


def test_connect_says_who_may_not(tmp_path: Path) -> None:
    with pytest.raises(HandoverError, match="nothing is listening"):
        connect(tmp_path / "relayd.sock")
