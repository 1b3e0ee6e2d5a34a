"""The pages' producers: what they hand over arrives, and relayd's absence costs them nothing."""

import atexit
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest
import trio
from processes import command, running
from snippets import ROOT, needs, needs_library, program_environment, snippets, unused_port

PRODUCERS = sorted(name for name in snippets() if name.startswith("producer"))
BY_SOCKET = [name for name in PRODUCERS if name.startswith("producer_socket")]
BY_SPOOL = [name for name in PRODUCERS if name not in BY_SOCKET]


def program(name: str, folder: Path) -> list[str]:
    """Write a producer into the folder, and return what runs it."""
    script = folder / name
    script.write_text(snippets()[name])
    match script.suffix:
        case ".py":
            return [sys.executable, str(script)]
        case ".js":
            needs("node")
            if name in BY_SPOOL:
                needs_library("better-sqlite3", "node", "-e", 'require("better-sqlite3")')
            return ["node", str(script)]
        case ".php":
            needs_library("PHP's pdo_sqlite", "php", "-r", "new PDO('sqlite::memory:');")
            return ["php", str(script)]
        case ".rb":
            needs_library("Ruby's sqlite3", "ruby", "-e", 'require "sqlite3"')
            return ["ruby", str(script)]
        case ".go":
            return [str(built(script.read_text()))]
        case suffix:
            assert suffix == ".sh"
            needs("sqlite3")
            return ["sh", "-e", str(script)]


@cache
def built(code: str) -> Path:
    """Compile a Go program, once, with the library at the version that the tests' go.mod locks."""
    needs_library("Go", "go", "version")
    needs("cc")
    module = Path(tempfile.mkdtemp(prefix="relayd-snippet-"))
    atexit.register(shutil.rmtree, module, ignore_errors=True)
    for each in ("go.mod", "go.sum"):
        (module / each).write_text((ROOT / "tests" / "snippets.lock" / each).read_text())
    (module / "main.go").write_text(code)
    done = subprocess.run(
        ["go", "build", "-o", "producer", "."],
        cwd=module,
        env=program_environment({"CGO_ENABLED": "1"}),
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode and "dial tcp" in done.stderr:
        pytest.skip("mattn/go-sqlite3 cannot be downloaded")
    assert done.returncode == 0, done.stderr
    return module / "producer"


async def run(arguments: Sequence[str], folder: Path) -> "subprocess.CompletedProcess[bytes]":
    with trio.fail_after(60):
        return await trio.run_process(
            arguments,
            cwd=folder,
            env=program_environment(),
            check=False,
            capture_stdout=True,
            capture_stderr=True,
        )


async def first_configuration(folder: Path) -> Path:
    """Return what `init` wrote, with a receiver's port at which nothing listens."""
    await command("init", str(folder))
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("8080", str(unused_port())))
    return path


def events_of(name: str) -> int:
    """Return how many events a program hands over: each has an order's number."""
    return len(set(re.findall(r"order_4\d\d", snippets()[name])))


def test_each_language_has_its_producers() -> None:
    assert {Path(name).suffix for name in BY_SPOOL} == {".py", ".js", ".php", ".rb", ".go", ".sh"}
    assert {Path(name).suffix for name in BY_SOCKET} == {".py", ".js", ".rb"}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", PRODUCERS)
async def test_what_a_producer_hands_over_is_accepted_once(tmp_path: Path, name: str) -> None:
    config = await first_configuration(tmp_path)
    arguments = program(name, tmp_path)
    async with running(config) as relayd:
        done = await run(arguments, tmp_path)
        assert done.returncode == 0, done.stderr
        with trio.fail_after(30):
            while len(relayd.events("event_accepted")) < events_of(name):
                await trio.sleep(0.01)
        accepted = relayd.events("event_accepted")
    assert {line["event_type"] for line in accepted} == {"order.created"}
    assert len(accepted) == events_of(name)
    assert not (tmp_path / "unsent.ndjson").exists()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", BY_SPOOL)
async def test_an_event_in_the_spool_outlasts_that_relayd_is_down(
    tmp_path: Path, name: str
) -> None:
    config = await first_configuration(tmp_path)
    done = await run(program(name, tmp_path), tmp_path)
    assert done.returncode == 0, done.stderr
    async with running(config) as relayd:
        with trio.fail_after(30):
            while len(relayd.events("event_accepted")) < events_of(name):
                await trio.sleep(0.01)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", BY_SPOOL)
async def test_a_spool_that_is_busy_is_waited_for_and_a_missing_one_is_an_error(
    tmp_path: Path, name: str
) -> None:
    await first_configuration(tmp_path)
    arguments = program(name, tmp_path)
    spool = tmp_path / "spool" / "spool.db"

    async def release(db: sqlite3.Connection) -> None:
        await trio.sleep(1)
        db.execute("COMMIT")

    with closing(sqlite3.connect(spool, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(release, db)
            done = await run(arguments, tmp_path)
        assert done.returncode == 0, done.stderr
        [[rows]] = db.execute("SELECT count(*) FROM relayd_spool")
    assert rows == events_of(name)

    for path in spool.parent.glob("spool.db*"):
        path.unlink()
    done = await run(arguments, tmp_path)
    assert done.returncode != 0
    assert not spool.exists(), "an empty file in the place of the spool"


def kept(folder: Path) -> list[dict[str, object]]:
    lines = (folder / "unsent.ndjson").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("name", BY_SOCKET)
async def test_a_shop_goes_on_while_relayd_is_down_and_keeps_the_event(
    tmp_path: Path, name: str
) -> None:
    config = await first_configuration(tmp_path)
    arguments = program(name, tmp_path)
    done = await run(arguments, tmp_path)
    assert done.returncode == 0, done.stderr
    [event] = kept(tmp_path)
    assert event["type"] == "order.created"
    if name.endswith(".rb"):
        return  # it keeps the event, and shows no more
    # What was kept is accepted under its id, with the next event; a second copy is a duplicate.
    with (tmp_path / "unsent.ndjson").open("a") as file:
        file.write(json.dumps(event) + "\n")
    async with running(config) as relayd:
        done = await run(arguments, tmp_path)
        assert done.returncode == 0, done.stderr
        await relayd.logged("event_duplicate", event_id=event["id"])
        await relayd.logged("event_accepted", event_id=event["id"])
        assert len(relayd.events("event_accepted")) == 2
    assert not list(tmp_path.glob("unsent*"))


@pytest.mark.parametrize("name", BY_SOCKET)
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\n",
        b"junk\n",
        b'{"ok":tr',
        b"\xff\xfe\n",
        b'{"ok":false,"code":"busy","error":"too many connections"}\n',
        b'{"ok":false,"code":"unavailable","error":"the disk is full"}\n',
        None,
    ],
)
async def test_whatever_is_answered_a_shop_goes_on_and_keeps_the_event(
    tmp_path: Path, name: str, answer: bytes | None
) -> None:
    # None: no answer comes. The programs wait for 10 s; here, for one.
    arguments = program(name, tmp_path)
    script = Path(arguments[-1])
    code = re.sub(r"(timeout(?:_s: float)? = )10(?:000)?", r"\g<1>1", script.read_text())
    script.write_text(code.replace("timeout = 1)", "timeout = 1000)") if name.endswith(".js") else code)  # fmt: skip
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(str(tmp_path / "relayd.sock"))
    listener.listen(10)

    async def refuse(connection: trio.SocketStream) -> None:
        if answer is None:
            await trio.sleep_forever()
        await connection.receive_some(65536)
        await connection.send_all(answer)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, refuse, [trio.SocketListener(listener)])
        done = await run(arguments, tmp_path)
        nursery.cancel_scope.cancel()
    assert done.returncode == 0, done.stderr
    [event] = kept(tmp_path)
    assert str(event["id"]).startswith("evt_")


OWN: dict[str, tuple[str, str]] = {
    ".py": (
        "with market:  # one transaction: put your own statements in here as well\n",
        (
            '    market.execute("INSERT INTO orders DEFAULT VALUES")\n'
            "    import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"
        ),
    ),
    ".js": (
        "  // Your own statements go here as well: they commit with the event, or not at all.\n",
        (
            '  market.exec("INSERT INTO orders DEFAULT VALUES");\n'
            '  process.kill(process.pid, "SIGKILL");\n'
        ),
    ),
    ".php": (
        "    // Your own statements go here as well.\n",
        "    $market->exec('INSERT INTO orders DEFAULT VALUES');\n    posix_kill(getmypid(), 9);\n",
    ),
    ".rb": (
        "  # Your own statements go here as well.\n",
        '  market.execute("INSERT INTO orders DEFAULT VALUES")\n  Process.kill(:KILL, $$)\n',
    ),
    ".go": (
        "\t// Your own statements go here as well.\n",
        (
            '\tif _, err := tx.Exec("INSERT INTO orders DEFAULT VALUES"); err != nil {\n\t\treturn err\n\t}\n'
            "\tsyscall.Kill(os.Getpid(), syscall.SIGKILL)\n"
        ),
    ),
}
"""Where each program says that its reader's own statements go, and an order there, and a kill after it."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("late", [False, True], ids=["between", "after the event"])
@pytest.mark.parametrize("name", [name for name in BY_SPOOL if not name.endswith(".sh")])
async def test_a_program_killed_within_its_transaction_leaves_neither_order_nor_event(
    tmp_path: Path, name: str, late: bool
) -> None:
    await first_configuration(tmp_path)
    spool = tmp_path / "spool" / "spool.db"
    with closing(sqlite3.connect(spool)) as db, db:
        db.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    script = Path(program(name, tmp_path)[-1]) if not name.endswith(".go") else tmp_path / name
    own, order = OWN[Path(name).suffix]
    code = snippets()[name]
    assert own in code
    *statements, kill = order.splitlines(keepends=True)
    if late:  # once the event is inserted, and before the commit
        code = code.replace(own, own + "".join(statements))
        at = {
            ".py": 'report("order.created", {"id": "order_456", "total": 4250, "currency": "usd"})\n',
            ".js": '  report("order.created", order);\n',
            ".php": "    $insert->execute(['order.created', json_encode(['object' => $order], JSON_THROW_ON_ERROR)]);\n",
            ".rb": '    ["order.created", JSON.generate({ object: order })]\n  )\n',
            ".go": '\tif err := report(tx, "order.created", order); err != nil {\n\t\treturn err\n\t}\n',
        }[Path(name).suffix]
        assert at in code
        code = code.replace(at, at + kill)
    else:
        code = code.replace(own, own + order)
    code = code.replace('\t"log"\n', '\t"log"\n\t"os"\n\t"syscall"\n')
    script.write_text(code)
    arguments = (
        [str(built(code))] if name.endswith(".go") else [*program(name, tmp_path)[:-1], str(script)]
    )
    script.write_text(code)
    if name.endswith(".php"):
        needs_library("PHP's posix", "php", "-r", "posix_getpid();")
    done = await run(arguments, tmp_path)
    assert done.returncode == -9, (done.returncode, done.stdout, done.stderr)
    with closing(sqlite3.connect(spool)) as db:
        assert db.execute("SELECT count(*) FROM orders").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM relayd_spool").fetchone() == (0,)
    # Run again, whole: both are there.
    script.write_text(snippets()[name])
    done = await run(program(name, tmp_path), tmp_path)
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(spool)) as db:
        assert db.execute("SELECT count(*) FROM relayd_spool").fetchone() == (1,)
