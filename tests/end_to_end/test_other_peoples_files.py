"""Commands in other people's folders: root becomes the owner, and nothing is left behind. Needs root."""

import json
import os
import pwd
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from faults.injection import SQLITE_DELETES_ANY_FILE
from people import NEEDED, People, User, give, made_people
from processes import write_config

pytestmark = NEEDED

ROOT = User("root", "root")
MAGIC = bytes.fromhex("d9d505f920a163d7")


@pytest.fixture(scope="module")
def people() -> Iterator[People]:
    with made_people() as made:
        yield made


@pytest.fixture
def place() -> Iterator[Path]:
    # Not pytest's own folder, which is root's alone.
    root = Path(tempfile.mkdtemp(prefix="relayd-test-"))
    root.chmod(0o755)
    try:
        yield root
    finally:
        shutil.rmtree(root)


@pytest.fixture
def market(place: Path, people: People) -> Path:
    """A folder of the market's own, with a spool that it has made."""
    folder = place / "market"
    folder.mkdir()
    give(folder, people.market, 0o755)
    made = people.market.relayd("spool", "create", str(folder / "spool.db"))
    assert made.returncode == 0, made.stderr
    return folder


def configured(place: Path, market: Path) -> Path:
    return write_config(
        place, spools={"market": {"path": str(market / "spool.db")}}, socket=None,
        queue={"path": str(place / "queue.db")},
    )  # fmt: skip


def root(*arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "relayd", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=cwd or "/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def owners(folder: Path) -> set[str]:
    return {each.owner() for each in folder.iterdir()}


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def hot_journal(spool: Path, victim: Path) -> None:
    """Leave what a transaction over several databases leaves, which names any file."""
    raw = str(victim).encode()
    checksum = sum(byte - 256 * (byte > 127) for byte in raw) & 0xFFFFFFFF
    page = spool.read_bytes()[:4096]
    head = bytes.fromhex("d9d505f920a163d7") + (1).to_bytes(4) + bytes(4)
    head += (len(spool.read_bytes()) // 4096).to_bytes(4) + (512).to_bytes(4) + (4096).to_bytes(4)
    total = sum(page[index] for index in range(4096 - 200, 0, -200)) & 0xFFFFFFFF
    record = (1).to_bytes(4) + page + total.to_bytes(4)
    trailer = (0xFFFFFFFF).to_bytes(4)  # the locked page's number stands before the name
    name = raw + len(raw).to_bytes(4) + checksum.to_bytes(4) + MAGIC
    Path(f"{spool}-journal").write_bytes(head.ljust(512, b"\0") + record + trailer + name)


def test_root_emits_as_the_spools_owner(place: Path, market: Path, people: People) -> None:
    config = configured(place, market)
    emitted = root("emit", "order.created", "--sample", "--config", str(config))
    assert emitted.returncode == 0, emitted.stderr
    with closing(sqlite3.connect(market / "spool.db")) as db:
        # Opened by somebody else before, its files are the market's all the same.
        assert db.execute("SELECT count(*) FROM relayd_spool").fetchall() == [(1,)]
    assert owners(market) == {people.market.name}


@pytest.mark.parametrize("command", [("spool", "status"), ("check",), ("explain", "evt_9")])
def test_looking_leaves_nothing(
    place: Path, market: Path, people: People, command: tuple[str, ...]
) -> None:
    config = configured(place, market)
    given = people.market.python(
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute(\"INSERT INTO relayd_spool (id, type, data) VALUES ('evt_9', 'a.b', '{}')\")",
        market / "spool.db",
    )
    assert given.returncode == 0, given.stderr
    before = names(market)
    queue = place / "state/queue.db"
    queue.parent.mkdir()
    give(queue.parent, people.relayd, 0o700)
    config.write_text(config.read_text().replace(str(place / "queue.db"), str(queue)))
    made = people.relayd.python(
        "import sys, trio\n"
        "from pathlib import Path\n"
        "from written_queue import write_queue\n"
        "trio.run(write_queue, Path(sys.argv[1]))",
        queue,
    )
    assert made.returncode == 0, made.stderr
    said = root(*command, "--config", str(config))
    assert "Traceback" not in said.stderr
    if command[0] == "explain":
        assert f"it waits in the spool {market / 'spool.db'}" in said.stderr
    assert owners(queue.parent) == {people.relayd.name}
    assert names(market) == before == {"spool.db"}


def test_a_log_that_is_left_over_is_read_as_its_owner(
    place: Path, market: Path, people: People
) -> None:
    # Killed with its -wal there and no -shm, as after a restart of the machine: who looks makes it.
    people.market.python(
        "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute(\"INSERT INTO relayd_spool (id, type, data) VALUES ('evt_1', 'a.b', '{}')\")\n"
        "os._exit(0)",
        market / "spool.db",
    )
    Path(f"{market / 'spool.db'}-shm").unlink()
    said = root("spool", "status", "--json", "--config", str(configured(place, market)))
    assert json.loads(said.stdout)["spools"][0]["waiting"] == 1, said.stdout + said.stderr
    assert owners(market) == {people.market.name}


def test_a_journal_that_names_another_file_harms_nothing(
    place: Path, market: Path, people: People
) -> None:
    victim = place / "victim"
    victim.write_text("root's")
    spool = market / "spool.db"
    hot_journal(spool, victim)
    shutil.chown(f"{spool}-journal", people.market.name)
    copy = place / "copy.db"
    shutil.copy(spool, copy)
    shutil.copy(f"{spool}-journal", f"{copy}-journal")
    config = configured(place, market)
    for command in (
        ("emit", "order.created", "--sample"), ("spool", "status"), ("check",),
    ):  # fmt: skip
        said = root(*command, "--config", str(config))
        assert "which SQLite deletes after a rollback" in " ".join(
            (said.stdout + said.stderr).split()
        ), said
        assert victim.exists()
    # The journal is a real one: SQLite alone does remove the file, where it still removes any.
    with closing(sqlite3.connect(copy)) as db:
        db.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    assert victim.exists() is not SQLITE_DELETES_ANY_FILE


def test_a_link_does_not_lead_root_elsewhere(place: Path, market: Path, people: People) -> None:
    other = place / "other"
    other.mkdir()
    give(other, people.stranger, 0o700)
    made = people.stranger.relayd("spool", "create", str(other / "spool.db"))
    assert made.returncode == 0, made.stderr
    (market / "spool.db").unlink()
    (market / "spool.db").symlink_to(other / "spool.db")
    emitted = root("emit", "order.created", "--sample", "--config", str(configured(place, market)))
    assert emitted.returncode == 1
    assert people.market.name in emitted.stderr


def test_no_command_is_made_of_what_a_link_of_the_market_leads_to(
    place: Path, market: Path, people: People
) -> None:
    private = place / "private"
    private.mkdir(0o755)
    (private / "precious").touch(0o600)
    spool = market / "spool.db"
    spool.unlink()
    spool.symlink_to(private / "precious")
    os.chown(spool, pwd.getpwnam(people.market.name).pw_uid, -1, follow_symlinks=False)
    emitted = root("emit", "order.created", "--sample", "--config", str(configured(place, market)))
    assert emitted.returncode == 1
    assert "sudo" not in emitted.stderr
    assert f"is a link to {private / 'precious'}" in emitted.stderr


def test_init_and_create_make_files_for_the_folders_owner(
    place: Path, market: Path, people: People
) -> None:
    assert root("init", str(market / "relay")).returncode == 0
    made = root("spool", "create", str(market / "new" / "spool.db"), "--group", people.relayd.group)
    assert made.returncode == 0, made.stderr
    for folder in (market, market / "relay", market / "new"):
        assert owners(folder) == {people.market.name}
    assert (market / "new").group() == people.relayd.group
    assert (market / "new/spool.db").group() == people.relayd.group
    assert (market / "new").stat().st_mode & 0o7777 == 0o2770


def test_create_follows_no_link_of_the_market(place: Path, market: Path, people: People) -> None:
    give(market, people.market, 0o700)
    (market / "etc").symlink_to("/etc")
    made = root("spool", "create", str(market / "etc" / "relayd-test-spool.db"))
    assert made.returncode == 1
    assert "Permission denied" in made.stderr
    assert not Path("/etc/relayd-test-spool.db").exists()


@pytest.mark.parametrize("command", ["status", "check", "emit", "run", "reload"])
def test_root_obeys_no_configuration_that_it_finds(
    market: Path, people: People, command: str
) -> None:
    config = write_config(market)
    give(config, people.market, 0o600)
    arguments = ("order.created", "--sample") if command == "emit" else ()
    refused = root(command, *arguments, cwd=market)
    assert refused.returncode == 78
    assert f"belongs to user {people.market.name}" in refused.stderr
    assert "--config config.yaml" in refused.stderr
    for said in (
        root("check", "--config", "config.yaml", cwd=market),
        people.market.runs("sh", "-c", f"cd {market} && {sys.executable} -m relayd check"),
    ):
        assert "belongs to user" not in said.stderr


def test_a_link_that_is_anothers_is_anothers_file(
    place: Path, market: Path, people: People
) -> None:
    (market / "config.yaml").symlink_to(write_config(place))
    uid = (market / "spool.db").stat().st_uid
    os.chown(market / "config.yaml", uid, -1, follow_symlinks=False)
    refused = root("status", cwd=market)
    assert f"belongs to user {people.market.name}" in refused.stderr


def folder_of(place: Path, people: People, mode: int) -> Path:
    """A folder of the market's for relayd's group, and a spool in it that the group may write."""
    folder = place / "shared"
    folder.mkdir()
    owner = User(people.market.name, people.relayd.group)
    give(folder, owner, mode)
    made = people.market.relayd("spool", "create", str(folder / "spool.db"))
    assert made.returncode == 0, made.stderr
    give(folder / "spool.db", owner, 0o660)
    return folder


def problem(place: Path, folder: Path, people: People, who: User) -> str | None:
    config = configured(place, folder)
    if not (place / "queue.db").exists():
        (place / "queue.db").touch()
        give(place / "queue.db", people.relayd, 0o600)
    said = (
        root("spool", "status", "--json", "--config", str(config))
        if who is ROOT
        else who.relayd("spool", "status", "--json", "--config", str(config))
    )
    found: str | None = json.loads(said.stdout)["spools"][0]["problem"]
    return found


@pytest.mark.parametrize("mode", [0o770, 0o2770])
def test_a_folder_without_setgid_is_refused_with_the_command_that_fixes_it(
    place: Path, people: People, mode: int
) -> None:
    folder = folder_of(place, people, mode)
    for who in (ROOT, people.relayd):
        found = problem(place, folder, people, who)
        if mode & 0o2000:
            assert found is None
            continue
        assert found is not None
        assert "keep the others out" in found
        assert f"`sudo chmod g+rwxs {folder}`" in found
    if mode & 0o2000:
        return
    emitted = people.market.relayd(
        "emit", "order.created", "--sample", "--config", str(configured(place, folder))
    )
    assert emitted.returncode == 1
    assert f"sudo chmod g+rwxs {folder}" in emitted.stderr
    assert names(folder) == {"spool.db"}
    # What is refused is true: the market's files keep relayd out.
    opened = "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    insert = "db.execute(\"INSERT INTO relayd_spool (type, data) VALUES ('a.b', '{}')\")\n"
    people.market.python(opened + insert + "os._exit(0)", folder / "spool.db")
    shut_out = people.relayd.python(opened + insert, folder / "spool.db")
    assert shut_out.returncode != 0
    for side in ("-wal", "-shm"):
        Path(f"{folder / 'spool.db'}{side}").unlink()
    # And the command makes it right.
    assert found is not None
    subprocess.run(found.split("`")[1].replace("sudo ", ""), shell=True, check=True)
    assert problem(place, folder, people, people.relayd) is None
    people.market.python(opened + insert + "os._exit(0)", folder / "spool.db")
    let_in = people.relayd.python(opened + insert, folder / "spool.db")
    assert let_in.returncode == 0, let_in.stderr


def test_an_owner_outside_of_the_group_is_named(place: Path, people: People) -> None:
    folder = folder_of(place, people, 0o2770)
    give(folder / "spool.db", User(people.stranger.name, people.relayd.group), 0o660)
    found = problem(place, folder, people, people.relayd)
    assert found is not None
    assert f"usermod -aG {people.relayd.group} {people.stranger.name}" in found


def test_a_stranger_is_told_which_group_to_be_in(place: Path, people: People) -> None:
    folder = folder_of(place, people, 0o2770)
    emitted = people.stranger.relayd(
        "emit", "order.created", "--sample", "--config", str(configured(place, folder))
    )
    assert emitted.returncode == 1
    assert f"`sudo usermod -aG {people.relayd.group} {people.stranger.name}`" in emitted.stderr


def test_roots_folder_that_a_group_may_write_is_not_roots_alone(
    place: Path, people: People
) -> None:
    # As `sudo relayd spool create --group` makes it, where root could be made to follow a journal.
    spool = place / "srv/spool.db"
    made = root("spool", "create", str(spool), "--group", people.relayd.group)
    assert made.returncode == 0, made.stderr
    victim = place / "victim"
    victim.write_text("root's")
    config = configured(place, spool.parent)
    emitted = root("emit", "order.created", "--sample", "--config", str(config))
    assert emitted.returncode == 0, emitted.stderr
    hot_journal(spool, victim)
    assert root("emit", "order.created", "--sample", "--config", str(config)).returncode == 1
    assert victim.exists()
    # And not only by reading the journal: it was nobody who opened the file.
    Path(f"{spool}-journal").unlink()
    kept = people.market.python(
        "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute(\"INSERT INTO relayd_spool (type, data) VALUES ('a.b', '{}')\")\n"
        "os._exit(0)",
        spool,
    )
    assert kept.returncode == 0, kept.stderr
    assert root("emit", "order.created", "--sample", "--config", str(config)).returncode == 0
    assert people.market.python(
        "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute("
        "'SELECT count(*) FROM relayd_spool').fetchone())",
        spool,
    ).stdout == "3\n"  # fmt: skip


def test_a_link_before_two_dots_is_followed_first(place: Path, people: People) -> None:
    theirs = place / "theirs/sub"
    theirs.mkdir(parents=True)
    give(theirs.parent, people.stranger, 0o755)
    mine = place / "mine"
    mine.mkdir()
    (mine / "link").symlink_to(theirs)
    # As the kernel has it, this is theirs/spool.db, and not mine/spool.db.
    made = root("spool", "create", f"{mine}/link/../spool.db")
    assert made.returncode == 0, made.stderr
    assert (theirs.parent / "spool.db").owner() == people.stranger.name


def test_a_user_without_a_name_is_trusted_to_be_in_the_group(place: Path, people: People) -> None:
    # As in a container, which knows its own users alone.
    folder = folder_of(place, people, 0o2770)
    os.chown(folder / "spool.db", 61_234, -1)
    assert problem(place, folder, people, people.relayd) is None
