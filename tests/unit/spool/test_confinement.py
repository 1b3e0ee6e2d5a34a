"""What a confined process can still do, tried in processes that confine themselves."""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from relayd.spool.confinement import UnconfinedError, confine

PROGRAM = """
import json, os, resource, signal, socket, sqlite3, sys
from pathlib import Path
from relayd.spool.confinement import confine, limit
inside, outside = map(Path, sys.argv[1:3])
server = socket.create_server(("127.0.0.1", 0))
listener = socket.socket(socket.AF_UNIX)
listener.bind(str(outside / "control"))
listener.listen()
limit()
confine(inside)

def tried(act):
    try:
        act()
    except OSError as error:
        return error.strerror
    except sqlite3.Error as error:
        return str(error)
    return "done"

def commit():
    with sqlite3.connect(inside / "spool.db") as db:
        db.execute("PRAGMA journal_mode = " + sys.argv[3])
        db.execute("CREATE TABLE t (a)")
        db.execute("INSERT INTO t VALUES (randomblob(8))")
    db.close()

def memory():
    try:
        bytes(600_000_000)
    except MemoryError:
        raise OSError(12, "no memory") from None

print(json.dumps({
    "commit": tried(commit),
    "urandom": tried(lambda: open("/dev/urandom", "rb").read(1)),
    "read": tried(lambda: (outside / "secret").read_text()),
    "write": tried(lambda: (outside / "secret").write_text("")),
    "truncate": tried(lambda: os.truncate(outside / "secret", 0)),
    "unlink": tried(lambda: (outside / "secret").unlink()),
    "create": tried(lambda: (outside / "new").touch()),
    "move out": tried(lambda: (inside / "file").rename(outside / "file")),
    "link in": tried(lambda: os.link(outside / "secret", inside / "linked")),
    "follow": tried(lambda: (inside / "link").read_text()),
    "chmod": tried(lambda: os.chmod(outside / "secret", 0o600)),
    "connect unix": tried(lambda: socket.socket(socket.AF_UNIX).connect(listener.getsockname())),
    "send udp": tried(
        lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))
    ),
    "environ": tried(lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes()),
    "mkfifo": tried(lambda: os.mkfifo(inside / "fifo")),
    "run": tried(lambda: os.execv("/bin/true", ["true"])),
    "connect": tried(lambda: socket.create_connection(server.getsockname())),
    "kill": tried(lambda: os.kill(os.getppid(), 0)),
    "memory": tried(memory),
    "files": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
    "core": resource.getrlimit(resource.RLIMIT_CORE)[1],
    "processes": resource.getrlimit(resource.RLIMIT_NPROC)[1],
}))
"""


def landlock_version() -> int:
    return int(ctypes.CDLL(None).syscall(444, None, 0, 1))


needs_landlock = pytest.mark.skipif(landlock_version() < 1, reason="needs Landlock")


@needs_landlock
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_confined_process_uses_its_folder_and_no_other(tmp_path: Path, journal: str) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "file").touch()
    (outside / "secret").write_text("secret")
    (inside / "link").symlink_to(outside / "secret")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(inside), str(outside), journal],
        check=True,
        capture_output=True,
        timeout=60,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    version = landlock_version()
    allowed = {name for name, result in found.items() if result == "done"}
    free = {"commit", "urandom"}
    # What Landlock does not hold, as SECURITY.md says.
    free |= {"chmod", "connect unix", "send udp"}
    if version < 3:
        free |= {"truncate"}
    if version < 4:
        free |= {"connect"}
    if version < 6:
        free |= {"kill"}
    assert allowed == free, found
    if version >= 3:
        assert (outside / "secret").read_text() == "secret"
    assert (found["files"], found["core"], found["processes"]) == (64, 0, 0)


def test_a_folder_that_is_not_there_is_no_reason_to_go_on(tmp_path: Path) -> None:
    # In a child: what is given up does not come back.
    pid = os.fork()
    if pid == 0:
        try:
            confine(tmp_path / "nowhere")
        except FileNotFoundError:
            os._exit(0)
        except UnconfinedError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_template_loads_no_more_than_a_reader_needs() -> None:
    program = (
        "import sys; from importlib import import_module; sys.path[:] = sys.argv[1:];"
        " import_module('relayd.spool.template'); print(' '.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, *sys.path],
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    foreign = {"httpx", "pydantic", "trio", "structlog", "yaml", "aiosqlite", "asyncio", "click"}
    assert not loaded & foreign
    assert "ssl" not in loaded
